"""Settings of the process: the environment variables of the runtime contract, read and checked once at the start.

| variable | required | default |
|---|---|---|
| `FL_RUN`, `FL_RUN_ID`, `FL_CLUSTER`, `FL_AGGREGATORS`, `FL_SERVER_NAME` | yes | |
| `FL_DATA` | no | `/data` |
| `FL_TLS` | no | `/tls` |
| `FL_DEADLINE_SECONDS` | no | `600` |
| `FL_WORKSPACE` | no | `/workspace` |
| `FL_PLAN` | no | `plan/plan.yaml` |
| `FL_TERMINATION_LOG` | no | `/dev/termination-log` |
| `LOG_LEVEL`: `debug`, `info`, `warning` or `error` | no | `info` |

`export` reads only the last four. `federation.runtime_contract.Variable` documents the meaning of each.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from federation.api.dns_names import DNS_LABEL, DNS_NAME
from federation.environment import Environment
from federation.logging import LogLevel
from federation.runtime_contract import DATA_FOLDER, TERMINATION_LOG, TLS_FOLDER, Variable

_RUN: Final = re.compile(rf"{DNS_LABEL}/{DNS_NAME}")
_RUN_ID: Final = re.compile(r"[0-9A-Za-z]([-._0-9A-Za-z]{0,126}[0-9A-Za-z])?")
_NAME: Final = re.compile(rf"{DNS_LABEL}(\.{DNS_LABEL})*")
_CLUSTER: Final = re.compile(DNS_LABEL)
_ADDRESS: Final = r"(\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9.-]{1,253}):[0-9]{1,5}"
_ADDRESSES: Final = re.compile(rf"{_ADDRESS}(,{_ADDRESS}){{0,63}}")
_SECONDS: Final = re.compile(r"[1-9][0-9]{0,6}")
_ABSOLUTE: Final = re.compile(r"/.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class WorkspaceConfig:
    """Settings of the user's workspace and of the logs, common to a run and to `export`."""

    folder: Path
    plan: Path
    termination_log: Path
    log_level: LogLevel


@dataclass(frozen=True, slots=True)
class CollaboratorConfig:
    """Settings of a collaborator."""

    run: str
    run_id: str
    cluster: str
    aggregators: tuple[str, ...]
    server_name: str
    data: Path
    tls: Path
    deadline: float
    """Seconds."""
    workspace: WorkspaceConfig


def workspace_config(variables: Mapping[str, str]) -> WorkspaceConfig:
    """Read the settings that `export` needs.

    Raises:
        ConfigError: A setting is invalid.
    """
    environment = Environment(variables)
    config = _workspace(environment, variables)
    environment.check()
    return config


def collaborator_config(variables: Mapping[str, str]) -> CollaboratorConfig:
    """Read the settings of a collaborator.

    Raises:
        ConfigError: A setting is missing or invalid.
    """
    environment = Environment(variables)
    run = environment.text(Variable.RUN, "", _RUN, "write the run as NAMESPACE/NAME")
    run_id = environment.text(Variable.RUN_ID, "", _RUN_ID, "write the ID of the run in the exchange")
    cluster = environment.text(Variable.CLUSTER, "", _CLUSTER, "write the ManagedCluster's name")
    aggregators = environment.text(
        Variable.AGGREGATORS, "", _ADDRESSES, "write the aggregator's addresses as HOST:PORT, separated by commas"
    )
    server_name = environment.text(
        Variable.SERVER_NAME, "", _NAME, "write the DNS name in the aggregator's certificate"
    )
    deadline = environment.text(Variable.DEADLINE_SECONDS, "600", _SECONDS, "write whole seconds from 1 up")
    workspace = _workspace(environment, variables)
    environment.check()
    return CollaboratorConfig(
        run=run,
        run_id=run_id,
        cluster=cluster,
        aggregators=tuple(aggregators.split(",")),
        server_name=server_name,
        data=Path(variables.get(Variable.DATA, DATA_FOLDER)),
        tls=Path(variables.get(Variable.TLS, TLS_FOLDER)),
        deadline=float(deadline),
        workspace=workspace,
    )


def termination_log(variables: Mapping[str, str]) -> Path:
    """Return the path of the termination message file, without checking any other setting."""
    return Path(variables.get(Variable.TERMINATION_LOG, TERMINATION_LOG))


def _workspace(environment: Environment, variables: Mapping[str, str]) -> WorkspaceConfig:
    folder = Path(environment.text(Variable.WORKSPACE, "/workspace", _ABSOLUTE, "write an absolute path"))
    return WorkspaceConfig(
        folder=folder,
        plan=folder / variables.get(Variable.PLAN, "plan/plan.yaml"),
        termination_log=termination_log(variables),
        log_level=environment.log_level(),
    )
