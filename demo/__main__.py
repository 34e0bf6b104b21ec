"""Run the demonstration, or one of its steps, with `python -m demo run|images|install|enable`."""

import argparse
import asyncio
import sys

from demo import images, install, run
from fleet import lifecycle, requirements
from fleet.command import CommandFailed
from fleet.layout import default_layout


def parser() -> argparse.ArgumentParser:
    """Create the parser of the command line."""
    top = argparse.ArgumentParser(prog="python -m demo", description="The product on a fleet.")
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="a fleet, the add-on, and a federated run from its submission to its model")
    commands.add_parser("images", help="build the product's images and the example's, and print names and archives")
    commands.add_parser("install", help="install the hub manager on the fleet's hub, and load the images")
    enable = commands.add_parser("enable", help="enable the add-on on spokes, and wait until it is Available")
    enable.add_argument("spokes", nargs="*", help="all when none is named")
    return top


async def do(arguments: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        LookupError: No fleet is running.
    """
    layout = default_layout()
    if arguments.command == "run":
        await run.demo(layout)
        return
    if arguments.command == "images":
        for image in await images.build_all(layout):
            sys.stdout.write(f"{image.reference} {image.archive}\n")
        return
    fleet = lifecycle.find(layout)
    if fleet is None:
        raise LookupError("no fleet is up: start one with `make fleet-up`")
    if arguments.command == "install":
        await install.install_hub(fleet)
    else:
        await install.enable(fleet, *(arguments.spokes or fleet.spokes))


if __name__ == "__main__":
    try:
        asyncio.run(do(parser().parse_args()))
    except (LookupError, CommandFailed, requirements.RequirementsNotMet) as error:
        sys.exit(str(error))
