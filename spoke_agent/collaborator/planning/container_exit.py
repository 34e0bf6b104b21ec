"""Read a failed container's termination message: the runtime's report, or else the end of its log. Pure.

The image wrote all of it, and it goes to the hub: it is cut to the length that a ManifestWork feeds back, without the
control characters that a terminal would obey.
"""

import re
from typing import Final

import msgspec

from federation.api.collaborator import VALUE_LIMIT, CollaboratorExit
from federation.api.kubernetes.site_workloads import CollaboratorPod, ContainerTerminated
from federation.runtime_contract import CONTAINER, TerminationMessage

_REASON: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}")
_PLACE: Final = re.compile(r'^\s*File "([^"\n]{1,512})", line ([0-9]{1,9})', re.MULTILINE)
_EXCEPTION: Final = re.compile(r"^((?:[A-Za-z_][A-Za-z0-9_]*\.)*[A-Za-z_][A-Za-z0-9_]*)(?:: (.*))?$")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SHORT: Final = 256
_LINE_LIMIT: Final = 2**31


def exit_of(pod: CollaboratorPod) -> CollaboratorExit | None:
    """Return the failure of the pod's container; None if it has not failed."""
    ended = terminated(pod)
    if ended is not None:
        return None if ended.exit_code == 0 else _exit(ended)
    if pod.status.phase == "Failed":  # evicted, or rejected by the node: no container has a state
        return CollaboratorExit(reason=reason_of(pod.status.reason, "PodFailed"), message=clean(pod.status.message))
    return None


def ended_well(pod: CollaboratorPod) -> bool:
    """Return whether the pod's container has succeeded."""
    ended = terminated(pod)
    return pod.status.phase == "Succeeded" if ended is None else ended.exit_code == 0


def has_stopped(pod: CollaboratorPod) -> bool:
    """Return whether the pod has ended for good; False while its node is unreachable, since it may still run."""
    return pod.status.phase in {"Succeeded", "Failed"}


def terminated(pod: CollaboratorPod) -> ContainerTerminated | None:
    """Return the terminated state of the collaborator's container; None until it terminates."""
    return next((each.state.terminated for each in pod.status.container_statuses if each.name == CONTAINER), None)


def in_words(ended: CollaboratorExit) -> str:
    """Describe a failure in one sentence, with file and line if they are known."""
    what = ": ".join(part for part in (ended.exception, ended.message) if part)
    if not what:
        what = f"the container ended with exit status {ended.code}" if ended.code else ended.reason
    where = f" ({ended.file}:{ended.line})" if ended.file else ""
    return clean(what, VALUE_LIMIT - len(where.encode())) + where


def clean(text: str, limit: int = VALUE_LIMIT) -> str:
    """Remove control characters and cut the text at its end to `limit` bytes of UTF-8."""
    return _CONTROL.sub("", text).encode(errors="replace")[: max(0, limit)].decode(errors="ignore")


def clean_tail(text: str, limit: int = VALUE_LIMIT) -> str:
    """Remove control characters and cut the text at its beginning: the last lines of a log have the cause."""
    kept = _CONTROL.sub("", text).rstrip().encode(errors="replace")
    if len(kept) <= limit:
        return kept.decode()
    tail = kept[-limit:].decode(errors="ignore")
    return tail.partition("\n")[2] or tail


def reason_of(text: str, otherwise: str) -> str:
    """Return the text if it is a valid reason of a condition, else `otherwise`."""
    return text if _REASON.fullmatch(text) else otherwise


def _exit(ended: ContainerTerminated) -> CollaboratorExit:
    reason = reason_of(ended.reason, "Error")
    try:
        reported = msgspec.json.decode(ended.message, type=TerminationMessage)
    except msgspec.DecodeError:
        return _from_log(ended, reason)
    return CollaboratorExit(
        code=ended.exit_code,
        reason=reason_of(reported.reason, reason),
        message=clean(reported.message),
        exception=clean(reported.exception, _SHORT),
        file=clean(reported.file, _SHORT),
        line=reported.line if 0 < reported.line < _LINE_LIMIT else 0,
        task=clean(reported.task, _SHORT),
        round=reported.round if reported.round is not None and 0 < reported.round < _LINE_LIMIT else 0,
        log=clean_tail(reported.log),
    )


def _from_log(ended: ContainerTerminated, reason: str) -> CollaboratorExit:
    """Parse the end of a log: the innermost frame and the exception of a Python traceback."""
    places = list(_PLACE.finditer(ended.message))
    file, line, exception, message = "", 0, "", ""
    if places:
        file, line = clean(places[-1][1], _SHORT), int(places[-1][2])
        after = ended.message[places[-1].end() :].splitlines()
        found = next((match for text in after if text[:1].isalpha() and (match := _EXCEPTION.match(text))), None)
        if found is not None:
            exception, message = clean(found[1], _SHORT), clean(found[2] or "")
    return CollaboratorExit(
        code=ended.exit_code,
        reason=reason,
        message=message,
        exception=exception,
        file=file,
        line=line if line < _LINE_LIMIT else 0,
        log=clean_tail(ended.message),
    )
