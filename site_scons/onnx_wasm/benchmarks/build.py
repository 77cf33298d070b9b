"""``./sconsw bench-build``: how long builds of mnist take, how much memory, and how large its modules are.

Everything is built in a temporary copy of the checkout, so the user's build folder stays as it is. Times are those of
the whole command, from the start of ``sconsw`` to its end.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from onnx_wasm.benchmarks import measured
from onnx_wasm.benchmarks.measured import Run
from onnx_wasm.benchmarks.table import Row, publish

TARGET = "bench-build"
HEAVY = frozenset({"numpy", "onnx", "tvm"})
"""The packages that a build with nothing to do must not import."""

_RUNS = 3
_QUICK_RUNS = 9
_KB = 1000
_MB = 1000**2
_NOT_COPIED = (".git", ".venv", "build", "dist", "target", "__pycache__", ".sconsign*", ".*_cache", ".hypothesis")
_MODEL = Path("models", "mnist", "mnist.onnx")
_MANIFEST = Path("models", "mnist", "mnist.toml")
_MODULE = Path("build", "teaclave", "mnist", "mnist.wasm")


@dataclass(frozen=True)
class Checkout:
    """A copy of a checkout, to build in."""

    top: Path

    def build(self, *options: str, target: str = "mnist.wasm", **variables: str) -> Run:
        """Runs ``./sconsw`` for a target.

        Args:
            options: More of its words.
            target: The target.
            variables: More environment variables for it.

        Raises:
            SystemExit: The build failed; its output is shown.
        """
        command = [str(self.top / "sconsw"), *options, target]
        return measured.run(command, self.top, {**os.environ, "PYTHONPATH": "", **variables}, f"{target}: the build")

    @property
    def module(self) -> Path:
        """The module, once it is built."""
        return self.top / _MODULE

    def change_weights(self, seed: int) -> None:
        """Changes each of the model's weights a little, and the manifest's hash with them."""
        import numpy as np
        import onnx
        from onnx import numpy_helper

        model = onnx.load(self.top / _MODEL)
        noise = np.random.default_rng(seed)
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32:
                moved = values + noise.normal(scale=1e-3, size=values.shape).astype(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(moved, tensor.name))
        data = model.SerializeToString()
        (self.top / _MODEL).write_bytes(data)
        self._edit(r'^sha256 = "[0-9a-f]+"', f'sha256 = "{hashlib.sha256(data).hexdigest()}"')

    def read_raw(self) -> None:
        """Has the module read its input as bare elements, not as a picture."""
        self._edit(r'^format = "image"', 'format = "raw"')
        self._edit(r"^image = .*\n", "")

    def _edit(self, pattern: str, replacement: str) -> None:
        path = self.top / _MANIFEST
        text, count = re.subn(pattern, replacement, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        if not count:
            sys.exit(f"{TARGET}: {_MANIFEST} has nothing that looks like {pattern}")
        path.write_text(text, encoding="utf-8")


def measure(checkout: Checkout) -> list[Row]:
    """Measures everything, in a copy that was never built.

    Returns:
        The rows of the table.

    Raises:
        SystemExit: A build failed, or what was built is not what the row is about.
    """
    # A process's peak counts the one it was forked from: this comes before anything large is imported here.
    clean = checkout.build()
    size = checkout.module.stat().st_size
    model_only, alone, in_sandboxes = (
        _median(checkout, lambda _: shutil.rmtree(checkout.module.parent), *options)
        for options in ((), ("--workers=0",), ("--strategy=sandbox",))
    )
    unchanged = _unchanged(checkout)
    imports = _imports(checkout)
    weights = _median(checkout, checkout.change_weights)
    checkout.read_raw()
    checkout.build()
    return [
        Row("mnist.wasm, clean build after set-up, wrapper included", clean.seconds, "s", 25),
        Row("mnist.wasm, the same with the wrapper built", model_only, "s", 6),
        Row("mnist.wasm, the same without workers", alone, "s", 8),
        Row("mnist.wasm, the same in sandboxes", in_sandboxes, "s", 9),
        Row("mnist.wasm, nothing changed", unchanged, "s", 0.4),
        Row("mnist.wasm, nothing changed: of TVM, ONNX and NumPy, imported", len(imports & HEAVY), "", 0),
        Row("mnist.wasm, weights changed", weights, "s", 4),
        Row("mnist.wasm for teaclave, image decoding included", size / _KB, "KB", 220),
        Row("mnist.wasm for teaclave, raw input only", checkout.module.stat().st_size / _KB, "KB", 80),
        Row("mnist.wasm, clean build: memory of the largest process", clean.peak_bytes / _MB, "MB", 400),
    ]


def _median(checkout: Checkout, change: Callable[[int], object], *options: str) -> float:
    """The median time of builds that each follow a change, which gets the number of its run."""
    seconds = []
    for number in range(_RUNS):
        before = _stamp(checkout.module)
        change(number)
        seconds.append(checkout.build(*options).seconds)
        if _stamp(checkout.module) == before:
            sys.exit(f"{TARGET}: a change did not lead to another module")
    return statistics.median(seconds)


def _unchanged(checkout: Checkout) -> float:
    before = _stamp(checkout.module)
    seconds = [checkout.build().seconds for _ in range(_QUICK_RUNS)]
    if _stamp(checkout.module) != before:
        sys.exit(f"{TARGET}: a build with nothing to do wrote the module")
    return statistics.median(seconds)


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns


def _imports(checkout: Checkout) -> set[str]:
    """The top-level packages that a build imports."""
    output = checkout.build(PYTHONPROFILEIMPORTTIME="1").output
    names = {name.partition(".")[0] for name in re.findall(r"^import time:.*\| +([\w.]+)$", output, re.MULTILINE)}
    if "SCons" not in names:
        sys.exit(f"{TARGET}: Python did not tell what it imported")
    return names


@contextlib.contextmanager
def copied() -> Iterator[Checkout]:
    """A temporary copy of the checkout that the current folder is, where nothing was built."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="onnx-wasm-bench-") as folder:
        copy = Path(folder, "checkout")
        shutil.copytree(here, copy, ignore=shutil.ignore_patterns(*_NOT_COPIED))
        (copy / ".venv").symlink_to(here / ".venv")
        yield Checkout(copy)


def main() -> None:
    """Measures the checkout that the current folder is, and ends the process: 0, or 1 if a limit is missed."""
    with copied() as checkout:
        rows = measure(checkout)
    sys.exit(0 if publish(TARGET, rows) else 1)


if __name__ == "__main__":
    main()
