"""The command line of the fleet; `python -m fleet --help` lists the commands."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from fleet import lifecycle, requirements, status
from fleet.cluster import daemons
from fleet.cluster.daemons import DaemonDied
from fleet.cluster.network import Link
from fleet.command import CommandFailed
from fleet.fleet import Fleet
from fleet.images import Image
from fleet.layout import HUB, MAX_SPOKES, Layout, default_layout


def report(line: str) -> None:
    """Print a line and flush it, so that progress is seen at once."""
    print(line, flush=True)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="python -m fleet", description="Test clusters on this machine.")
    commands = top.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start a hub and its spokes, unless they are up")
    up.add_argument(
        "--spokes", type=int, default=2, choices=range(1, MAX_SPOKES + 1), help="number of spokes (default 2)"
    )
    commands.add_parser("down", help="stop the fleet and remove everything but the cache")
    commands.add_parser("build", help="build the programs and images that `up` needs")
    commands.add_parser("packages", help="list the Debian packages that are missing, one per line")
    commands.add_parser("status", help="show each cluster's node, membership, pods, memory and CPU")
    kubeconfig = commands.add_parser("kubeconfig", help="print the path of a cluster's administrator kubeconfig")
    kubeconfig.add_argument("cluster", nargs="?", default=HUB)
    execute = commands.add_parser("exec", help="run a command in a cluster's network with its KUBECONFIG")
    execute.add_argument("cluster")
    execute.add_argument("words", nargs=argparse.REMAINDER, metavar="command")
    load = commands.add_parser("load-image", help="load an image archive on the nodes")
    load.add_argument("archive", type=Path)
    load.add_argument("clusters", nargs="*", help="default: all clusters")
    logs = commands.add_parser("logs", help="print the log of a cluster's daemon")
    logs.add_argument("cluster")
    logs.add_argument("daemon", nargs="?", help="default: list the daemons")
    _add_line_commands(commands)
    return top


def _add_line_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    partition = commands.add_parser("partition", help="drop all packets between a spoke and the other clusters")
    partition.add_argument("--after", type=float, default=0, metavar="SECONDS", help="delay before the partition")
    partition.add_argument("--for", type=float, dest="seconds", metavar="SECONDS", help="duration of the partition")
    slow = commands.add_parser("slow", help="limit the bandwidth of a spoke's link")
    slow.add_argument("rate", help="a rate in tc's notation, such as 10mbit")
    lossy = commands.add_parser("lossy", help="drop a share of a spoke's packets in each direction")
    lossy.add_argument("share", type=float, help="a number from 0 to 1")
    for command in (partition, slow, lossy, commands.add_parser("heal", help="restore a spoke's link")):
        command.add_argument("spoke")


async def partition(fleet: Fleet, spoke: str, *, after: float, seconds: float | None) -> None:
    """Partition a spoke; with `seconds`, heal it afterwards, even when interrupted."""
    await asyncio.sleep(after)
    await fleet.set_link(spoke, Link(cut=True))
    report(f"{spoke} is cut off")
    if seconds is None:
        return
    try:
        await asyncio.sleep(seconds)
    finally:
        await fleet.set_link(spoke, Link())
        report(f"{spoke} is connected again")


def running_fleet(layout: Layout) -> Fleet:
    """Return the fleet that was started.

    Raises:
        LookupError: no fleet was started.
    """
    fleet = lifecycle.recorded(layout)
    if fleet is None:
        raise LookupError("no fleet is up: start one with `python -m fleet up`")
    return fleet


def enter(fleet: Fleet, cluster: str, words: list[str]) -> None:
    """Replace this process with the command, in the cluster's network namespace and with its kubeconfig."""
    layout = fleet.layout.cluster(cluster)
    os.environ["KUBECONFIG"] = str(layout.kubeconfig)
    os.environ["PATH"] = f"{fleet.programs}:{os.environ['PATH']}"
    os.execvp("nsenter", ["nsenter", f"--net=/run/netns/{layout.namespace}", *words])  # noqa: S606  no shell


def show_logs(fleet: Fleet, cluster: str, daemon: str | None) -> None:
    """Print a daemon's log, or the names of the cluster's daemons."""
    layout = fleet.layout.cluster(cluster)
    if daemon is None:
        report("\n".join(d.name for d in daemons.recorded(layout)))
    else:
        sys.stdout.write(daemons.log_of(layout, daemon).read_text(errors="replace"))


async def run(arguments: argparse.Namespace) -> None:
    """Execute the command."""
    layout = default_layout()
    match arguments.command:
        case "up":
            requirements.check(layout)
            await lifecycle.up(layout, spokes=arguments.spokes, report=report)
        case "down":
            await lifecycle.down(layout, report=report)
        case "build":
            requirements.check(layout)
            await lifecycle.build(layout, report)
        case "packages":
            report("\n".join(requirements.missing_packages()))
        case _:
            await run_on(running_fleet(layout), arguments)


async def run_on(fleet: Fleet, arguments: argparse.Namespace) -> None:
    """Execute a command that needs a running fleet."""
    match arguments.command:
        case "status":
            report(await status.render_table(fleet))
        case "kubeconfig":
            report(str(fleet.kubeconfig(arguments.cluster)))
        case "exec":
            enter(fleet, arguments.cluster, arguments.words)
        case "load-image":
            await fleet.load_image(Image("", arguments.archive.absolute()), arguments.clusters)
        case "logs":
            show_logs(fleet, arguments.cluster, arguments.daemon)
        case "partition":
            await partition(fleet, arguments.spoke, after=arguments.after, seconds=arguments.seconds)
        case "slow":
            await fleet.set_link(arguments.spoke, Link(rate=arguments.rate))
        case "lossy":
            await fleet.set_link(arguments.spoke, Link(loss=arguments.share))
        case _:
            await fleet.set_link(arguments.spoke, Link())


_EXPECTED_ERRORS = (requirements.RequirementsNotMet, CommandFailed, DaemonDied, LookupError, OSError, ValueError)


def main() -> int:
    """Run the command line and return the exit status: 0, or 1 after printing the error."""
    try:
        asyncio.run(run(parser().parse_args()))
    except KeyboardInterrupt:
        return 130
    except (*_EXPECTED_ERRORS, ExceptionGroup) as error:
        plain, unexpected = ExceptionGroup("", [error]).split(_EXPECTED_ERRORS)
        if unexpected is not None:
            raise
        sys.stderr.writelines(f"{leaf}\n" for leaf in flatten(plain))
        return 1
    return 0


def flatten(error: BaseException | None) -> list[BaseException]:
    """Return the errors inside nested exception groups, in order."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in flatten(part)]
    return [error] if error is not None else []


if __name__ == "__main__":
    sys.exit(main())
