"""How much is taken from outside, and how slowly."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds on what is fetched.

    Args:
        file: Bytes of one file. The default is what protobuf can read of a model and wasm32 can hold of weights.
        unpacked: Bytes of all that is packed in an archive.
        members: How many files are in an archive.
        patience: Seconds without a byte, or at less than ``slowest``, after which a server is given up.
        slowest: Bytes in a second, on average over ``patience``.
    """

    file: int = 2 << 30
    unpacked: int = 4 << 30
    members: int = 100_000
    patience: float = 60.0
    slowest: int = 1024


LIMITS = Limits()
