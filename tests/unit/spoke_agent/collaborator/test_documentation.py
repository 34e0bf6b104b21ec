"""What `docs/collaborators.md` says of reasons, states, variables and exit statuses is what the code has."""

import re
from pathlib import Path

from federation.api.collaborator import AggregatorAddress, CollaboratorState
from federation.runtime_contract import FATAL_EXITS, Told
from spoke_agent.collaborator import admission, status
from spoke_agent.collaborator.job import RETRIES, job
from spoke_agent.collaborator.reconciler import REFUSED_AGAIN
from tests.support.builders.collaborator_objects import SITE, collaborator, open_dataset

PAGE = Path("docs/collaborators.md").read_text(encoding="utf-8")


def column(*heading: str, place: int) -> list[str]:
    """The code words of one column of the table with that heading."""
    _, _, rest = PAGE.partition("| " + " | ".join(heading) + " |\n")
    rows = rest.partition("\n\n")[0].splitlines()[1:]
    return [re.findall(r"`([^`]+)`", row.split("|")[place + 1])[0] for row in rows]


def test_every_reason_is_documented() -> None:
    assert column("status", "reason", "meaning and remedy", place=1) == [reason.value for reason in admission.Reason]
    assert column("reason", "meaning", place=0) == [reason.value for reason in status.Reason]


def test_every_state_is_documented() -> None:
    assert all(f"`{state.value}`" in PAGE for state in CollaboratorState)


def test_every_variable_is_documented() -> None:
    address = AggregatorAddress(addresses=("198.51.100.7:1",))
    asked = collaborator(plan={"text": "tasks: {}"})
    container = job(asked, address, open_dataset(), SITE, remaining=None)["spec"]["template"]["spec"]
    told = {variable["name"] for variable in container["containers"][0]["env"]}

    assert set(column("variable", "what it is", place=0)) == told


def test_how_a_container_ends_is_documented() -> None:
    assert f"Exit statuses {FATAL_EXITS[0]} to {FATAL_EXITS[-1]} end the Job" in PAGE
    assert list(range(FATAL_EXITS[0], FATAL_EXITS[-1] + 1)) == list(FATAL_EXITS)
    assert "six times" in PAGE
    assert RETRIES == 6
    assert f"every {REFUSED_AGAIN:.0f} s" in PAGE
    assert all(f"`{field}`" in PAGE for field in Told.__struct_fields__)
