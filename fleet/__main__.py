"""The fleet's command line: `python -m fleet --help` lists what it does."""

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
    """Tells the person at the terminal at once."""
    print(line, flush=True)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m fleet", description="A fleet of real clusters on this machine.")
    commands = top.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start a hub and its spokes, where they aren't up already")
    up.add_argument("--spokes", type=int, default=2, choices=range(1, MAX_SPOKES + 1), help="how many (default 2)")
    commands.add_parser("down", help="take the fleet down and leave nothing but the cache")
    commands.add_parser("build", help="build the programs and images that `up` needs, and no more")
    commands.add_parser("packages", help="the Debian packages that this machine lacks, a line each")
    commands.add_parser("status", help="each cluster's node, membership, pods, memory and CPU")
    kubeconfig = commands.add_parser("kubeconfig", help="the path of a cluster's administrator kubeconfig")
    kubeconfig.add_argument("cluster", nargs="?", default=HUB)
    execute = commands.add_parser("exec", help="run a command in a cluster's network, with its KUBECONFIG")
    execute.add_argument("cluster")
    execute.add_argument("words", nargs=argparse.REMAINDER, metavar="command")
    load = commands.add_parser("load-image", help="put an image archive on the nodes")
    load.add_argument("archive", type=Path)
    load.add_argument("clusters", nargs="*", help="all when none is named")
    logs = commands.add_parser("logs", help="what a cluster's daemon has printed")
    logs.add_argument("cluster")
    logs.add_argument("daemon", nargs="?", help="listed when none is named")
    _add_line_commands(commands)
    return top


def _add_line_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    partition = commands.add_parser("partition", help="cut a spoke off from the other clusters")
    partition.add_argument("--after", type=float, default=0, metavar="SECONDS", help="wait that long first")
    partition.add_argument("--for", type=float, dest="seconds", metavar="SECONDS", help="heal after that long")
    slow = commands.add_parser("slow", help="limit the rate of a spoke's line")
    slow.add_argument("rate", help="as tc writes it: 10mbit")
    lossy = commands.add_parser("lossy", help="lose a share of a spoke's packets, in each direction")
    lossy.add_argument("share", type=float, help="from 0 to 1")
    for command in (partition, slow, lossy, commands.add_parser("heal", help="restore a spoke's line")):
        command.add_argument("spoke")


async def partition(fleet: Fleet, spoke: str, *, after: float, seconds: float | None) -> None:
    """Partitions a spoke, and with `seconds` heals it again, even when interrupted."""
    await asyncio.sleep(after)
    await fleet.set_link(spoke, Link(cut=True))
    report(f"{spoke} is cut off")
    if seconds is None:
        return
    try:
        await asyncio.sleep(seconds)
    finally:
        await fleet.set_link(spoke, Link())
        report(f"{spoke} is back")


def running_fleet(layout: Layout) -> Fleet:
    """The fleet that was started.

    Raises:
        LookupError: none was.
    """
    fleet = lifecycle.recorded(layout)
    if fleet is None:
        raise LookupError("no fleet is up: start one with `python -m fleet up`")
    return fleet


def enter(fleet: Fleet, cluster: str, words: list[str]) -> None:
    """Becomes the command, in the cluster's network namespace and with its kubeconfig; doesn't return."""
    layout = fleet.layout.cluster(cluster)
    os.environ["KUBECONFIG"] = str(layout.kubeconfig)
    os.environ["PATH"] = f"{fleet.programs}:{os.environ['PATH']}"
    os.execvp("nsenter", ["nsenter", f"--net=/run/netns/{layout.namespace}", *words])  # noqa: S606  no shell


def show_logs(fleet: Fleet, cluster: str, daemon: str | None) -> None:
    """Prints a daemon's log, or the names of those there are."""
    layout = fleet.layout.cluster(cluster)
    if daemon is None:
        report("\n".join(d.name for d in daemons.recorded(layout)))
    else:
        sys.stdout.write(daemons.log_of(layout, daemon).read_text(errors="replace"))


async def run(arguments: argparse.Namespace) -> None:
    """Does what the command line says."""
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
    """Does what the command line says to a fleet that is up."""
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
    """The exit status: 0, or 1 after saying what went wrong."""
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
    """The errors in a group of groups, one after the other."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in flatten(part)]
    return [error] if error is not None else []


if __name__ == "__main__":
    sys.exit(main())
