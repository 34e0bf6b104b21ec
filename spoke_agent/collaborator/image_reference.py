"""Whether an image is one that a site admits, told from its name alone. Pure.

A reference is taken apart by the grammar of the registries (distribution `reference/regexp.go`) and refused where it
doesn't fit, so that a comparison of texts is one of images: no `..`, no empty part, no upper case in a path, nothing
after the digest. It has to name its registry: without one, each node's configuration says where an image comes from.
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
    """`sha256:` and 64 hexadecimal digits; empty where the tag alone says which."""


def image_of(reference: str) -> Image:
    """The image that a reference names.

    Raises:
        ValueError: It is no reference, or names no registry.
    """
    match = _REFERENCE.fullmatch(reference) if len(reference) <= _LONGEST else None
    if match is None:
        raise ValueError(f"{reference[:80]!r}: write REGISTRY/PATH with a tag, a digest or both")
    return Image(f"{match['registry']}/{match['path']}", match["tag"] or "", match["digest"] or "")


def admits(policy: Iterable[str], image: Image) -> bool:
    """Whether one of the policy's entries admits the image.

    Args:
        policy: Each a prefix that ends with `/`, below which every repository is admitted, or a reference with a
            digest, which admits that content of that repository under whatever tag. Any other entry admits nothing.
        image: What is to run.
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
