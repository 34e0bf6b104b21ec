"""What the pages about runs say is what the code does: their resources, tables, reasons and snippets."""

import contextlib
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from federation.api.claims import data_key
from federation.api.dataset import Dataset
from federation.api.federated_learning import FederatedLearning
from federation.api.run_status import ClusterState
from federation.kube.resource import Json
from federation.model import DType, TensorSpec, manifest_of
from hub_manager.aggregator.storage.checkpoint import CheckpointStore
from hub_manager.federated_learning.planning.cohort import dataset_of
from hub_manager.federated_learning.planning.conditions import Reason
from hub_manager.federated_learning.planning.validate import SERVED_LISTENERS, Fault, FaultReason, faults
from hub_manager.federated_learning.resources.aggregator import NODE_PORTS, service
from hub_manager.federated_learning.settings import Limits
from hub_manager.federated_learning.site import Site
from reference.resources import RESOURCES
from runtimes.openfl import plan_settings
from spoke_agent.claims.validation import refusal_of
from tests.support.api_server.crd_schema import errors_of
from tests.support.builders.controllers_manifests import FLOWER, OPENFL, README_VARIANT
from tests.support.builders.models import Held
from tests.support.builders.run_objects import run_json, run_of
from tests.support.documentation import DOCS, blocks, code, documented_runs, merged, resources, table, text

PAGES = ("runs.md", "openfl-workspace.md", "migrate.md", "collaborators.md", "datasets.md")
SCHEMAS = {each.kind.kind: each.schema for each in RESOURCES}
SMALLEST = documented_runs("runs.md")[0]
README, BY_PORT, FLOWERS = map(yaml.safe_load, (README_VARIANT, OPENFL, FLOWER))


def _documented() -> Iterator[Any]:
    for page in PAGES:
        others = [each for each in resources(page) if each.get("kind") in SCHEMAS.keys() - {"FederatedLearning"}]
        for place, found in enumerate([*documented_runs(page), *others]):
            yield pytest.param(found, id=f"{page}-{found['kind']}-{place}")


@pytest.mark.parametrize("resource", [*_documented()])
def test_every_resource_in_the_text_is_one_that_the_schema_takes(resource: Json) -> None:
    assert list(errors_of(resource, SCHEMAS[resource["kind"]])) == []


@pytest.mark.parametrize("resource", [*_documented()])
def test_every_resource_in_the_text_is_one_that_is_not_refused_afterwards(resource: Json) -> None:
    if resource["kind"] == "FederatedLearning":
        assert faults(run_of(resource), Limits()) == ()
    else:
        assert refusal_of(msgspec.convert(resource, Dataset), datetime(2030, 1, 1, tzinfo=UTC)) is None


def test_the_schema_check_sees_what_is_wrong() -> None:
    broken = merged(SMALLEST, {"spec": {"server": {"rounds": 0, "listeners": [{"tpye": "NodePort"}]}, "size": "1Gi"}})

    assert list(errors_of(broken, SCHEMAS["FederatedLearning"])) == [
        ".spec.server.rounds: 0 is out of bounds",
        ".spec.server.listeners[0].tpye: no such field",
        ".spec.size: no such field",
    ]


UNSERVED: dict[str, Json] = {
    "framework: flower": {"framework": "flower"},
    "listeners[].type: Ingress": {"server": {"listeners": [{"type": "Route", "hostname": "a.example.com"}]}},
    "storage.type: S3Bucket": {"server": {"storage": {"type": "S3Bucket", "s3": {"bucketName": "models"}}}},
    "storage.type: HostPath": {"server": {"storage": {"type": "HostPath", "path": "/models"}}},
    "client.dataset": {"client": {"dataset": ""}},
}


def test_what_is_not_served_is_answered_as_the_text_says() -> None:
    rows = table("runs.md", "asked for", "reason", "remedy in the message")

    assert [code(row[0])[0] for row in rows] == list(UNSERVED)
    for asked, reason, remedy in rows:
        (fault,) = _faults(UNSERVED[code(asked)[0]])
        assert (fault.reason.value, fault.remedy.startswith(remedy)) == (code(reason)[0], True)


def test_the_listeners_in_the_text_are_those_that_are_served() -> None:
    rows = table("runs.md", "`listeners[].type`", "what is made", "address that the sites get")

    assert {code(row[0])[0] for row in rows} == set(SERVED_LISTENERS)
    assert f"{NODE_PORTS[0]} to {NODE_PORTS[-1]}" in text("runs.md")


def test_every_reason_in_the_text_is_one_that_there_is() -> None:
    rows = table("runs.md", "it stays at", "because", "then")
    said = {code(row[0])[-1] for row in rows}

    assert said <= {reason.value for reason in (*Reason, *FaultReason)}


def _faults(spec: Json) -> tuple[Fault, ...]:
    return faults(run_of(run_json(**spec)), Limits())


def test_the_models_digest_is_computed_as_the_text_says(tmp_path: Path) -> None:
    tensors = (TensorSpec("bias", DType.FLOAT32, (3,)), TensorSpec("weight", DType.FLOAT32, (2, 3)))
    stored = CheckpointStore(tmp_path / "checkpoints", "run").store_first(manifest_of(tensors), Held(bytes(range(36))))
    (tmp_path / "model.safetensors").hardlink_to(tmp_path / "checkpoints/round-000000/model.safetensors")
    (snippet,) = blocks("runs.md", "python")
    said = io.StringIO()

    with contextlib.chdir(tmp_path), contextlib.redirect_stdout(said):
        exec(compile(snippet, "runs.md", "exec"), {})  # noqa: S102 - our own documentation

    assert said.getvalue().splitlines() == [stored.digest, "{'bias': (3,), 'weight': (2, 3)}"]


def test_what_becomes_of_each_setting_of_a_plan_is_as_the_text_says() -> None:
    rows = table(
        "openfl-workspace.md",
        "section",
        "means what it means in OpenFL",
        "has no effect",
        "refused where it is set",
    )

    said = {code(row[0])[0]: tuple(frozenset(code(cell)) - {"spec.server.rounds"} for cell in row[1:]) for row in rows}
    assert said == {
        name: (known.used, known.replaced, frozenset(known.refused or {}))
        for name, known in plan_settings._KNOWN.items()
    }


def test_what_a_plan_has_to_have_is_as_the_text_says() -> None:
    said = dict(table("openfl-workspace.md", "what", "has to be"))

    assert set(code(said["sections"])) - {"connector"} == set(plan_settings.REQUIRED)
    assert set(code(said["`opt_treatment`"])) == set(plan_settings.TREATMENTS)
    for section in ("assigner", "compression_pipeline", "straggler_handling_policy"):
        assert {code(said[f"`{section}`"])[0]} == plan_settings._KNOWN[section].classes


def test_the_existing_controllers_manifests_are_answered_as_the_text_says() -> None:
    said = {row[0]: row[2] for row in table("migrate.md", "manifest of its README", "applies", "then")}
    s3 = {"type": "S3Bucket", "name": "model", "size": "2Gi", "s3": {"bucketName": "models"}}
    answered = {
        "OpenFL, `README.md` (port 8080, path `/data/models`)": README,
        "OpenFL, `openfl-README.md` (port 31531, path `/workspace/models`)": BY_PORT,
        "the same with `type: S3Bucket`": merged(BY_PORT, {"spec": {"server": {"storage": s3}}}),
        "Flower, `README.md`": FLOWERS,
    }

    assert said.keys() - answered.keys() == {
        "ClusterClaims `federated-learning-sample.client-data`, value `1` and `2`",
        "the same, value `/data/private/cluster1`",
    }
    for name, manifest in answered.items():
        assert list(errors_of(manifest, SCHEMAS["FederatedLearning"])) == []
        found = faults(_named(manifest), Limits())
        assert bool(found) == ("`Scheduled` False" in said[name])
        for fault in found:
            assert f"`{fault.reason.value}`: {fault.remedy.partition(':')[0]}" in said[name]


def test_node_ports_of_the_existing_controllers_manifests_are_as_the_text_says() -> None:
    ports = [service(_named(manifest), 0)["spec"]["ports"][0].get("nodePort") for manifest in (README, BY_PORT)]

    assert ports == [None, 31531]


@pytest.mark.parametrize(("claim", "dataset"), [("1", "1"), ("2", "2"), ("/data/private/cluster1", None)])
def test_claims_of_the_existing_convention_name_datasets(claim: str, dataset: str | None) -> None:
    run = _named(BY_PORT)
    key = data_key(run.spec.client.placement)
    site = Site("c1", accepted=True, available=True, install_namespace="x", claims=((key, claim),))

    assert (key, dataset_of(run, site)) == ("federated-learning-sample.client-data", dataset)
    assert ClusterState.REFUSED.value in text("migrate.md")


def _named(manifest: Json) -> FederatedLearning:
    return run_of(merged(manifest, {"metadata": {"namespace": "default", "uid": "u"}}))


def test_no_page_is_longer_than_a_reader_stays() -> None:
    assert [page.name for page in DOCS.glob("*.md") if len(page.read_text(encoding="utf-8").splitlines()) > 300] == []
