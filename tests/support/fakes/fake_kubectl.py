"""A kubectl for tests of the command line: a program that answers from a folder, and what a test asks of it."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from federation.kube.resource import Json, Kind
from kubectl_fl.kubectl import Kubectl
from kubectl_fl.resources.kubectl_output import error_from_stderr
from tests.support.fakes import kubectl_program


@dataclass
class FakeKubectl:
    """The objects of a cluster; `program` is the path of a kubectl that returns them."""

    folder: Path
    namespace: str = "default"
    """That of the context."""
    objects: dict[str, list[Json]] = field(default_factory=dict)
    denied: list[str] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    """By `POD/CONTAINER`."""
    watches: list[list[Json]] = field(default_factory=list)
    """The events of each watch, one after the other; then the object is gone."""
    refusing: dict[str, str] = field(default_factory=dict)
    """The error of `kubectl wait` or `delete`, by verb."""
    volume: Path | None = None

    def has(self, kind: Kind[Any], *bodies: Json) -> "FakeKubectl":
        self.objects.setdefault(kind.plural, []).extend(bodies)
        return self

    def breaking(self, *after: int) -> "FakeKubectl":
        """Each of the next streams of a model breaks after so many bytes; with -1 it says nothing and goes on."""
        (self.folder / "breaks").write_text(json.dumps(after))
        return self

    @property
    def program(self) -> str:
        (self.folder / "told.json").write_text(json.dumps(self.told), encoding="utf-8")
        path = self.folder / "kubectl"
        script = f'#!/bin/sh\nexec "{sys.executable}" -S "{kubectl_program.__file__}" "{self.folder}" "$@"\n'
        path.write_text(script, encoding="utf-8")
        path.chmod(0o755)
        return str(path)

    @property
    def told(self) -> Json:
        return {
            "namespace": self.namespace,
            "objects": self.objects,
            "denied": self.denied,
            "logs": self.logs,
            "watches": self.watches,
            "refusing": self.refusing,
            "volume": str(self.volume),
        }

    @property
    def calls(self) -> list[list[str]]:
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def verbs(self) -> Sequence[str]:
        return [next(word for word in call if not word.startswith("-")) for call in self.calls]

    @property
    def created(self) -> Json:
        found: Json = json.loads((self.folder / "created.json").read_text())
        return found


@dataclass(frozen=True)
class InProcess(Kubectl):
    """The same answers to what is read, without a process."""

    fake: FakeKubectl | None = None

    def call(self, *arguments: str, subject: str, **_: object) -> bytes:
        assert self.fake is not None
        (verb, *names), options = kubectl_program.parsed(list(arguments))
        assert verb == "get"
        text, error = kubectl_program.got(self.fake.told, names, options)
        if error:
            raise error_from_stderr(error, subject)
        return text.encode()
