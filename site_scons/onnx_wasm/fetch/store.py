"""Where fetched files are kept, by their hashes: one folder for each user, shared by all their builds.

Deleting it is always safe: what is needed again is fetched again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Store:
    """Files by their SHA-256, and what archive each package was.

    Args:
        folder: Where it is; made when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, digest: str) -> Path | None:
        """The file with a hash, if it is here. One that has been damaged is removed.

        Args:
            digest: The SHA-256.
        """
        path = self._path(digest)
        if not path.is_file():
            return None
        if sha256(path) != digest:
            path.unlink(missing_ok=True)
            return None
        return path

    def put(self, file: Path, digest: str) -> None:
        """Takes over a file, whose hash has been found to be this, from the same file system."""
        path = self._path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        file.replace(path)

    def archive(self, package: str) -> Path | None:
        """The archive of a package, if it is here.

        Args:
            package: Its name and version.
        """
        note = self._note(package)
        if not note.is_file():
            return None
        return self.find(note.read_text("ascii"))

    def put_archive(self, file: Path, package: str) -> None:
        """Takes over a package's archive, as ``put`` does."""
        digest = sha256(file)
        self.put(file, digest)
        note = self._note(package)
        note.parent.mkdir(parents=True, exist_ok=True)
        partial = note.with_suffix(".partial")
        partial.write_text(digest, "ascii")
        partial.replace(note)

    @contextlib.contextmanager
    def work(self, what: str) -> Iterator[Path]:
        """Keeps other processes from fetching the same thing meanwhile.

        Args:
            what: A name of the thing.

        Yields:
            A folder for it. What is left in it when a process ends is there for the next one that fetches the thing.
        """
        folder = self._folder / "work" / _key(what)
        folder.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            folder.mkdir(exist_ok=True)
            yield folder
            shutil.rmtree(folder, ignore_errors=True)

    def _path(self, digest: str) -> Path:
        return self._folder / "sha256" / digest

    def _note(self, package: str) -> Path:
        return self._folder / "packages" / _key(package)


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
