"""One run of a program, with its time, its processes' computing and its memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """What a run took.

    Args:
        seconds: From its start to its end.
        cpu_seconds: What it and all its processes computed.
        peak_bytes: The memory that the largest of them had resident.
        output: What it printed, both streams.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    output: str


def environment() -> dict[str, str]:
    """The variables of a process of Python's own that finds this package where this one does."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str], what: str) -> Run:
    """Runs a program to its end.

    Args:
        command: Its words.
        folder: Where it runs.
        environment: All its variables.
        what: What a message calls it.

    Raises:
        SystemExit: It failed; its output is shown.
    """
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        # The usage counts the process and all that it waited for; of memory, the largest of them.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    if process.returncode:
        sys.stderr.write(text)
        sys.exit(f"{what} ended with {process.returncode}")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Run(seconds, usage.ru_utime + usage.ru_stime, peak, text)
