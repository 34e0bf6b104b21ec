"""The generated CRD of Dataset agrees with the structs and with the code that relies on it."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from federation.api.dataset import (
    MAX_LABELS,
    MAX_ROWS,
    Dataset,
    DatasetSpec,
    DatasetStatus,
)
from federation.api.meta import FEDERATION_GROUP, FEDERATION_VERSION
from federation.kube.kinds import DATASET
from spoke_agent.claims.planning import validation
from tests.support.api_server.schema_shapes import shape_of_schema, shape_of_struct, walk

CRD: dict[str, Any] = yaml.safe_load(Path("addon-templates/crds/datasets.yaml").read_text(encoding="utf-8"))
VERSION: dict[str, Any] = CRD["spec"]["versions"][0]
SCHEMA: dict[str, Any] = VERSION["schema"]["openAPIV3Schema"]


def test_it_is_served_where_the_kind_says() -> None:
    assert CRD["metadata"]["name"] == f"{DATASET.plural}.{DATASET.group}"
    assert (CRD["spec"]["group"], VERSION["name"]) == (FEDERATION_GROUP, FEDERATION_VERSION)
    assert CRD["spec"]["names"]["kind"] == DATASET.kind
    assert CRD["spec"]["scope"] == ("Namespaced" if DATASET.namespaced else "Cluster")
    assert VERSION["subresources"] == {"status": {}}


@pytest.mark.parametrize(
    ("schema", "struct"),
    [(SCHEMA["properties"]["spec"], DatasetSpec), (SCHEMA["properties"]["status"], DatasetStatus)],
    ids=["spec", "status"],
)
def test_it_has_the_fields_of_the_structs_and_no_others(schema: dict[str, Any], struct: type[msgspec.Struct]) -> None:
    assert shape_of_schema(schema) == shape_of_struct(struct)


def test_every_rule_has_a_message_with_the_remedy() -> None:
    rules = [rule for schema in walk(SCHEMA) for rule in schema.get("x-kubernetes-validations", [])]

    assert len(rules) >= 7
    assert all(re.match(r"(set|write|use|rename) ", " ".join(rule["message"].split())) for rule in rules)


def test_its_limits_are_those_that_the_agent_judges_by() -> None:
    attributes = SCHEMA["properties"]["spec"]["properties"]["attributes"]["properties"]
    policy = SCHEMA["properties"]["spec"]["properties"]["policy"]["properties"]

    assert attributes["rows"]["maximum"] == MAX_ROWS
    assert attributes["labels"]["maxProperties"] == MAX_LABELS
    assert validation._SCHEMA_DIGEST.pattern in attributes["schemaDigest"]["x-kubernetes-validations"][0]["rule"]
    assert validation._IMAGE.pattern in policy["images"]["items"]["x-kubernetes-validations"][0]["rule"]
    assert validation._LABEL_KEY.pattern in attributes["labels"]["x-kubernetes-validations"][0]["rule"]


def test_what_it_defaults_is_what_the_structs_default() -> None:
    decoded = msgspec.convert({"spec": {"policy": {"runs": [{"namespace": "a"}]}}}, Dataset).spec.policy
    policy = SCHEMA["properties"]["spec"]["properties"]["policy"]["properties"]

    assert decoded.approval == policy["approval"]["default"]
    assert decoded.runs[0].name == policy["runs"]["items"]["properties"]["name"]["default"]
