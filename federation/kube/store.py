"""What a reflector has seen of one kind: the newest version of each object, found by key or by index.

A store is changed by its reflector alone and read by controllers on the same event loop, so it takes no lock; every
read is a snapshot that later changes leave alone. It knows nothing of versions or of the server: the reflector hands
it objects in the order in which the server made them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic

from federation.kube.resource import ObjectKey, T, key_of

Indexes = Mapping[str, Callable[[T], Iterable[str]]]
"""Index name to the values under which an object is found; the functions must be total and depend on it alone."""


class Store(Generic[T]):
    """The newest version of each object seen."""

    def __init__(self, indexes: Indexes[T] | None = None) -> None:
        self._indexes = dict(indexes or {})
        self._objects: dict[ObjectKey, T] = {}
        self._buckets: dict[str, defaultdict[str, set[ObjectKey]]] = {name: defaultdict(set) for name in self._indexes}
        self._order: tuple[ObjectKey, ...] | None = ()

    def __len__(self) -> int:
        return len(self._objects)

    def find(self, key: ObjectKey) -> T | None:
        """The object of that key, or None where there is none."""
        return self._objects.get(key)

    def sorted_keys(self) -> tuple[ObjectKey, ...]:
        """Every key, in order."""
        if self._order is None:
            self._order = tuple(sorted(self._objects))
        return self._order

    def values(self) -> Iterator[T]:
        """Every object present at the time of the call, in key order."""
        return iter([self._objects[key] for key in self.sorted_keys()])

    def by_index(self, index: str, value: str) -> Sequence[T]:
        """The objects that the index files under the value, in key order. Raises KeyError for an unknown index."""
        return [self._objects[key] for key in sorted(self._buckets[index].get(value, ()))]

    def put(self, resource: T) -> T | None:
        """Stores a version of an object and returns the one it replaces."""
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
        """Forgets the object and returns its last version, or None where there was none."""
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
