"""Uploads that the build does not wait for, up to a number of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class Uploads:
    """Threads that upload.

    Args:
        threads: How many upload at once.
        waiting: How many more may wait their turn.
    """

    def __init__(self, threads: int = 4, waiting: int = 60) -> None:
        # Its threads are started when they are needed, and Python does not end before they have.
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="upload")
        self._room = threading.BoundedSemaphore(threads + waiting)

    def submit(self, upload: Callable[[], None]) -> None:
        """Has an upload done later; waits as long as too many are."""
        self._room.acquire()
        self._pool.submit(upload).add_done_callback(lambda _: self._room.release())

    def drain(self) -> None:
        """Waits until all are done."""
        self._pool.shutdown()
