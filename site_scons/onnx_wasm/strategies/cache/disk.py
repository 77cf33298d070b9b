"""The tier in a folder of this machine, laid out as Bazel's ``--disk_cache``.

Source: https://bazel.build/remote/caching#disk-cache.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from onnx_wasm.strategies.cache import action_result
from onnx_wasm.strategies.cache.action_result import ActionResult
from onnx_wasm.strategies.cache.digest import PIECE, Digest, write_verified
from onnx_wasm.strategies.cache.errors import DamagedError


class DiskTier:
    """Results in ``ac/`` and blobs in ``cas/``. Several builds may use one folder; it can be deleted at any time.

    Args:
        folder: Where; made when something is first kept.
    """

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._folder = folder

    def lookup(self, key: str) -> ActionResult | None:
        """See ``Tier``. A result that is damaged is removed."""
        path = self._path("ac", key)
        try:
            with path.open("rb") as file:
                data = file.read(action_result.LONGEST)
        except FileNotFoundError:
            return None
        with _removed_if_damaged(path):
            return action_result.decode(data)

    def fetch(self, blobs: Mapping[Path, Digest]) -> bool:
        """See ``Tier``. A blob that is damaged is removed."""
        for path, digest in blobs.items():
            blob = self._path("cas", digest.hash)
            try:
                source = blob.open("rb")
            except FileNotFoundError:
                return False
            with source, path.open("wb") as target, _removed_if_damaged(blob):
                write_verified(_pieces(source), target, digest)
        return True

    def store(self, key: str, result: ActionResult, files: Mapping[Path, Digest]) -> None:
        """See ``Tier``."""
        for path, digest in files.items():
            blob = self._path("cas", digest.hash)
            if not _has_size(blob, digest.size):
                with path.open("rb") as source, _replacing(blob) as target:
                    write_verified(_pieces(source), target, digest)
        with _replacing(self._path("ac", key)) as target:
            target.write(result.encode())

    def _path(self, kind: str, name: str) -> Path:
        return self._folder / kind / name[:2] / name


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Gives a file that takes a path's place once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(prefix=".", suffix=".partial", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            yield file
        os.replace(partial, path)  # noqa: PTH105 - a string
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)  # noqa: PTH108 - a string
        raise


@contextlib.contextmanager
def _removed_if_damaged(path: Path) -> Iterator[None]:
    try:
        yield
    except DamagedError:
        path.unlink(missing_ok=True)
        raise


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(PIECE):
        yield piece


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False
