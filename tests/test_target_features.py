"""``target-features``: modules that use what not every runtime has, and the choice between two in a package."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from support import copy, model, scons
from web import node

from onnx_wasm.compiler.anchors.gemm import choose_tile
from onnx_wasm.compiler.targets import wasm_target
from onnx_wasm.hosts import checks
from onnx_wasm.hosts.loading import load
from onnx_wasm.manifest import TARGET_FEATURES
from onnx_wasm.platforms import PLATFORMS

MANIFEST = """\
schema-version = 1

[model]
name = "dense"
path = "dense.onnx"

[[output]]
name = "y"
argument = "y"

[compile]
platforms = ["wasi", "web"]
target-features = ["relaxed-simd"]

[params]
mode = "file"
argument = "weights"
"""
ROWS, DEPTH, COLUMNS = 6, 32, 24
WEIGHTS = np.random.default_rng(0).standard_normal((DEPTH, COLUMNS)).astype("float32")


@pytest.fixture(scope="module")
def dense(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a matrix product, built for both platforms; its folder ``build``."""
    workspace = copy(built, tmp_path_factory.mktemp("dense") / "workspace")
    folder = workspace / "models/dense"
    folder.mkdir()
    product = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    made = model(product, {"x": ("float32", [ROWS, DEPTH])}, {"y": ("float32", [ROWS, COLUMNS])}, {"w": WEIGHTS})
    onnx.save(made, folder / "dense.onnx")
    (folder / "dense.toml").write_text(MANIFEST)
    scons(workspace, "dense.web", "dense.wasi.wasm")
    return workspace / "build"


@pytest.mark.slow
def test_a_platform_with_one_module_has_the_features_in_it(dense: Path, tmp_path: Path) -> None:
    module = dense / "wasi/dense/dense.wasm"
    assert "relaxed-simd" in checks.features(module.read_bytes())
    x = np.linspace(-1, 1, ROWS * DEPTH, dtype="float32").reshape(ROWS, DEPTH)
    np.save(tmp_path / "x.npy", x)
    files = {"x": tmp_path / "x.npy", "weights": module.with_suffix(".params"), "y": tmp_path / "y.npy"}
    assert load(module).run({key: str(file) for key, file in files.items()}).value == 0
    assert np.allclose(np.load(tmp_path / "y.npy"), x @ WEIGHTS, rtol=1e-4, atol=1e-5)


def test_a_package_has_a_module_for_each_place(dense: Path) -> None:
    package = dense / "web/dense/dense.web"
    plain, relaxed = ((package / f"dense{mark}.wasm").read_bytes() for mark in ("", ".relaxed-simd"))
    assert "relaxed-simd" not in checks.features(plain)
    assert "relaxed-simd" in checks.features(relaxed)


def test_both_modules_of_a_package_take_the_same_weights(dense: Path) -> None:
    plain, relaxed = ((dense / f"web/dense/dense{mark}.params").read_bytes() for mark in ("", ".relaxed-simd"))
    assert plain == relaxed


def test_weights_are_packed_alike_with_and_without_features() -> None:
    web = PLATFORMS["web"]
    widths = []
    for platform in (web, web.with_optional_features()):
        with wasm_target(platform, 3):
            extents = itertools.product((1, 2, 3, 49, 784), range(1, 140))
            widths.append([choose_tile(rows, columns).columns for rows, columns in extents])
    assert widths[0] == widths[1]


@pytest.mark.parametrize("available", [True, False])
def test_a_package_loads_the_module_that_suits_the_place(available: bool, dense: Path) -> None:
    package = dense / "web/dense/dense.web"
    script = f"""
        import {{ setFlagsFromString }} from "node:v8";
        import {{ readFile }} from "node:fs/promises";
        setFlagsFromString("--experimental-wasm-relaxed-simd");
        const validate = WebAssembly.validate;
        WebAssembly.validate = (bytes) => {str(available).lower()} && validate(bytes);
        const compile = WebAssembly.compile;
        let size;
        WebAssembly.compile = (bytes) => (size = bytes.byteLength, compile(bytes));
        const {{ load }} = await import("./dense.js");
        const model = await load();
        const x = new Float32Array({ROWS * DEPTH}).fill(1);
        tell([size, [...model.run({{ x }}).y.slice(0, {COLUMNS})]]);
    """
    size, row = node(script, package)
    mark = ".relaxed-simd" if available else ""
    assert size == (package / f"dense{mark}.wasm").stat().st_size
    assert np.allclose(row, WEIGHTS.sum(axis=0), rtol=1e-4, atol=1e-5)


def test_the_manifest_knows_which_platforms_have_which_features() -> None:
    assert {
        feature: tuple(name for name, its in PLATFORMS.items() if feature in its.optional_features)
        for feature in sorted({it for its in PLATFORMS.values() for it in its.optional_features})
    } == TARGET_FEATURES
