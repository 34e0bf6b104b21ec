"""Descriptions of kinds and keys of objects."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from federation.api.meta import Resource

__all__ = ["Json", "Kind", "ObjectKey", "Resource", "T", "key_of"]

Json = dict[str, Any]

T = TypeVar("T", bound=Resource)


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A kind of object: where the API serves it, and the struct that it decodes into."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    struct: type[T]

    @property
    def api_version(self) -> str:
        """`group/version`, or `version` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """The name of one object of a kind; `namespace` is `""` for a cluster-scoped one."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def key_of(resource: Resource) -> ObjectKey:
    """Return the key under which the object is stored."""
    return ObjectKey(resource.metadata.namespace, resource.metadata.name)
