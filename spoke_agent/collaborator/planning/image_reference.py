"""Parse image references and match them against a site's policy. Pure.

A reference must match the registries' grammar (distribution `reference/regexp.go`), so that comparing texts compares
images: no `..`, no empty part, no upper case in a path, nothing after the digest. It must name its registry, since the
configuration of each node would choose one otherwise.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_PART: Final = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST: Final = r"[A-Za-z0-9](?:[-A-Za-z0-9]*[A-Za-z0-9])?"
_REFERENCE: Final = re.compile(
    rf"(?P<registry>{_HOST}(?:\.{_HOST})+(?::[0-9]{{1,5}})?|{_HOST}:[0-9]{{1,5}}|localhost)"
    rf"/(?P<path>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][-A-Za-z0-9_.]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_LONGEST: Final = 512


@dataclass(frozen=True, slots=True)
class Image:
    """An image's name in its parts."""

    repository: str
    """Registry and path, `registry.example/fl/trainer`."""
    tag: str
    digest: str
    """`sha256:` and 64 hexadecimal digits; empty if the reference has a tag alone."""


def image_of(reference: str) -> Image:
    """Parse a reference.

    Raises:
        ValueError: The reference is invalid, or lacks a registry.
    """
    match = _REFERENCE.fullmatch(reference) if len(reference) <= _LONGEST else None
    if match is None:
        raise ValueError(f"{reference[:80]!r}: write REGISTRY/PATH with a tag, a digest or both")
    return Image(f"{match['registry']}/{match['path']}", match["tag"] or "", match["digest"] or "")


def admits(policy: Iterable[str], image: Image) -> bool:
    """Return whether one of the policy's entries admits the image.

    Args:
        policy: Each a prefix that ends with `/`, below which every repository is admitted, or a reference with a
            digest, which admits that content of that repository under any tag. Any other entry admits nothing.
        image: The image to run.
    """
    return any(_admits(entry, image) for entry in policy)


def _admits(entry: str, image: Image) -> bool:
    if entry.endswith("/"):
        return image.repository.startswith(entry)
    try:
        named = image_of(entry)
    except ValueError:
        return False
    return bool(named.digest) and (named.repository, named.digest) == (image.repository, image.digest)
