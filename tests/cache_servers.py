"""A server for the tests of caches that does whatever a test wants of it, down to the bytes on the wire."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Answer = Callable[[socket.socket, threading.Event], None]
"""What a server does with a connection on which a request has come; the event says that the test is over."""


@dataclass
class Server:
    """A server that answers every request in one way.

    Args:
        address: Where it is.
        requests: The first line of each request that came, without the version.
        heads: All of what came before each request's body.
    """

    address: str
    requests: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)


def sends(data: bytes) -> Answer:
    """Sends these bytes and closes the connection."""
    return lambda connection, _over: connection.sendall(data)


def says(status: str, body: bytes = b"", *headers: str) -> Answer:
    """Answers with a status line, headers and a body."""
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""])
    return sends(head.encode() + body)


def hangs(first: bytes = b"") -> Answer:
    """Sends these bytes, then nothing more."""

    def answer(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(first)
        over.wait(60)

    return answer


def drips(first: bytes, drop: bytes) -> Answer:
    """Sends these bytes, then ten drops a second for ever."""

    def answer(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(first)
        while not over.wait(0.1):
            connection.sendall(drop)

    return answer


def streams(first: bytes, piece: bytes) -> Answer:
    """Sends these bytes, then pieces for ever, as fast as they are taken."""

    def answer(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(first)
        while not over.is_set():
            connection.sendall(piece)

    return answer


@contextlib.contextmanager
def answering(answer: Answer) -> Iterator[Server]:
    """Runs a server; each connection serves one request."""
    over = threading.Event()
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def serve(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                head = b""
                while b"\r\n\r\n" not in head:
                    piece = connection.recv(1 << 16)
                    if not piece:
                        return
                    head += piece
                text = head.partition(b"\r\n\r\n")[0].decode()
                server.requests.append(text.partition(" HTTP/")[0])
                server.heads.append(text)
                answer(connection, over)

        def accept() -> None:
            while not over.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = listener.accept()
                    connections.append(connection)
                    threads.append(threading.Thread(target=serve, args=[connection]))
                    threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield server
        finally:
            over.set()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
