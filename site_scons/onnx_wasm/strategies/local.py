"""The strategy ``local``: actions run in the checkout."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from onnx_wasm.strategies.action import Action


class Local:
    """Starts a process for each action."""

    def run(self, action: Action) -> int:
        """Runs an action: see ``Strategy``."""
        return start(action.command, action.environment)

    def close(self) -> None:
        """Nothing was left."""


def start(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Runs a program of ours without a shell and gives its exit status.

    Args:
        words: Its command line.
        environment: All variables that it sees, but for the one that has it end with this process.
    """
    environ = {**environment, "ONNX_WASM_PARENT": str(os.getpid())}
    return subprocess.run(words, env=environ, check=False).returncode
