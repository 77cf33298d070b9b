"""What was measured, and how that compares, as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from onnx_wasm.bench.comparison import Change, differences
from onnx_wasm.bench.figures import RUN, Bench, Distribution
from onnx_wasm.columns import table

_BARS = 8
_LONGEST = 40


def as_text(bench: Bench, runs: Sequence[float]) -> str:
    """A module's figures, and a histogram of its runs.

    Args:
        bench: The figures.
        runs: The seconds of each run.
    """
    head = (f"{bench.model} on {bench.platform}, ms", "min", "median", "p90", "p99", "max", "count")
    times = [(name, *_cells(it)) for name, it in bench.seconds.items()]
    sizes = [(name, f"{size:,}", "bytes") for name, size in bench.bytes.items()]
    return (
        table([head, *times], range(1, len(head))) + table(sizes, (1,)) + histogram(bench.seconds[RUN], runs)
        + f"({bench.runtime})\n"
    )  # fmt: skip


def histogram(distribution: Distribution, runs: Sequence[float]) -> str:
    """How many runs took how long, as bars between the least and the 99th per cent; those beyond are counted.

    Args:
        distribution: The runs'.
        runs: The seconds of each.
    """
    least, most = distribution.min, distribution.p99
    width = (most - least) / _BARS
    if not width:
        return ""
    counts = [0] * _BARS
    for it in runs:
        if it <= most:
            counts[min(int((it - least) / width), _BARS - 1)] += 1
    longest = max(counts)
    rows = [
        (_milliseconds(least + at * width), f"{count:,}", "█" * round(count / longest * _LONGEST))
        for at, count in enumerate(counts)
    ]
    beyond = sum(it > most for it in runs)
    rows += [(f"> {_milliseconds(most)}", f"{beyond:,}", "")] if beyond else []
    return table([("a run's ms", "count", ""), *rows], (0, 1))


def compared(changes: Sequence[Change], old: Bench, new: Bench, where: str) -> str:
    """The figures of a module against those of an earlier one.

    Args:
        changes: What was found.
        old: The earlier figures.
        new: The new ones.
        where: The file of the old.
    """
    rows = [
        (f"{it.figure}, {'ms' if it.unit == 'seconds' else it.unit}", *_both(it), f"{it.ratio:.3f}", it.verdict)
        for it in changes
    ]
    told = "".join(f"{it}\n" for it in differences(old, new))
    return table([(f"against {where}", "old", "new", "ratio", ""), *rows], (1, 2, 3)) + told


def _both(change: Change) -> tuple[str, str]:
    if change.unit == "seconds":
        return _milliseconds(change.old), _milliseconds(change.new)
    return f"{change.old:,.0f}", f"{change.new:,.0f}"


def _cells(it: Distribution) -> tuple[str, ...]:
    return (*map(_milliseconds, (it.min, it.median, it.p90, it.p99, it.max)), f"{it.count:,}")


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.3f}"
