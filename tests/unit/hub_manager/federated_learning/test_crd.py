"""Test that the generated CRD of FederatedLearning agrees with the structs and the code that relies on it."""

import copy
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from federation.api.federated_learning import LONGEST_SPAN, FederatedLearningSpec
from federation.api.meta import FEDERATION_GROUP, FEDERATION_VERSION
from federation.api.run_status import ClusterState, FederatedLearningStatus, Phase
from federation.kube.kinds import FEDERATED_LEARNING
from hub_manager.federated_learning.planning.validate import SUPPORTED_LISTENERS
from tests.support.api_server.schema_shapes import shape_of_schema, shape_of_struct, walk

CRD: dict[str, Any] = yaml.safe_load(Path("manifests/crds/federatedlearnings.yaml").read_text(encoding="utf-8"))
VERSION: dict[str, Any] = CRD["spec"]["versions"][0]
SCHEMA: dict[str, Any] = VERSION["schema"]["openAPIV3Schema"]
SPEC: dict[str, Any] = SCHEMA["properties"]["spec"]
STATUS: dict[str, Any] = SCHEMA["properties"]["status"]


def test_it_is_served_where_the_kind_says() -> None:
    assert CRD["metadata"]["name"] == f"{FEDERATED_LEARNING.plural}.{FEDERATED_LEARNING.group}"
    assert (CRD["spec"]["group"], VERSION["name"]) == (FEDERATION_GROUP, FEDERATION_VERSION)
    assert CRD["spec"]["names"]["shortNames"] == ["fl"]


@pytest.mark.parametrize(
    ("schema", "struct"), [(SPEC, FederatedLearningSpec), (STATUS, FederatedLearningStatus)], ids=["spec", "status"]
)
def test_it_has_the_fields_of_the_structs_and_no_others(schema: dict[str, Any], struct: type[msgspec.Struct]) -> None:
    schema = copy.deepcopy(schema)
    schema["properties"].get("client", {"properties": {}})["properties"].get("placement", {}).pop("properties", None)

    assert shape_of_schema(schema) == shape_of_struct(struct)


def test_its_values_are_those_of_the_hub_manager() -> None:
    listener = SPEC["properties"]["server"]["properties"]["listeners"]["items"]["properties"]["type"]

    assert STATUS["properties"]["phase"]["enum"] == [phase.value for phase in Phase]
    states = STATUS["properties"]["clusters"]["items"]["properties"]["state"]["enum"]
    assert set(states) == {state.value for state in ClusterState}
    assert set(SUPPORTED_LISTENERS) <= set(listener["enum"])


@pytest.mark.parametrize("name", ["activeDeadlineSeconds", "ttlSecondsAfterFinished"])
def test_no_duration_exceeds_the_limit_of_the_hub_manager(name: str) -> None:
    assert SPEC["properties"][name]["maximum"] == LONGEST_SPAN


def test_every_rule_has_a_message_with_a_remedy() -> None:
    rules = [rule for schema in walk(SCHEMA) for rule in schema.get("x-kubernetes-validations", [])]

    assert len(rules) >= 20
    assert all(re.match(r"(set|write|use|rename) ", " ".join(rule["message"].split())) for rule in rules)


def test_a_reader_sees_phase_round_clusters_metric_and_age() -> None:
    columns = [column["name"] for column in VERSION["additionalPrinterColumns"] if not column.get("priority")]

    assert columns == ["Phase", "Round", "Clusters", "Metric", "Age"]
