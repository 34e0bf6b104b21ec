"""Links, commands, names and manifests in the pages agree with the product."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from federation.api.ocm.claims import (
    CPU_CLAIM,
    DATASET_CLAIMS,
    GPU_CLAIM,
    GPU_PRODUCT_CLAIM,
    MEMORY_CLAIM,
    at_least_predicate,
    dataset_predicate,
)
from hub_manager.addon.planning import status
from hub_manager.addon.planning.configuration import ConfigurationReason
from reference.markdown import anchor
from spoke_agent.claims.planning.resources import Amounts, FreeResources
from spoke_agent.claims.planning.scores import scores_of
from tests.support.documentation import DOCS, REPOSITORY, code, resources, rows, text
from tests.support.metrics import registries

PAGES = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))
TOP = ("../README.md", "../CONTRIBUTING.md", "../examples/digits-openfl/README.md")


def test_every_reason_of_the_add_ons_conditions_is_documented() -> None:
    documented = {word for row in rows("troubleshooting.md") for cell in row for word in code(cell)}

    assert {reason.value for reason in (*ConfigurationReason, *status.AddOnReason)} <= documented


def test_the_documented_dataset_is_the_sample() -> None:
    sample = yaml.safe_load((REPOSITORY / "manifests/samples/dataset.yaml").read_text(encoding="utf-8"))

    assert sample in resources("datasets.md")


def test_the_documented_placement_asks_as_the_hub_does() -> None:
    (placement,) = (block for block in resources("datasets.md") if block["kind"] == "Placement")
    expressions = placement["spec"]["predicates"][0]["requiredClusterSelector"]["celSelector"]["celExpressions"]

    assert dataset_predicate("chest-xrays") in expressions
    assert at_least_predicate(MEMORY_CLAIM, 32) in expressions


def test_every_claim_and_score_is_documented() -> None:
    documented = set(code(text("datasets.md")))

    assert {DATASET_CLAIMS[0], CPU_CLAIM, MEMORY_CLAIM, GPU_CLAIM, GPU_PRODUCT_CLAIM} <= documented
    assert set(scores_of(FreeResources(Amounts(), Amounts()))) <= documented


def test_every_value_of_the_chart_is_documented() -> None:
    values = yaml.safe_load((REPOSITORY / "manifests/chart/values.yaml").read_text(encoding="utf-8"))
    named = {name for name in values if name != "runs"} | {f"runs.{name}" for name in values["runs"]}

    assert named <= set(code(text("install.md")))


def test_every_metric_is_documented_and_every_documented_metric_exists() -> None:
    ours = [family for registry in registries().values() for family in registry.collect()]
    families = {(f.name + "_total" if f.type == "counter" else f.name) for f in ours}
    spans = [word.partition("{")[0] for page in PAGES for word in code(text(page))]

    assert {word for word in spans if re.fullmatch(r"federated_learning_[a-z_]+[a-z]", word)} == families


@pytest.mark.parametrize("page", [*PAGES, *TOP])
def test_every_link_leads_to_a_file(page: str) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", text(page))

    assert [t for t in targets if not (DOCS / page).parent.joinpath(t).exists()] == []


@pytest.mark.parametrize("page", [*PAGES, *TOP])
def test_every_link_with_an_anchor_leads_to_a_heading(page: str) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", text(page))

    there = [(DOCS / page).parent / (name or Path(page).name) for name, _ in targets]
    assert [place for file, (_, place) in zip(there, targets, strict=True) if place not in _anchors(file)] == []


def _anchors(page: Path) -> set[str]:
    return {anchor(line) for line in re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)}


@pytest.mark.parametrize("page", [*PAGES, *TOP])
def test_every_make_target_in_a_command_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = re.findall(r"(?:^|`)make ([a-z-]+)", text(page), re.MULTILINE)

    assert set(named) - targets == set()


@pytest.mark.parametrize("page", [*PAGES, *TOP])
def test_every_module_that_a_command_runs_exists(page: str) -> None:
    named = set(re.findall(r"python[\d.]* -m ([a-z_.]+[a-z_])", text(page))) - {"pip", "venv"}

    assert [module for module in named if importlib.util.find_spec(module) is None] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_manifest_in_the_text_parses(page: str) -> None:
    assert all({"apiVersion", "kind"} <= found.keys() or found.keys() == {"spec"} for found in resources(page))
