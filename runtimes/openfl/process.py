"""Take part in a run, and export the data that the hub needs from the plan.

Every exception becomes a `TerminationMessage`, with the file and line of the user's code if that raised it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import structlog

from federation.exported_plan import MODEL_FILE, PLAN_FILE, encode
from federation.runtime_contract import TerminationMessage
from runtimes.kit import failure, model_file
from runtimes.kit.config import CollaboratorConfig, WorkspaceConfig
from runtimes.kit.exchange import AggregatorLost, Exchange, ExchangeRefused
from runtimes.kit.failure import RuntimeFailureReason, message_of
from runtimes.openfl.round_client import RoundClient
from runtimes.openfl.workspace import Model, PlanRefused, Workspace, collaborator_of, model_of, open_workspace

Connect = Callable[[CollaboratorConfig], AbstractContextManager[Exchange]]

_log = structlog.stdlib.get_logger(__name__)


def take_part(config: CollaboratorConfig, connect: Connect) -> TerminationMessage | None:
    """Take part in the run until it ends.

    Args:
        config: The collaborator's settings.
        connect: Opens the connection to the aggregator.

    Returns:
        None when the run has ended, successfully or not; else why this site failed.
    """
    client: RoundClient | None = None
    try:
        workspace = open_workspace(config.workspace.folder, config.workspace.plan)
        runner = workspace.task_runner_over(config.data)
        model = model_of(runner)
        _log.info("workspace_ready", tensors=len(model.manifest.tensors), bytes=model.manifest.nbytes)
        with connect(config) as exchange:
            exchange.join(model.manifest)
            client = RoundClient(exchange, model.manifest, model.laid_out, tuple(workspace.plan["tasks"]))
            collaborator_of(workspace, runner, client, model.held_out, run=config.run, cluster=config.cluster).run()
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything, and each has its reason
        return _failed(error, config.workspace, client)
    return None


def export(config: WorkspaceConfig, folder: Path) -> TerminationMessage | None:
    """Write `plan.json` and, if the workspace can build one, the initial model into a folder.

    Returns:
        None, or why the plan can't be run.
    """
    try:
        workspace = open_workspace(config.folder, config.plan)
        model, absent = _initial_model(workspace)
        if model is not None:
            model_file.write(folder / MODEL_FILE, model.manifest, model.laid_out)
        exported = msgspec.structs.replace(
            workspace.for_hub, initial_model=MODEL_FILE if model is not None else "", initial_model_absent=absent
        )
        scratch = folder / f"{PLAN_FILE}.partial"
        scratch.write_bytes(encode(exported))
        scratch.rename(folder / PLAN_FILE)
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything, and each has its reason
        return _failed(error, config, None)
    _log.info("plan_exported", rounds=exported.rounds, first_model=exported.initial_model, absent=absent)
    return None


def _initial_model(workspace: Workspace) -> tuple[Model | None, str]:
    """Return the workspace's initial model, shipped or else built without data, or why it has neither."""
    shipped = workspace.shipped_model()
    if shipped is not None:
        return shipped, ""
    try:
        return model_of(workspace.task_runner_over(None)), ""
    except Exception as error:  # noqa: BLE001 - most data loaders need data, and raise any exception without it
        failed = message_of(RuntimeFailureReason.WORKSPACE_FAILED, error, workspace.folder)
        return None, f"without data the workspace builds no model: {failed.exception}, {failed.file}:{failed.line}"


def _failed(error: Exception, config: WorkspaceConfig, client: RoundClient | None) -> TerminationMessage:
    match error:
        case PlanRefused():
            reason = RuntimeFailureReason.PLAN_REFUSED
        case ExchangeRefused():
            reason = RuntimeFailureReason.AGGREGATOR_REFUSED
        case AggregatorLost():
            reason = RuntimeFailureReason.AGGREGATOR_LOST
        case _:
            reason = RuntimeFailureReason.WORKSPACE_FAILED
    message = message_of(
        reason,
        error,
        config.folder,
        task="" if client is None else client.current_task,
        round_number=None if client is None else client.current_round,
    )
    failure.write(message, config.termination_log)
    _log.error("collaborator_failed", exc_info=error, **msgspec.to_builtins(message))
    return message
