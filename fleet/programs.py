"""The Kubernetes and OCM programs, built by the Go toolchain from `go.mod` and cached.

The cache key covers all inputs: go.mod, go.sum, the toolchain and the flags. A second clone on the same machine builds
nothing.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from fleet.command import CommandFailed, run
from fleet.layout import Layout

MODULE: Final = Path(__file__).parent
KUBERNETES: Final = "v1.34.3"
# The go command calls etcd's program `server`.
_RENAMED: Final = {"server": "etcd"}
_BUILD_DEADLINE: Final = 3600
_ENVIRONMENT: Final = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}


def _linker_flags() -> str:
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    version = "k8s.io/component-base/version"
    stamps = {"gitVersion": KUBERNETES, "gitMajor": major, "gitMinor": minor}
    return " ".join(["-s -w", *(f"-X {version}.{name}={value}" for name, value in stamps.items())])


async def key() -> str:
    """Return the cache key of the programs."""
    toolchain = await run("go", "env", "GOVERSION", "GOOS", "GOARCH", cwd=MODULE)
    parts = [toolchain, _linker_flags(), *((MODULE / name).read_text() for name in ("go.mod", "go.sum"))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


async def build(layout: Layout, *, report: Callable[[str], None]) -> Path:
    """Return the folder of the programs; build them unless they are cached.

    Args:
        layout: the fleet whose cache is used.
        report: called with each line of progress.

    Raises:
        CommandFailed: the build failed.
    """
    folder = layout.cache / "programs" / await key()
    if folder.exists():
        return folder
    report("building Kubernetes and OCM with the Go toolchain (minutes the first time, seconds with a warm Go cache)")
    with new_folder(folder) as scratch:
        await _install(scratch, report)
        for built, name in _RENAMED.items():
            (scratch / built).rename(scratch / name)
    return folder


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a scratch folder; rename it to `folder` if the body succeeds, and delete it otherwise."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        yield scratch
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


async def _install(folder: Path, report: Callable[[str], None]) -> None:
    argv = ["go", "install", "-v", "-trimpath", "-ldflags", _linker_flags(), "tool"]
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=MODULE,
        env={**os.environ, **_ENVIRONMENT, "GOBIN": str(folder)},
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    if process.stderr is None:
        raise AssertionError("asked for a pipe")
    compiled, last = 0, ""
    try:
        async with asyncio.timeout(_BUILD_DEADLINE):
            async for line in process.stderr:
                last = line.decode(errors="replace").strip() or last
                compiled += 1
                if compiled % 200 == 0:
                    report(f"{compiled} packages, now {last}")
            code = await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    if code:
        raise CommandFailed(argv, code, last)


async def module_folder(module: str) -> Path:
    """Return the folder with the source of a module in go.mod, downloaded if necessary.

    Raises:
        CommandFailed: go.mod does not name the module, or its download failed.
    """
    found = json.loads(await run("go", "mod", "download", "-json", f"{module}@{await _version(module)}", cwd=MODULE))
    return Path(found["Dir"])


async def _version(module: str) -> str:
    environment = {"GOFLAGS": "-mod=readonly"}
    return (await run("go", "list", "-m", "-f", "{{.Version}}", module, cwd=MODULE, env=environment)).strip()
