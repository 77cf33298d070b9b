"""Runs tasks: fetches and decrypts the inputs, runs the payload, encrypts the outputs and puts them in place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from onnx_wasm.teaclave.file_crypto import CryptoError
from onnx_wasm.teaclave.places import PlaceError, Places, name_of
from onnx_wasm.teaclave.tasks import Result, Status, Task

_AT_ONCE = 2
_STARTING = 30.0
"""Seconds beyond the payload's own that its process may take: to start, and to compile it."""


@dataclass(frozen=True)
class Observer:
    """Who is told of a task.

    Args:
        started: Called when it starts, with its id; gives whether it is still wanted.
        ended: Called with its id, its status and its result.
    """

    started: Callable[[str], bool]
    ended: Callable[[str, Status, Result], None]


class Runner:
    """Runs tasks in the background, a few at once.

    Args:
        places: Where inputs come from and outputs go to.
        seconds: How long a payload may run.
        observer: Who is told.
    """

    def __init__(self, places: Places, seconds: float, observer: Observer) -> None:
        self._places = places
        self._seconds = seconds
        self._observer = observer
        self._pool = ThreadPoolExecutor(_AT_ONCE, "task")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def start(self, task: Task, payload: bytes) -> None:
        """Runs a task as soon as there is room for it."""
        self._pool.submit(self._attend, task, payload)

    def stop(self, task: str) -> None:
        """Ends the process of a task, if it has one."""
        with self._lock:
            if task in self._processes:
                self._processes[task].kill()

    def close(self) -> None:
        """Ends everything that runs and takes nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for task in list(self._processes):
            self.stop(task)
        self._pool.shutdown()

    def _attend(self, task: Task, payload: bytes) -> None:
        if not self._observer.started(task.id):
            return
        try:
            status, result = self._run(task, payload)
        except (PlaceError, CryptoError) as error:
            # As Teaclave: the executor did its work, whose result is a failure.
            status, result = Status.FINISHED, Result(None, reason=str(error))
        except Exception as error:
            status, result = Status.FAILED, Result(None, reason=f"Runtime Error: {error!r}")
        self._observer.ended(task.id, status, result)

    def _run(self, task: Task, payload: bytes) -> tuple[Status, Result]:
        with tempfile.TemporaryDirectory(prefix="teaclave-local-") as folder:
            module = Path(folder, "payload.wasm")
            module.write_bytes(payload)
            inputs = {name: Path(folder, f"input{index}") for index, name in enumerate(task.inputs)}
            outputs = {name: Path(folder, f"output{index}") for index, name in enumerate(task.outputs)}
            for name, file in task.inputs.items():
                content = file.crypto.decrypt(self._places.read(file.url), file.tag, name_of(file.url))
                inputs[name].write_bytes(content)
            said = self._execute(task, module, inputs, outputs)
            if "refused" in said:
                return Status.FAILED, Result(None, reason=f"Runtime Error: {said['refused']}")
            if said["timed_out"]:
                return Status.FAILED, Result(None, reason=f"Runtime Error: the payload {said['value']}")
            value = str(said["value"])
            return Status.FINISHED, Result(value.encode(), self._put_in_place(task, outputs, value))

    def _execute(
        self, task: Task, module: Path, inputs: Mapping[str, Path], outputs: Mapping[str, Path]
    ) -> dict[str, object]:
        """Runs the payload in a process of its own."""
        job = {
            "payload": str(module),
            "arguments": task.words,
            "inputs": {name: str(it) for name, it in inputs.items()},
            "outputs": {name: str(it) for name, it in outputs.items()},
            "seconds": self._seconds,
        }
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "onnx_wasm.teaclave.payload"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        with self._lock:
            self._processes[task.id] = process
        try:
            out, _ = process.communicate(json.dumps(job).encode(), timeout=self._seconds + _STARTING)
        except subprocess.TimeoutExpired:
            return {"refused": f"it took longer than {self._seconds + _STARTING:.0f} s to load and run the payload"}
        finally:
            with self._lock:
                del self._processes[task.id]
            process.kill()
            process.wait()
        if process.returncode:
            return {"refused": f"the payload's process ended with status {process.returncode}"}
        said: dict[str, object] = json.loads(out)
        return said

    def _put_in_place(self, task: Task, outputs: Mapping[str, Path], value: str) -> dict[str, bytes]:
        """Encrypts and puts away what the payload wrote.

        Returns:
            The tag of each file, by the output's name.

        Raises:
            CryptoError: The payload did not write an output.
            PlaceError: One cannot be put where it belongs.
        """
        made = {}
        for name, file in task.outputs.items():
            if not outputs[name].exists():
                raise CryptoError(f'the payload returned {value} and did not write the output "{name}"')
            made[name] = file.crypto.encrypt(outputs[name].read_bytes(), name_of(file.url))
        for name, (data, _) in made.items():
            self._places.write(task.outputs[name].url, data)
        return {name: tag for name, (_, tag) in made.items()}
