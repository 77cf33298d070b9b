"""Serves both services on loopback, until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from onnx_wasm.teaclave import door
from onnx_wasm.teaclave.places import Places
from onnx_wasm.teaclave.refusal import Refusal
from onnx_wasm.teaclave.services import Call, Service, Services

_THREADS = 8
_GRACE = 1.0
_LARGEST_FILE = 1 << 30


@dataclass(frozen=True)
class Settings:
    """How the stand-in is started.

    Args:
        folder: Where ``file:`` addresses may lead; None for nowhere.
        authentication_port: Where the authentication service listens; 0 for any free port.
        frontend_port: Where the frontend listens; 0 for any free port.
        seconds: How long a payload may run.
        token_seconds: How long a token is good for.
        largest_message: Bytes of the largest message by gRPC.
    """

    folder: Path | None
    authentication_port: int
    frontend_port: int
    seconds: float
    token_seconds: float
    largest_message: int


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[int, int]]:
    """Serves both services.

    Yields:
        The ports of the authentication service and of the frontend.

    Raises:
        BuildError: A port cannot be had.
    """
    services = Services(Places(settings.folder, _LARGEST_FILE), settings.seconds, settings.token_seconds)
    ports = (settings.authentication_port, settings.frontend_port)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(services.close)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="teaclave-local-")))
        pool = stack.enter_context(ThreadPoolExecutor(_THREADS, "call"))
        tls = door.context(folder)
        found = []
        for service, port in zip((services.authentication, services.frontend), ports, strict=True):
            socket = folder / service.name.rpartition(".")[2]
            stack.callback(_started(service, socket, settings.largest_message))
            found.append(await stack.enter_async_context(door.opened(service, socket, port, tls, pool)))
        yield found[0], found[1]


async def serve(settings: Settings, tell: Callable[[int, int], None], ended: asyncio.Event) -> None:
    """Serves both services until an event, having told their ports."""
    async with serving(settings) as (authentication, frontend):
        tell(authentication, frontend)
        await ended.wait()


def _started(service: Service, socket: Path, largest_message: int) -> Callable[[], None]:
    """Starts a server of one service for gRPC on a socket that only this user can reach; gives what ends it."""
    handlers = {
        call.method.name: grpc.unary_unary_rpc_method_handler(
            _behaviour(call),
            request_deserializer=call.method.request.FromString,
            response_serializer=call.method.response.SerializeToString,
        )
        for call in service.calls.values()
    }
    options = [
        ("grpc.max_receive_message_length", largest_message),
        ("grpc.max_send_message_length", largest_message),
    ]
    server = grpc.server(ThreadPoolExecutor(_THREADS, "call"), options=options, maximum_concurrent_rpcs=4 * _THREADS)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service.name, handlers)])
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    return lambda: server.stop(_GRACE).wait()


def _behaviour(call: Call) -> Callable[[Any, Any], Any]:
    def behave(request: Any, context: Any) -> Any:
        metadata = {key: it for key, it in context.invocation_metadata() if isinstance(it, str)}
        try:
            return call(request, metadata)
        except Refusal as refusal:
            return context.abort(grpc.StatusCode[refusal.code.value], str(refusal))

    return behave
