"""No more actions run at once than fit into memory, and one always does."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import onnx
import pytest
from support import TINY, command, copy, environment, parents, tiny

from onnx_wasm.strategies.action import Action
from onnx_wasm.strategies.memory import Fitting, free

PATIENCE = 60


class Recorder:
    """A strategy whose actions wait for each other."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.go = {name: threading.Event() for name in "abcdef"}
        self.changed = threading.Condition()

    def run(self, action: Action) -> int:
        with self.changed:
            self.started.append(action.rule)
            self.changed.notify_all()
        assert self.go[action.rule].wait(PATIENCE)
        return ord(action.rule)

    def close(self) -> None:
        self.started.append("closed")

    def wait_for(self, *started: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.started == list(started), PATIENCE), self.started


class Jobs:
    """Actions in threads, as SCons runs them."""

    def __init__(self, strategy: Fitting) -> None:
        self.strategy = strategy
        self.threads: list[threading.Thread] = []
        self.statuses: dict[str, int] = {}

    def start(self, name: str, memory: int) -> None:
        action = Action(name, "", (), (), (), (), (), (), "", {}, memory)

        def run() -> None:
            self.statuses[name] = self.strategy.run(action)

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()
        time.sleep(0.05)  # so that they ask in this order

    def join(self) -> None:
        for thread in self.threads:
            thread.join(PATIENCE)


def test_actions_start_in_order_when_there_is_room() -> None:
    recorder = Recorder()
    jobs = Jobs(Fitting(recorder, 10))
    jobs.start("a", 6)
    jobs.start("b", 4)
    jobs.start("c", 100)  # more than there ever is: it has to be alone
    jobs.start("d", 1)  # it would fit, but comes after c
    recorder.wait_for("a", "b")
    recorder.go["a"].set()
    recorder.wait_for("a", "b")
    recorder.go["b"].set()
    recorder.wait_for("a", "b", "c")
    recorder.go["c"].set()
    recorder.wait_for("a", "b", "c", "d")
    recorder.go["d"].set()
    jobs.join()
    assert jobs.statuses == {name: ord(name) for name in "abcd"}


def test_free_is_what_the_machine_has_here() -> None:
    assert 0 < free() < 1 << 60


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("", {}, 8_000_000 * 1024),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/b/memory.current": "5\n"}, 8_000_000 * 1024),
        ("0::/a/b\n", {"a/b/memory.max": "1000\n", "a/b/memory.current": "400\n"}, 600),
        (
            "0::/a/b\n",
            {"a/memory.max": "1000\n", "a/memory.current": "400\n", "a/memory.stat": "anon 1\ninactive_file 300\n"},
            900,
        ),
        ("0::/a\n", {"a/memory.max": "1000\n", "a/memory.current": "2000\n"}, 0),
        (
            "9:cpu:/x\n4:memory:/a\n0::/\n",
            {"memory/a/memory.limit_in_bytes": "1000", "memory/a/memory.usage_in_bytes": "100"},
            900,
        ),
        # In a container the group's own folder is mounted, and its path is that outside.
        ("4:memory:/docker/1\n", {"memory/memory.limit_in_bytes": "1000", "memory/memory.usage_in_bytes": "0"}, 1000),
    ],
)
def test_a_container_s_limit_counts(groups: str, files: dict[str, str], expected: int, tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable:    8000000 kB\n")
    (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(text)
    assert free(tmp_path / "proc", tmp_path / "cgroup") == expected


def test_without_linux_there_is_no_limit(tmp_path: Path) -> None:
    assert free(tmp_path, tmp_path) > 1 << 60


@pytest.mark.slow
@pytest.mark.parametrize(("memory", "most"), [("1 MB", 1), ("8 GB", 3)])
def test_the_workspace_file_says_how_much_there_is(memory: str, most: int, built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    for number in range(3):
        folder = top / f"models/small{number}"
        folder.mkdir()
        onnx.save(tiny(number), folder / "tiny.onnx")
        (folder / "small.toml").write_text(TINY.replace('name = "tiny"', f'name = "small{number}"'))
    (top / "workspace.toml").write_text(f'[build]\njobs-memory = "{memory}"\nworkers = 0\n')
    targets = [f"build/teaclave/small{number}/small{number}.ir.json" for number in range(3)]
    build = subprocess.Popen(command("-Q", "-j3", *targets), cwd=top, env=environment(), stdout=subprocess.DEVNULL)
    seen = set()
    while build.poll() is None:
        seen.add(list(parents().values()).count(build.pid))
        time.sleep(0.005)
    assert build.returncode == 0
    assert max(seen) == most
