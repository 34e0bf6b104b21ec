"""Redact a Dataset's volume from messages of the scheduler, the kubelet and the API server. Pure.

Their messages go to the hub and name missing objects, such as a PersistentVolumeClaim. Messages of the user's container
are not redacted: it reads the data, but does not learn the volume's names.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

import msgspec

from federation.api.dataset import Dataset
from federation.api.kubernetes.site_workloads import (
    CollaboratorPod,
    ContainerState,
    ContainerStatus,
    ContainerTerminated,
    ContainerWaiting,
    PodCondition,
)

REPLACEMENT: Final = "(the dataset's volume)"
_SHORT: Final = 8
"""Length below which a string is redacted only as a separate word: within another word it reveals nothing."""
_NEVER_RAN: Final = frozenset({"StartError", "ContainerCannotRun"})
"""Reasons of a container that did not start, so that the container runtime wrote the message."""

_Message = TypeVar("_Message", PodCondition, ContainerWaiting, ContainerTerminated)


class VolumeRedaction:
    """Strings of a dataset's volume, to be removed from messages."""

    def __init__(self, dataset: Dataset | None, pods: Iterable[CollaboratorPod] = (), *, image: str = "") -> None:
        """Collect the strings of the Dataset's volume, and of the pods' volumes, which may be older.

        Args:
            dataset: The Dataset; None if it is missing.
            pods: The Collaborator's pods.
            image: The image that the hub requested; it stays readable even if it contains one of the strings.
        """
        volumes = [volume for pod in pods for volume in pod.spec.volumes]
        if dataset is not None:
            volumes.append(dataset.spec.volume)
        strings = {text for volume in volumes for text in _strings(msgspec.to_builtins(volume))}
        forms = {form for text in strings for form in (text, text.rstrip("/"), _quoted(text)) if form}
        self._patterns = [re.compile(f"(?=({_pattern(form)}))") for form in sorted(forms)]
        self._image = re.compile(f"({re.escape(image)})" if image else "(?!)")

    def redact(self, text: str) -> str:
        """Replace every string of the volume in the text: names, paths, values of attributes."""
        parts = self._image.split(text)
        return "".join(part if place % 2 else self._replaced(part) for place, part in enumerate(parts))

    def _replaced(self, text: str) -> str:
        return REPLACEMENT.join(self._kept(text))

    def _kept(self, text: str) -> list[str]:
        """Return the text between the strings, searched again: a short string may become a separate word."""
        spans = sorted(found.span(1) for pattern in self._patterns for found in pattern.finditer(text))
        if not spans:
            return [text]
        kept, end = [""], 0
        for first, last in spans:
            if first >= end:
                kept[-1] += text[end:first]
                kept.append("")
            end = max(end, last)
        kept[-1] += text[end:]
        return [piece for each in kept for piece in self._kept(each)]

    def redact_pod(self, pod: CollaboratorPod) -> CollaboratorPod:
        """Redact the messages of the scheduler, the kubelet and the container runtime in the pod."""
        status = pod.status
        conditions = tuple(self._redact_message(condition) for condition in status.conditions)
        containers = tuple(self._redact_container(each) for each in status.container_statuses)
        message = self.redact(status.message)
        redacted = msgspec.structs.replace(
            status, message=message, conditions=conditions, container_statuses=containers
        )
        return msgspec.structs.replace(pod, status=redacted)

    def _redact_container(self, container: ContainerStatus) -> ContainerStatus:
        waiting, ended = container.state.waiting, container.state.terminated
        state = ContainerState(
            waiting=waiting and self._redact_message(waiting),
            running=container.state.running,
            terminated=self._redact_message(ended) if ended is not None and ended.reason in _NEVER_RAN else ended,
        )
        return msgspec.structs.replace(container, state=state)

    def _redact_message(self, state: _Message) -> _Message:
        return msgspec.structs.replace(state, message=self.redact(state.message))


def _strings(value: Any) -> Iterator[str]:
    """Yield every string in the value, without the keys, which a CSI driver defines."""
    match value:
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from _strings(inner)


def _quoted(text: str) -> str:
    """Escape the text as API servers and kubelets do within quotation marks."""
    return msgspec.json.encode(text).decode()[1:-1]


def _pattern(text: str) -> str:
    if len(text) >= _SHORT:
        return re.escape(text)
    return rf"(?<![A-Za-z0-9_-]){re.escape(text)}(?![A-Za-z0-9_-])"
