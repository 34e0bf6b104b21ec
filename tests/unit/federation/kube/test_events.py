"""The same statement about the same object is one Event with a count."""

import pytest

from federation.api.kubernetes.core import ConfigMap
from federation.api.meta import ObjectMeta
from federation.kube.errors import Denied
from federation.kube.events import NOTE_BYTES, Recorder
from federation.kube.kinds import CONFIG_MAP, EVENT, NAMESPACE
from federation.kube.resource import Json
from tests.support.fakes.fake_api import FakeApi

ABOUT = ConfigMap(metadata=ObjectMeta(name="a", namespace="ns", uid="u"))


async def recorded(*statements: tuple[str, str], about: ConfigMap = ABOUT) -> list[Json]:
    api = FakeApi()
    for reason, message in statements:
        recorder = Recorder(api, "tests")  # a new one each time: nothing is remembered in the process
        await recorder.record(CONFIG_MAP, about, severity="Warning", reason=reason, message=message)
    return api.objects(EVENT)


async def test_increments_the_count_of_an_equal_event() -> None:
    (event,) = await recorded(("Refused", "no"), ("Refused", "no"), ("Refused", "no"))
    assert (event["count"], event["reason"], event["message"], event["type"]) == (3, "Refused", "no", "Warning")
    assert event["involvedObject"] | {"resourceVersion": ""} == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "a",
        "namespace": "ns",
        "uid": "u",
        "resourceVersion": "",
    }


async def test_keeps_different_events_apart() -> None:
    assert len(await recorded(("Refused", "no"), ("Refused", "never"), ("Denied", "no"))) == 3


@pytest.mark.parametrize("name", ["x" * 253, "x" * 199 + "." + "y" * 53], ids=["long", "dot-at-the-cut"])
async def test_names_and_messages_fit_what_the_api_takes(name: str) -> None:
    about = ConfigMap(metadata=ObjectMeta(name=name, namespace="ns"))
    (event,) = await recorded(("Refused", "ü" * 3000), about=about)
    assert len(event["metadata"]["name"]) <= 253
    assert ".." not in event["metadata"]["name"]
    assert NOTE_BYTES - 1 <= len(event["message"].encode()) <= NOTE_BYTES


async def test_an_event_about_a_cluster_scoped_object_is_where_it_is_looked_for() -> None:
    api = FakeApi()
    about = ConfigMap(metadata=ObjectMeta(name="cluster1", uid="u"))
    await Recorder(api, "tests").record(NAMESPACE, about, severity="Normal", reason="Done", message="so")
    assert api.objects(EVENT)[0]["metadata"]["namespace"] == "default"


async def test_an_event_that_cannot_be_written_fails_nothing() -> None:
    api = FakeApi()
    api.fail_next(Denied("403"))
    await Recorder(api, "tests").record(CONFIG_MAP, ABOUT, severity="Normal", reason="Done", message="so")
    assert api.objects(EVENT) == []
