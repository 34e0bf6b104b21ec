"""A store finds the newest version of each object, by key and by index."""

import pytest

from federation.api.kubernetes.core import ConfigMap
from federation.api.meta import ObjectMeta
from federation.kube.resource import ObjectKey
from federation.kube.store import Store


def config_map(name: str, *, namespace: str = "ns", **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace), data=data)


def by_data_key() -> Store[ConfigMap]:
    return Store({"key": lambda stored: stored.data})


def test_gives_objects_in_key_order_whatever_the_order_of_arrival() -> None:
    store: Store[ConfigMap] = Store()
    for namespace, name in (("b", "a"), ("a", "z"), ("a", "b")):
        store.put(config_map(name, namespace=namespace))
    assert [(found.metadata.namespace, found.metadata.name) for found in store.values()] == [
        ("a", "b"),
        ("a", "z"),
        ("b", "a"),
    ]


def test_a_new_version_leaves_the_index_values_of_the_old_one() -> None:
    store = by_data_key()
    store.put(config_map("one", x="1", y="1"))
    old = store.put(config_map("one", y="2", z="1"))
    assert old == config_map("one", x="1", y="1")
    assert [len(store.by_index("key", value)) for value in "xyz"] == [0, 1, 1]
    assert store.by_index("key", "y") == [config_map("one", y="2", z="1")]


def test_a_removed_object_is_found_no_more() -> None:
    store = by_data_key()
    store.put(config_map("one", x="1"))
    assert store.remove(ObjectKey("ns", "one")) == config_map("one", x="1")
    assert store.find(ObjectKey("ns", "one")) is None
    assert not list(store.values())
    assert not store.by_index("key", "x")
    assert store.remove(ObjectKey("ns", "one")) is None


def test_a_reading_is_not_disturbed_by_a_change_during_it() -> None:
    store: Store[ConfigMap] = Store()
    for name in "abc":
        store.put(config_map(name))
    seen = []
    for stored in store.values():
        seen.append(stored.metadata.name)
        store.remove(ObjectKey("ns", "c"))
    assert seen == ["a", "b", "c"]


def test_an_unknown_index_is_an_error() -> None:
    with pytest.raises(KeyError):
        by_data_key().by_index("colour", "red")
