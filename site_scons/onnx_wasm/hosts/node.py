"""Scripts in Node.js that measure what JavaScript runs: JSON in, JSON out."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnx_wasm.errors import BuildError, Problem


def answer(script: Path, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Runs a script in a process of its own.

    Args:
        script: The script.
        given: What it reads.
        where: What is measured, as messages call it.

    Returns:
        What it prints.

    Raises:
        BuildError: There is no Node.js, or the script failed.
    """
    node = shutil.which("node")
    if node is None:
        raise BuildError(Problem(where, "to measure for the web needs node", "./sconsw setup dev brings it"))
    done = subprocess.run([node, str(script)], input=json.dumps(given), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(Problem(where, f"node ended with {done.returncode}:\n{done.stderr.strip()}"))
    found: dict[str, Any] = json.loads(done.stdout)
    return found
