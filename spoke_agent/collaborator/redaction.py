"""What the hub isn't told: a Dataset's volume, in the words of the scheduler, the kubelet and the API server. Pure.

They name what they look for, such as a PersistentVolumeClaim that isn't there, and their words go to the hub. What the
user's container has said stays as it is: it sees the data, and is told nothing of the volume that they are in.
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
"""Characters below which a string counts only as a word of its own: in the middle of another it says nothing."""
_NEVER_RAN: Final = frozenset({"StartError", "ContainerCannotRun"})
"""Reasons of a container whose message is the container runtime's, as it could not be started."""

_Message = TypeVar("_Message", PodCondition, ContainerWaiting, ContainerTerminated)


class VolumeRedaction:
    """What is said of a dataset's volume, which is taken out of others' words."""

    def __init__(self, dataset: Dataset | None, pods: Iterable[CollaboratorPod] = (), *, image: str = "") -> None:
        """What the Dataset says of its volume, and what it said of it when the pods were made.

        Args:
            dataset: The Dataset; None where there is none.
            pods: The Collaborator's.
            image: What the hub itself has asked for stays readable, though it should hold one of those words.
        """
        volumes = [volume for pod in pods for volume in pod.spec.volumes]
        if dataset is not None:
            volumes.append(dataset.spec.volume)
        strings = {text for volume in volumes for text in _strings(msgspec.to_builtins(volume))}
        forms = {form for text in strings for form in (text, text.rstrip("/"), _quoted(text)) if form}
        self._patterns = [re.compile(f"(?=({_pattern(form)}))") for form in sorted(forms)]
        self._image = re.compile(f"({re.escape(image)})" if image else "(?!)")

    def redact(self, text: str) -> str:
        """The text, with `REPLACEMENT` in the place of every string of the volume: names, paths, attributes' values."""
        parts = self._image.split(text)
        return "".join(part if place % 2 else self._replaced(part) for place, part in enumerate(parts))

    def _replaced(self, text: str) -> str:
        return REPLACEMENT.join(self._kept(text))

    def _kept(self, text: str) -> list[str]:
        """What is left between the strings; looked through again: a short one may stand alone once others are out."""
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
        """The pod, without it in what the scheduler, the kubelet and the container runtime say."""
        status = pod.status
        conditions = tuple(self._redact_message(condition) for condition in status.conditions)
        containers = tuple(self._redact_container(each) for each in status.container_statuses)
        message = self.redact(status.message)
        told = msgspec.structs.replace(status, message=message, conditions=conditions, container_statuses=containers)
        return msgspec.structs.replace(pod, status=told)

    def _redact_container(self, container: ContainerStatus) -> ContainerStatus:
        waiting, ended = container.state.waiting, container.state.terminated
        state = ContainerState(
            waiting=waiting and self._redact_message(waiting),
            running=container.state.running,
            terminated=self._redact_message(ended) if ended is not None and ended.reason in _NEVER_RAN else ended,
        )
        return msgspec.structs.replace(container, state=state)

    def _redact_message(self, said: _Message) -> _Message:
        return msgspec.structs.replace(said, message=self.redact(said.message))


def _strings(value: Any) -> Iterator[str]:
    """Every string in it; the names of a CSI driver's attributes are the driver's, and no part of it."""
    match value:
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from _strings(inner)


def _quoted(text: str) -> str:
    """As it stands within quotation marks, where API servers and kubelets put names."""
    return msgspec.json.encode(text).decode()[1:-1]


def _pattern(text: str) -> str:
    if len(text) >= _SHORT:
        return re.escape(text)
    return rf"(?<![A-Za-z0-9_-]){re.escape(text)}(?![A-Za-z0-9_-])"
