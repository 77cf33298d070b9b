"""Benchmarks: the table that all of them print, and that bench-build measures what its rows say."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from support import ROOT, model, tiny

from onnx_wasm.benchmarks import compiling, models, npm, platforms, quantised
from onnx_wasm.benchmarks.build import Checkout, measure
from onnx_wasm.benchmarks.table import Row, publish

SECONDS = [("s", 25), ("s", 6), ("s", 8), ("s", 9), ("s", 0.4)]
LIMITS = [*SECONDS, ("", 0), ("s", 4), ("KB", 220), ("KB", 80), ("MB", 400)]
"""Unit and limit of each row of bench-build, in order."""

SCONSW = """\
#!{python}
import sys, time
from pathlib import Path
import SCons
sources = [Path("models/mnist/mnist.onnx"), Path("models/mnist/mnist.toml")]
content = b"".join(path.read_bytes() for path in sources)
module = Path("build/teaclave/mnist/mnist.wasm")
built = not module.exists() or module.read_bytes() != content
if built:
    module.parent.mkdir(parents=True, exist_ok=True)
    module.write_bytes(content)
{more}
"""
"""A stand-in for sconsw, whose module is the bytes of its sources."""


def stand_in(folder: Path, more: str = "") -> Checkout:
    """A checkout whose ``sconsw`` is the stand-in, with more of it."""
    shutil.copytree(ROOT / "models/mnist", folder / "models/mnist")
    (folder / "sconsw").write_text(SCONSW.format(python=sys.executable, more=more))
    (folder / "sconsw").chmod(0o755)
    return Checkout(folder)


@pytest.mark.parametrize(
    ("value", "better", "ok"),
    [(1.9, "lower", True), (2, "lower", True), (2.1, "lower", False), (1.9, "higher", False), (2, "higher", True)],
)
def test_a_figure_keeps_to_its_limit(value: float, better: str, ok: bool) -> None:
    assert Row("it", value, "s", 2, better).ok is ok
    assert not Row("it", math.nan, "s", 2, better).ok


def test_a_table_is_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row("time of it", 1.2345, "s", 4), Row("speed", 12345.6, "", 20000, "higher")]
    assert not publish("bench-it", rows, tmp_path / "bench")
    assert capsys.readouterr().out.splitlines() == [
        "bench-it     value            limit",
        "time of it  1.23 s      at most 4 s  ok",
        "speed       12,346  at least 20,000  missed",
    ]
    assert [path.name for path in (tmp_path / "bench").iterdir()] == ["bench-it.json"]
    assert json.loads((tmp_path / "bench/bench-it.json").read_text()) == {
        "rows": [
            {"name": "time of it", "value": 1.2345, "unit": "s", "limit": 4, "better": "lower", "ok": True},
            {"name": "speed", "value": 12345.6, "unit": "", "limit": 20000, "better": "higher", "ok": False},
        ]
    }
    assert publish("bench-it", rows[:1], tmp_path / "bench")


def test_a_figure_for_the_record_has_no_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish("bench-it", [Row("another's time / ours", 0.4, "", None)], tmp_path)
    assert capsys.readouterr().out.splitlines()[1].split() == ["another's", "time", "/", "ours", "0.4"]
    assert json.loads((tmp_path / "bench-it.json").read_text())["rows"][0]["limit"] is None


@pytest.mark.slow
def test_a_compilation_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    onnx.save(tiny(1), tmp_path / "tiny.onnx")
    cost = compiling.cost(tmp_path / "tiny.onnx")
    assert 0 < cost.seconds < 60
    assert 50e6 < cost.peak_bytes < 600e6  # TVM is in it


@pytest.mark.slow
def test_builds_are_measured_with_all_limits(tmp_path: Path) -> None:
    rows = measure(stand_in(tmp_path / "checkout", "time.sleep(0.3 * built)"))
    assert [(row.unit, row.limit) for row in rows] == LIMITS
    assert all(row.better == "lower" for row in rows)
    times, (imports, weights, with_images, raw, memory) = ([row.value for row in its] for its in (rows[:5], rows[5:]))
    assert min(*times[:4], weights) > 0.3 > times[4] > 0
    assert imports == 0
    model, manifest = ((ROOT / "models/mnist" / name).stat().st_size for name in ("mnist.onnx", "mnist.toml"))
    assert with_images == (model + manifest) / 1000
    assert raw < with_images
    assert memory > 5


def test_the_memory_of_the_largest_process_counts(tmp_path: Path) -> None:
    child = "import subprocess; subprocess.run([sys.executable, '-c', 'bytearray(150_000_000).count(1)'])"
    checkout = stand_in(tmp_path / "checkout", child)
    # Not from here: a process's peak counts the one it was forked from, and this one is large.
    command = f"from onnx_wasm.benchmarks.build import Checkout; print({checkout!r}.build().peak_bytes)"
    words = [sys.executable, "-c", f"from pathlib import PosixPath; {command}"]
    environ = {"PYTHONPATH": str(ROOT / "site_scons")}
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=True)
    assert 150e6 < int(done.stdout) < 200e6


@pytest.mark.slow
def test_imports_are_seen(tmp_path: Path) -> None:
    rows = measure(stand_in(tmp_path / "checkout", "import numpy, onnx.defs"))
    (imports,) = (row for row in rows if row.limit == 0)
    assert (imports.value, imports.ok) == (2, False)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("sys.exit('no linker')", "ended with 1"),
        ("module.touch()", "nothing to do"),
        ("import os; os.utime(module, (1, 1))", "did not lead to another module"),
    ],
)
def test_a_measurement_of_something_else_is_refused(tmp_path: Path, more: str, message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        measure(stand_in(tmp_path / "checkout", more))


ONNXRUNTIME = """
export const env = { wasm: {} };
export class Tensor {}
export const InferenceSession = { create: async () => {
  await new Promise((done) => setTimeout(done, 200));
  return { run: async () => ({ Plus214_Output_0: { data: [1, %s] } }) };
} };
"""
"""A stand-in for onnxruntime-web that takes its time."""


def place_platforms(folder: Path, result: float = 2) -> tuple[Path, Path]:
    """Stand-ins for the package of mnist and for onnxruntime-web."""
    package, onnxruntime = folder / "mnist.web", folder / "onnxruntime"
    (package / "demo").mkdir(parents=True)
    (package / "mnist.js").write_text(
        "export const load = async (bytes) => ({ run: () => ({ Plus214_Output_0: [bytes.length, 2] }) });"
    )
    (package / "mnist.wasm").write_bytes(b"x")
    (package / "demo/demo.js").write_bytes(bytes(50_000))
    (onnxruntime / "dist").mkdir(parents=True)
    (onnxruntime / "dist/ort.wasm.bundle.min.mjs").write_text(ONNXRUNTIME % result)
    (onnxruntime / "dist/ort-wasm-simd-threaded.wasm").write_bytes(b"")
    return package, onnxruntime


@pytest.mark.slow
def test_platforms_are_measured_with_all_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    first, times, folder = platforms.measure(*place_platforms(tmp_path))
    assert [(it.unit, it.limit, it.better) for it in (first, times, folder)] == [
        ("ms", 15, "lower"),
        ("", 20, "higher"),
        ("KB", 120, "lower"),
    ]
    assert 0 < first.value < 150
    assert times.value > 200 / 150
    assert 50 < folder.value < 51


def test_a_comparison_of_different_results_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match=r"differ by 0\.5"):
        platforms.measure(*place_platforms(tmp_path, 2.5))


def test_a_package_that_is_another_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm_ = tmp_path / "bin/npm"
    npm_.parent.mkdir()
    npm_.write_text('#!/bin/sh\nfor it; do folder=$it; done\necho other > "$folder/it-1.0.tgz"\necho it-1.0.tgz\n')
    npm_.chmod(0o755)
    monkeypatch.setenv("PATH", str(npm_.parent), prepend=":")
    with pytest.raises(SystemExit, match=r"npm brought another it@1\.0: sha512-"):
        npm.unpacked(npm.Package("it", "1.0", "sha512-AAAA"), tmp_path / "npm")
    assert list((tmp_path / "npm").iterdir()) == []


def windows() -> onnx.ModelProto:
    """Two convolutions in an opset without quantised operators for each channel."""
    random = np.random.default_rng(0)
    weights = {name: random.standard_normal((8, depth, 3, 3)).astype("float32") for name, depth in (("v", 3), ("w", 8))}
    nodes = [helper.make_node("Conv", ["x", "v"], ["h"]), helper.make_node("Conv", ["h", "w"], ["y"])]
    return model(nodes, {"x": ("float32", [1, 3, 9, 9])}, {"y": ("float32", [1, 8, 5, 5])}, weights, 9)


@pytest.mark.parametrize(
    ("its", "quantise", "operators"),
    [
        (windows(), quantised.static, {"QuantizeLinear", "DequantizeLinear"}),
        (models.bert(8, 16, 2, 32, 1), quantised.dynamic, {"DynamicQuantizeLinear", "MatMulInteger"}),
    ],
)
def test_quantised_models_are_nearly_what_they_were(
    its: onnx.ModelProto, quantise: Callable[[onnx.ModelProto], onnx.ModelProto], operators: set[str]
) -> None:
    shape = [it.dim_value for it in its.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(3).standard_normal(shape).astype("float32")
    made = quantise(its)
    assert operators <= {it.op_type for it in made.graph.node}
    expected, found = (
        onnxruntime.InferenceSession(each.SerializeToString()).run(None, {"x": x})[0] for each in (its, made)
    )
    difference = np.abs(found - expected).max() / np.abs(expected).max()
    assert 0 < difference < 0.1
