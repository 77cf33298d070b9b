"""A blob's name: its SHA-256 and its size."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import IO, NamedTuple

from onnx_wasm.strategies.cache.errors import DamagedError

PIECE = 1 << 18
_HASH = re.compile(r"[0-9a-f]{64}")


class Digest(NamedTuple):
    """What a blob is known by.

    Args:
        hash: The SHA-256, in 64 hexadecimal digits.
        size: Its bytes.
    """

    hash: str
    size: int

    @property
    def valid(self) -> bool:
        """Whether it has the form of one; those that come from outside may not."""
        return bool(_HASH.fullmatch(self.hash)) and self.size >= 0


def of_bytes(data: bytes) -> Digest:
    """The digest of bytes."""
    return Digest(hashlib.sha256(data).hexdigest(), len(data))


def of_file(path: Path) -> Digest:
    """The digest of a file's contents."""
    with path.open("rb") as file:
        return of_opened(file)


def of_opened(file: IO[bytes]) -> Digest:
    """The digest of a file's contents from where it stands; afterwards it stands at its end."""
    started = file.tell()
    found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type] # any file will do
    return Digest(found, file.tell() - started)


def write_verified(pieces: Iterable[bytes], target: IO[bytes], digest: Digest) -> None:
    """Writes a blob that comes in pieces, and never more than its size.

    Args:
        pieces: The blob as it came from somewhere.
        target: Where it is written to.
        digest: What it must be.

    Raises:
        DamagedError: It is something else; what was written is worthless.
    """
    state, size = hashlib.sha256(), 0
    for piece in pieces:
        size += len(piece)
        if size > digest.size:
            break
        state.update(piece)
        target.write(piece)
    if size != digest.size or state.hexdigest() != digest.hash:
        raise DamagedError(f"the blob {digest.hash} is damaged")
