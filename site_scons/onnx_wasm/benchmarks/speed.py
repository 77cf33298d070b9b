"""``./sconsw bench-speed``: how fast modules run, held against onnxruntime-web in the same process of Node.js.

Each model is built in a workspace of its own, as a user would build it. All figures are ratios.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
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
_MEAN = 1.8
_SCONSTRUCT = """\
env = Environment(tools=["onnx_to_wasm"], toolpath={toolpath!r}, ONNX_WASM_BUILD="build")
env.WasmModel(Glob("*/*.toml"))
"""
_MANIFEST = """\
schema-version = 1

[model]
name = "{name}"
path = "{name}.onnx"

[compile]
platforms = ["web"]
"""


@dataclass(frozen=True)
class Contest:
    """A model, and what its module must reach against onnxruntime-web.

    Args:
        times: How many times as fast it must run.
        first: How many times as soon its first result must be there, from the bytes on; None where nothing is asked.
        code: Kilobytes that the module may have beside its weights; None where nothing is asked.
        runs: How many runs of each are timed.
    """

    times: float
    first: float | None = None
    code: float | None = None
    runs: int = _RUNS


CONTESTS: Mapping[str, Contest] = {
    "mnist": Contest(3.0, first=20, code=12, runs=_FEWEST_RUNS_OF_SMALL),
    "squeezenet": Contest(1.8, first=4, code=40),
    "resnet50": Contest(1.9, code=60),
    "shufflenet": Contest(1.8),
    "densenet121": Contest(1.8, code=80),
    "inception_v1": Contest(1.6),
    "vgg19": Contest(1.6),
    "bert": Contest(1.6),
}


@dataclass(frozen=True)
class Timing:
    """What one process of Node.js found, in milliseconds.

    Args:
        ours: Median of our module's runs.
        theirs: That of onnxruntime-web's.
        ourFirst: Compile, instantiate and run ours.
        theirFirst: Create their session and run it.
        difference: The largest between the two results, as a share of the output's largest element.
    """

    ours: float
    theirs: float
    ourFirst: float  # noqa: N815 - as the script has it
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
    rows, ratios = [], []
    for name in names:
        contest, package = CONTESTS[name], packages[name]
        timing = _timed(name, package, onnxruntime, contest.runs)
        ratios.append(timing.theirs / timing.ours)
        rows.append(Row(f"{name}: onnxruntime-web's time / ours", ratios[-1], "", contest.times, "higher"))
        if contest.first is not None:
            first = timing.theirFirst / timing.ourFirst
            rows.append(Row(f"{name}: the same, to the first result", first, "", contest.first, "higher"))
        if contest.code is not None:
            rows.append(Row(f"{name}: module without its weights", _code(package, name) / _KB, "KB", contest.code))
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    return [*rows, Row("geometric mean of onnxruntime-web's time / ours", mean, "", _MEAN, "higher")]


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
    for name in names:
        folder = _WORKSPACE / name
        model = folder / f"{name}.onnx"
        if not model.exists():
            folder.mkdir(parents=True, exist_ok=True)
            partial = model.with_name(f".{model.name}.partial")
            partial.write_bytes(_onnx(name))
            partial.replace(model)
        (folder / f"{name}.toml").write_text(_MANIFEST.format(name=name), encoding="utf-8")
    (_WORKSPACE / "SConstruct").write_text(_SCONSTRUCT.format(toolpath=TOOLPATH), encoding="utf-8")


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
    command = [node, str(_SCRIPT), paths[0], name, *paths[1:], str(runs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{TARGET}: {name}: node ended with {done.returncode}:\n{done.stderr}")
    timing = Timing(**json.loads(done.stdout))
    if not timing.difference < _DIFFERENCE:
        sys.exit(f"{TARGET}: {name}: the results differ by {timing.difference} of the largest")
    return timing


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
