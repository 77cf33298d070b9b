"""The files that an action reads as the API's tree of directories, named by its digest."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from buildgrid.common.protos.build.bazel.remote.execution.v2 import remote_execution_pb2 as reapi

from onnx_wasm.strategies.cache.digest import Digest, of_bytes, of_file
from onnx_wasm.strategies.remote.blobs import Source, as_message


class Digests:
    """The digests of files, each computed once for as long as it is not changed."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, int, int], Digest]] = {}
        self._lock = threading.Lock()

    def of(self, path: str) -> Digest:
        """The digest of a file."""
        there = os.stat(path)  # noqa: PTH116 - quicker, for very many files
        state = (there.st_ino, there.st_size, there.st_mtime_ns)
        with self._lock:
            known = self._known.get(path)
        if known is None or known[0] != state:
            known = (state, of_file(Path(path)))
            with self._lock:
                self._known[path] = known
        return known[1]


def tree(files: Iterable[str], digests: Digests) -> tuple[Digest, Mapping[Digest, Source]]:
    """Makes a tree.

    Args:
        files: Their paths from its root, which is the current folder.
        digests: Of the files.

    Returns:
        The root's digest, and the source of every blob in the tree: its files and its directories.
    """
    blobs: dict[Digest, Source] = {}
    folders: dict[PurePosixPath, reapi.Directory] = {PurePosixPath(): reapi.Directory()}
    for file in sorted(set(files), key=lambda it: PurePosixPath(it).parts):
        path, digest = PurePosixPath(file), digests.of(file)
        blobs[digest] = Path(file)
        for parent in path.parents:
            folders.setdefault(parent, reapi.Directory())
        executable = os.access(file, os.X_OK)
        folders[path.parent].files.add(name=path.name, digest=as_message(digest), is_executable=executable)
    for path in sorted(folders, key=lambda it: len(it.parts), reverse=True):  # what is inside comes first
        message = folders[path]
        message.directories.sort(key=lambda it: it.name)
        data = message.SerializeToString(deterministic=True)
        digest = of_bytes(data)
        blobs[digest] = data
        if path.parts:
            folders[path.parent].directories.add(name=path.name, digest=as_message(digest))
    return digest, blobs
