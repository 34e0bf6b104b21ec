"""What the process is told: the image contract's environment variables, read once and checked at once.

| variable | what it is | default |
|---|---|---|
| `FL_RUN` | the run, as `NAMESPACE/NAME` on the hub; for logs | none |
| `FL_RUN_ID` | what names this attempt at the run in the exchange | none |
| `FL_CLUSTER` | the ManagedCluster's name, which is this collaborator's in its certificate | none |
| `FL_AGGREGATORS` | where the aggregator is dialled, one `HOST:PORT` after the other, separated by commas | none |
| `FL_SERVER_NAME` | the DNS name that the aggregator's certificate has to have, whatever is dialled | none |
| `FL_DATA` | the folder, or file, of the site's dataset; handed to the data loader as `data_path` | `/data` |
| `FL_TLS` | the folder with `tls.crt` and `tls.key` (the collaborator's) and `ca.crt` (the trust bundle) | `/tls` |
| `FL_DEADLINE_SECONDS` | how long the aggregator may be out of reach before the process gives up | `600` |
| `FL_WORKSPACE` | the folder of the user's workspace | `/workspace` |
| `FL_PLAN` | the plan; a relative path is within the workspace | `plan/plan.yaml` |
| `FL_TERMINATION_LOG` | where the reason of a failure is written | `/dev/termination-log` |
| `LOG_LEVEL` | `debug`, `info`, `warning` or `error` | `info` |

`export` reads the last four alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from federation.api.dns_names import DNS_LABEL, DNS_NAME
from federation.logging import LOG_LEVELS, LogLevel
from federation.runtime_contract import DATA_FOLDER, TERMINATION_LOG, TLS_FOLDER, Variable

_RUN: Final = re.compile(rf"{DNS_LABEL}/{DNS_NAME}")
_RUN_ID: Final = re.compile(r"[0-9A-Za-z]([-._0-9A-Za-z]{0,126}[0-9A-Za-z])?")
_NAME: Final = re.compile(rf"{DNS_LABEL}(\.{DNS_LABEL})*")
_CLUSTER: Final = re.compile(DNS_LABEL)
_ADDRESS: Final = r"(\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9.-]{1,253}):[0-9]{1,5}"
_ADDRESSES: Final = re.compile(rf"{_ADDRESS}(,{_ADDRESS}){{0,63}}")
_SECONDS: Final = re.compile(r"[1-9][0-9]{0,6}")


class ConfigError(Exception):
    """Settings that the process can't start with; the message names every one and its remedy."""


@dataclass(frozen=True, slots=True)
class WorkspaceConfig:
    """Where the user's workspace is, and how to speak of it."""

    workspace: Path
    plan: Path
    termination_log: Path
    log_level: LogLevel


@dataclass(frozen=True, slots=True)
class Config:
    """What a collaborator is told."""

    run: str
    run_id: str
    cluster: str
    aggregators: tuple[str, ...]
    server_name: str
    data: Path
    tls: Path
    deadline: float
    """Seconds."""
    of_workspace: WorkspaceConfig


def workspace_from(environment: Mapping[str, str]) -> WorkspaceConfig:
    """The settings that `export` needs.

    Raises:
        ConfigError: One is unusable.
    """
    level = environment.get("LOG_LEVEL", "info").lower()
    known = next((name for name in LOG_LEVELS if name == level), None)
    workspace = Path(environment.get(Variable.WORKSPACE, "/workspace"))
    if known is None:
        raise ConfigError(f"LOG_LEVEL={level[:80]!r}: write one of {', '.join(LOG_LEVELS)}")
    if not workspace.is_absolute():
        raise ConfigError(f"{Variable.WORKSPACE}={str(workspace)[:80]!r}: write an absolute path")
    return WorkspaceConfig(
        workspace=workspace,
        plan=workspace / environment.get(Variable.PLAN, "plan/plan.yaml"),
        termination_log=Path(environment.get(Variable.TERMINATION_LOG, TERMINATION_LOG)),
        log_level=known,
    )


def config_from(environment: Mapping[str, str]) -> Config:
    """The settings that these environment variables give.

    Raises:
        ConfigError: One or more are missing or unusable.
    """
    wrong: list[str] = []

    def text(name: str, default: str, pattern: re.Pattern[str], remedy: str) -> str:
        value = environment.get(name, default)
        if not pattern.fullmatch(value):
            wrong.append(f"{name}={value[:80]!r}: {remedy}")
        return value

    run = text(Variable.RUN, "", _RUN, "write the run as NAMESPACE/NAME")
    run_id = text(Variable.RUN_ID, "", _RUN_ID, "write what names the run in the exchange")
    cluster = text(Variable.CLUSTER, "", _CLUSTER, "write the ManagedCluster's name")
    aggregators = text(
        Variable.AGGREGATORS, "", _ADDRESSES, "write the aggregator's addresses as HOST:PORT, separated by commas"
    )
    server_name = text(Variable.SERVER_NAME, "", _NAME, "write the DNS name in the aggregator's certificate")
    deadline = text(Variable.DEADLINE_SECONDS, "600", _SECONDS, "write whole seconds from 1 up")
    if wrong:
        raise ConfigError("; ".join(wrong))
    return Config(
        run=run,
        run_id=run_id,
        cluster=cluster,
        aggregators=tuple(aggregators.split(",")),
        server_name=server_name,
        data=Path(environment.get(Variable.DATA, DATA_FOLDER)),
        tls=Path(environment.get(Variable.TLS, TLS_FOLDER)),
        deadline=float(deadline),
        of_workspace=workspace_from(environment),
    )
