"""A small server of the Remote Execution API, for what buildbox-casd does not do.

It has TLS, tokens, zstd, small batches, and every failure that a test wants of it.
"""
# ruff: noqa: N802 - the names are the API's

from __future__ import annotations

import collections
import contextlib
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import trustme
import zstandard
from buildgrid.common.protos.build.bazel.remote.execution.v2 import remote_execution_pb2 as reapi
from buildgrid.common.protos.build.bazel.remote.execution.v2 import remote_execution_pb2_grpc as reapi_grpc
from buildgrid.common.protos.google.bytestream import bytestream_pb2 as bytestream
from buildgrid.common.protos.google.bytestream import bytestream_pb2_grpc as bytestream_grpc
from buildgrid.common.protos.google.longrunning import operations_pb2 as operations
from buildgrid.common.protos.google.longrunning import operations_pb2_grpc as operations_grpc
from google.protobuf.empty_pb2 import Empty

Script = Iterator[Callable[[Any], Iterator[operations.Operation]]]
"""What the server does with each call of Execute or WaitExecution, in order."""


@dataclass
class State:
    """What a server has and what it was asked.

    Args:
        address: Where it is.
        zstd: Whether it offers compression.
        largest_batch: What it says of batches; 0 for nothing.
        token: What it wants to be shown; empty for nothing.
        failures: How many times a method fails, and how, before it works.
        script: What it does with executions.
    """

    address: str = ""
    zstd: bool = False
    largest_batch: int = 0
    token: str = ""
    failures: dict[str, list[grpc.StatusCode]] = field(default_factory=dict)
    script: Script = field(default_factory=lambda: iter([]))
    blobs: dict[str, bytes] = field(default_factory=dict)
    results: dict[str, reapi.ActionResult] = field(default_factory=dict)
    calls: collections.Counter[str] = field(default_factory=collections.Counter)
    names: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def called(self, method: str, context: grpc.ServicerContext) -> None:
        self.calls[method] += 1
        if self.token and ("authorization", f"Bearer {self.token}") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        if self.failures.get(method):
            context.abort(self.failures[method].pop(0), "not now")


class _Capabilities(reapi_grpc.CapabilitiesServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    def GetCapabilities(self, request: object, context: grpc.ServicerContext) -> reapi.ServerCapabilities:  # noqa: ARG002
        self._state.called("GetCapabilities", context)
        caches = reapi.CacheCapabilities(max_batch_total_size_bytes=self._state.largest_batch)
        if self._state.zstd:
            caches.MergeFromString(b"\x32\x02\x00\x01")  # supported_compressors: IDENTITY, ZSTD
        return reapi.ServerCapabilities(cache_capabilities=caches)


class _Results(reapi_grpc.ActionCacheServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    def GetActionResult(
        self, request: reapi.GetActionResultRequest, context: grpc.ServicerContext
    ) -> reapi.ActionResult:
        self._state.called("GetActionResult", context)
        if request.action_digest.hash not in self._state.results:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such result")
        return self._state.results[request.action_digest.hash]

    def UpdateActionResult(
        self, request: reapi.UpdateActionResultRequest, context: grpc.ServicerContext
    ) -> reapi.ActionResult:
        self._state.called("UpdateActionResult", context)
        assert request.action_digest.hash in self._state.blobs, "the action itself is no blob"
        for file in request.action_result.output_files:
            assert file.digest.hash in self._state.blobs, "a result before its blobs"
        self._state.results[request.action_digest.hash] = request.action_result
        return request.action_result


class _Blobs(reapi_grpc.ContentAddressableStorageServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    def FindMissingBlobs(
        self, request: reapi.FindMissingBlobsRequest, context: grpc.ServicerContext
    ) -> reapi.FindMissingBlobsResponse:
        self._state.called("FindMissingBlobs", context)
        missing = [it for it in request.blob_digests if it.hash not in self._state.blobs]
        return reapi.FindMissingBlobsResponse(missing_blob_digests=missing)

    def BatchUpdateBlobs(
        self, request: reapi.BatchUpdateBlobsRequest, context: grpc.ServicerContext
    ) -> reapi.BatchUpdateBlobsResponse:
        self._state.called("BatchUpdateBlobs", context)
        assert request.ByteSize() <= (self._state.largest_batch or 4 << 20)
        response = reapi.BatchUpdateBlobsResponse()
        for each in request.requests:
            _put(self._state, each.digest.hash, each.data)
            response.responses.add(digest=each.digest)
        return response

    def BatchReadBlobs(
        self, request: reapi.BatchReadBlobsRequest, context: grpc.ServicerContext
    ) -> reapi.BatchReadBlobsResponse:
        self._state.called("BatchReadBlobs", context)
        response = reapi.BatchReadBlobsResponse()
        for digest in request.digests:
            each = response.responses.add(digest=digest)
            if digest.hash in self._state.blobs:
                each.data = self._state.blobs[digest.hash]
            else:
                each.status.code = grpc.StatusCode.NOT_FOUND.value[0]
        assert response.ByteSize() <= (self._state.largest_batch or 4 << 20)
        return response


class _Streams(bytestream_grpc.ByteStreamServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    def Read(self, request: bytestream.ReadRequest, context: grpc.ServicerContext) -> Iterator[bytestream.ReadResponse]:
        self._state.called("Read", context)
        self._state.names.append(request.resource_name)
        *kind, name, _ = request.resource_name.split("/")
        if name not in self._state.blobs:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such blob")
        data = self._state.blobs[name]
        if "zstd" in kind:
            data = zstandard.compress(data)
        for at in range(0, len(data), 50_000):
            yield bytestream.ReadResponse(data=data[at : at + 50_000])

    def Write(
        self, requests: Iterator[bytestream.WriteRequest], context: grpc.ServicerContext
    ) -> bytestream.WriteResponse:
        self._state.called("Write", context)
        data, name, finished = b"", "", False
        for request in requests:
            assert request.write_offset == len(data)
            assert not finished
            name = name or request.resource_name
            data += request.data
            finished = request.finish_write
        assert finished
        self._state.names.append(name)
        *kind, hash_, size = name.split("/")
        plain = zstandard.ZstdDecompressor().decompressobj().decompress(data) if "zstd" in kind else data
        assert len(plain) == int(size)
        _put(self._state, hash_, plain)
        return bytestream.WriteResponse(committed_size=len(data))


class _Execution(reapi_grpc.ExecutionServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    def Execute(self, request: object, context: grpc.ServicerContext) -> Iterator[operations.Operation]:  # noqa: ARG002
        self._state.called("Execute", context)
        yield from next(self._state.script)(context)

    def WaitExecution(
        self, request: reapi.WaitExecutionRequest, context: grpc.ServicerContext
    ) -> Iterator[operations.Operation]:
        self._state.called("WaitExecution", context)
        self._state.names.append(request.name)
        yield from next(self._state.script)(context)


class _Operations(operations_grpc.OperationsServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    def CancelOperation(self, request: operations.CancelOperationRequest, context: grpc.ServicerContext) -> Any:
        self._state.called("CancelOperation", context)
        self._state.cancelled.append(request.name)
        return Empty()


def _put(state: State, name: str, data: bytes) -> None:
    assert hashlib.sha256(data).hexdigest() == name, "a blob of another name"
    state.blobs[name] = data


@contextlib.contextmanager
def serving(authority: Path | None = None, **how: Any) -> Iterator[State]:
    """Runs a server.

    Args:
        authority: Where to write the certificate of the authority that vouches for it; None for no TLS.
        how: See ``State``.
    """
    state = State(**how)
    server = grpc.server(ThreadPoolExecutor(80))
    reapi_grpc.add_CapabilitiesServicer_to_server(_Capabilities(state), server)
    reapi_grpc.add_ActionCacheServicer_to_server(_Results(state), server)
    reapi_grpc.add_ContentAddressableStorageServicer_to_server(_Blobs(state), server)
    reapi_grpc.add_ExecutionServicer_to_server(_Execution(state), server)
    bytestream_grpc.add_ByteStreamServicer_to_server(_Streams(state), server)
    operations_grpc.add_OperationsServicer_to_server(_Operations(state), server)
    if authority is None:
        port = server.add_insecure_port("127.0.0.1:0")
        state.address = f"grpc://127.0.0.1:{port}"
    else:
        ca = trustme.CA()
        ca.cert_pem.write_to_path(str(authority))
        certificate = ca.issue_cert("127.0.0.1")
        chain = b"".join(it.bytes() for it in certificate.cert_chain_pems)
        credentials = grpc.ssl_server_credentials([(certificate.private_key_pem.bytes(), chain)])
        port = server.add_secure_port("127.0.0.1:0", credentials)
        state.address = f"grpcs://127.0.0.1:{port}"
    server.start()
    try:
        yield state
    finally:
        server.stop(0).wait()
