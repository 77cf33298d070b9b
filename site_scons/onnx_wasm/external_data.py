"""Which files hold an ONNX model's external data, read off the file without the ``onnx`` package.

SCons asks for this on every build, so it must not cost an import, and it must not read the weights: the file is
walked field by field and everything that cannot name a file is skipped by its length. Source of the format:
``onnx.proto3`` and https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import PurePosixPath

# From a message of onnx.proto3 to its fields that lead to a TensorProto: field number → message.
_FIELDS: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
}
_KEY, _VALUE = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEEPEST = 100


def locations(path: str) -> list[str]:
    """Lists the files that an ONNX model's tensors say they are in.

    Args:
        path: The ONNX file. One that is damaged gives what could be read: the step that imports it tells the user.

    Returns:
        Paths relative to the file's folder, sorted, each once; those outside of the folder are left out, as no build
        reads them.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - on the path of a null build
            if os.fstat(file.fileno()).st_size == 0:
                return []
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                found = set(_tensor_files(data, 0, len(data), "Model", 0))
    except (OSError, _DamagedError, UnicodeDecodeError):
        return []
    return sorted(location for location in found if _inside(location))


class _DamagedError(Exception):
    """The bytes are not a protobuf message."""


def _inside(location: str) -> bool:
    path = PurePosixPath(location)
    return bool(location) and not path.is_absolute() and ".." not in path.parts and "\0" not in location


def _tensor_files(data: mmap.mmap, at: int, end: int, message: str, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise _DamagedError
    known = _FIELDS[message]
    for number, start, stop in _fields(data, at, end):
        inner = known.get(number)
        if inner == "Entry":
            entry = {field: (first, last) for field, first, last in _fields(data, start, stop)}
            if _KEY in entry and _VALUE in entry and data[slice(*entry[_KEY])] == b"location":
                yield data[slice(*entry[_VALUE])].decode()
        elif inner is not None:
            yield from _tensor_files(data, start, stop, inner, depth + 1)


def _fields(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yields each length-delimited field of a message: its number, and where its bytes start and end."""
    while at < end:
        tag, at = _varint(data, at, end)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(data, at, end)
        elif kind == _BYTES:
            size, at = _varint(data, at, end)
            if size > end - at:
                raise _DamagedError
            yield tag >> 3, at, at + size
            at += size
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise _DamagedError


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _DamagedError
