"""The benchmark of large workspaces: what it builds, that its rows are what the builds took, and its curve."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import onnx
import pytest

from onnx_wasm.benchmarks import curve, scale, workspaces

LIMITS = [("s", 0.5), ("s", 4), ("MB", 250), ("s", 1.2), ("s", 30), ("×", 1.1)]
"""Unit and limit of each row, in order."""


def contents(top: Path) -> dict[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def test_a_workspace_is_the_same_in_every_run_and_its_models_differ(tmp_path: Path) -> None:
    first, second = (contents(workspaces.generate(tmp_path / name, 20)) for name in ("first", "second"))
    assert first == second
    models = [data for path, data in first.items() if path.endswith(".onnx")]
    assert len(set(models)) == len(models) == 20
    for data in models:
        onnx.checker.check_model(data, full_check=True)


@pytest.mark.slow
def test_the_rows_are_what_the_builds_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "SIZES", (1, 2, 3))
    monkeypatch.setattr(scale, "BUILT", 2)
    rows, points = scale.measure(tmp_path)
    assert [(row.unit, row.limit) for row in rows] == LIMITS
    assert [it.models for it in points] == [1, 2, 3]
    assert rows[0].value == points[1].one_seconds > 0
    assert rows[1].value == points[1].all_seconds > 0
    assert rows[2].value == points[1].megabytes > 10
    modules = [path.read_bytes() for path in sorted((tmp_path / "first").glob("build/*/*/*.wasm"))]
    assert len(set(modules)) == 2, "each is another, and built"
    assert modules == [path.read_bytes() for path in sorted((tmp_path / "second").glob("build/*/*/*.wasm"))]
    assert rows[3].value > 0.1
    assert rows[4].value > 0.1


def test_a_curve_has_a_line_for_each_series() -> None:
    drawn = ET.fromstring(curve.svg("a < b", "models", "s", {"one": [(1, 1.0), (2, 4.0)], "all": [(1, 2.0), (2, 3.0)]}))
    lines = drawn.findall("{http://www.w3.org/2000/svg}polyline")
    heights = [[float(pair.split(",")[1]) for pair in line.attrib["points"].split()] for line in lines]
    assert len(heights) == 2
    assert all(first > last for first, last in heights), "more stands higher"
