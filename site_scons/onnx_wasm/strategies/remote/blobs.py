"""Blobs on a server: in batches if they are small, else as streams, compressed if the server takes that."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import IO, cast

import grpc
import zstandard
from buildgrid.common.protos.build.bazel.remote.execution.v2 import remote_execution_pb2 as reapi
from buildgrid.common.protos.build.bazel.remote.execution.v2 import remote_execution_pb2_grpc as reapi_grpc
from buildgrid.common.protos.google.bytestream import bytestream_pb2 as bytestream
from buildgrid.common.protos.google.bytestream import bytestream_pb2_grpc as bytestream_grpc
from google.protobuf.unknown_fields import UnknownFieldSet

from onnx_wasm.strategies.cache.digest import PIECE, Digest, write_verified
from onnx_wasm.strategies.cache.errors import DamagedError, UnavailableError
from onnx_wasm.strategies.remote.server import (
    LARGEST_MESSAGE,
    PATIENCE,
    SLOWEST,
    AbsentError,
    Server,
    batches,
    status_text,
)

_ENVELOPE = 200
"""Bytes of a batch that a blob needs for its digest and its status, at most."""

_LONGEST_MISSING = 20_000
_WORTH_COMPRESSING = 100_000
"""Bytes from which on a blob goes as a stream if the server takes streams compressed."""

# CacheCapabilities.supported_compressors, which the stubs are too old to know, and what is in it.
_SUPPORTED_COMPRESSORS, _ZSTD = 6, 1

Source = Path | bytes
"""What a blob's bytes are: a file, or themselves."""


class Blobs:
    """The blobs on a server.

    All methods raise ``UnavailableError`` if the server is of no use.

    Args:
        server: The server.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._cas = reapi_grpc.ContentAddressableStorageStub(server.channel)
        self._stream = bytestream_grpc.ByteStreamStub(server.channel)

    def upload(self, blobs: Mapping[Digest, Source]) -> None:
        """Sends those blobs that the server does not have."""
        wanted = [digest for digest in self._missing(blobs) if digest in blobs]
        small = [digest for digest in wanted if self._fits_a_batch(digest)]
        for group in batches(small, lambda it: it.size + _ENVELOPE, self._largest_batch):
            self._update(group, blobs)
        for digest in wanted:
            if not self._fits_a_batch(digest):
                self._write(digest, blobs[digest])

    def download(self, blobs: Mapping[Path, Digest]) -> bool:
        """Writes blobs to files and verifies them.

        Returns:
            Whether all of them were there.

        Raises:
            DamagedError: The server has something else by such a name.
        """
        small = [(path, digest) for path, digest in blobs.items() if self._fits_a_batch(digest)]
        large = [(path, digest) for path, digest in blobs.items() if not self._fits_a_batch(digest)]
        groups = batches(small, lambda it: it[1].size + _ENVELOPE, self._largest_batch)
        return all(self._read_batch(group) for group in groups) and all(self._read(*it) for it in large)

    def read(self, digest: Digest) -> bytes:
        """A blob's bytes; empty if it is not there. For what is small enough to be kept in memory."""
        data = io.BytesIO()
        return data.getvalue() if self._receive(digest, data) else b""

    @cached_property
    def _largest_batch(self) -> int:
        told = self._server.capabilities.cache_capabilities.max_batch_total_size_bytes
        return min(told or LARGEST_MESSAGE, LARGEST_MESSAGE)

    @cached_property
    def _compressed(self) -> bool:
        """Whether streams are compressed."""
        told = UnknownFieldSet(self._server.capabilities.cache_capabilities)
        packed = (it.data for it in told if it.field_number == _SUPPORTED_COMPRESSORS)
        return any(_ZSTD in (data if isinstance(data, bytes) else (data,)) for data in packed)

    def _fits_a_batch(self, digest: Digest) -> bool:
        worth_a_stream = self._compressed and digest.size >= _WORTH_COMPRESSING
        return digest.size + _ENVELOPE <= self._largest_batch and not worth_a_stream

    def _missing(self, digests: Iterable[Digest]) -> list[Digest]:
        found: list[Digest] = []
        for group in batches(digests, lambda _: 1, _LONGEST_MISSING):
            request = reapi.FindMissingBlobsRequest(
                instance_name=self._server.instance, blob_digests=map(as_message, group)
            )
            answer = self._server.call(self._cas.FindMissingBlobs, request)
            found += [Digest(it.hash, it.size_bytes) for it in answer.missing_blob_digests]
        return found

    def _update(self, group: list[Digest], blobs: Mapping[Digest, Source]) -> None:
        request = reapi.BatchUpdateBlobsRequest(instance_name=self._server.instance)
        for digest in group:
            request.requests.add(digest=as_message(digest), data=_bytes(blobs[digest]))
        answer = self._server.call(self._cas.BatchUpdateBlobs, request, nbytes=request.ByteSize())
        for each in answer.responses:
            if each.status.code:
                raise UnavailableError(_refused(each.status.code, each.status.message))

    def _read_batch(self, group: list[tuple[Path, Digest]]) -> bool:
        digests = {digest for _, digest in group}
        request = reapi.BatchReadBlobsRequest(instance_name=self._server.instance, digests=map(as_message, digests))
        answer = self._server.call(self._cas.BatchReadBlobs, request, nbytes=sum(it.size for it in digests))
        came = {Digest(it.digest.hash, it.digest.size_bytes): it for it in answer.responses}
        for path, digest in group:
            each = came.get(digest)
            if each is None or each.status.code == grpc.StatusCode.NOT_FOUND.value[0]:
                return False
            if each.status.code:
                raise UnavailableError(_refused(each.status.code, each.status.message))
            with path.open("wb") as target:
                write_verified([each.data], target, digest)
        return True

    def _read(self, path: Path, digest: Digest) -> bool:
        with path.open("wb") as target:
            return self._receive(digest, target)

    def _receive(self, digest: Digest, target: IO[bytes]) -> bool:
        """Writes a blob that comes as a stream, and gives whether it was there."""
        kind = "compressed-blobs/zstd" if self._compressed else "blobs"
        request = bytestream.ReadRequest(resource_name=self._name(kind, digest))

        def attempt() -> None:
            target.seek(0)
            target.truncate()
            answers = self._stream.Read(request, **self._server.options(PATIENCE + digest.size / SLOWEST))
            pieces = (it.data for it in answers)
            try:
                write_verified(_unpacked(pieces) if self._compressed else pieces, target, digest)
            finally:
                answers.cancel()

        try:
            self._server.retried(attempt)
        except AbsentError:
            return False
        return True

    def _write(self, digest: Digest, source: Source) -> None:
        compressed = self._compressed

        def requests() -> Iterator[bytestream.WriteRequest]:
            name = self._name(f"uploads/{uuid.uuid4()}/{'compressed-blobs/zstd' if compressed else 'blobs'}", digest)
            offset = 0
            with _opened(source) as file:
                reader = zstandard.ZstdCompressor().stream_reader(file) if compressed else file
                piece = reader.read(PIECE)
                while True:
                    following = reader.read(PIECE) if piece else b""
                    yield bytestream.WriteRequest(
                        resource_name=name, write_offset=offset, data=piece, finish_write=not following
                    )
                    if not following:
                        return
                    offset += len(piece)
                    piece = following

        options = self._server.options(PATIENCE + digest.size / SLOWEST)
        written = self._server.retried(lambda: self._stream.Write(requests(), **options)).committed_size
        if not compressed and written != digest.size:
            raise UnavailableError(f"it took {written:,} of the {digest.size:,} bytes of a blob")

    def _name(self, kind: str, digest: Digest) -> str:
        parts = (self._server.instance, kind, digest.hash, str(digest.size))
        return "/".join(part for part in parts if part)


def as_message(digest: Digest) -> reapi.Digest:
    """A digest as the API writes it."""
    return reapi.Digest(hash=digest.hash, size_bytes=digest.size)


def _refused(code: int, message: str) -> str:
    names = {it.value[0]: it.name for it in grpc.StatusCode}
    return status_text(names.get(code, str(code)), message)


def _bytes(source: Source) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


def _opened(source: Source) -> IO[bytes]:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _unpacked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """What comes compressed, a piece at a time: a few bytes can stand for very many."""
    with zstandard.ZstdDecompressor().stream_reader(
        cast(IO[bytes], _Reader(pieces)), read_across_frames=True
    ) as reader:
        while True:
            try:
                piece = reader.read(PIECE)
            except zstandard.ZstdError as error:
                raise DamagedError(f"what comes compressed is damaged: {error}") from error
            if not piece:
                return
            yield piece


class _Reader:
    """Pieces, read as a file is."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""

    def read(self, size: int) -> bytes:
        if not self._left:
            self._left = next(self._pieces, b"")
        data, self._left = self._left[:size], self._left[size:]
        return data
