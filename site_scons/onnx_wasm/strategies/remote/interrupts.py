"""Ctrl-C for calls that wait in other threads: SCons only notes it, and waits for them to return."""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Callable

_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_ENDED_BY_THEM: list[Callable[[], None]] = []


def watch(then: Callable[[], None]) -> None:
    """Has something done when a signal comes that ends a build. To be called in the main thread.

    Args:
        then: What is done, in a thread of its own.
    """
    _ENDED_BY_THEM.append(then)
    _start()


@functools.cache
def _start() -> None:
    """Starts the thread: Python writes a signal's number to a descriptor as it comes, whatever its handler does."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def wait() -> None:
        while numbers := os.read(reading, 64):
            if _ENDING.intersection(numbers):
                for then in _ENDED_BY_THEM:
                    then()

    threading.Thread(target=wait, name="interrupts", daemon=True).start()
