"""The tier on a server that speaks Bazel's caching protocol: results at ``/ac/<key>``, blobs at ``/cas/<sha256>``.

Source: https://bazel.build/remote/caching#http-caching.
"""

from __future__ import annotations

import http.client
import io
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, TypeVar
from urllib.parse import SplitResult, urlsplit

from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.strategies.cache import action_result
from onnx_wasm.strategies.cache.action_result import ActionResult
from onnx_wasm.strategies.cache.connection import PATIENCE, SLOWEST, connector
from onnx_wasm.strategies.cache.credentials import TOKEN
from onnx_wasm.strategies.cache.digest import PIECE, Digest, of_opened, write_verified
from onnx_wasm.strategies.cache.errors import UnavailableError

_STALE = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError)
_OK, _STORED, _NOT_FOUND, _REDIRECTS = 200, (200, 201, 202, 204), 404, range(300, 400)
_LONGEST_PAGE = 1 << 16

_T = TypeVar("_T")


class HttpTier:
    """A server's results and blobs. Each thread keeps a connection of its own open.

    Args:
        address: ``http://`` or ``https://``, a host, perhaps a port and a path.
        authorization: The header of that name.
        certificates: A file of certificates that a server is trusted by, in place of the system's.
        patience: See ``PATIENCE``.

    Raises:
        BuildError: The address is none, or there are no such certificates.
    """

    def __init__(
        self,
        address: str,
        authorization: str | None = None,
        certificates: Path | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.name = address
        self._patience = patience
        place = parse(address)
        self._prefix = place.path.rstrip("/")
        self._headers = {"User-Agent": "onnx-wasm", "Accept-Encoding": "identity"}
        if authorization:
            self._headers["Authorization"] = authorization
        self._connect = connector(place, certificates, patience)
        self._own = threading.local()

    def lookup(self, key: str) -> ActionResult | None:
        """See ``Tier``."""
        data = io.BytesIO()

        def read(pieces: Iterator[bytes]) -> None:
            for piece in pieces:
                data.write(piece)
                if data.tell() > action_result.LONGEST:
                    raise UnavailableError(f"it answers with more than {action_result.LONGEST:,} bytes of a result")

        return action_result.decode(data.getvalue()) if self._get(f"/ac/{key}", read) else None

    def fetch(self, blobs: Mapping[Path, Digest]) -> bool:
        """See ``Tier``."""
        return all(self._fetch(path, digest) for path, digest in blobs.items())

    def store(self, key: str, result: ActionResult, files: Mapping[Path, Digest]) -> None:
        """See ``Tier``. Blobs are written also where there are some of that name: these might be damaged."""
        for path, digest in files.items():
            with path.open("rb") as file:
                if of_opened(file) != digest:
                    return  # another build has made another one meanwhile
                self._put(f"/cas/{digest.hash}", file, digest.size)
        message = result.encode()
        self._put(f"/ac/{key}", io.BytesIO(message), len(message))

    def _fetch(self, path: Path, digest: Digest) -> bool:
        with path.open("wb") as target:
            return self._get(f"/cas/{digest.hash}", lambda pieces: write_verified(pieces, target, digest))

    def _get(self, path: str, read: Callable[[Iterator[bytes]], None]) -> bool:
        """Has the body of what is at a path read, and gives whether there is anything."""

        def answer(response: http.client.HTTPResponse) -> bool:
            if response.status == _OK:
                read(_body(response))
                return True
            if response.status == _NOT_FOUND:
                response.read(_LONGEST_PAGE)
                return False
            raise UnavailableError(_refusal(response.status))

        return self._exchange("GET", path, answer)

    def _put(self, path: str, body: IO[bytes], size: int) -> None:
        def answer(response: http.client.HTTPResponse) -> None:
            if response.status not in _STORED:
                raise UnavailableError(_refusal(response.status))
            response.read(_LONGEST_PAGE)

        self._exchange("PUT", path, answer, body, size)

    def _exchange(
        self,
        method: str,
        path: str,
        answer: Callable[[http.client.HTTPResponse], _T],
        body: IO[bytes] | None = None,
        size: int = 0,
    ) -> _T:
        """Makes one request, and has its answer read."""
        headers = self._headers if body is None else {**self._headers, "Content-Length": str(size)}
        connection = self._connection()
        try:
            with self._request(connection, method, self._prefix + path, headers, body) as response:
                result = answer(response)
                if not response.isclosed():  # what is left of this answer stands before the next one
                    connection.close()
                return result
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise UnavailableError(self._reason(error)) from error
        except BaseException:
            connection.close()
            raise

    def _request(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: IO[bytes] | None,
    ) -> http.client.HTTPResponse:
        """Makes a request; a second time if the connection was one that the server had closed meanwhile."""
        reused = connection.sock is not None
        try:
            connection.request(method, path, body and self._pieces(body), headers)
            return connection.getresponse()
        except _STALE:
            connection.close()
            if not reused:
                raise
            connection.request(method, path, body and self._pieces(body), headers)
            return connection.getresponse()

    def _connection(self) -> http.client.HTTPConnection:
        if not hasattr(self._own, "connection"):
            self._own.connection = self._connect()
        connection: http.client.HTTPConnection = self._own.connection
        return connection

    def _pieces(self, body: IO[bytes]) -> Iterator[bytes]:
        """What is sent, as long as the server takes it quickly enough."""
        body.seek(0)
        started = time.monotonic()
        while piece := body.read(PIECE):
            yield piece
            if time.monotonic() - started > self._patience + body.tell() / SLOWEST:
                raise TimeoutError

    def _reason(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {self._patience:g} seconds"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {error.verify_message}"
        if isinstance(error, http.client.RemoteDisconnected):
            return "the connection closed without an answer"
        if isinstance(error, http.client.IncompleteRead):
            return "the connection closed early"
        if isinstance(error, http.client.HTTPException):  # whose text may be the server's
            return "it does not answer as HTTP does"
        return getattr(error, "strerror", None) or type(error).__name__


def parse(address: str) -> SplitResult:
    """Takes a server's address apart.

    Raises:
        BuildError: It is none, or has credentials in it; the message does not.
    """
    try:
        place = urlsplit(address)
        whole = bool(place.hostname) and place.port != 0
    except ValueError:
        place, whole = urlsplit(""), False
    if "@" in address:
        hint = f"put them into ~/.netrc, or a token into ${TOKEN}"
        raise BuildError(Problem("--remote-cache", "credentials do not belong into an address", hint))
    if not whole or place.scheme not in ("http", "https") or place.query or place.fragment:
        hint = "such as http://cache.example.org:8080 or https://cache.example.org/models"
        raise BuildError(Problem("--remote-cache", f"{address} is not the address of a cache", hint))
    return place


def _body(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while piece := response.read1(PIECE):
        yield piece
    if response.length:
        raise UnavailableError("the connection closed early")


def _refusal(status: int) -> str:
    if status in _REDIRECTS:
        return f"it leads elsewhere ({status}): give the address that is meant"
    return f"it answers {status} {http.client.responses.get(status, '')}".rstrip()
