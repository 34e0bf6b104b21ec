"""The generated CRD of Collaborator agrees with the structs and with the code that relies on it."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from federation.api.collaborator import (
    DEFAULT_PATIENCE,
    FEEDBACK,
    RESERVED_PREFIX,
    Collaborator,
    CollaboratorSpec,
    CollaboratorStatus,
)
from federation.api.meta import FEDERATION_GROUP, FEDERATION_VERSION
from federation.kube.kinds import COLLABORATOR
from tests.support.api_server.schema_shapes import shape_of_schema, shape_of_struct, walk

CRD: dict[str, Any] = yaml.safe_load(Path("addon-templates/crds/collaborators.yaml").read_text(encoding="utf-8"))
WORK_ROLE: dict[str, Any] = yaml.safe_load(Path("addon-templates/agent/work-role.yaml").read_text(encoding="utf-8"))
VERSION: dict[str, Any] = CRD["spec"]["versions"][0]
SCHEMA: dict[str, Any] = VERSION["schema"]["openAPIV3Schema"]
SPEC: dict[str, Any] = SCHEMA["properties"]["spec"]["properties"]


def test_it_is_served_where_the_kind_says() -> None:
    assert CRD["metadata"]["name"] == f"{COLLABORATOR.plural}.{COLLABORATOR.group}"
    assert (CRD["spec"]["group"], VERSION["name"]) == (FEDERATION_GROUP, FEDERATION_VERSION)
    assert CRD["spec"]["names"]["kind"] == COLLABORATOR.kind
    assert CRD["spec"]["scope"] == "Namespaced"
    assert VERSION["subresources"] == {"status": {}}


@pytest.mark.parametrize(
    ("schema", "struct"),
    [(SCHEMA["properties"]["spec"], CollaboratorSpec), (SCHEMA["properties"]["status"], CollaboratorStatus)],
    ids=["spec", "status"],
)
def test_it_has_the_fields_of_the_structs_and_no_others(schema: dict[str, Any], struct: type[msgspec.Struct]) -> None:
    assert shape_of_schema(schema) == shape_of_struct(struct)


def test_the_hub_can_name_no_path_no_volume_and_no_secret() -> None:
    names = {name.lower() for schema in walk(SCHEMA["properties"]["spec"]) for name in schema.get("properties", {})}

    assert not [
        name for name in names for word in ("path", "volume", "secret", "mount", "command", "account") if word in name
    ]


def test_what_is_fed_back_is_a_scalar_of_the_status() -> None:
    for path in FEEDBACK.values():
        schema = SCHEMA
        for step in path.removeprefix(".").split("."):
            schema = schema["properties"][step]
        assert schema["type"] in {"string", "integer"}


def test_what_it_defaults_is_what_the_structs_default() -> None:
    decoded = msgspec.convert({"spec": {"aggregator": {}}}, Collaborator).spec

    assert decoded.framework == SPEC["framework"]["default"]
    assert decoded.aggregator is not None
    assert decoded.aggregator.patience_seconds == DEFAULT_PATIENCE
    assert SPEC["aggregator"]["properties"]["patienceSeconds"]["default"] == DEFAULT_PATIENCE


def test_every_rule_has_a_message_with_the_remedy() -> None:
    rules = [rule for schema in walk(SCHEMA) for rule in schema.get("x-kubernetes-validations", [])]

    assert len(rules) >= 8
    assert all(re.match(r"(write|use|rename) ", " ".join(rule["message"].split())) for rule in rules)
    assert any(f"startsWith('{RESERVED_PREFIX}')" in rule["rule"] for rule in rules)


def test_the_hub_may_write_collaborators_and_never_approve_one() -> None:
    assert [rule["resources"] for rule in WORK_ROLE["rules"]] == [["collaborators"]]
