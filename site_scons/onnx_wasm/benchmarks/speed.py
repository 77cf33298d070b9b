"""``./sconsw bench-speed``: how fast modules run, held against onnxruntime-web in the same process of Node.js.

Each model is built in a workspace of its own, as a user would build it. All figures are ratios. onnxruntime-web's
package has one module for the CPU, with fixed SIMD: it is what both of ours are held against.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx_wasm import TOOLPATH
from onnx_wasm.benchmarks import npm
from onnx_wasm.benchmarks.table import FOLDER, Row, publish

TARGET = "bench-speed"

_RUNS = 25
_FEWEST_RUNS_OF_SMALL = 500
_KB = 1000
_WORKSPACE = FOLDER / "speed"
_SCRIPT = Path(__file__).with_suffix(".mjs")
_DIFFERENCE = 1e-4
_ROUNDING = 1e-5
_MEAN, _MEAN_RELAXED = 1.8, 2.1
_SCONSTRUCT = """\
env = Environment(tools=["onnx_to_wasm"], toolpath={toolpath!r}, ONNX_WASM_BUILD="build")
env.WasmModel({manifests!r})
"""
_MANIFEST = """\
schema-version = 1

[model]
name = "{name}"
path = "{name}.onnx"

[compile]
platforms = ["web"]
target-features = ["relaxed-simd"]
"""


@dataclass(frozen=True)
class Contest:
    """A model, and what its module must reach against onnxruntime-web.

    Args:
        times: How many times as fast it must run.
        relaxed: The same with relaxed SIMD.
        first: How many times as soon its first result must be there, from the bytes on; None where nothing is asked.
        code: Kilobytes that the module may have beside its weights; None where nothing is asked.
        runs: How many runs of each are timed.
    """

    times: float
    relaxed: float
    first: float | None = None
    code: float | None = None
    runs: int = _RUNS


CONTESTS: Mapping[str, Contest] = {
    "mnist": Contest(3.0, 3.5, first=20, code=12, runs=_FEWEST_RUNS_OF_SMALL),
    "squeezenet": Contest(1.8, 2.0, first=4, code=40),
    "resnet50": Contest(1.9, 2.2, code=60),
    "shufflenet": Contest(1.8, 2.0),
    "densenet121": Contest(1.8, 2.1, code=80),
    "inception_v1": Contest(1.6, 1.9),
    "vgg19": Contest(1.6, 2.0),
    "bert": Contest(1.6, 2.0),
}


@dataclass(frozen=True)
class Timing:
    """What one process of Node.js found, in milliseconds.

    Args:
        ours: Median of our module's runs.
        oursRelaxed: The same of the module with relaxed SIMD.
        theirs: That of onnxruntime-web's.
        ourFirst: Compile, instantiate and run ours.
        theirFirst: Create their session and run it.
        difference: The largest between our results and theirs, as a share of the output's largest element.
    """

    ours: float
    oursRelaxed: float  # noqa: N815 - as the script has it
    theirs: float
    ourFirst: float  # noqa: N815
    theirFirst: float  # noqa: N815
    difference: float


def measure(names: Sequence[str], onnxruntime: Path) -> list[Row]:
    """Measures models one after the other.

    Args:
        names: Of ``CONTESTS``.
        onnxruntime: The folder of onnxruntime-web.

    Returns:
        The rows of the table.

    Raises:
        SystemExit: A model cannot be built or run, or gives another result than onnxruntime-web.
    """
    packages = _built(names)
    rows: list[Row] = []
    ratios: list[float] = []
    relaxed: list[float] = []
    for name in names:
        contest, package = CONTESTS[name], packages[name]
        timing = _timed(name, package, onnxruntime, contest.runs)
        ratios.append(timing.theirs / timing.ours)
        relaxed.append(timing.theirs / timing.oursRelaxed)
        rows.append(Row(f"{name}: onnxruntime-web's time / ours", ratios[-1], "", contest.times, "higher"))
        rows.append(Row(f"{name}: the same with relaxed SIMD", relaxed[-1], "", contest.relaxed, "higher"))
        error = _error(name)
        rows.append(Row(f"{name}: difference from float64, of the largest", error, "", _ROUNDING))
        if contest.first is not None:
            first = timing.theirFirst / timing.ourFirst
            rows.append(Row(f"{name}: the same, to the first result", first, "", contest.first, "higher"))
        if contest.code is not None:
            rows.append(Row(f"{name}: module without its weights", _code(package, name) / _KB, "KB", contest.code))
    return [
        *rows,
        Row("geometric mean of onnxruntime-web's time / ours", statistics.geometric_mean(ratios), "", _MEAN, "higher"),
        Row("the same with relaxed SIMD", statistics.geometric_mean(relaxed), "", _MEAN_RELAXED, "higher"),
    ]


def _built(names: Sequence[str]) -> dict[str, Path]:
    """Builds the models for the web; their packages, by name."""
    _write_workspace(names)
    site = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "SCons", "-s", "-C", str(_WORKSPACE), *(f"{name}.web" for name in names)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": site}, stdout=sys.stderr, check=False)
    if done.returncode:
        sys.exit(f"{TARGET}: the build ended with {done.returncode}")
    return {name: _WORKSPACE / "build" / "web" / name / f"{name}.web" for name in names}


def _write_workspace(names: Sequence[str]) -> None:
    manifests = [f"{name}/{name}.toml" for name in names]
    for name in names:
        folder = _WORKSPACE / name
        model = folder / f"{name}.onnx"
        if not model.exists():
            folder.mkdir(parents=True, exist_ok=True)
            partial = model.with_name(f".{model.name}.partial")
            partial.write_bytes(_onnx(name))
            partial.replace(model)
        (folder / f"{name}.toml").write_text(_MANIFEST.format(name=name), encoding="utf-8")
    (_WORKSPACE / "SConstruct").write_text(_SCONSTRUCT.format(toolpath=TOOLPATH, manifests=manifests), encoding="utf-8")


def _onnx(name: str) -> bytes:
    from onnx_wasm.benchmarks import models

    if name == "mnist":
        return Path("models", "mnist", "mnist.onnx").read_bytes()
    model = models.bert() if name == "bert" else models.light(name)
    return bytes(model.SerializeToString())


def _timed(name: str, package: Path, onnxruntime: Path, runs: int) -> Timing:
    node = shutil.which("node")
    if node is None:
        sys.exit(f"{TARGET}: there is no node here: ./sconsw setup dev brings it")
    paths = [str(it.absolute()) for it in (package, onnxruntime, _WORKSPACE / name / f"{name}.onnx")]
    command = [node, str(_SCRIPT), paths[0], name, *paths[1:], str(runs), str((_WORKSPACE / name).absolute())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{TARGET}: {name}: node ended with {done.returncode}:\n{done.stderr}")
    timing = Timing(**json.loads(done.stdout))
    if not timing.difference < _DIFFERENCE:
        sys.exit(f"{TARGET}: {name}: the results differ by {timing.difference} of the largest")
    return timing


def _error(name: str) -> float:
    """The largest difference of our modules' results from the model's in float64, as a share of the largest element."""
    import numpy as np
    import onnx

    from onnx_wasm.benchmarks import exact

    folder = _WORKSPACE / name
    model = onnx.load(folder / f"{name}.onnx")
    initialisers = {it.name for it in model.graph.initializer}
    given = np.fromfile(folder / "inputs", "float32")
    shapes = [
        [dim.dim_value for dim in it.type.tensor_type.shape.dim]
        for it in model.graph.input
        if it.name not in initialisers
    ]
    inputs = np.split(given, np.cumsum([math.prod(shape) for shape in shapes])[:-1])
    expected = exact.evaluate(model, [it.reshape(shape) for it, shape in zip(inputs, shapes, strict=True)])
    parts = np.cumsum([it.size for it in expected])[:-1]
    found = [np.split(np.fromfile(folder / file, "float32"), parts) for file in ("simd", "relaxed")]
    return max(
        float(np.abs(ours - exactly.ravel()).max() / np.abs(exactly).max())
        for its in found
        for ours, exactly in zip(its, expected, strict=True)
    )


def _code(package: Path, name: str) -> int:
    """Bytes of a module that are not its weights."""
    return (package / f"{name}.wasm").stat().st_size - (package.parent / f"{name}.params").stat().st_size


def main() -> None:
    """Measures the models that the command line names, or all, and ends the process: 0, or 1 if a limit is missed."""
    parser = argparse.ArgumentParser(f"./sconsw {TARGET}", description=__doc__)
    parser.add_argument("models", nargs="*", choices=[*CONTESTS, []], help="default: all")
    names = parser.parse_args().models or list(CONTESTS)
    sys.exit(0 if publish(TARGET, measure(names, npm.unpacked(npm.ONNXRUNTIME_WEB))) else 1)


if __name__ == "__main__":
    main()
