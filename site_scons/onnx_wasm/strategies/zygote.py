"""The process that workers are forked from, as the build sees it: ``actions/zygote.py`` is what runs in it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future

from onnx_wasm.strategies.action import Action

_MODULE = "onnx_wasm.actions.zygote"


class Zygote:
    """The process, and the actions that wait for it.

    A thread of its own starts it and reads its answers: Linux has a process that asks for it end with the thread that
    started it.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._ours, self._its = socket.socketpair()
        self._environment = environment
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[int | None]] = {}
        self._number = 0
        self._ended = False
        self._thread = threading.Thread(target=self._attend, daemon=True)
        self._thread.start()

    def run(self, action: Action) -> int | None:
        """Runs an action as its child.

        Returns:
            The child's exit status, below 0 if a signal ended it; None if there is no zygote any more.
        """
        answer: Future[int | None] = Future()
        with self._lock:
            self._number += 1
            number = self._number
            if self._ended:
                return None
            self._waiting[number] = answer
            request = {"id": number, "module": action.module, "arguments": action.arguments}
            with contextlib.suppress(OSError):  # it has ended, and the thread that attends to it tells so
                self._ours.sendall(json.dumps(request).encode() + b"\n")
        return answer.result()

    def close(self) -> None:
        """Has it end, and waits for that."""
        with contextlib.suppress(OSError):
            self._ours.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _attend(self) -> None:
        try:
            with self._ours:
                self._serve()
        finally:
            with self._lock:
                self._ended = True
            for left in self._waiting.values():
                left.set_result(None)

    def _serve(self) -> None:
        command = [sys.executable, "-m", _MODULE]
        environ = {**self._environment, "ONNX_WASM_PARENT": str(os.getpid())}
        process = subprocess.Popen(command, env=environ, stdin=self._its.fileno())
        self._its.close()
        # If it is killed before it has read what was sent, Linux says so: ECONNRESET.
        with process, contextlib.suppress(OSError), self._ours.makefile("rb") as answers:
            for line in answers:
                answer = json.loads(line)
                if answer.get("threads", 1) != 1:
                    break
                if "id" in answer:
                    self._waiting.pop(answer["id"]).set_result(answer["status"])
            self._ours.shutdown(socket.SHUT_RDWR)
