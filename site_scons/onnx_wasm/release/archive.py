"""A folder as one ``.tar.zst`` whose bytes depend on nothing but the folder's content and the time given."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import BinaryIO

import zstandard

_LEVEL = 19


def pack(folder: Path, name: str, epoch: int, file: BinaryIO) -> None:
    """Writes the archive: files in the order of their paths, with fixed owners and modes.

    Args:
        folder: What is packed.
        name: What the folder is called in the archive.
        epoch: The time that every file carries, in seconds since 1970.
        file: Where the archive goes.
    """
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    with (
        compressor.stream_writer(file, closefd=False) as compressed,
        tarfile.open(fileobj=compressed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        for its in sorted(paths):
            entry = tarfile.TarInfo(f"{name}/{its}")
            entry.size, entry.mtime, entry.mode = paths[its].stat().st_size, epoch, 0o644
            with paths[its].open("rb") as content:
                archive.addfile(entry, content)
