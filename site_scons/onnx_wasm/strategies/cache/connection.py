"""Connections of HTTP on which nobody waits for long, however a server behaves."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult

from onnx_wasm.errors import BuildError, Problem

if TYPE_CHECKING:
    from typing_extensions import Buffer

PATIENCE = 10.0
"""Seconds that a server has to connect, to take a piece of a request, and to answer."""

SLOWEST = 10_000
"""Bytes in a second that an answer or a request must come on by, after ``PATIENCE``."""


def connector(
    place: SplitResult, certificates: Path | None, patience: float
) -> Callable[[], http.client.HTTPConnection]:
    """What makes connections to a server.

    Args:
        place: Its address.
        certificates: A file of certificates that it is trusted by, in place of the system's.
        patience: See ``PATIENCE``.

    Raises:
        BuildError: There are no such certificates.
    """
    host = str(place.hostname)
    if place.scheme == "http":
        return lambda: _Connection(host, place.port, timeout=patience)
    try:
        context = ssl.create_default_context(cafile=certificates)
    except OSError as error:
        hint = "it must hold certificates in the form of PEM"
        raise BuildError(Problem(str(certificates), f"no certificates can be read: {error.strerror}", hint)) from error
    return lambda: _SecureConnection(host, place.port, timeout=patience, context=context)


class _Patient(io.RawIOBase):
    """What a server sends, as long as it does so quickly enough."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = time.monotonic() + (sock.gettimeout() or 0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        patience = self._socket.gettimeout()
        self._socket.settimeout(left)
        try:
            size = self._raw.readinto(buffer)
        finally:
            self._socket.settimeout(patience)
        self._deadline += (size or 0) / SLOWEST
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp.close()
        self.fp = io.BufferedReader(_Patient(sock))


class _Connection(http.client.HTTPConnection):
    response_class = _Response


class _SecureConnection(http.client.HTTPSConnection):
    response_class = _Response
