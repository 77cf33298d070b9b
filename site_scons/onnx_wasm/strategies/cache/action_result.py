"""The Remote Execution API's message ``ActionResult``: the outputs of an action, by their digests.

Only what a build's outputs need of it, without protobuf's library, which a build without a remote executor does not
have to load.

Source: https://github.com/bazelbuild/remote-apis, build/bazel/remote/execution/v2/remote_execution.proto, and
https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onnx_wasm.strategies.cache.digest import Digest
from onnx_wasm.strategies.cache.errors import DamagedError

LONGEST = 4 << 20
"""Bytes of the longest message that is read."""

# The numbers of the messages' fields.
_OUTPUT_FILES, _EXIT_CODE = 2, 4
_PATH, _DIGEST, _IS_EXECUTABLE = 1, 2, 4
_HASH, _SIZE_BYTES = 1, 2

_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5
_FIXED = {_I64: 8, _I32: 4}
_LONGEST_VARINT = 10


@dataclass(frozen=True)
class OutputFile:
    """A file that an action made.

    Args:
        path: Its path from the action's working directory.
        digest: Its contents.
        executable: Whether it can be run.
    """

    path: str
    digest: Digest
    executable: bool = False


@dataclass(frozen=True)
class ActionResult:
    """What came of an action that succeeded.

    Args:
        files: Its outputs, sorted by path.
    """

    files: tuple[OutputFile, ...]

    def encode(self) -> bytes:
        """The message's bytes: the same for the same outputs."""
        return b"".join(_chunk(_OUTPUT_FILES, _encoded(file)) for file in self.files)


def decode(data: bytes) -> ActionResult:
    """Reads a message from outside.

    Raises:
        DamagedError: It is no ActionResult, or that of an action that failed.
    """
    files: list[OutputFile] = []
    for number, value in _fields(data):
        if number == _OUTPUT_FILES:
            files.append(_output_file(_bytes(value)))
        elif number == _EXIT_CODE and value != 0:
            raise DamagedError("the result is of an action that failed")
    return ActionResult(tuple(files))


def _output_file(data: bytes) -> OutputFile:
    path, executable, digest = b"", False, b""
    for number, value in _fields(data):
        if number == _PATH:
            path = _bytes(value)
        elif number == _DIGEST:
            digest += _bytes(value)  # messages that follow each other are merged
        elif number == _IS_EXECUTABLE:
            executable = value != 0
    return OutputFile(_text(path), _read_digest(digest), executable)


def _read_digest(data: bytes) -> Digest:
    hash_, size = b"", 0
    for number, value in _fields(data):
        if number == _HASH:
            hash_ = _bytes(value)
        elif number == _SIZE_BYTES:
            size = _integer(value)
    digest = Digest(_text(hash_), size)
    if not digest.valid:
        raise DamagedError("the result names an output by what is no digest")
    return digest


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Each field's number and value."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == _LEN:
            size, at = _varint(data, at)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise _malformed()
        if at + size > len(data):
            raise _malformed()
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & (1 << 64) - 1, at + index + 1
    raise _malformed()


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise _malformed()
    return value


def _integer(value: int | bytes) -> int:
    """A signed integer of 64 bits."""
    if isinstance(value, bytes):
        raise _malformed()
    return value - (1 << 64) if value >> 63 else value


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _malformed() from error


def _malformed() -> DamagedError:
    return DamagedError("the result is no ActionResult")


def _encoded(file: OutputFile) -> bytes:
    digest = _chunk(_HASH, file.digest.hash.encode()) + _number(_SIZE_BYTES, file.digest.size)
    return _chunk(_PATH, file.path.encode()) + _chunk(_DIGEST, digest) + _number(_IS_EXECUTABLE, int(file.executable))


def _chunk(number: int, data: bytes) -> bytes:
    return _encoded_varint(number << 3 | _LEN) + _encoded_varint(len(data)) + data


def _number(number: int, value: int) -> bytes:
    """A field of which zero, the default, is not written."""
    return _encoded_varint(number << 3 | _VARINT) + _encoded_varint(value) if value else b""


def _encoded_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
