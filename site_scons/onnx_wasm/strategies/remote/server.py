"""A connection with a server, and calls that are made again when that may help."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.strategies.cache.credentials import TOKEN, authorization
from onnx_wasm.strategies.cache.errors import UnavailableError
from onnx_wasm.workspace_file import Remote

# Before grpc is imported: it would say what we say, and hinder the processes that a build starts.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

import grpc
from buildgrid.common.protos.build.bazel.remote.execution.v2 import remote_execution_pb2 as reapi
from buildgrid.common.protos.build.bazel.remote.execution.v2 import remote_execution_pb2_grpc as reapi_grpc

PATIENCE = 10.0
"""Seconds that a server has to answer a call."""

SLOWEST = 10_000
"""Bytes in a second that blobs must come or go by, after ``PATIENCE``."""

LARGEST_MESSAGE = 4_000_000
"""Bytes that a message may have: gRPC's own limit is 4 MiB, of which envelopes need some."""

_ATTEMPTS = 5
_LONGEST_DETAILS = 200

FIRST_PAUSE = 0.2
"""Seconds before something is tried again; each pause after it is twice as long, less a part that chance decides."""

TRANSIENT = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)
"""Failures that may pass."""

_T = TypeVar("_T")


class AbsentError(UnavailableError):
    """A server has nothing of the name that was asked for."""


class Server:
    """A server.

    Args:
        address: ``grpc://host:port``, or ``grpcs://host:port`` over TLS.
        asked_by: What names the address, for messages: ``--remote-executor``.
        said: What else is said of servers.
        environ: The environment, for credentials.

    Raises:
        BuildError: The address is none, or the certificates or credentials cannot be used.
    """

    def __init__(self, address: str, asked_by: str, said: Remote, environ: Mapping[str, str]) -> None:
        self.name = address
        self.instance = said.instance
        self.stopped = threading.Event()
        """Set when the build is interrupted: nothing is tried again then."""
        host, place, secure = _parse(address, asked_by)
        header = authorization(host, environ)
        self._metadata = (("authorization", header),) if header else ()
        self.channel = _channel(place, secure, said.tls_certificates)

    @cached_property
    def capabilities(self) -> reapi.ServerCapabilities:
        """What the server can do.

        Raises:
            UnavailableError: It cannot be reached, or does not know SHA-256.
        """
        request = reapi.GetCapabilitiesRequest(instance_name=self.instance)
        found: reapi.ServerCapabilities = self.call(reapi_grpc.CapabilitiesStub(self.channel).GetCapabilities, request)
        known = found.cache_capabilities.digest_function
        if known and reapi.DigestFunction.SHA256 not in known:
            raise UnavailableError("it does not name blobs by their SHA-256")
        return found

    def call(self, method: Callable[..., _T], request: object, nbytes: int = 0) -> _T:
        """Makes a call with one request and one answer.

        Args:
            method: The stub's.
            request: The message.
            nbytes: How much goes over the wire, about.

        Raises:
            UnavailableError: It failed, also when it was made again.
            AbsentError: There is nothing of that name.
        """
        return self.retried(lambda: method(request, **self.options(PATIENCE + nbytes / SLOWEST)))

    def options(self, timeout: float) -> dict[str, Any]:
        """What every call is given.

        Args:
            timeout: Seconds that it may take.
        """
        return {"timeout": timeout, "metadata": self._metadata}

    def retried(self, attempt: Callable[[], _T]) -> _T:
        """Does something, and again after a pause that grows, as long as the server's failures may pass.

        Raises:
            UnavailableError: They do not.
            AbsentError: As for ``call``.
        """
        for number in range(_ATTEMPTS):
            try:
                return attempt()
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.NOT_FOUND:
                    raise AbsentError(reason(error)) from error
                if error.code() not in TRANSIENT or number == _ATTEMPTS - 1:
                    raise UnavailableError(reason(error)) from error
            if self.stopped.wait(FIRST_PAUSE * 2**number * random.uniform(0.5, 1)):
                raise UnavailableError("the build was interrupted")
        raise AssertionError("the last attempt returns or raises")


def reason(error: grpc.RpcError) -> str:
    """A call's failure in words; those of the server's that can be shown."""
    return status_text(error.code().name, error.details() or "")


def status_text(code: str, details: str) -> str:
    """A status in words.

    Args:
        code: gRPC's name of it.
        details: What a server says of it, which may be anything.
    """
    said = "".join(it if it.isprintable() else " " for it in details[:_LONGEST_DETAILS])
    return f"{code}: {said}" if said else code


def batches(items: Iterable[_T], size: Callable[[_T], int], most: int) -> Iterable[list[_T]]:
    """Groups items so that none of the groups is larger than allowed, unless one item alone is."""
    group: list[_T] = []
    total = 0
    for item in items:
        if group and total + size(item) > most:
            yield group
            group, total = [], 0
        group.append(item)
        total += size(item)
    if group:
        yield group


def _parse(address: str, asked_by: str) -> tuple[str, str, bool]:
    """The host, what gRPC calls the place, and whether it is reached over TLS."""
    if "@" in address:
        hint = f"put them into ~/.netrc, or a token into ${TOKEN}"
        raise BuildError(Problem(asked_by, "credentials do not belong into an address", hint))
    try:
        place = urlsplit(address)
        port = place.port
    except ValueError:
        place, port = urlsplit(""), None
    if place.scheme not in ("grpc", "grpcs") or not place.hostname or place.path.strip("/") or place.query:
        hint = "such as grpc://farm.example.org:8980 or grpcs://farm.example.org"
        raise BuildError(Problem(asked_by, f"{address} is not the address of a server", hint))
    secure = place.scheme == "grpcs"
    host = f"[{place.hostname}]" if ":" in place.hostname else place.hostname
    return place.hostname, f"{host}:{port or (443 if secure else 8980)}", secure


def _channel(place: str, secure: bool, certificates: str | None) -> grpc.Channel:
    options = [
        ("grpc.max_receive_message_length", 2 * LARGEST_MESSAGE),
        ("grpc.max_send_message_length", 2 * LARGEST_MESSAGE),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
    ]
    if not secure:
        return grpc.insecure_channel(place, options)
    try:
        roots = Path(certificates).read_bytes() if certificates else None
    except OSError as error:
        raise BuildError(Problem(str(certificates), f"no certificates can be read: {error.strerror}")) from error
    return grpc.secure_channel(place, grpc.ssl_channel_credentials(roots), options)
