"""A store of one kind: the newest version of each object, found by key or by index.

Only its reflector changes a store, and controllers read it on the same event loop, so it needs no lock; every read is a
snapshot. It knows nothing of versions or the server: the reflector stores objects in the server's order.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic

from federation.kube.resource import ObjectKey, T, key_of

Indexes = Mapping[str, Callable[[T], Iterable[str]]]
"""Index name to the values under which an object is found; the functions must be pure and never raise."""


class Store(Generic[T]):
    """The newest observed version of each object."""

    def __init__(self, indexes: Indexes[T] | None = None) -> None:
        self._indexes = dict(indexes or {})
        self._objects: dict[ObjectKey, T] = {}
        self._buckets: dict[str, defaultdict[str, set[ObjectKey]]] = {name: defaultdict(set) for name in self._indexes}
        self._order: tuple[ObjectKey, ...] | None = ()

    def __len__(self) -> int:
        return len(self._objects)

    def find(self, key: ObjectKey) -> T | None:
        """Return the object of the key, or None."""
        return self._objects.get(key)

    def sorted_keys(self) -> tuple[ObjectKey, ...]:
        """Return all keys in order."""
        if self._order is None:
            self._order = tuple(sorted(self._objects))
        return self._order

    def values(self) -> Iterator[T]:
        """Iterate over the objects present at the time of the call, in key order."""
        return iter([self._objects[key] for key in self.sorted_keys()])

    def by_index(self, index: str, value: str) -> Sequence[T]:
        """Return the objects with this value in the index, in key order. Raises KeyError for an unknown index."""
        return [self._objects[key] for key in sorted(self._buckets[index].get(value, ()))]

    def put(self, resource: T) -> T | None:
        """Store a version of an object; return the one that it replaces, or None."""
        key = key_of(resource)
        old = self._objects.get(key)
        if old is None:
            self._order = None
        else:
            self._unfile(key, old)
        self._objects[key] = resource
        for index, values_of in self._indexes.items():
            for value in values_of(resource):
                self._buckets[index][value].add(key)
        return old

    def remove(self, key: ObjectKey) -> T | None:
        """Remove the object; return its last version, or None."""
        old = self._objects.pop(key, None)
        if old is not None:
            self._order = None
            self._unfile(key, old)
        return old

    def _unfile(self, key: ObjectKey, old: T) -> None:
        for index, values_of in self._indexes.items():
            buckets = self._buckets[index]
            for value in set(values_of(old)):
                buckets[value].discard(key)
                if not buckets[value]:
                    del buckets[value]
