"""Build the product's images from the locks and the source.

An image contains a `site` folder: the locked dependencies of its side only, the product's packages, and their data.
The modules are compiled at build time, because the container is read-only, and with hashes instead of times, so that
the same content results in the same image.
"""

import asyncio
import compileall
import hashlib
import py_compile
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleet import images
from fleet.command import run
from fleet.images import Image, Recipe
from fleet.layout import Layout
from fleet.programs import new_folder

REPOSITORY: Final = Path(__file__).parent.parent
_PYTHON: Final = "3.11"


@dataclass(frozen=True, slots=True)
class Side:
    """Image of the product: its package, the lock of its dependencies, and its data folders."""

    name: str
    package: str
    lock: str
    data: tuple[str, ...] = ()
    containerfile: str = ""
    """Empty for the package's own."""


HUB: Final = Side("federated-learning-hub", "hub_manager", "hub.txt", ("addon-templates",))
AGGREGATOR: Final = REPOSITORY / "hub_manager" / "aggregator" / "Containerfile"
AGENT: Final = Side("federated-learning-agent", "spoke_agent", "agent.txt")
OPENFL: Final = Side(
    "collaborator-openfl",
    "runtimes",
    "openfl.txt",
    containerfile="runtimes/openfl/Containerfile",
)
DIGITS: Final = REPOSITORY / "examples" / "digits-openfl"


async def build(layout: Layout, side: Side) -> Image:
    """Build the image of one side on the locally bootstrapped base."""
    base = await images.build(layout, await images.python(layout))
    site = await _site(layout, side)
    containerfile = REPOSITORY / (side.containerfile or f"{side.package}/Containerfile")
    recipe = Recipe(side.name, containerfile, files={"site": site}, base=base)
    return await images.build(layout, recipe)


async def build_aggregator(layout: Layout) -> Image:
    """Build the aggregator's image, which is the hub manager's with another entry point."""
    return await images.build(
        layout, Recipe("federated-learning-aggregator", AGGREGATOR, base=await build(layout, HUB))
    )


async def build_digits(layout: Layout, workspace: Path = DIGITS) -> Image:
    """Build the image of the example, or of a copy of it, as the example's README describes."""
    files = {name: workspace / name for name in ("plan", "src")}
    recipe = Recipe("digits-openfl", workspace / "Containerfile", files=files, base=await build(layout, OPENFL))
    return await images.build(layout, recipe)


async def build_all(layout: Layout) -> tuple[Image, ...]:
    """Build all images of the product, including the runtimes' bases, and the example's."""
    return (
        await build(layout, HUB),
        await build_aggregator(layout),
        await build(layout, AGENT),
        await build(layout, OPENFL),
        await build_digits(layout),
    )


async def _site(layout: Layout, side: Side) -> Path:
    """Create the folder for the image's `site`, cached by the digest of its sources."""
    lock = REPOSITORY / "locks" / side.lock
    dependencies = layout.cache / "dependencies" / hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    if not dependencies.exists():
        await _install(dependencies, lock)
    sources = [REPOSITORY / name for name in ("federation", side.package, *side.data)]
    digests = "\0".join([dependencies.name, *(images.content_digest(source) for source in sources)])
    site = layout.cache / "sites" / hashlib.sha256(digests.encode()).hexdigest()[:16]
    if not site.exists():
        await asyncio.to_thread(_assemble, site, dependencies, sources)
    return site


async def _install(folder: Path, lock: Path) -> None:
    with new_folder(folder) as scratch:
        await run(
            *(Path(sys.executable).with_name("uv"), "pip", "install", "--quiet", "--require-hashes"),
            *("--only-binary=:all:", "--no-installer-metadata", f"--python-version={_PYTHON}"),
            *(f"--target={scratch}", f"--requirements={lock}"),
            deadline=600,
        )
        await asyncio.to_thread(_compile, scratch)


def _assemble(site: Path, dependencies: Path, sources: list[Path]) -> None:
    with new_folder(site) as scratch:
        shutil.copytree(dependencies, scratch, dirs_exist_ok=True, copy_function=_hard_link)
        for source in sources:
            shutil.copytree(source, scratch / source.name, ignore=shutil.ignore_patterns("__pycache__"))
            _compile(scratch / source.name)
        scratch.chmod(0o755)


def _hard_link(source: str, target: str) -> str:
    Path(target).hardlink_to(source)
    return target


def _compile(folder: Path) -> None:
    """Compile all modules, without this machine's paths and times in the results."""
    hashed = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(str(folder), quiet=2, invalidation_mode=hashed, stripdir=str(folder))
