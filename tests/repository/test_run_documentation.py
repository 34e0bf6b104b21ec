"""Resources, reasons, settings and snippets in the pages on runs agree with the product."""

import contextlib
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from federation.api.dataset import Dataset
from federation.api.federated_learning import FederatedLearning
from federation.api.ocm.claims import data_key
from federation.kube.resource import Json
from federation.model import DType, TensorSpec, manifest_of
from hub_manager.aggregator.storage.checkpoint import CheckpointStore
from hub_manager.federated_learning.planning.cohort import dataset_of
from hub_manager.federated_learning.planning.validate import SUPPORTED_LISTENERS, SpecFault, faults
from hub_manager.federated_learning.resources.aggregator import NODE_PORTS, service
from hub_manager.federated_learning.settings import RunLimits
from hub_manager.federated_learning.site import RunCluster
from reference.resources import RESOURCES
from runtimes.openfl import plan_settings
from spoke_agent.claims.planning.validation import dataset_refusal
from tests.support.api_server.crd_schema import errors_of
from tests.support.builders.controllers_manifests import FLOWER, OPENFL, README_VARIANT
from tests.support.builders.models import Held
from tests.support.builders.run_objects import run_json, run_of
from tests.support.documentation import blocks, code, documented_runs, merged, resources, rows, text

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
def test_every_documented_resource_matches_its_schema(resource: Json) -> None:
    assert list(errors_of(resource, SCHEMAS[resource["kind"]])) == []


@pytest.mark.parametrize("resource", [*_documented()])
def test_every_documented_resource_passes_validation(resource: Json) -> None:
    if resource["kind"] == "FederatedLearning":
        assert faults(run_of(resource), RunLimits()) == ()
    else:
        assert dataset_refusal(msgspec.convert(resource, Dataset), datetime(2030, 1, 1, tzinfo=UTC)) is None


def test_the_schema_check_reports_errors() -> None:
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


@pytest.mark.parametrize("spec", UNSERVED.values(), ids=UNSERVED)
def test_an_unsupported_setting_has_a_documented_reason(spec: Json) -> None:
    (fault,) = _faults(spec)

    assert fault.reason.value in code(text("runs.md"))


def test_every_supported_listener_is_documented() -> None:
    assert set(SUPPORTED_LISTENERS) <= set(code(text("runs.md")))
    assert {str(NODE_PORTS[0]), str(NODE_PORTS[-1])} <= set(re.findall(r"\d+", text("runs.md")))


def _faults(spec: Json) -> tuple[SpecFault, ...]:
    return faults(run_of(run_json(**spec)), RunLimits())


def test_the_documented_computation_yields_the_models_digest(tmp_path: Path) -> None:
    tensors = (TensorSpec("bias", DType.FLOAT32, (3,)), TensorSpec("weight", DType.FLOAT32, (2, 3)))
    stored = CheckpointStore(tmp_path / "checkpoints", "run").store_initial_model(
        manifest_of(tensors), Held(bytes(range(36)))
    )
    (tmp_path / "model.safetensors").hardlink_to(tmp_path / "checkpoints/round-000000/model.safetensors")
    (snippet,) = blocks("runs.md", "python")
    output = io.StringIO()

    with contextlib.chdir(tmp_path), contextlib.redirect_stdout(output):
        exec(compile(snippet, "runs.md", "exec"), {})  # noqa: S102 - our own documentation

    assert output.getvalue().splitlines() == [stored.digest, "{'bias': (3,), 'weight': (2, 3)}"]


def _documented_settings() -> Iterator[Any]:
    for section, *columns in rows("reference/openfl-settings.md"):
        if len(columns) == len(OUTCOMES):
            for outcome, cell in zip(OUTCOMES, columns, strict=True):
                for name in set(code(cell)) - {"spec.server.rounds"}:
                    yield pytest.param(code(section)[0], name, outcome, id=f"{code(section)[0]}-{name}")


OUTCOMES = ("used", "replaced", "refused")


@pytest.mark.parametrize(("section", "name", "outcome"), [*_documented_settings()])
def test_a_setting_of_a_plan_is_treated_as_documented(section: str, name: str, outcome: str) -> None:
    plan = {section: {"settings": {name: plan_settings.TREATMENTS[0]}}}
    path = f"{section}.settings.{name}"
    found = {
        "replaced": path in plan_settings.replaced_in(plan),
        "refused": any(refusal.setting == path for refusal in plan_settings.refusals_of(plan)),
    }

    assert found == {each: each == outcome for each in found}


def test_every_required_section_and_treatment_is_documented() -> None:
    assert {*plan_settings.REQUIRED, *plan_settings.TREATMENTS} <= set(code(text("reference/openfl-settings.md")))


@pytest.mark.parametrize("manifest", [README, BY_PORT, FLOWERS], ids=["readme", "by-port", "flower"])
def test_the_existing_controllers_manifests_are_accepted_or_have_a_documented_reason(manifest: Json) -> None:
    assert list(errors_of(manifest, SCHEMAS["FederatedLearning"])) == []
    assert {fault.reason.value for fault in faults(_named(manifest), RunLimits())} <= set(code(text("migrate.md")))


def test_node_ports_of_the_existing_controllers_manifests_are_as_documented() -> None:
    ports = [service(_named(manifest), 0)["spec"]["ports"][0].get("nodePort") for manifest in (README, BY_PORT)]

    assert ports == [None, 31531]


@pytest.mark.parametrize(("claim", "dataset"), [("1", "1"), ("2", "2"), ("/data/private/cluster1", None)])
def test_claims_of_the_existing_convention_name_datasets(claim: str, dataset: str | None) -> None:
    run = _named(BY_PORT)
    key = data_key(run.spec.client.placement)
    site = RunCluster("c1", accepted=True, available=True, install_namespace="x", claims=((key, claim),))

    assert (key, dataset_of(run, site)) == ("federated-learning-sample.client-data", dataset)


def _named(manifest: Json) -> FederatedLearning:
    return run_of(merged(manifest, {"metadata": {"namespace": "default", "uid": "u"}}))
