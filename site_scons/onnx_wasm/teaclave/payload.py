"""Runs one task's payload in the project's stand-in for Teaclave's executor: a process of its own.

It reads a job as JSON from its standard input and writes what came of it as JSON to its standard output, so that
whatever the payload does, it does to this process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from onnx_wasm.errors import BuildError
from onnx_wasm.hosts.teaclave import TeaclaveHost

MEMORY = 2 << 30
"""Bytes of linear memory that a payload may have."""


def main() -> None:
    """Runs the job."""
    json.dump(_answer(json.load(sys.stdin)), sys.stdout)


def _answer(job: dict[str, Any]) -> dict[str, object]:
    inputs, outputs = ({name: Path(it) for name, it in job[kind].items()} for kind in ("inputs", "outputs"))
    try:
        host = TeaclaveHost(Path(job["payload"]).read_bytes(), "the payload")
        result = host.run(job["arguments"], inputs=inputs, outputs=outputs, timeout=job["seconds"], memory_limit=MEMORY)
    except BuildError as error:
        return {"refused": str(error)}
    return {"timed_out": result.timed_out, "value": str(result)}


if __name__ == "__main__":
    main()
