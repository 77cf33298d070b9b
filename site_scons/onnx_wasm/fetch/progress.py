"""A progress bar, on a terminal and nowhere else."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

_WIDTH = 30
_PERIOD = 0.1


class Progress:
    """How much of a file is here, told on standard error if that is a terminal; gone at the end.

    Args:
        name: What the file is called.
        done: Bytes that were here before.
        whole: Bytes in all; None if nobody knows.
    """

    def __init__(self, name: str, done: int, whole: int | None) -> None:
        self._name, self._done, self._whole = name, done, whole
        self._shown = sys.stderr.isatty()
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def add(self, nbytes: int) -> None:
        """Counts bytes that have come in."""
        self._done += nbytes
        now = time.monotonic()
        if self._shown and now >= self._next:
            self._next = now + _PERIOD
            sys.stderr.write(f"\r{self._line()}\x1b[K")
            sys.stderr.flush()

    def _line(self) -> str:
        done = f"{self._done / 1e6:.1f}"
        if not self._whole:
            return f"{self._name}  {done} MB"
        filled = min(_WIDTH, _WIDTH * self._done // self._whole)
        bar = "=" * filled + " " * (_WIDTH - filled)
        return f"{self._name}  [{bar}] {100 * self._done // self._whole} %  {done} of {self._whole / 1e6:.1f} MB"
