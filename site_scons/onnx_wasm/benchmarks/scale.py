"""``./sconsw bench-scale``: builds of workspaces of many small models, from a hundred to five thousand.

Builds with nothing to do are measured on workspaces whose targets are stand-ins (``workspaces.StandIns``); the clean
build compiles each of its models.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from onnx_wasm.benchmarks import curve, measured, nginx, workspaces
from onnx_wasm.benchmarks.measured import Run
from onnx_wasm.benchmarks.table import FOLDER, Row, publish

TARGET = "bench-scale"
SIZES = (100, 1000, 5000)
"""The numbers of models for which builds with nothing to do are measured."""

BUILT = 200
"""The number of models that are compiled."""

_RUNS = 3
_JOBS = "-j2"
_MB = 1000**2


@dataclass(frozen=True)
class Point:
    """Builds with nothing to do, of a workspace of so many models.

    Args:
        models: How many.
        one_seconds: The median time of ``scons one.wasm``.
        all_seconds: The median time of ``scons all``.
        megabytes: The memory of ``scons all``.
    """

    models: int
    one_seconds: float
    all_seconds: float
    megabytes: float


def scons(top: Path, *words: str) -> Run:
    """Runs SCons in a workspace.

    Raises:
        SystemExit: It failed; its output is shown.
    """
    command = [sys.executable, "-P", "-m", "SCons", "-Q", *words]
    return measured.run(command, top, measured.environment(), f"{TARGET}: scons {' '.join(words)}")


def measure(folder: Path) -> tuple[list[Row], list[Point]]:
    """Measures everything.

    Args:
        folder: Where the workspaces are made.

    Returns:
        The rows of the table, and the curve.
    """
    # The memory of a process counts that of the one it was forked from: nothing large is imported here.
    template = workspaces.generate_apart(folder / "template", 1)
    scons(template, "all")
    points = [_unchanged(folder / str(size), size, template) for size in SIZES]
    few, some, many = points
    per_model = (some.all_seconds - few.all_seconds) / (some.models - few.models)
    per_further_model = (many.all_seconds - some.all_seconds) / (many.models - some.models)
    clean, cached = _clean_and_cached(folder)
    return [
        Row("one.wasm, nothing changed, 1,000 models", some.one_seconds, "s", 0.5),
        Row("all, nothing changed, 1,000 models", some.all_seconds, "s", 4),
        Row("all, nothing changed, 1,000 models: memory", some.megabytes, "MB", 250),
        Row(f"all, clean build of {BUILT} models, {_JOBS}, wrapper built: CPU a model", clean, "s", 1.2),
        Row("all, the same from an HTTP cache, nothing kept on this machine", cached, "s", 30),
        Row(
            "all, nothing changed: a model more than 1,000, against one more than 100",
            per_further_model / per_model,
            "×",
            1.1,
        ),
    ], points


def _unchanged(top: Path, size: int, template: Path) -> Point:
    workspaces.generate_apart(top, size)
    sconstruct = top / "SConstruct"
    text = sconstruct.read_text(encoding="utf-8")
    sconstruct.write_text(text + workspaces.STAND_INS.format(template=template), encoding="utf-8")
    scons(top, "all")
    sconstruct.write_text(text, encoding="utf-8")
    module = workspaces.name(size // 2) + ".wasm"
    ones = [scons(top, module) for _ in range(_RUNS)]
    alls = [scons(top, "all") for _ in range(_RUNS)]
    return Point(
        size,
        statistics.median(run.seconds for run in ones),
        statistics.median(run.seconds for run in alls),
        max(run.peak_bytes for run in alls) / _MB,
    )


def _clean_and_cached(folder: Path) -> tuple[float, float]:
    """Builds many models, then once more from the results that were sent to a cache.

    Returns:
        The CPU time a model of the first, sending included, and the time of the second.
    """
    wrapper = "build/teaclave/wrapper/libwrapper.a"
    with nginx.serving(folder / "nginx") as server:
        sent = [f"--disk-cache={folder}/kept", f"--remote-cache={server.address}", "--remote-cache-mode=readwrite"]
        first, second = (workspaces.generate_apart(folder / name, BUILT) for name in ("first", "second"))
        scons(first, wrapper, *sent)
        built = scons(first, _JOBS, "all", *sent)
        taken = scons(second, _JOBS, "all", f"--disk-cache={folder}/empty", f"--remote-cache={server.address}")
    if "\n0 built, 0 local, " not in taken.output:
        sys.exit(f"{TARGET}: not all came from the cache: {taken.output.splitlines()[-1:]}")
    return built.cpu_seconds / BUILT, taken.seconds


def _curve(points: Sequence[Point]) -> str:
    """The growth as text: seconds and memory by the number of models."""
    head = f"{'models':>8}  {'one.wasm':>9}  {'all':>9}  {'memory':>9}\n"
    return head + "".join(
        f"{it.models:>8,}  {it.one_seconds:>7.2f} s  {it.all_seconds:>7.2f} s  {it.megabytes:>6.0f} MB\n"
        for it in points
    )


def main() -> None:
    """Measures, and ends the process: 0, or 1 if a limit is missed."""
    with tempfile.TemporaryDirectory(prefix="onnx-wasm-bench-") as folder:
        rows, points = measure(Path(folder))
    kept = publish(TARGET, rows, details={"curve": [asdict(it) for it in points]})
    sys.stdout.write(_curve(points))
    series = {
        "all": [(it.models, it.all_seconds) for it in points],
        "one.wasm": [(it.models, it.one_seconds) for it in points],
    }
    picture = curve.svg("A build with nothing to do", "models in the workspace", "s", series)
    (FOLDER / f"{TARGET}.svg").write_text(picture, encoding="utf-8")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
