"""Runs of actions on a server: begun, waited for, taken up again where a connection broke, cancelled."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from buildgrid.common.protos.build.bazel.remote.execution.v2 import remote_execution_pb2 as reapi
from buildgrid.common.protos.build.bazel.remote.execution.v2 import remote_execution_pb2_grpc as reapi_grpc
from buildgrid.common.protos.google.longrunning import operations_pb2 as operations
from buildgrid.common.protos.google.longrunning import operations_pb2_grpc as operations_grpc

from onnx_wasm.strategies.cache.digest import Digest
from onnx_wasm.strategies.cache.errors import UnavailableError
from onnx_wasm.strategies.remote.blobs import as_message
from onnx_wasm.strategies.remote.server import FIRST_PAUSE, TRANSIENT, Server, reason, status_text

_ATTEMPTS = 5
_CODES = {it.value[0]: it for it in grpc.StatusCode}
_TIME_TO_CANCEL = 5.0


class InterruptedBuildError(Exception):
    """The build was interrupted."""


class _LostInputsError(Exception):
    """The server lacks blobs of an action that was begun."""


class Executions:
    """All runs of a build.

    Args:
        server: The server.
        timeout: Seconds that an action may take, and as many that it may wait for a worker.
    """

    def __init__(self, server: Server, timeout: int) -> None:
        self._server, self._timeout = server, timeout
        self._stub = reapi_grpc.ExecutionStub(server.channel)
        self._operations = operations_grpc.OperationsStub(server.channel)
        self._running: dict[object, str] = {}
        self._lock = threading.Lock()

    def run(self, action: Digest, upload: Callable[[], None], again: bool) -> reapi.ExecuteResponse:
        """Runs an action to its end.

        Args:
            action: Its digest.
            upload: Sends those of its blobs that the server lacks.
            again: Whether a result that is there already is of no use.

        Raises:
            UnavailableError: The server does not run it.
            InterruptedBuildError: The build was interrupted.
        """
        request = reapi.ExecuteRequest(
            instance_name=self._server.instance, action_digest=as_message(action), skip_cache_lookup=again
        )
        for number in range(_ATTEMPTS):
            upload()
            try:
                return self._run(request)
            except _LostInputsError as error:
                if number == _ATTEMPTS - 1:
                    raise UnavailableError(f"it loses what it is given: {error}") from error
            except _TransientError as error:
                if number == _ATTEMPTS - 1:
                    raise UnavailableError(str(error)) from error
                self._pause(number)
        raise AssertionError("the last attempt returns or raises")

    def interrupt(self) -> None:
        """Ends all runs, here and on the server."""
        self._server.stopped.set()
        with self._lock:
            running = dict(self._running)
        for stream, name in running.items():
            if name:
                request = operations.CancelOperationRequest(name=name)
                with contextlib.suppress(grpc.RpcError):
                    self._operations.CancelOperation(request, **self._server.options(_TIME_TO_CANCEL))
            stream.cancel()  # type: ignore[attr-defined] # grpc has no types

    def _run(self, request: reapi.ExecuteRequest) -> reapi.ExecuteResponse:
        """Begins a run and waits for its end, also over several connections."""
        deadline = time.monotonic() + 2 * self._timeout
        name, broken = "", 0
        while True:
            options = self._server.options(max(deadline - time.monotonic(), 0))
            if name:
                stream = self._stub.WaitExecution(reapi.WaitExecutionRequest(name=name), **options)
            else:
                stream = self._stub.Execute(request, **options)
            try:
                with self._noted(stream):
                    for operation in stream:
                        name, broken = operation.name, 0
                        self._running[stream] = name
                        if operation.done:
                            return _response(operation)
                failure = "the stream of an execution ended before the execution"
            except grpc.RpcError as error:
                failure = self._passing(error, name)
                if error.code() == grpc.StatusCode.NOT_FOUND:
                    name = ""  # a server that has been started anew knows nothing of it
            broken += 1
            if broken == _ATTEMPTS:
                raise UnavailableError(failure)
            self._pause(broken)

    def _passing(self, error: grpc.RpcError, name: str) -> str:
        """Why a connection broke, if it is worth while to make another."""
        if self._server.stopped.is_set():
            raise InterruptedBuildError from error
        if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            raise UnavailableError(f"no result within {2 * self._timeout} seconds") from error
        if error.code() == grpc.StatusCode.FAILED_PRECONDITION:
            raise _LostInputsError(reason(error)) from error
        if error.code() not in TRANSIENT and not (error.code() == grpc.StatusCode.NOT_FOUND and name):
            raise UnavailableError(reason(error)) from error
        return reason(error)

    def _pause(self, number: int) -> None:
        if self._server.stopped.wait(FIRST_PAUSE * 2**number * random.uniform(0.5, 1)):
            raise InterruptedBuildError

    @contextlib.contextmanager
    def _noted(self, stream: Any) -> Iterator[None]:
        with self._lock:
            self._running[stream] = ""
        if self._server.stopped.is_set():
            stream.cancel()
        try:
            yield
        finally:
            with self._lock:
                self._running.pop(stream, None)


class _TransientError(Exception):
    """A run that failed in a way that may pass."""


def _response(operation: operations.Operation) -> reapi.ExecuteResponse:
    """What came of an operation that is done."""
    response = reapi.ExecuteResponse()
    if operation.HasField("error"):
        response.status.CopyFrom(operation.error)
    else:
        operation.response.Unpack(response)
    code = _CODES.get(response.status.code, grpc.StatusCode.UNKNOWN)
    said = status_text(code.name, response.status.message)
    if code == grpc.StatusCode.OK:
        return response
    if code == grpc.StatusCode.FAILED_PRECONDITION:
        raise _LostInputsError(said)
    if code in TRANSIENT:
        raise _TransientError(said)
    raise UnavailableError(said)
