"""A store's indexes hold what its objects say, after any history."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from federation.api.kubernetes.core import ConfigMap
from federation.api.meta import ObjectMeta
from federation.kube.resource import ObjectKey
from federation.kube.store import Store

NAMES = st.sampled_from("abc")
TAGS = st.dictionaries(st.sampled_from("xyz"), st.just(""), max_size=3)


@given(st.lists(st.tuples(NAMES, st.one_of(st.none(), TAGS)), max_size=30))
def test_an_index_files_each_object_under_exactly_its_values(
    history: Sequence[tuple[str, dict[str, str] | None]],
) -> None:
    store: Store[ConfigMap] = Store({"tag": lambda stored: [*stored.data, *stored.data]})
    model: dict[str, ConfigMap] = {}
    for name, tags in history:
        if tags is None:
            assert store.remove(ObjectKey("", name)) == model.pop(name, None)
        else:
            stored = ConfigMap(metadata=ObjectMeta(name=name), data=tags)
            assert store.put(stored) == model.get(name)
            model[name] = stored
    assert list(store.values()) == [model[name] for name in sorted(model)]
    for tag in "xyz":
        assert store.by_index("tag", tag) == [model[name] for name in sorted(model) if tag in model[name].data]
