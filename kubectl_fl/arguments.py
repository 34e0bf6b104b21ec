"""The command line: what can be typed, and what of it is handed on to kubectl. Pure."""

import argparse
from typing import Final

PROGRAM: Final = "kubectl fl"
_KUBECTL_FLAGS: Final = (
    "kubeconfig",
    "context",
    "user",
    "server",
    "token",
    "as",
    "as-uid",
    "certificate-authority",
    "tls-server-name",
    "request-timeout",
)
"""kubectl's own flags with a value. `--cluster` is not among them: here it names a managed cluster."""
_DESCRIPTION: Final = """\
A federated run on one page: its state, its logs, its model, and what keeps it from starting. Everything is read through
your kubectl, from the hub; flags such as --kubeconfig, --context and --as are handed on to it. KUBECTL names another
program than the kubectl on PATH."""
_LOGS: Final = """\
The aggregator's log: that of the newest pod of the current attempt, or of its init container where that is what runs
or has failed. Of a site, the hub has the last error with file and line and the last lines of the log of a failure, no
more: Open Cluster Management has no way to read logs of a spoke. Whoever has access to the spoke names its context, and
gets the collaborator's whole log from there."""
_MODEL: Final = """\
Downloads the model of the newest checkpoint, after the last round the final one, from the run's PersistentVolumeClaim,
and checks it against the digest in the run's status. A short-lived pod of the aggregator's image reads the claim: in
the run's namespace you need the rights to create, get, list, watch and delete pods, to create pods/exec and, without
--image, to get jobs. A download that was stopped goes on where it was. HostPath storage can't be read so; the message
says what to do."""
_DOCTOR: Final = """\
What would keep, or keeps, a run from starting: of the run and of each cluster, a line for each thing that was looked
at, ok, problem or unknown, and for a problem the remedy. Exit code 1 where there is a problem."""


def parser() -> argparse.ArgumentParser:
    """The command line; what is handed on to kubectl may stand before the command, or after it."""
    before, after = _common_flags(None), _common_flags(argparse.SUPPRESS)
    top = argparse.ArgumentParser(prog=PROGRAM, description=_DESCRIPTION, parents=[before], allow_abbrev=False)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, summary: str, description: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=summary, description=description, parents=[after], allow_abbrev=False)

    status = command("status", "a run on one page, or every run in a table", "A run on one page, or runs in a table.")
    status.add_argument("name", nargs="?", metavar="NAME", help="the FederatedLearning; none: all of the namespace")
    status.add_argument("-A", "--all-namespaces", action="store_true", help="with no NAME: the runs of all namespaces")
    status.add_argument("-o", "--output", choices=("json", "yaml"), help="the resource as it is")

    watch = command("watch", "follow a run until it ends", "Follows a run until it ends; exit code 1 where it failed.")
    _add_run_name(watch)

    logs = command("logs", "the aggregator's log, or what there is of a site's", _LOGS)
    _add_run_name(logs)
    which = logs.add_mutually_exclusive_group()
    which.add_argument("--aggregator", action="store_true", help="the aggregator's (default)")
    which.add_argument("--cluster", metavar="CLUSTER", help="the managed cluster whose words are wanted")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until the container ends")
    logs.add_argument("--tail", type=int, default=-1, metavar="LINES", help="the last lines alone (default: all)")
    logs.add_argument("--spoke-kubeconfig", metavar="FILE", help="of --cluster: the kubeconfig that reaches it")
    logs.add_argument("--spoke-context", metavar="CONTEXT", help="of --cluster: the context that reaches it")

    model = command("model", "download the model, checked", _MODEL)
    _add_run_name(model)
    where = model.add_mutually_exclusive_group()
    where.add_argument("--output", metavar="FILE", help="where it goes (default: NAME.safetensors)")
    where.add_argument("--check", metavar="FILE", help="check a file that is here already, and download nothing")
    model.add_argument("--image", default="", help="of the pod that reads, where the aggregator's Job is gone")

    doctor = command("doctor", "what keeps a run from starting, and what to do", _DOCTOR)
    _add_run_name(doctor)
    doctor.add_argument("--cluster", metavar="CLUSTER", help="look at this managed cluster alone")
    return top


def kubectl_flags(arguments: argparse.Namespace) -> tuple[str, ...]:
    """What is handed on to each call of kubectl, but for the namespace."""
    flags = []
    for name in _KUBECTL_FLAGS:
        value = getattr(arguments, _dest(name))
        flags += [f"--{name}={value}"] if value is not None else []
    groups = (*(arguments.groups_before or ()), *getattr(arguments, "groups_after", ()))
    flags += [f"--as-group={group}" for group in groups]
    if arguments.kubectl_insecure_skip_tls_verify:
        flags.append("--insecure-skip-tls-verify")
    return tuple(flags)


def spoke_flags(arguments: argparse.Namespace) -> tuple[str, ...] | None:
    """What leads to the spoke, or None where nothing does; its kubeconfig is the hub's unless it is named."""
    file, context = arguments.spoke_kubeconfig, arguments.spoke_context
    if file is None and context is None:
        return None
    file = file if file is not None else getattr(arguments, _dest("kubeconfig"))
    flags = [f"--kubeconfig={file}"] if file is not None else []
    return (*flags, *([f"--context={context}"] if context is not None else []))


def _add_run_name(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", metavar="NAME", help="the FederatedLearning")


def _common_flags(default: str | None) -> argparse.ArgumentParser:
    """What stands before the command, or after it: there with SUPPRESS, so that what is left out overwrites nothing."""
    common = argparse.ArgumentParser(add_help=False, argument_default=default)
    common.add_argument(
        "-n", "--namespace", default=default or "", help="of the run; by default that of kubectl's context"
    )
    handed = common.add_argument_group("handed on to kubectl")
    for name in _KUBECTL_FLAGS:
        handed.add_argument(f"--{name}", dest=_dest(name), metavar="VALUE", help=argparse.SUPPRESS)
    # Those after the command would replace those before it, as each parser appends to a list of its own.
    groups = "groups_before" if default is None else "groups_after"
    handed.add_argument("--as-group", dest=groups, action="append", metavar="GROUP", help=argparse.SUPPRESS)
    handed.add_argument(
        "--insecure-skip-tls-verify",
        dest="kubectl_insecure_skip_tls_verify",
        action="store_true",
        help=argparse.SUPPRESS,
    )
    listed = ", ".join(f"--{name}" for name in (*_KUBECTL_FLAGS, "as-group", "insecure-skip-tls-verify"))
    handed.description = f"{listed}: as kubectl has them"
    return common


def _dest(name: str) -> str:
    return "kubectl_" + name.replace("-", "_")
