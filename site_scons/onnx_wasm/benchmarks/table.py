"""The table of a benchmark: figures against their limits, for people on stdout and for programs as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from onnx_wasm.columns import table

FOLDER = Path("build", "bench")


@dataclass(frozen=True)
class Row:
    """One figure and what it must reach.

    Args:
        name: What was measured.
        value: The figure.
        unit: Its unit; empty for a mere number.
        limit: The worst value that will do; None for a figure that is only for the record.
        better: Whether lower or higher figures are better.
    """

    name: str
    value: float
    unit: str
    limit: float | None
    better: Literal["lower", "higher"] = "lower"

    @property
    def ok(self) -> bool:
        """Whether the figure keeps to its limit; one that is not a number does not."""
        if self.limit is None:
            return True
        return self.value <= self.limit if self.better == "lower" else self.value >= self.limit


def publish(
    target: str, rows: Sequence[Row], folder: Path = FOLDER, details: Mapping[str, object] | None = None
) -> bool:
    """Prints a benchmark's table and writes it to ``<folder>/<target>.json``.

    Args:
        target: The benchmark's target, ``bench-build``.
        rows: The figures.
        folder: Where the JSON is put.
        details: What else the JSON holds beside ``rows``.

    Returns:
        Whether every figure keeps to its limit.
    """
    sys.stdout.write(_text(target, rows))
    sys.stdout.flush()
    path = folder / f"{target}.json"
    partial = path.with_name(f".{path.name}.partial")
    folder.mkdir(parents=True, exist_ok=True)
    partial.write_text(
        json.dumps({"rows": [_plain(row) for row in rows], **(details or {})}, indent=1) + "\n", encoding="utf-8"
    )
    partial.replace(path)
    return all(row.ok for row in rows)


def _text(target: str, rows: Sequence[Row]) -> str:
    cells = [(target, "value", "limit", "")]
    for row in rows:
        value = f"{_number(row.value)} {row.unit}".rstrip()
        if row.limit is None:
            cells.append((row.name, value, "", ""))
            continue
        bound = "at most" if row.better == "lower" else "at least"
        limit = f"{bound} {_number(row.limit)} {row.unit}".rstrip()
        cells.append((row.name, value, limit, "ok" if row.ok else "missed"))
    return table(cells, (1, 2))


def _number(value: float) -> str:
    """Three significant digits, and all digits before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:.3g}"


def _plain(row: Row) -> dict[str, object]:
    return {
        "name": row.name,
        "value": row.value,
        "unit": row.unit,
        "limit": row.limit,
        "better": row.better,
        "ok": row.ok,
    }
