"""``./sconsw bench-speed``: how fast modules run, held against onnxruntime-web in the same process of Node.js.

All figures of speed are ratios, each the median of three processes: now and then V8 runs one side several times as
slowly from a process's start to its end. onnxruntime-web's package has one module for the CPU, with fixed SIMD: it is
what both of ours are held against.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx_wasm.benchmarks import compiling, npm, others, precision
from onnx_wasm.benchmarks.contests import CONTESTS, WORKSPACE, Contest, Contestant, built
from onnx_wasm.benchmarks.table import Row, publish

TARGET = "bench-speed"

_PROCESSES = 3
_KB, _MB = 1000, 1000**2
_SCRIPT = Path(__file__).with_suffix(".mjs")
_ROUNDING = 1e-5
_MEAN, _MEAN_RELAXED = 1.8, 2.1
_SHARE = 90
_SECONDS, _MEGABYTES = 8, 1000
_FUEL = 6.6e6


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

    @property
    def times(self) -> float:
        """How many times as fast ours runs."""
        return self.theirs / self.ours

    @property
    def relaxed(self) -> float:
        """How many times as fast ours with relaxed SIMD runs."""
        return self.theirs / self.oursRelaxed

    @property
    def first(self) -> float:
        """How many times as soon our first result is there."""
        return self.theirFirst / self.ourFirst


def measure(names: Sequence[str], onnxruntime: Path) -> Iterator[Row]:
    """Measures models one after the other.

    Args:
        names: Of ``CONTESTS``.
        onnxruntime: The folder of onnxruntime-web.

    Yields:
        The rows of the table.

    Raises:
        SystemExit: A model cannot be built or run, or gives another result than onnxruntime-web.
    """
    ratios: list[float] = []
    relaxed: list[float] = []
    for it in built(names, TARGET):
        contest = CONTESTS[it.name]
        timings = [_timed(it, onnxruntime, contest) for _ in range(_PROCESSES)]
        its = statistics.median(each.times for each in timings)
        its_relaxed = statistics.median(each.relaxed for each in timings)
        yield Row(f"{it.name}: onnxruntime-web's time / ours", its, "", contest.times, "higher")
        yield Row(f"{it.name}: the same with relaxed SIMD", its_relaxed, "", contest.relaxed, "higher")
        if contest.times is not None:
            ratios.append(its)
            relaxed.append(its_relaxed)
        if contest.first is not None:
            first = statistics.median(each.first for each in timings)
            yield Row(f"{it.name}: the same, to the first result", first, "", contest.first, "higher")
        if contest.code is not None:
            yield Row(f"{it.name}: module without its weights", it.code / _KB, "KB", contest.code)
        if contest.is_architecture:
            share = it.products_share_of_peak * 100
            yield Row(f"{it.name}: its products' share of the registers' peak", share, "%", _SHARE, "higher")
            for platform, error in precision.errors(it).items():
                name = f"{it.name}: difference from float64, of the largest, {platform}"
                yield Row(name, error, "", _ROUNDING)
        ours = statistics.median(each.ours for each in timings)
        for other, milliseconds in others.times(it).items():
            yield Row(f"{it.name}: {other}'s time / ours, for the record", milliseconds / ours, "", None)
        yield from _of_one(it)
    if ratios:
        mean, mean_relaxed = statistics.geometric_mean(ratios), statistics.geometric_mean(relaxed)
        yield Row("geometric mean of onnxruntime-web's time / ours", mean, "", _MEAN, "higher")
        yield Row("the same with relaxed SIMD", mean_relaxed, "", _MEAN_RELAXED, "higher")


def _of_one(it: Contestant) -> Iterator[Row]:
    """What is asked of one model alone."""
    if it.name == "mnist":
        ratio = others.tfjs_ratio(it)
        yield Row("mnist: tfjs-backend-wasm's time / ours, for the record", ratio, "", None)
        yield Row(
            "mnist for teaclave, from a JPEG to the digit: fuel", compiling.fuel_of_a_jpeg() / 1e6, "M", _FUEL / 1e6
        )
    if it.name == "resnet50":
        its = compiling.cost(it.onnx)
        yield Row("resnet50: ONNX to object, one process", its.seconds, "s", _SECONDS)
        yield Row("resnet50: the same, memory", its.peak_bytes / _MB, "MB", _MEGABYTES)


def _timed(it: Contestant, onnxruntime: Path, contest: Contest) -> Timing:
    node = shutil.which("node")
    if node is None:
        sys.exit(f"{TARGET}: there is no node here: ./sconsw setup dev brings it")
    folder = WORKSPACE / it.name
    (folder / "inputs").write_bytes(b"".join(tensor.tobytes() for tensor in it.sample.tensors.values()))
    words = [it.package.absolute(), it.name, onnxruntime.absolute(), it.onnx.absolute(), folder.absolute()]
    done = subprocess.run([node, str(_SCRIPT), *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{TARGET}: {it.name}: node ended with {done.returncode}:\n{done.stderr}")
    timing = Timing(**json.loads(done.stdout))
    if not timing.difference < contest.difference:
        sys.exit(f"{TARGET}: {it.name}: the results differ by {timing.difference} of the largest")
    return timing


def main() -> None:
    """Measures the models that the command line names, or all, and ends the process: 0, or 1 if a limit is missed."""
    parser = argparse.ArgumentParser(f"./sconsw {TARGET}", description=__doc__)
    parser.add_argument("models", nargs="*", choices=[*CONTESTS, []], help="default: all")
    names = parser.parse_args().models or list(CONTESTS)
    sys.exit(0 if publish(TARGET, [*measure(names, npm.unpacked(npm.ONNXRUNTIME_WEB))]) else 1)


if __name__ == "__main__":
    main()
