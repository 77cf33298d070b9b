"""``SHA256SUMS``, as coreutils' ``sha256sum`` reads it: a line for each file of a folder, in order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

NAME = "SHA256SUMS"


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder but ``SHA256SUMS`` itself, by its path there, in order."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    return {name: _digest_of(paths[name]) for name in sorted(paths) if name != NAME}


def text(found: Mapping[str, str]) -> str:
    """The file's text.

    Args:
        found: What ``digests`` gives.
    """
    return "".join(f"{digest}  {name}\n" for name, digest in found.items())


def parse(written: str) -> dict[str, str]:
    """The hashes that a file lists, by path. Lines of another form are left out."""
    pairs = (line.partition("  ") for line in written.splitlines())
    return {name: digest for digest, _, name in pairs if len(digest) == 64 and name}


def _digest_of(path: Path) -> str:
    # What a link leads to is no part of the folder.
    return "a link" if path.is_symlink() or not path.is_file() else digest(path)
