"""Sorting networks: which pairs to put in order, so that a few positions of the sorted sequence are known.

A network compares the same pairs whatever the values, so each comparison is one minimum and one maximum over a whole
block of coordinates: `np.median` of eight models takes some twelve times the processor's time. Batcher's merge
exchange (Knuth, The Art of Computer Programming 3, 5.2.2, Algorithm M) works for any number of wires; comparisons on
which no wanted position depends are left out.
"""

from collections.abc import Collection, Iterator
from functools import cache


def merge_exchange(wires: int) -> Iterator[tuple[int, int]]:
    """The comparisons that sort, in order: the smaller value to the first of each pair.

    Args:
        wires: Values to sort; at least 1.
    """
    top = 1 << max(wires - 1, 1).bit_length() - 1
    stride = top
    while stride > 0:
        merged, rest, distance = top, 0, stride
        while True:
            yield from ((low, low + distance) for low in range(wires - distance) if low & stride == rest)
            if merged == stride:
                break
            distance, merged, rest = merged - stride, merged // 2, stride
        stride //= 2


@cache
def selecting_network(wires: int, wanted: frozenset[int]) -> tuple[tuple[int, int], ...]:
    """The comparisons after which the wanted positions hold what they hold in sorted order."""
    return tuple(reversed(list(_needed(wires, wanted))))


def _needed(wires: int, wanted: Collection[int]) -> Iterator[tuple[int, int]]:
    alive = set(wanted)
    for low, high in reversed(list(merge_exchange(wires))):
        if low in alive or high in alive:
            alive |= {low, high}
            yield low, high
