"""``./sconsw fuzz-kills``: builds whose processes, or whose cache's server, are killed at any moment.

After each kill the next build is to end well and to give the bytes of one that nothing has disturbed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

from onnx_wasm.benchmarks import buildbox, measured, nginx, workspaces
from onnx_wasm.benchmarks.table import Row, publish

TARGET = "fuzz-kills"

_MODELS = 2
_WRAPPER = "build/teaclave/wrapper/libwrapper.a"
_PATIENCE = 300
_TRIES = 4
"""So many times as many builds are started as kills are asked for: some end before their moment comes."""


class Server(Protocol):
    """A cache's server that runs."""

    @property
    def address(self) -> str:
        """Where builds find it."""

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The server itself."""


Serving = Callable[[Path, int | None], AbstractContextManager[Server]]
_SERVERS: Mapping[str, Serving] = {
    "nginx": lambda folder, port: nginx.serving(folder, port=port),
    "casd": lambda folder, port: buildbox.serving(folder, port=port),
}


def kill_scons(process: subprocess.Popen[bytes], _chance: Random) -> bool:
    """Kills the build's first process, and leaves those that it has started."""
    process.kill()
    return process.wait() == -signal.SIGKILL


def kill_all(process: subprocess.Popen[bytes], _chance: Random) -> bool:
    """Kills all processes of a build."""
    os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def kill_one(process: subprocess.Popen[bytes], chance: Random) -> bool:
    """Kills a process that the build has started: an action, its child, a tool, or what actions are forked from."""
    others = sorted(_processes_of(process.pid) - {process.pid})
    if others:
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(others), signal.SIGKILL)
    ended = process.wait(_PATIENCE)
    if ended not in (0, 2):
        raise AssertionError(f"the build ended with {ended}")
    return bool(others)


Kill = Callable[[subprocess.Popen[bytes], Random], bool]
KILLS: Mapping[str, Kill] = {"all of a build": kill_all, "scons": kill_scons, "a worker": kill_one}
"""From what is killed to how: each takes a build, in a process group of its own, and tells whether it came in time."""


def _processes_of(group: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            state, _, its_group = stat.read_text(encoding="utf-8").rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                found.add(int(stat.parent.name))
    return found


@dataclass
class Tally:
    """What came of kills.

    Args:
        kills: How many came while there was something to kill.
        failed: How many builds after them ended badly.
        differing: How many gave other bytes than one that was not disturbed.
        left: How many left a file half written.
    """

    kills: int = 0
    failed: int = 0
    differing: int = 0
    left: int = 0

    def rows(self, victim: str, moments: int) -> Iterator[Row]:
        """The rows of the table."""
        yield Row(f"{victim}: killed at so many moments", self.kills, "", moments, "higher")
        for name, value in (
            ("builds after that which fail", self.failed),
            ("builds after that with other bytes", self.differing),
            ("files half written after that", self.left),
        ):
            yield Row(f"{victim}: {name}", value, "", 0)


class _Checkout:
    """A workspace of small models whose wrapper is built."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self._log = top.with_name("log")
        workspaces.generate_apart(top, _MODELS)
        self.build(_WRAPPER)
        self._texts = [(top / "models" / workspaces.name(it) / f"{workspaces.name(it)}.onnx") for it in range(_MODELS)]
        self._variants = [[path.read_bytes() for path in order] for order in (self._texts, self._texts[::-1])]
        self.expected = []
        for variant in range(len(self._variants)):
            self.write(variant)
            self.build("all")
            self.expected.append(self.artefacts())

    def write(self, variant: int) -> None:
        """Edits the models."""
        for path, data in zip(self._texts, self._variants[variant], strict=True):
            path.write_bytes(data)

    def forget(self) -> None:
        """Removes what is built but for the wrapper."""
        for number in range(_MODELS):
            shutil.rmtree(self.top / "build/teaclave" / workspaces.name(number), ignore_errors=True)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Starts a build in a process group of its own."""
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "SCons", "-Q", "-j2", *words],
                cwd=self.top,
                env=measured.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def build(self, *words: str) -> bool:
        """Builds, and tells whether that ended well."""
        return self.start(*words).wait(_PATIENCE) == 0

    def artefacts(self) -> dict[str, bytes]:
        """What is built of the models."""
        folder = self.top / "build/teaclave"
        paths = [path for number in range(_MODELS) for path in (folder / workspaces.name(number)).rglob("*")]
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.is_file()}

    def judge(self, variant: int, ended_well: bool, tally: Tally) -> None:
        """Counts what is wrong after a build."""
        found, expected = self.artefacts(), self.expected[variant]
        partial = sum(1 for _ in (self.top / "build").rglob("*.partial"))
        if not ended_well:
            sys.stderr.write(self._log.read_text(encoding="utf-8", errors="replace"))
        tally.failed += not ended_well
        tally.differing += {name: found.get(name) for name in expected} != expected
        tally.left += partial


def kill_builds(checkout: _Checkout, kill: Kill, moments: int, chance: Random) -> Tally:
    """Kills builds after an edit, sometimes takes the edit back, and builds again."""
    tally, variant = Tally(), 0
    checkout.write(variant)
    checkout.forget()
    started = time.monotonic()
    checkout.build("all")
    duration = time.monotonic() - started
    for _ in range(_TRIES * moments):
        if tally.kills == moments:
            break
        checkout.write(1 - variant)
        process = checkout.start("all")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, duration))
        if process.poll() is None:
            tally.kills += kill(process, chance)
        if chance.random() < 0.5:
            variant = 1 - variant
        checkout.write(variant)
        checkout.judge(variant, checkout.build("all"), tally)
    return tally


def kill_server(checkout: _Checkout, serving: Serving, folder: Path, moments: int, chance: Random) -> Tally:
    """Kills the server of a cache while a build reads and writes it, starts it again, and builds from it once more."""
    tally, port, duration = Tally(), None, 0.0
    local = checkout.top / "local"
    for _ in range(_TRIES * moments):
        if tally.kills == moments:
            break
        variant = chance.randrange(len(checkout.expected))
        checkout.write(variant)
        for killed in (True, False):
            checkout.forget()
            shutil.rmtree(local, ignore_errors=True)
            with serving(folder, port) as server:
                port = int(server.address.rpartition(":")[2])
                words = [f"--remote-cache={server.address}", "--remote-cache-mode=readwrite", f"--disk-cache={local}"]
                started = time.monotonic()
                process = checkout.start("all", *words)
                if killed and duration:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(chance.uniform(0, duration))
                    tally.kills += process.poll() is None
                    server.process.kill()
                    server.process.wait()
                ended_well = process.wait(_PATIENCE) == 0
                duration = duration or time.monotonic() - started
            checkout.judge(variant, ended_well, tally)
        if chance.random() < 0.3:  # or soon all would be there
            shutil.rmtree(folder)
    return tally


def measure(folder: Path, moments: int, seed: int) -> list[Row]:
    """Kills each victim so many times.

    Args:
        folder: Where the workspace is made.
        moments: How many times.
        seed: Of the moments.

    Returns:
        The rows of the table.
    """
    checkout = _Checkout(folder / "checkout")
    rows: list[Row] = []
    for victim in (*KILLS, *_SERVERS):
        chance = Random(f"{seed} {victim}")
        if victim in KILLS:
            tally = kill_builds(checkout, KILLS[victim], moments, chance)
        else:
            tally = kill_server(checkout, _SERVERS[victim], folder / victim, moments, chance)
        rows += tally.rows(victim, moments)
        if sys.stderr.isatty():
            sys.stderr.write(f"{victim}: done\n")
    return rows


def main() -> None:
    """Kills, and ends the process: 0, or 1 if anything is wrong after a kill."""
    parser = argparse.ArgumentParser(f"./sconsw {TARGET}", description=__doc__)
    parser.add_argument("--moments", type=int, default=100, help="kills of each victim")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="onnx-wasm-kills-") as folder:
        rows = measure(Path(folder), given.moments, given.seed)
    sys.exit(0 if publish(TARGET, rows) else 1)


if __name__ == "__main__":
    main()
