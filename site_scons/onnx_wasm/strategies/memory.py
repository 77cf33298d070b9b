"""No more actions at once than fit into memory."""

from __future__ import annotations

import contextlib
import re
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from onnx_wasm.strategies.action import Action, Strategy

_CGROUPS = Path("/sys/fs/cgroup")


class Fitting:
    """Runs actions by another strategy as soon as what they need is free, in the order in which they ask.

    One always runs, whatever it needs.

    Args:
        strategy: The other strategy.
        limit: What all together may need, in bytes; None for what is free when the first one asks.
    """

    def __init__(self, strategy: Strategy, limit: int | None) -> None:
        self._strategy = strategy
        self._limit = limit
        self._needed = 0
        self._running = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    def run(self, action: Action) -> int:
        """Runs an action: see ``Strategy``."""
        with self._reserved(action.memory):
            return self._strategy.run(action)

    def close(self) -> None:
        """Ends the other strategy."""
        self._strategy.close()

    @contextlib.contextmanager
    def _reserved(self, need: int) -> Iterator[None]:
        turn = object()
        with self._changed:
            if self._limit is None:
                self._limit = free()
            limit = self._limit
            self._queue.append(turn)
            self._changed.wait_for(
                lambda: self._queue[0] is turn and (not self._running or self._needed + need <= limit)
            )
            self._queue.popleft()
            self._needed += need
            self._running += 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._needed -= need
                self._running -= 1
                self._changed.notify_all()


def free(proc: Path = Path("/proc"), cgroups: Path = _CGROUPS) -> int:
    """The memory that this process and its children can still have, in bytes: of the machine, or of the container.

    Where neither Linux's ``/proc/meminfo`` nor a control group says anything, there is no limit.

    Args:
        proc: Where Linux tells of itself.
        cgroups: Where the control groups are mounted: version 2, or version 1's ``memory`` below.
    """
    found = re.search(r"^MemAvailable: +(\d+) kB", _text(proc / "meminfo"), re.MULTILINE)
    limits = [int(found[1]) * 1024] if found else []
    for line in _text(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            mount = cgroups / controllers
            group = mount / path.lstrip("/")
            for folder in (group, *group.parents):
                if folder.is_relative_to(mount):
                    limits += _left(folder)
    return min(limits, default=1 << 62)


def _left(group: Path) -> list[int]:
    """What a control group leaves its processes; nothing if it has no limit. Pages of files count as free."""
    for limit, usage, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        texts = _text(group / limit).strip(), _text(group / usage).strip()
        if all(text.isdecimal() for text in texts):
            most, used = map(int, texts)
            freed = re.search(rf"^{cache} (\d+)$", _text(group / "memory.stat"), re.MULTILINE)
            return [max(0, most - used + (int(freed[1]) if freed else 0))]
    return []


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""
