"""nginx as a cache's server on this machine, for tests and benchmarks: what a user would set up, in a folder.

Source: https://nginx.org/en/docs/http/ngx_http_dav_module.html.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from onnx_wasm.errors import BuildError, Problem

_CONFIGURATION = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/temp/body;
    proxy_temp_path {folder}/temp/proxy;
    fastcgi_temp_path {folder}/temp/fastcgi;
    uwsgi_temp_path {folder}/temp/uwsgi;
    scgi_temp_path {folder}/temp/scgi;
    client_max_body_size 0;
    keepalive_requests 100000;
    server {{
        listen 127.0.0.1:{port}{tls};
        {more}
        root {folder}/content;
        location / {{
            dav_methods PUT;
            create_full_put_path on;
        }}
    }}
}}
"""
_ATTEMPTS = 5
_PATIENCE = 10.0


@dataclass(frozen=True)
class Nginx:
    """A server that runs.

    Args:
        address: Where a build finds it.
        folder: Its configuration and logs; what it has been given is in ``content/ac`` and ``content/cas``.
        process: The server itself, the only process that it has.
    """

    address: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def content(self) -> Path:
        """The folder of all that it serves."""
        return self.folder / "content"

    def requests(self) -> list[str]:
        """The method and path of each request that it has answered, in order."""
        log = (self.folder / "access.log").read_text(encoding="ascii")
        return [line.split('"')[1].rpartition(" ")[0] for line in log.splitlines()]


@contextlib.contextmanager
def serving(folder: Path, more: str = "", port: int | None = None, scheme: str = "http") -> Iterator[Nginx]:
    """Runs nginx with WebDAV, as an HTTP cache that anybody on this machine may read and write.

    Args:
        folder: For all of its files; made, or found as an earlier server left it.
        more: More directives for its configuration.
        port: Where it listens; any that is free if it is None.
        scheme: ``http``, or ``https`` if more directives say with which certificate.

    Raises:
        BuildError: There is no nginx, or it does not start.
    """
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        raise BuildError(Problem("nginx", "it is not there", "./sconsw setup dev"))
    folder = folder.absolute()  # nginx would take paths to start at its own
    (folder / "temp").mkdir(parents=True, exist_ok=True)
    (folder / "content").mkdir(exist_ok=True)
    server = _started(program, folder, more, port, scheme)
    try:
        yield server
    finally:
        server.process.send_signal(signal.SIGTERM)
        server.process.wait()


def _started(program: str, folder: Path, more: str, wanted: int | None, scheme: str) -> Nginx:
    """Starts it on a port that nobody has taken before it is there."""
    for _ in range(_ATTEMPTS):
        port = wanted or _free_port()
        configuration = folder / "nginx.conf"
        tls = " ssl" if scheme == "https" else ""
        configuration.write_text(_CONFIGURATION.format(folder=folder, port=port, tls=tls, more=more), encoding="utf-8")
        command = [program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(configuration)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        if _answers(process, port):
            return Nginx(f"{scheme}://127.0.0.1:{port}", folder, process)
        process.kill()
        process.wait()
    raise BuildError(Problem("nginx", "it does not start", (folder / "error.log").read_text(encoding="utf-8")))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return process.poll() is None
        time.sleep(0.01)
    return False
