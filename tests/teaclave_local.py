"""Starts the stand-in for Teaclave as a user does, and speaks to it."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import ROOT, environment

sys.path.append(str(ROOT / "tests/sdk"))

from teaclave import AuthenticationService, FrontendService

SDK = ROOT / "tests/sdk"


@dataclass(frozen=True)
class Local:
    """A running stand-in.

    Args:
        folder: Where addresses of files may lead.
        authentication: The port of a service.
        frontend: The port of the other.
        told: What it said when it started.
        process: Its process.
    """

    folder: Path
    authentication: int
    frontend: int
    told: str
    process: subprocess.Popen[str]

    def add_user(self, id_: str, role: str = "PlatformAdmin", attribute: str = "") -> FrontendService:
        """Registers a user, whose password is its id, unless there is one, and logs it in."""
        with AuthenticationService(("localhost", self.authentication)) as admin:
            admin.user_login("admin", "teaclave")
            if id_ not in admin.list_users("admin"):
                admin.user_register(id_, id_, role, attribute)
        return self.log_in(id_)

    def log_in(self, id_: str) -> FrontendService:
        """A client of the frontend."""
        with AuthenticationService(("localhost", self.authentication)) as client:
            token = client.user_login(id_, id_)
        frontend = FrontendService(("localhost", self.frontend))
        frontend.metadata = {"id": id_, "token": token}
        return frontend

    def url(self, name: str) -> str:
        """The address of a file in the folder."""
        return (self.folder / name).as_uri()


@contextlib.contextmanager
def running(folder: Path, *options: str) -> Iterator[Local]:
    """Runs the stand-in on ports of its own, and ends it as Ctrl-C does."""
    words = ["--folder", str(folder), "--authentication-port", "0", "--frontend-port", "0", *options]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "onnx_wasm", "teaclave-local", *words],
        env=environment({"PYTHONPATH": str(ROOT / "site_scons")}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        told = "".join(process.stdout.readline() for _ in range(3))
        ports = re.search(r"authentication localhost:(\d+), frontend localhost:(\d+)", told)
        assert ports, told
        yield Local(folder, int(ports[1]), int(ports[2]), told, process)
        process.send_signal(signal.SIGINT)
        status, rest = process.wait(20), process.stdout.read()
        assert (status, rest) == (0, "")
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextlib.contextmanager
def connected(port: int) -> Iterator[ssl.SSLSocket]:
    """A connection over TLS that asks for no protocol, as that of the SDK of Teaclave 0.5 does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain, context.wrap_socket(plain) as secure:
        yield secure


def asked(connection: ssl.SSLSocket, request: str, fields: Mapping[str, object], metadata: Mapping[str, str]) -> Any:
    """The answer to a request as the SDK of Teaclave 0.5 makes it."""
    data = json.dumps({"metadata": metadata, "message": {request: fields}}).encode()
    connection.sendall(struct.pack(">Q", len(data)) + data)
    return json.loads(exactly(connection, struct.unpack(">Q", exactly(connection, 8))[0]))


def exactly(connection: ssl.SSLSocket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        assert part, "the connection ended"
        data += part
    return data
