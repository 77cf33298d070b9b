"""Servers on this machine for the tests of what is fetched: over https, with ranges, and with every bad manner."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import trustme


@dataclass
class Content:
    """What a server has at one address, and how it gives it.

    Args:
        data: The file.
        tag: Its ETag; empty for none.
        breaks: At how many bytes the connection breaks, each once.
        stalls: After how many bytes nothing more comes.
        slow: Seconds between two bytes.
        location: Where it leads instead.
        status: Another answer than 200.
        told: The length that it tells; None for the true one.
        ranges: Whether it gives parts.
        kind: What it says that it is.
    """

    data: bytes = b""
    tag: str = '"1"'
    breaks: list[int] = field(default_factory=list)
    stalls: int | None = None
    slow: float = 0
    location: str = ""
    status: int = 200
    told: int | None = None
    ranges: bool = True
    kind: str = "application/octet-stream"


class Server(http.server.ThreadingHTTPServer):
    """Answers from ``contents``, by path, and notes what was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.contents: dict[str, Content] = {}
        self.asked: list[tuple[str, str]] = []
        self.over = threading.Event()
        self.scheme = "http"

    @property
    def address(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def put(self, path: str, data: bytes, **how: object) -> str:
        """Puts a file at a path, and gives its address."""
        self.contents[path] = Content(data, **how)  # type: ignore[arg-type]
        return self.address + path

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no failure."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        range_ = self.headers.get("Range", "")
        self.server.asked.append((self.path, range_))
        content = self.server.contents.get(self.path, Content(status=404))
        if content.location:
            self.send_response(302)
            self.send_header("Location", content.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data, start = content.data, 0
        if content.ranges and range_ and self.headers.get("If-Range", content.tag) == content.tag:
            start = int(range_.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                self.send_error(416)
                return
        self.send_response(206 if start else content.status)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Type", content.kind)
        if content.tag:
            self.send_header("ETag", content.tag)
        self.send_header("Content-Length", str(len(data) - start if content.told is None else content.told))
        self.end_headers()
        end = len(data) if content.stalls is None else content.stalls
        if content.breaks:
            end = content.breaks.pop(0)
        for at in range(start, end, 1 if content.slow else 1 << 16):
            self.wfile.write(data[at : min(end, at + (1 if content.slow else 1 << 16))])
            time.sleep(content.slow)
        if content.stalls is not None:
            self.server.over.wait(60)
        if end < len(data):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Says nothing."""


@contextlib.contextmanager
def serving(authority: Path | None = None) -> Iterator[Server]:
    """Runs a server.

    Args:
        authority: Where to write the certificate of the authority that vouches for it; None for plain http.
    """
    server = Server()
    if authority is not None:
        ca = trustme.CA()
        ca.cert_pem.write_to_path(str(authority))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("127.0.0.1").configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.scheme = "https"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def digest(data: bytes) -> str:
    """The SHA-256 of data."""
    return hashlib.sha256(data).hexdigest()
