"""Work in a few forked processes, where each piece has a limit of time and one of memory.

What a piece of work does to its process is told of that piece alone: it ends, hangs, eats memory or raises, and the
pieces after it go to a process that takes its place.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import IO, Generic, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_FORK = multiprocessing.get_context("fork")
_PR_SET_PDEATHSIG = 1
_KIB = 1024


@dataclass(frozen=True)
class Limits:
    """What a piece of work may take.

    Args:
        seconds: Until its process is killed.
        memory: Bytes of data that its process may have; an allocation beyond them fails.
    """

    seconds: float
    memory: int


@dataclass(frozen=True)
class Broken:
    """Work that gave no result.

    Args:
        reason: Why, in a line.
        details: The traceback, or what the process last wrote to its standard error.
    """

    reason: str
    details: str


@dataclass(frozen=True)
class Done(Generic[_Item, _Result]):
    """What came of a piece of work.

    Args:
        item: The piece.
        result: What ``work`` returned, or why it did not.
        seconds: How long it took.
        peak: Bytes that its process had resident at most until then; 0 if it ended.
    """

    item: _Item
    result: _Result | Broken
    seconds: float
    peak: int


def each(
    items: Sequence[_Item], work: Callable[[_Item], _Result], limits: Limits, processes: int
) -> Iterator[Done[_Item, _Result]]:
    """Does each piece of work, several at a time.

    Args:
        items: The pieces; they and the results go through a pipe.
        work: What to do with one; runs in a process forked from this one.
        limits: Of each piece.
        processes: How many there are at most.

    Yields:
        What came of each, in the order in which they end.
    """
    waiting = list(reversed(items))
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page of this process
    workers = [_Worker(work, limits) for _ in range(min(processes, len(items)))]
    try:
        for worker in workers:
            worker.start(waiting.pop())
        while busy := [worker for worker in workers if worker.busy]:
            first = min(worker.deadline for worker in busy)
            wait([worker.connection for worker in busy], max(0, first - time.monotonic()))
            for worker in busy:
                done = worker.done()
                if done is None:
                    continue
                if waiting:
                    worker.start(waiting.pop())
                yield done
    finally:
        for worker in workers:
            worker.end()
        gc.unfreeze()


class _Worker(Generic[_Item, _Result]):
    """A process, and the one that takes its place when it ends."""

    def __init__(self, work: Callable[[_Item], _Result], limits: Limits) -> None:
        self.busy = False
        self.deadline = 0.0
        self._work = work
        self._limits = limits
        self._started = 0.0
        self._fork()

    def _fork(self) -> None:
        self.connection, theirs = _FORK.Pipe()
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        arguments = (self._work, self._limits, theirs, self._errors.fileno(), os.getpid())
        self._process: BaseProcess = _FORK.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def start(self, item: _Item) -> None:
        """Hands over a piece of work."""
        self._item = item
        self._errors.truncate(0)
        self._started = time.monotonic()
        self.deadline = self._started + self._limits.seconds
        self.busy = True
        self.connection.send(item)

    def done(self) -> Done[_Item, _Result] | None:
        """What came of the work, once it is done, its process ended or its time is up."""
        seconds = time.monotonic() - self._started
        if self.connection.poll():
            try:
                result, peak = self.connection.recv()
            except EOFError:
                self._process.join()
                result, peak = Broken(_ending(self._process.exitcode), self._last_words()), 0
                self._replace()
        elif time.monotonic() >= self.deadline:
            result, peak = Broken(f"took longer than {self._limits.seconds:g} s", self._last_words()), 0
            self._replace()
        else:
            return None
        self.busy = False
        return Done(self._item, result, seconds, peak)

    def end(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.join()
        self.connection.close()
        self._errors.close()

    def _replace(self) -> None:
        self.end()
        self._fork()

    def _last_words(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()[-2000:]


def _serve(work: Callable[[_Item], _Result], limits: Limits, connection: Connection, errors: int, parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(errors, 2)
    resource.setrlimit(resource.RLIMIT_DATA, (limits.memory, limits.memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            item = connection.recv()
        except EOFError:
            return
        result: _Result | Broken
        try:
            result = work(item)
        except Exception as error:
            said = str(error).strip().splitlines() or [""]
            result = Broken(f"{type(error).__name__}: {said[-1]}", traceback.format_exc())
        connection.send((result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB))


def _ending(status: int | None) -> str:
    if status is not None and status < 0:
        return f"its process ended by {signal.Signals(-status).name}"
    return f"its process ended with {status}"
