"""What is in a package's archive: a wheel (zip) or npm's tgz, neither of which is trusted."""

from __future__ import annotations

import contextlib
import gzip
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, cast

from onnx_wasm.fetch.limits import LIMITS, Limits

_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile, NotImplementedError)


class UnsafeError(Exception):
    """An archive that is damaged, or not what a package's archive may be; told in the message."""


def take(archive: Path, wanted: Mapping[str, Path], top: int = 0, limits: Limits = LIMITS) -> list[str]:
    """Copies files out of an archive, all of which has been looked at when it returns.

    Args:
        archive: The archive.
        wanted: For each file's path in the archive where it goes to.
        top: How many folders at the beginning of a path do not count.
        limits: How many files it may have, and how large they may be together and alone.

    Returns:
        The paths of all files.

    Raises:
        UnsafeError: It is damaged, has a path that leads out of it, anything but files and folders, or too much.
    """
    found: dict[str, None] = {}
    with _damage_told():
        for path, contents in _files(archive, limits):
            name = "/".join(PurePosixPath(path).parts[top:])
            if name in found:
                raise UnsafeError(f"it has {name} twice")
            found[name] = None
            if name in wanted:
                with wanted[name].open("wb") as target:
                    shutil.copyfileobj(contents, target)
    return list(found)


def unpack(archive: Path, folder: Path, limits: Limits = LIMITS) -> None:
    """Writes all files of an archive to a folder.

    Raises:
        UnsafeError: As for ``take``.
    """
    with _damage_told():
        for path, contents in _files(archive, limits):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                shutil.copyfileobj(contents, file)


@contextlib.contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise UnsafeError(f"it is damaged: {error}") from error


def _files(archive: Path, limits: Limits) -> Iterator[tuple[str, IO[bytes]]]:
    """Each file's path in the archive, and its contents, which can be read until the next one is asked for."""
    return _zip(archive, limits) if zipfile.is_zipfile(archive) else _tar(archive, limits)


def _zip(archive: Path, limits: Limits) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as opened:
        entries = opened.infolist()
        _count(len(entries), limits)
        for entry in entries:
            _inside(entry.filename)
            mode = entry.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise UnsafeError(f"{entry.filename} is not a file, but a link or a device")
            if entry.flag_bits & 1:
                raise UnsafeError(f"{entry.filename} is encrypted")
            _size(entry.filename, entry.file_size, limits)
        _total(sum(entry.file_size for entry in entries), limits)
        for entry in entries:
            if not entry.is_dir():
                with opened.open(entry) as contents:  # gives no more than the size that was checked
                    yield entry.filename, contents


def _tar(archive: Path, limits: Limits) -> Iterator[tuple[str, IO[bytes]]]:
    with (
        gzip.open(archive) as plain,
        tarfile.open(fileobj=cast(IO[bytes], _Bounded(plain, limits)), mode="r|") as opened,
    ):
        for number, entry in enumerate(opened):
            _count(number + 1, limits)
            _inside(entry.name)
            if entry.isdir():
                continue
            if not entry.isreg():
                raise UnsafeError(f"{entry.name} is not a file, but a link or a device")
            _size(entry.name, entry.size, limits)
            contents = opened.extractfile(entry)
            assert contents is not None
            with contents:
                yield entry.name, contents


class _Bounded:
    """A stream that must not be longer than an archive may be unpacked."""

    def __init__(self, file: gzip.GzipFile, limits: Limits) -> None:
        self._file, self._limits, self._read = file, limits, 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._read += len(data)
        _total(self._read, self._limits)
        return data


def _inside(path: str) -> None:
    if not path or path.startswith("/") or "\\" in path or "\0" in path or ".." in PurePosixPath(path).parts:
        raise UnsafeError(f"{path!r} leads out of it")


def _count(members: int, limits: Limits) -> None:
    if members > limits.members:
        raise UnsafeError(f"it has more than {limits.members:,} files")


def _size(path: str, nbytes: int, limits: Limits) -> None:
    if nbytes > limits.file:
        raise UnsafeError(f"{path} has {nbytes:,} bytes unpacked; allowed are {limits.file:,}")


def _total(nbytes: int, limits: Limits) -> None:
    if nbytes > limits.unpacked:
        raise UnsafeError(f"it has more than {limits.unpacked:,} bytes unpacked")
