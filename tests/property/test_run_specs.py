"""Test that no spec admitted by the CRD fails a reconcile pass: the run continues, or reports a fault."""

import asyncio
import copy
import re
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from federation.kube.kinds import JOB
from federation.kube.resource import Json
from hub_manager.federated_learning.settings import RunLimits
from tests.support.builders.run_objects import run_json
from tests.support.fakes.run_world import RunWorld, clusters

CRD: Json = yaml.safe_load(Path("manifests/crds/federatedlearnings.yaml").read_text(encoding="utf-8"))
SPEC: Json = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
PATTERN = re.compile(r"self\.matches\('(.*?)'\)")
INT64 = 2**63 - 1
WORDS = (
    "",
    "a",
    "digits",
    "a/b",
    "../..",
    "192.0.2.1",
    "10.0.0",
    "::1",
    "1Gi",
    "1e99",
    "-1",
    "0.000001",
    "é\n",
    "100%",
)
NAMES = ("cpu", "memory", "nvidia.com/gpu", "a")


def values(schema: Json) -> st.SearchStrategy[Any]:
    """Draw values that the schema admits, including CEL rules that contain a pattern."""
    if schema.get("x-kubernetes-int-or-string"):
        return st.integers(-INT64, INT64) | st.sampled_from([word for word in WORDS if word])
    match schema:
        case {"type": "array", "items": items}:
            return st.lists(values(items), max_size=3)
        case {"additionalProperties": inner}:
            return st.dictionaries(st.sampled_from(NAMES), values(inner), max_size=3)
        case {"properties": _}:
            needed = schema.get("required", [])
            fields = {name: values(inner) for name, inner in schema["properties"].items()}
            required = {name: field for name, field in fields.items() if name in needed}
            optional = {name: field for name, field in fields.items() if name not in needed}
            return st.fixed_dictionaries(required, optional=optional)
        case _:
            return scalars(schema)


def scalars(schema: Json) -> st.SearchStrategy[Any]:
    match schema:
        case {"enum": words}:
            return st.sampled_from(words)
        case {"type": "integer"}:
            return st.integers(schema.get("minimum", -INT64), schema.get("maximum", INT64))
        case {"type": "number"}:
            least, most = schema.get("minimum"), schema.get("maximum")
            left, right = schema.get("exclusiveMinimum", False), schema.get("exclusiveMaximum", False)
            return st.floats(least, most, exclude_min=left, exclude_max=right, allow_nan=False, allow_infinity=False)
        case {"type": "boolean"}:
            return st.booleans()
    longest = schema.get("maxLength", 64)
    words = [word for word in (*WORDS, "x" * longest) if len(word) <= longest]
    return st.sampled_from([word for word in words if all(re.search(rule, word) for rule in patterns(schema))])


def patterns(schema: Json) -> list[str]:
    """Return the patterns in the rules of a string; each admits the empty string if its rule does."""
    rules = [rule["rule"] for rule in schema.get("x-kubernetes-validations", [])]
    found = [(rule.startswith("self == ''"), PATTERN.search(rule)) for rule in rules]
    return [f"^$|{match[1]}" if empty else match[1] for empty, match in found if match is not None]


FIELDS: list[tuple[tuple[str, ...], st.SearchStrategy[Any]]] = [
    ((name,), values(schema)) for name, schema in SPEC["properties"].items() if schema["type"] != "object"
] + [
    ((side, name), values(schema))
    for side in ("server", "client")
    for name, schema in SPEC["properties"][side]["properties"].items()
]


@st.composite
def runs(draw: st.DrawFn) -> Json:
    """Draw a valid run with some of its fields replaced by other admitted values."""
    body = copy.deepcopy(run_json())
    for path, strategy in draw(st.lists(st.sampled_from(FIELDS), max_size=4, unique_by=lambda field: field[0])):
        place = body["spec"]
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = draw(strategy)
    return body


@hypothesis_settings(max_examples=50, deadline=None)
@given(runs())
def test_no_spec_that_the_crd_admits_fails_a_pass(body: Json) -> None:
    world = clusters(RunWorld(limits=RunLimits(host_paths=("*",))), "c1", "c2")

    async def live() -> None:
        await world.submit(body)
        await world.settle()
        if world.api.objects(JOB):
            world.set_job("Complete", succeeded=1)
            await world.settle()
            assert world.run().status.phase == "Completed" or body["spec"].get("suspend")
        world.later(days=1)
        await world.settle()

    asyncio.run(live())
