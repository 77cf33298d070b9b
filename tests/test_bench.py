"""``<model>.bench``: a finished module measured where it runs, and held against what it was."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import Build, copy, edit, scons

from onnx_wasm.bench import comparison, figures
from onnx_wasm.bench.comparison import SAME, compare, differences, excess
from onnx_wasm.bench.figures import Bench, Distribution
from onnx_wasm.bench.report import histogram
from onnx_wasm.errors import BuildError

TIMES = {"compile", "instantiate", "first run", "run"}


@pytest.fixture(scope="module")
def checkout(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy(built, tmp_path_factory.mktemp("bench") / "checkout")


def report(checkout: Path, model: str, platform: str) -> dict[str, Any]:
    file = checkout / f"build/{platform}/{model}/{model}.bench.json"
    return dict(json.loads(file.read_text()))


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["teaclave", "wasi", "web"])
def test_a_module_is_measured_in_its_platform_s_runtime(checkout: Path, platform: str) -> None:
    told = scons(checkout, f"mnist.{platform}.bench").out
    found = report(checkout, "mnist", platform)
    data = (checkout / f"build/{platform}/mnist/mnist.wasm").read_bytes()
    assert (found["model"], found["platform"]) == ("mnist", platform)
    assert found["sha256"] == hashlib.sha256(data).hexdigest()
    assert found["runtime"].startswith("Node.js " if platform == "web" else "wasmtime ")
    assert ("simd128" in found["features"]) == (platform != "teaclave")
    assert set(found["seconds"]) == TIMES
    for its in found["seconds"].values():
        assert 0 < its["min"] <= its["p25"] <= its["median"] <= its["p75"] <= its["p90"] <= its["p99"] <= its["max"]
    assert found["seconds"]["run"]["count"] >= 25
    assert found["seconds"]["compile"]["count"] == 5
    assert found["bytes"]["module"] == len(data)
    assert 0 < found["bytes"]["gzip"] <= len(gzip.compress(data, mtime=0))
    assert found["bytes"]["memory"] % 65536 == 0
    assert f"mnist on {platform}, ms" in told
    assert all(name in told for name in (*TIMES, "median", "p99", "memory", "gzip", "█"))


@pytest.mark.slow
def test_a_module_that_is_slower_than_its_limit_ends_with_1(checkout: Path) -> None:
    scons(checkout, "tiny.bench")
    old = report(checkout, "tiny", "teaclave")
    old["seconds"]["run"] = {key: it / 10 if key != "count" else it for key, it in old["seconds"]["run"].items()}
    old["bytes"]["module"] += 1
    (checkout / "old.json").write_text(json.dumps(old))
    told = scons(checkout, "tiny.bench", "against=old.json")
    line = next(it for it in told.out.splitlines() if it.startswith("run, ms"))
    assert line.endswith("slower")
    assert next(it for it in told.out.splitlines() if it.startswith("module, bytes")).endswith("smaller")
    assert "the module is the same, byte for byte" in told.out
    slower = scons(checkout, "tiny.bench", "against=old.json", "limit=300", status=1)
    assert "a run is slower by" in slower.err
    assert "the limit is 300 %" in slower.err
    assert report(checkout, "tiny", "teaclave")["seconds"]["run"]["median"] > old["seconds"]["run"]["median"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["against=absent.json"], "against=absent.json: there is no such file"),
        (
            ["against=build/teaclave/tiny/tiny.bench.json"],
            "against=build/teaclave/tiny/tiny.bench.json: is the file that will be written",
        ),
        (["limit=5"], "limit=5: holds only against=FILE"),
        (["against=models/tiny/tiny.toml", "limit=five"], "limit=five: is no number of per cent"),
        (["against=models/tiny/tiny.toml"], "tiny.toml: does not hold what a bench measured"),
        (["against=web.json"], "web.json: was measured on web, not on teaclave"),
    ],
)
def test_what_cannot_be_compared_is_told_before_anything_is_measured(
    checkout: Path, words: list[str], message: str
) -> None:
    (checkout / "build/teaclave/tiny/tiny.bench.json").touch()
    (checkout / "web.json").write_text(figures.to_json(replace(bench([1.0]), platform="web")))
    done: Build = scons(checkout, "tiny.bench", *words, status=2)
    assert message in done.err
    assert "keep a copy of build/teaclave/tiny/tiny.bench.json" in done.err or "limit=" in message
    assert "Traceback" not in done.err
    assert "tiny on teaclave" not in done.out


def test_words_of_other_targets_are_left_to_them(checkout: Path) -> None:
    assert "there is no such file" not in scons(checkout, "tiny.wasm", "against=absent.json").err


@pytest.mark.slow
def test_inputs_are_drawn_from_the_manifest_s_range(checkout: Path, tmp_path: Path) -> None:
    top = copy(checkout, tmp_path / "checkout")
    edit(top / "models/tiny/tiny.toml", "[[output]]", '[[input]]\nname = "x"\nrange = [0.25, 0.5]\n\n[[output]]')
    scons(top, "tiny.bench")
    assert report(top, "tiny", "teaclave")["seconds"]["run"]["count"] >= 25


def bench(runs: list[float], **sizes: int) -> Bench:
    return Bench(
        "m", "wasi", ("simd128",), "0" * 64, "wasmtime 1", {"run": Distribution.of(runs)}, {"module": 100, **sizes}
    )


def test_a_distribution_has_only_what_was_measured() -> None:
    its = Distribution.of([float(it) for it in range(100, 0, -1)])
    assert (its.count, its.min, its.p25, its.median, its.p75) == (100, 1, 25, 50, 75)
    assert (its.p90, its.p99, its.max) == (90, 99, 100)
    assert Distribution.of([2.0]) == Distribution(1, 2, 2, 2, 2, 2, 2, 2)


@pytest.mark.parametrize(
    ("new", "verdict"),
    [
        ([1.0, 1.1, 1.2, 1.3], SAME),
        ([1.15, 1.25, 1.35, 1.45], SAME),  # its middle half begins where the old one's ends
        ([1.25, 1.3, 1.4, 1.5], "slower"),
        ([0.8, 0.85, 0.9, 0.95], "faster"),
        ([0.9, 1.05, 1.4, 9.0], SAME),
    ],
)
def test_a_time_counts_as_another_only_beyond_the_spread_of_runs(new: list[float], verdict: str) -> None:
    old = bench([1.0, 1.1, 1.2, 1.3])
    (change,) = (it for it in compare(old, bench(new)) if it.figure == "run")
    assert change.verdict == verdict


def test_a_limit_is_for_runs_that_are_slower_beyond_their_spread() -> None:
    old = bench([1.0, 1.0, 1.0])
    assert "slower by 20.0 %" in excess(compare(old, bench([1.2, 1.2, 1.2])), 10)
    assert not excess(compare(old, bench([1.2, 1.2, 1.2])), 25)
    assert not excess(compare(old, bench([0.9, 1.2, 1.2])), 10)
    assert not excess(compare(old, bench([0.5, 0.5, 0.5])), 10)


def test_what_else_is_another_is_told() -> None:
    old, new = bench([1.0]), replace(bench([1.0]), runtime="wasmtime 2", sha256="1" * 64, features=())
    assert differences(old, new) == ["runtime: wasmtime 1 before, wasmtime 2 now", "features: simd128 before, none now"]
    assert differences(old, old) == ["the module is the same, byte for byte"]
    with pytest.raises(BuildError, match="was measured on wasi, not on web"):
        comparison.check_platform(old, "web", "old.json", "")


def test_figures_are_read_as_they_were_written() -> None:
    its = bench([1.0, 2.0], memory=65536)
    assert figures.parse(figures.to_json(its), "old.json", "") == its


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{", ""),
        ("bench 1", "bench 2"),
        ('"min": 1.0', '"min": 0'),
        ('"min": 1.0', '"min": NaN'),
        ('"min": 1.0', '"min": "x"'),
        ('"module": 100', '"module": 0'),
        ('"module": 100', '"module": "100"'),
        ('"bytes"', '"bites"'),
        ('"simd128"', "7"),
        ('"wasmtime 1"', "null"),
    ],
)
def test_what_nobody_wrote_so_is_refused(old: str, new: str) -> None:
    text = figures.to_json(bench([1.0]))
    assert old in text
    with pytest.raises(BuildError, match=r"old\.json: does not hold what a bench measured\n    mend it"):
        figures.parse(text.replace(old, new, 1), "old.json", "mend it")


def test_a_histogram_has_every_run() -> None:
    runs = [1.0] * 50 + [1.5] * 25 + [2.0] * 25
    lines = [it.split() for it in histogram(Distribution.of(runs), runs).splitlines()[1:]]
    assert [(float(it[0].replace(",", "")), int(it[1])) for it in lines if int(it[1])] == [
        (1000, 50),
        (1500, 25),
        (1875, 25),
    ]
    assert len(lines[0][2]) == 2 * len(lines[-1][2])
    assert histogram(Distribution.of([1.0, 1.0]), [1.0, 1.0]) == ""
