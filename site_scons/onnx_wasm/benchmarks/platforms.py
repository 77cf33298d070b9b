"""``./sconsw bench-platforms``: how soon a module answers where it runs, and how large it is."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from onnx_wasm.benchmarks import npm
from onnx_wasm.benchmarks.table import Row, publish

TARGET = "bench-platforms"

_RUNS = 9
_KB = 1000
_PACKAGE = Path("build", "web", "mnist", "mnist.web")
_ONNX = Path("models", "mnist", "mnist.onnx")
_SCRIPT = Path(__file__).with_suffix(".mjs")
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class First:
    """The first results of one process of Node.js.

    Args:
        ours: Milliseconds to compile and instantiate the module, and run it.
        theirs: Milliseconds in which onnxruntime-web creates its session and runs it.
        difference: The largest between the two results.
    """

    ours: float
    theirs: float
    difference: float


def measure(package: Path, onnxruntime: Path) -> list[Row]:
    """Measures the package of the sample model.

    Args:
        package: Its folder.
        onnxruntime: That of onnxruntime-web.

    Returns:
        The rows of the table.

    Raises:
        SystemExit: There is no Node.js, it failed, or the two do not give the same result.
    """
    firsts = [_first(package, onnxruntime) for _ in range(_RUNS)]
    size = sum(path.stat().st_size for path in package.rglob("*") if path.is_file())
    milliseconds = statistics.median(it.ours for it in firsts)
    times = statistics.median(it.theirs / it.ours for it in firsts)
    other = f"onnxruntime-web {npm.ONNXRUNTIME_WEB.version}"
    return [
        Row("mnist.web, first result in Node: compile, instantiate, run", milliseconds, "ms", 15),
        Row(f"mnist.web, first result, times as quick as {other}", times, "", 20, "higher"),
        Row("mnist.web, whole folder", size / _KB, "KB", 120),
    ]


def _first(package: Path, onnxruntime: Path) -> First:
    node = shutil.which("node")
    if node is None:
        sys.exit(f"{TARGET}: there is no node here: ./sconsw setup dev brings it")
    command = [node, str(_SCRIPT), *(str(path.absolute()) for path in (package, onnxruntime, _ONNX))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{TARGET}: node ended with {done.returncode}:\n{done.stderr}")
    first = First(**json.loads(done.stdout))
    if not first.difference < _TOLERANCE:
        sys.exit(f"{TARGET}: the results of mnist.web and onnxruntime-web differ by {first.difference}")
    return first


def main() -> None:
    """Measures what is built and ends the process: 0, or 1 if a limit is missed."""
    sys.exit(0 if publish(TARGET, measure(_PACKAGE, npm.unpacked(npm.ONNXRUNTIME_WEB))) else 1)


if __name__ == "__main__":
    main()
