"""Container images without a registry: built from Containerfiles by buildah and kept as archives.

An image's tag is a digest of its inputs, so only changed inputs cause a build. Archives are uncompressed because they
are only read from the local disk.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fleet.command import run
from fleet.layout import Layout
from fleet.programs import module_folder

CONTAINERFILES: Final = Path(__file__).parent / "containerfiles"
PREFIX: Final = "localhost/fleet"
PYTHON_PACKAGES: Final = ("python3", "python3-minimal", "libstdc++6", "ca-certificates", "tzdata")
_DEBIAN: Final = "bookworm"
_EXCLUDED: Final = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
_USERS: Final = "root:x:0:0::/:/nologin\nnonroot:x:65532:65532::/tmp:/nologin\n"
_GROUPS: Final = "root:x:0:\nnonroot:x:65532:\n"


@dataclass(frozen=True, slots=True)
class Recipe:
    """The inputs of an image build.

    Args:
        name: the last component of the image's name.
        containerfile: the build instructions.
        files: files and folders of the build context, by their name in the Containerfile.
        arguments: build arguments.
        base: the base image, passed as the build argument BASE.
    """

    name: str
    containerfile: Path
    files: Mapping[str, Path] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    base: "Image | None" = None

    def key(self) -> str:
        """Return a digest of all inputs."""
        digest = hashlib.sha256(self.containerfile.read_bytes())
        digest.update(self.base.reference.encode() if self.base else b"")
        for name, value in sorted(self.arguments.items()):
            digest.update(f"\0{name}={value}".encode())
        for name, path in sorted(self.files.items()):
            digest.update(f"\0{name}\0{content_digest(path)}".encode())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Image:
    """A built image: the reference for pod specs, and the archive that nodes load."""

    reference: str
    archive: Path


def content_digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names, modes and contents of all files below a folder.

    Compiled Python files are excluded: they are derived from the others.
    """
    digest = hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix != ".pyc") if path.is_dir() else [path]
    for file in files:
        mode = file.stat().st_mode & 0o111
        digest.update(f"{file.relative_to(path)}\0{mode}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


async def build(layout: Layout, recipe: Recipe) -> Image:
    """Return the image of the recipe, from the cache or newly built.

    Raises:
        CommandFailed: the build failed; the message contains buildah's output.
    """
    reference = f"{PREFIX}/{recipe.name}:{recipe.key()}"
    archive = layout.cache / "images" / f"{recipe.name}-{recipe.key()}.tar"
    if archive.exists():
        return Image(reference, archive)
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=archive.parent) as scratch:
        context = Path(scratch) / "context"
        context.mkdir()
        for name, path in recipe.files.items():
            _link(path, context / name)
        await _buildah(layout, recipe, reference, context, Path(scratch) / "image.tar")
        (Path(scratch) / "image.tar").rename(archive)
    return Image(reference, archive)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copyfile(source, target)
        shutil.copymode(source, target)


async def _buildah(layout: Layout, recipe: Recipe, reference: str, context: Path, archive: Path) -> None:
    storage = _storage(layout)
    values = dict(recipe.arguments)
    if recipe.base is not None:
        await run(*storage, "pull", "--quiet", f"docker-archive:{recipe.base.archive}", deadline=300)
        values["BASE"] = recipe.base.reference
    arguments = [word for name, value in values.items() for word in ("--build-arg", f"{name}={value}")]
    await run(
        *storage,
        *("build", "--isolation=chroot", "--network=host", "--timestamp=0", "--pull-never", "--layers=false"),
        *arguments,
        *("--file", recipe.containerfile, "--tag", reference, context),
        deadline=900,
    )
    await run(*storage, "push", reference, f"docker-archive:{archive}:{reference}", deadline=300)
    await run(*storage, "rmi", reference)


def _storage(layout: Layout) -> Sequence[str]:
    folder = layout.cache / "buildah"
    return ("buildah", f"--root={folder / 'root'}", f"--runroot={folder / 'run'}", "--storage-driver=overlay")


def program(programs: Path, name: str) -> Recipe:
    """Return the recipe for the image of a Go program."""
    return Recipe(
        name, CONTAINERFILES / "program.Containerfile", files={name: programs / name}, arguments={"PROGRAM": name}
    )


async def pause(layout: Layout) -> Recipe:
    """Return the recipe of the sandbox image; compile Kubernetes' pause.c unless it is cached."""
    source = await module_folder("k8s.io/kubernetes") / "build" / "pause" / "linux" / "pause.c"
    binary = layout.cache / "pause" / content_digest(source)[:16]
    if not binary.exists():
        binary.parent.mkdir(parents=True, exist_ok=True)
        await run("gcc", "-Os", "-static", "-DVERSION=fleet", "-o", binary, source)
    return Recipe("pause", CONTAINERFILES / "pause.Containerfile", files={"pause": binary})


async def python(layout: Layout) -> Recipe:
    """Return the recipe of the Python base image, made from Debian packages instead of a registry's image."""
    folder = (
        layout.cache / "python" / hashlib.sha256(repr((_DEBIAN, PYTHON_PACKAGES, _EXCLUDED)).encode()).hexdigest()[:16]
    )
    rootfs = folder / "rootfs.tar"
    if not rootfs.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "passwd").write_text(_USERS)
        (folder / "group").write_text(_GROUPS)
        excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in _EXCLUDED]
        packages = f"--include={','.join(PYTHON_PACKAGES)}"
        part = folder / "rootfs.part.tar"
        await run("mmdebstrap", "--variant=extract", packages, *excluded, _DEBIAN, part, deadline=600)
        part.rename(rootfs)
    files = {name: folder / name for name in ("rootfs.tar", "passwd", "group")}
    return Recipe("python", CONTAINERFILES / "python.Containerfile", files=files)
