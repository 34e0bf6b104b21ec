"""The runtime contract's page agrees with the Job that the agent creates."""

import re

from federation.api.collaborator import AggregatorAddress, CollaboratorState
from federation.runtime_contract import TerminationMessage
from spoke_agent.collaborator.planning.job import job
from tests.support.builders.collaborator_objects import SITE, collaborator, open_dataset
from tests.support.documentation import code, text

CONTRACT = "reference/runtime-contract.md"


def test_every_variable_is_documented() -> None:
    address = AggregatorAddress(addresses=("198.51.100.7:1",))
    requested = collaborator(plan={"text": "tasks: {}"})
    pod = job(requested, address, open_dataset(), SITE, remaining=None)["spec"]["template"]["spec"]
    variables = {variable["name"] for variable in pod["containers"][0]["env"]}

    assert {word for word in code(text(CONTRACT)) if re.fullmatch(r"FL_[A-Z_]+|HOME", word)} == variables


def test_every_mount_is_documented() -> None:
    address = AggregatorAddress(addresses=("198.51.100.7:1",))
    requested = collaborator(plan={"text": "tasks: {}"})
    pod = job(requested, address, open_dataset(), SITE, remaining=None)["spec"]["template"]["spec"]

    assert {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]} <= set(code(text("collaborators.md")))


def test_every_field_of_the_termination_message_is_documented() -> None:
    assert set(TerminationMessage.__struct_fields__) <= set(code(text(CONTRACT)))


def test_every_state_is_documented() -> None:
    assert {state.value for state in CollaboratorState} <= set(code(text("collaborators.md")))
