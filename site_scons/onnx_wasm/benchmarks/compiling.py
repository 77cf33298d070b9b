"""What it costs to compile a model, and what the instructions cost that Teaclave interprets.

python -m onnx_wasm.benchmarks.compiling MODEL.onnx FOLDER
"""

from __future__ import annotations

import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from onnx_wasm.benchmarks import measured

_MODULE = Path("build/teaclave/mnist/mnist.wasm")
_JPEG = Path("models/mnist/digits/0.jpg")
_DIGIT = 0


@dataclass(frozen=True)
class Cost:
    """What a compilation took.

    Args:
        seconds: From the start of its process to its end.
        peak_bytes: The most memory that the process had resident.
    """

    seconds: float
    peak_bytes: int


def cost(model: Path) -> Cost:
    """Compiles a model from ONNX to an object file, in a process of its own.

    Args:
        model: The ONNX file.
    """
    with tempfile.TemporaryDirectory(prefix="onnx-wasm-bench-") as folder:
        command = [sys.executable, "-P", "-m", "onnx_wasm.benchmarks.compiling", str(model), folder]
        run = measured.run(command, Path(), measured.environment(), f"compiling {model.name}")
    return Cost(run.seconds, int(run.output))


def fuel_of_a_jpeg() -> int:
    """Units of wasmtime's fuel that mnist's module for Teaclave takes for a JPEG of 28 × 28, from start to result."""
    from onnx_wasm.hosts.teaclave import TeaclaveHost

    result = TeaclaveHost(_MODULE.read_bytes(), str(_MODULE), count_fuel=True).run({"input_img": str(_JPEG)})
    if result.value != _DIGIT or result.taken is None or result.taken.fuel is None:
        sys.exit(f"mnist takes {_JPEG} for {result}")
    return result.taken.fuel


def main() -> None:
    """Compiles a model, and prints the bytes that this process had resident at most."""
    from onnx_wasm.benchmarks.bare_module import compiled

    model, folder = map(Path, sys.argv[1:])
    compiled(model, folder, model.name)
    # What the kernel tells of a process that has ended counts the one that it was forked from.
    (kilobytes,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    sys.stdout.write(f"{int(kilobytes) * 1024}\n")


if __name__ == "__main__":
    main()
