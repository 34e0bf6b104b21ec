"""Kubernetes quantities as exact numbers.

Grammar: k8s.io/apimachinery `pkg/api/resource/quantity.go`. Decimal throughout: a float would lose a byte of a large
volume, and `0.1` of a core is not a binary fraction.
"""

import re
from decimal import Decimal
from functools import lru_cache
from typing import Final

_QUANTITY: Final = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,2}))?")
_LONGEST: Final = 64
"""Maximum characters of a quantity; exact and cheap to parse, and longer than any real amount."""

_GREATEST: Final = Decimal(2**63 - 1)
"""Kubernetes caps quantities of a greater magnitude here (`quantity.go`), and so does this."""

_SCALE: Final[dict[str, Decimal]] = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal("1e3"),
    "M": Decimal("1e6"),
    "G": Decimal("1e9"),
    "T": Decimal("1e12"),
    "P": Decimal("1e15"),
    "E": Decimal("1e18"),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}


@lru_cache(maxsize=4096)
def parse_quantity(text: str) -> Decimal:
    """Return the value of a quantity in its base unit: cores, bytes, devices.

    The pods of a cluster repeat a few amounts, so results are cached.

    Raises:
        ValueError: The text is not a quantity.
    """
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError(f"{text[:_LONGEST]!r} is no quantity: write a number with a suffix such as m, k, Mi or e3")
    number, suffix, exponent = match.groups()
    if exponent is not None:
        value = Decimal(number).scaleb(int(exponent))
    else:
        value = Decimal(number) * _SCALE[suffix] if suffix else Decimal(number)
    return max(-_GREATEST, min(_GREATEST, value))
