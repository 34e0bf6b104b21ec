"""What `docs/` says of names, reasons and fields is what the code has."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from federation.api.claims import (
    CPU_CLAIM,
    DATASET_CLAIMS,
    GPU_CLAIM,
    GPU_PRODUCT_CLAIM,
    MEMORY_CLAIM,
    at_least_predicate,
    dataset_predicate,
)
from hub_manager.addon import status
from hub_manager.addon.configuration import ConfigurationReason
from hub_manager.certificates.refusal import Reason
from reference.markdown import anchor
from spoke_agent.claims import validation
from spoke_agent.claims.resources import Amounts, FreeResources
from spoke_agent.claims.scores import scores_of
from tests.support.documentation import DOCS, REPOSITORY, code, resources, table, text
from tests.support.metrics import registries

PAGES = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


def test_every_refusal_is_documented_with_what_becomes_of_the_request() -> None:
    rows = table("certificates.md", "reason", "outcome", "meaning", "what to do")

    outcomes = {reason: "denied" if reason.lasting else "waits" for reason in Reason}
    # Another signer's requests are told and left to whoever serves it.
    outcomes[Reason.FOREIGN_SIGNER] = "left alone"
    assert {code(row[0])[0]: row[1] for row in rows} == {r.value: outcome for r, outcome in outcomes.items()}


def test_every_reason_of_the_add_ons_conditions_is_documented() -> None:
    rows = table("enable.md", "condition", "status and reason", "what it means, and what to do")
    documented = {word for row in rows for word in code(row[1])}

    ours = [*ConfigurationReason, *status.Reason]
    assert {reason.value for reason in ours} <= documented


def test_every_reason_of_a_datasets_condition_is_documented() -> None:
    rows = table("datasets.md", "status", "reason", "meaning and remedy")

    assert {code(row[1])[0] for row in rows} == {reason.value for reason in validation.Reason}


def test_every_field_of_a_dataset_is_documented() -> None:
    crd = yaml.safe_load((REPOSITORY / "addon-templates/crds/datasets.yaml").read_text(encoding="utf-8"))
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    documented = {code(row[0])[0] for row in table("datasets.md", "field", "meaning")}

    assert documented == {"metadata.name", "volume", "policy.runs"} | set(_fields(spec))


def _fields(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    schema = schema.get("items", schema)
    if "properties" not in schema:
        yield path
    for name, inner in schema.get("properties", {}).items():
        yield from _fields(inner, f"{path}.{name}".lstrip("."))


def test_the_documented_dataset_is_the_sample() -> None:
    sample = yaml.safe_load((REPOSITORY / "manifests/samples/dataset.yaml").read_text(encoding="utf-8"))

    assert sample in resources("datasets.md")


def test_the_documented_placement_asks_as_the_hub_does() -> None:
    (placement,) = (block for block in resources("datasets.md") if block["kind"] == "Placement")
    expressions = placement["spec"]["predicates"][0]["requiredClusterSelector"]["celSelector"]["celExpressions"]

    assert dataset_predicate("chest-xrays") in expressions
    assert at_least_predicate(MEMORY_CLAIM, 32) in expressions


def test_every_claim_and_score_is_documented() -> None:
    claims = {code(row[0])[0] for row in table("datasets.md", "claim", "value")}
    scores = {
        name for row in table("datasets.md", "score", "of what is free", "for each doubling") for name in code(row[0])
    }

    assert claims == {DATASET_CLAIMS[0], CPU_CLAIM, MEMORY_CLAIM, GPU_CLAIM, GPU_PRODUCT_CLAIM}
    assert scores == set(scores_of(FreeResources(Amounts(), Amounts())))


def test_every_value_of_the_chart_is_documented() -> None:
    values = yaml.safe_load((REPOSITORY / "manifests/chart/values.yaml").read_text(encoding="utf-8"))
    rows = table("install.md", "chart's value", "environment variable", "default", "what it is")
    readers = (REPOSITORY / "hub_manager/config.py", REPOSITORY / "federation/environment.py")
    read = "".join(reader.read_text(encoding="utf-8") for reader in readers)

    named = {name for name in values if name != "runs"} | {f"runs.{name}" for name in values["runs"]}
    assert {name for row in rows for name in code(row[0])} == named
    assert all(f'"{name}"' in read for row in rows for name in code(row[1]))


def test_every_metric_is_documented() -> None:
    ours = [family for registry in registries().values() for family in registry.collect()]
    families = {(f.name + "_total" if f.type == "counter" else f.name) for f in ours}
    rows = table("install.md", "metric", "of", "what it tells")

    named = {name.partition("{")[0] for row in rows for name in code(row[0])}
    assert named == families


@pytest.mark.parametrize("page", [*PAGES, "../README.md"])
def test_every_link_leads_somewhere(page: str) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", text(page))

    assert [t for t in targets if not (DOCS / page).parent.joinpath(t).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_within_the_pages_leads_to_a_heading(page: str) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", text(page))

    there = [(DOCS / page).parent / (name or Path(page).name) for name, _ in targets]
    assert [place for file, (_, place) in zip(there, targets, strict=True) if place not in _anchors(file)] == []


def _anchors(page: Path) -> set[str]:
    return {anchor(line) for line in re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES)
def test_every_manifest_in_the_text_parses(page: str) -> None:
    assert all({"apiVersion", "kind"} <= found.keys() or found.keys() == {"spec"} for found in resources(page))
