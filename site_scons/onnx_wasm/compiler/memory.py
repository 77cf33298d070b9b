"""Storage planned at compile time: buffers that are never alive together may share bytes.

The algorithm is "greedy by size" of Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference",
2020.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ALIGNMENT = 64


@dataclass(frozen=True)
class Lifetime:
    """When a buffer is needed.

    Args:
        buffer: Its name.
        nbytes: Its size.
        first: Index of the call that writes it first.
        last: Index of the last call that uses it.
    """

    buffer: str
    nbytes: int
    first: int
    last: int

    def meets(self, other: Lifetime) -> bool:
        """Whether both are alive during one call."""
        return self.first <= other.last and other.first <= self.last


def aligned(nbytes: int) -> int:
    """Rounds a size up to the alignment of every tensor."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def in_sequence(sizes: Iterable[tuple[str, int]]) -> tuple[dict[str, int], int]:
    """Places buffers one after the other.

    Args:
        sizes: Names and sizes in bytes.

    Returns:
        Their offsets, and the size of the whole area.
    """
    offsets: dict[str, int] = {}
    end = 0
    for buffer, nbytes in sizes:
        offsets[buffer] = end
        end += aligned(nbytes)
    return offsets, end


def shared(lifetimes: Iterable[Lifetime]) -> tuple[dict[str, int], int]:
    """Places buffers so that those alive together do not overlap, the largest first, each as low as it fits.

    Args:
        lifetimes: One per buffer.

    Returns:
        Their offsets, and the size of the whole area.
    """
    placed: list[tuple[int, Lifetime]] = []
    for lifetime in sorted(lifetimes, key=lambda it: (-it.nbytes, it.first, it.buffer)):
        offset = 0
        for start, other in sorted(((at, it) for at, it in placed if it.meets(lifetime)), key=lambda pair: pair[0]):
            if offset + aligned(lifetime.nbytes) <= start:
                break
            offset = max(offset, start + aligned(other.nbytes))
        placed.append((offset, lifetime))
    return {it.buffer: at for at, it in placed}, max((at + aligned(it.nbytes) for at, it in placed), default=0)
