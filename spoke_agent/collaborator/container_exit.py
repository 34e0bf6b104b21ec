"""What a container that failed says of it: the runtime's own words, or else the end of its log. Pure.

All of it was written by the image and goes to the hub: it is cut to what a ManifestWork feeds back, and control
characters, which a terminal would obey, are taken out.
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
    """How the pod's container failed; None where it has not."""
    ended = terminated(pod)
    if ended is not None:
        return None if ended.exit_code == 0 else _exit(ended)
    if pod.status.phase == "Failed":  # evicted, or refused by the node: no container has a state
        return CollaboratorExit(reason=reason_of(pod.status.reason, "PodFailed"), message=clean(pod.status.message))
    return None


def ended_well(pod: CollaboratorPod) -> bool:
    """Whether the pod's container has ended without a failure."""
    ended = terminated(pod)
    return pod.status.phase == "Succeeded" if ended is None else ended.exit_code == 0


def has_stopped(pod: CollaboratorPod) -> bool:
    """Whether nothing of the pod runs any more, or ever will: of one whose node isn't heard of, that isn't known."""
    return pod.status.phase in {"Succeeded", "Failed"}


def terminated(pod: CollaboratorPod) -> ContainerTerminated | None:
    """The end of the collaborator's container; None while it has not come."""
    return next((each.state.terminated for each in pod.status.container_statuses if each.name == CONTAINER), None)


def in_words(ended: CollaboratorExit) -> str:
    """A failure in one sentence, with file and line where they are known."""
    what = ": ".join(part for part in (ended.exception, ended.message) if part)
    if not what:
        what = f"the container ended with exit status {ended.code}" if ended.code else ended.reason
    where = f" ({ended.file}:{ended.line})" if ended.file else ""
    return clean(what, VALUE_LIMIT - len(where.encode())) + where


def clean(text: str, limit: int = VALUE_LIMIT) -> str:
    """The text without control characters, cut at its end to so many bytes of UTF-8."""
    return _CONTROL.sub("", text).encode(errors="replace")[: max(0, limit)].decode(errors="ignore")


def clean_tail(text: str, limit: int = VALUE_LIMIT) -> str:
    """The same, cut at its beginning: of a log, the last lines say why."""
    kept = _CONTROL.sub("", text).rstrip().encode(errors="replace")
    if len(kept) <= limit:
        return kept.decode()
    tail = kept[-limit:].decode(errors="ignore")
    return tail.partition("\n")[2] or tail


def reason_of(text: str, otherwise: str) -> str:
    """The text where it can be a condition's reason."""
    return text if _REASON.fullmatch(text) else otherwise


def _exit(ended: ContainerTerminated) -> CollaboratorExit:
    reason = reason_of(ended.reason, "Error")
    try:
        told = msgspec.json.decode(ended.message, type=TerminationMessage)
    except msgspec.DecodeError:
        return _from_log(ended, reason)
    return CollaboratorExit(
        code=ended.exit_code,
        reason=reason_of(told.reason, reason),
        message=clean(told.message),
        exception=clean(told.exception, _SHORT),
        file=clean(told.file, _SHORT),
        line=told.line if 0 < told.line < _LINE_LIMIT else 0,
        task=clean(told.task, _SHORT),
        round=told.round if told.round is not None and 0 < told.round < _LINE_LIMIT else 0,
        log=clean_tail(told.log),
    )


def _from_log(ended: ContainerTerminated, reason: str) -> CollaboratorExit:
    """What the end of a log shows: of a Python traceback, the innermost place and the exception."""
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
