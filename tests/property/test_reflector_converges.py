"""Whatever happens between a server and a reflector, the store ends as the server's state, and so do its listeners."""

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from federation.api.kubernetes.core import ConfigMap
from federation.backoff import Backoff
from federation.kube.errors import Gone, Unavailable
from federation.kube.kinds import CONFIG_MAP
from federation.kube.reflector import Reflector
from federation.kube.resource import ObjectKey, key_of
from tests.support.builders.objects import config_map
from tests.support.fakes.fake_api import FakeApi
from tests.support.waiting import running, until

EVENTS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from("abc"), st.integers(0, 3)),
    st.tuples(st.just("remove"), st.sampled_from("abc"), st.integers(0, 3)),
    st.tuples(st.sampled_from(["compact", "cut", "end", "bookmark", "fail", "expire"]), st.just(""), st.integers(0, 3)),
)


def happen(api: FakeApi, event: str, name: str, number: int) -> None:
    match event:
        case "write":
            api.seed(CONFIG_MAP, config_map(name, v=str(number), at=str(api.version)))
        case "remove":
            api.remove(CONFIG_MAP, ObjectKey("default", name))
        case "compact":
            api.compact()
        case "cut":
            api.cut_watches(Unavailable("connection reset"))
        case "end":
            api.cut_watches()
        case "bookmark":
            api.bookmark()
        case "fail":
            api.fail_next(*[Unavailable("connection refused")] * number)
        case "expire":
            api.fail_next(Gone("too old"))


def held(reflector: Reflector[ConfigMap]) -> dict[str, str]:
    return {each.metadata.name: each.metadata.resource_version for each in reflector.store.values()}


async def follow(history: Sequence[tuple[str, str, int]]) -> None:
    api = FakeApi()
    api.page_limit = 2
    reflector = Reflector(api, CONFIG_MAP, backoff=Backoff(first=0.0))
    mirror: dict[ObjectKey, ConfigMap] = {}

    def mirrored(old: ConfigMap | None, new: ConfigMap | None) -> None:
        key = key_of(new or old or ConfigMap())
        assert mirror.get(key) == old
        mirror.pop(key, None)
        if new is not None:
            mirror[key] = new

    reflector.subscribe(mirrored)
    async with running(reflector.run()):
        for event, name, turns in history:
            happen(api, event, name, turns)
            for _ in range(turns):
                await asyncio.sleep(0)
        expected = {raw["metadata"]["name"]: raw["metadata"]["resourceVersion"] for raw in api.objects(CONFIG_MAP)}
        await until(lambda: reflector.synced and held(reflector) == expected)
        assert {key: reflector.store.find(key) for key in mirror} == mirror
        assert len(mirror) == len(expected)


@settings(deadline=None, max_examples=150)
@given(st.lists(EVENTS, max_size=25))
def test_ends_equal_to_the_server(history: Sequence[tuple[str, str, int]]) -> None:
    asyncio.run(follow(history))
