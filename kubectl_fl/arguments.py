"""The command-line grammar, and the flags that are passed to kubectl."""

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
"""kubectl's flags that take a value, without `--cluster`, which names a managed cluster here."""
_DESCRIPTION: Final = """\
Inspect federated learning runs: status, logs, the trained model, and what keeps a run from starting. All data is read
from the hub through your kubectl; flags such as --kubeconfig, --context and --as are passed to it. Set KUBECTL to use
another program than the kubectl on PATH."""
_LOGS: Final = """\
Print the aggregator's log: that of the newest pod of the current attempt, or of its init container while that runs or
if it failed. With --cluster, print what the hub has about the collaborator on that cluster: the last error with file
and line, and the last log lines of a failed container. Open Cluster Management has no API for the logs of a spoke; if
you have access to the spoke, add --spoke-context to read the full log there."""
_MODEL: Final = """\
Download the model of the newest checkpoint (after the last round: the final model) from the run's
PersistentVolumeClaim and verify its digest against the run's status. A short-lived pod with the aggregator's image
reads the claim. In the run's namespace you need permission to create, get, list, watch and delete pods, to create
pods/exec and, without --image, to get jobs. An interrupted download resumes where it stopped. HostPath storage is not
supported; the error explains how to copy the file."""
_DOCTOR: Final = """\
Check the run and each of its clusters for problems. Each check prints one line: ok, problem or unknown. A problem comes
with its remedy. The exit code is 1 if there is a problem."""


def parser() -> argparse.ArgumentParser:
    """Return the parser; flags for kubectl are accepted before and after the command."""
    before, after = _common_flags(None), _common_flags(argparse.SUPPRESS)
    top = argparse.ArgumentParser(prog=PROGRAM, description=_DESCRIPTION, parents=[before], allow_abbrev=False)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, summary: str, description: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=summary, description=description, parents=[after], allow_abbrev=False)

    status = command("status", "show one run, or list runs", "Show one run on a page, or list runs in a table.")
    status.add_argument(
        "name", nargs="?", metavar="NAME", help="the FederatedLearning; without it, list the runs in the namespace"
    )
    status.add_argument(
        "-A", "--all-namespaces", action="store_true", help="list the runs in all namespaces (without NAME)"
    )
    status.add_argument("-o", "--output", choices=("json", "yaml"), help="print the resource unchanged")

    watch = command(
        "watch", "follow a run until it ends", "Follow a run until it ends. The exit code is 1 if the run failed."
    )
    _add_run_name(watch)

    logs = command("logs", "print the aggregator's or a collaborator's log", _LOGS)
    _add_run_name(logs)
    which = logs.add_mutually_exclusive_group()
    which.add_argument("--aggregator", action="store_true", help="print the aggregator's log (default)")
    which.add_argument("--cluster", metavar="CLUSTER", help="the managed cluster of the collaborator")
    logs.add_argument("-f", "--follow", action="store_true", help="stream the log until the container ends")
    logs.add_argument(
        "--tail", type=int, default=-1, metavar="LINES", help="number of lines from the end (default: all)"
    )
    logs.add_argument("--spoke-kubeconfig", metavar="FILE", help="kubeconfig for the cluster of --cluster")
    logs.add_argument("--spoke-context", metavar="CONTEXT", help="context for the cluster of --cluster")

    model = command("model", "download and verify the model", _MODEL)
    _add_run_name(model)
    where = model.add_mutually_exclusive_group()
    where.add_argument("--output", metavar="FILE", help="file to write (default: NAME.safetensors)")
    where.add_argument("--check", metavar="FILE", help="verify a local file instead of downloading")
    model.add_argument("--image", default="", help="image of the reader pod, if the aggregator's Job is gone")

    doctor = command("doctor", "find out what keeps a run from starting", _DOCTOR)
    _add_run_name(doctor)
    doctor.add_argument("--cluster", metavar="CLUSTER", help="check only this managed cluster")
    return top


def kubectl_flags(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return the flags for every call of kubectl, without the namespace."""
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
    """Return the flags that select the spoke, or None; the kubeconfig defaults to the hub's."""
    file, context = arguments.spoke_kubeconfig, arguments.spoke_context
    if file is None and context is None:
        return None
    file = file if file is not None else getattr(arguments, _dest("kubeconfig"))
    flags = [f"--kubeconfig={file}"] if file is not None else []
    return (*flags, *([f"--context={context}"] if context is not None else []))


def _add_run_name(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", metavar="NAME", help="the FederatedLearning")


def _common_flags(default: str | None) -> argparse.ArgumentParser:
    """Return the flags common to all commands; `SUPPRESS` keeps unset flags from overwriting earlier ones."""
    common = argparse.ArgumentParser(add_help=False, argument_default=default)
    common.add_argument(
        "-n", "--namespace", default=default or "", help="namespace of the run (default: that of kubectl's context)"
    )
    handed = common.add_argument_group("flags passed to kubectl")
    for name in _KUBECTL_FLAGS:
        handed.add_argument(f"--{name}", dest=_dest(name), metavar="VALUE", help=argparse.SUPPRESS)
    # With one dest, groups after the command would replace those before it: each parser appends to a list it creates.
    groups = "groups_before" if default is None else "groups_after"
    handed.add_argument("--as-group", dest=groups, action="append", metavar="GROUP", help=argparse.SUPPRESS)
    handed.add_argument(
        "--insecure-skip-tls-verify",
        dest="kubectl_insecure_skip_tls_verify",
        action="store_true",
        help=argparse.SUPPRESS,
    )
    listed = ", ".join(f"--{name}" for name in (*_KUBECTL_FLAGS, "as-group", "insecure-skip-tls-verify"))
    handed.description = f"{listed}: see kubectl options"
    return common


def _dest(name: str) -> str:
    return "kubectl_" + name.replace("-", "_")
