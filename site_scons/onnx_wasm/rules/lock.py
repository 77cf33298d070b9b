"""One build at a time: SCons keeps what it knows of targets in memory, and at its end writes over what others did."""

from __future__ import annotations

import atexit
import fcntl
import os
import sys
from pathlib import Path

_HELD = "ONNX_WASM_BUILDING"


def hold(build: Path) -> None:
    """Keeps other builds out of a build folder until this process ends, and waits for one that is there already.

    What a build starts in the user's environment, tests of this repository for one, may build there itself.

    Args:
        build: The folder; it is made. One that cannot be written to is nobody's.
    """
    held = os.environ.get(_HELD, "").split(os.pathsep)
    if str(build) in held:
        return
    try:
        build.mkdir(parents=True, exist_ok=True)
        file = (build / ".lock").open("w")
    except OSError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.stderr.write(f"waiting for another build in {build}\n")
        sys.stderr.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
    os.environ[_HELD] = os.pathsep.join(filter(None, [*held, str(build)]))
    atexit.register(file.close)
