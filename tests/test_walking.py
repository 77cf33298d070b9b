"""Loops that sum walk on pointers: they read at constants behind them, and compute what they did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tvm
import tvm_ffi
from onnx import helper
from onnx.reference import ReferenceEvaluator
from support import model
from tvm import ir, te, tirx

from onnx_wasm import toolchain
from onnx_wasm.benchmarks.bare_module import Laboratory, compiled
from onnx_wasm.compiler import intrinsics, targets
from onnx_wasm.compiler.anchors import gemm
from onnx_wasm.compiler.kernels import as_c_functions
from onnx_wasm.compiler.schedules import schedule_kernels
from onnx_wasm.platforms import TEACLAVE, WEB, Platform
from onnx_wasm.tuning import Tile

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def laboratory(built: Path) -> Laboratory:
    return Laboratory(toolchain.find().linker.command, built / "build/teaclave/wrapper/libwrapper.a")


def loops_of(function: tirx.PrimFunc, counter: str, platform: Platform) -> tuple[list[tirx.While], int]:
    """A kernel's loops that walk, and how many there are that count with ``counter``."""
    intrinsics.register()
    target = targets.wasm_target(platform, 3)
    with target:
        scheduled = schedule_kernels(tvm.IRModule({"kernel": function}))
        kernel = as_c_functions(scheduled, target)["kernel"].function
    walking, counting = list[tirx.While](), list[tirx.For]()
    tvm_ffi.structural_walk(kernel.body, ((tirx.While, walking.append), (tirx.For, counting.append)))
    return walking, sum(its.loop_var.name == counter for its in counting)


@pytest.mark.parametrize("columns", [2, 4, 6, 28, 34, 68, 136])
def test_columns_of_groups_are_summed_in_registers(columns: int) -> None:
    """Whatever their number, and the tile's width."""
    groups, depth, tile = 4, 20, Tile(2, 12)
    panels = -(-columns // tile.columns)
    x = te.placeholder((1, 3, 3, groups * depth), "float32", "x")
    packed = te.placeholder((groups, panels, 1, 1, depth, tile.columns), "float32", "packed")
    window = gemm.Window((3, 3), (1, 1), (1, 1))
    result = gemm.grouped_convolution(x, packed, groups * columns, tile, window, groups * depth)
    walking, counting = loops_of(te.create_prim_func([x, packed, result]), "kc", WEB)
    assert (len(walking), counting) == (1, 0)


def indices(loop: tirx.While) -> list[tirx.Expr]:
    """Where a loop reads."""
    found: list[tirx.Expr] = []

    def collect(load: ir.TensorLoad) -> None:
        (index,) = load.indices
        found.append(index.base if isinstance(index, tirx.Ramp) else index)

    tvm_ffi.structural_walk(loop, ((ir.TensorLoad, collect),))
    return found


@pytest.mark.parametrize("platform", [WEB, TEACLAVE], ids=lambda it: it.name)
@pytest.mark.parametrize(("rows", "depth", "tile"), [(6, 24, Tile(2, 16)), (1, 24, Tile(1, 24)), (7, 24, Tile(4, 8))])
def test_a_product_reads_at_constants_behind_its_pointers(
    rows: int, depth: int, tile: Tile, platform: Platform
) -> None:
    x = te.placeholder((rows, depth), "float32", "x")
    packed = te.placeholder((1, depth, tile.columns), "float32", "packed")
    product = te.create_prim_func([x, packed, gemm.matmul(x, packed, tile.columns, tile)])
    (loop,), counting = loops_of(product, "k", platform)
    assert counting == 0
    assert all(isinstance(it, tirx.IntImm) and it.value >= 0 for it in indices(loop))


def dense(rows: int, depth: int, columns: int) -> onnx.ModelProto:
    weights = {"w": RANDOM.standard_normal((depth, columns)).astype("float32")}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    given: list[int | str] = [rows, depth]
    return model(nodes, {"x": ("float32", given)}, {"y": ("float32", [rows, columns])}, weights)


def convolved(extents: list[int | str], weights: tuple[int, ...], out: list[int | str], **how: Any) -> onnx.ModelProto:
    constants = {"w": RANDOM.standard_normal(weights).astype("float32")}
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], **how)]
    return model(nodes, {"x": ("float32", extents)}, {"y": ("float32", out)}, constants)


@pytest.mark.parametrize(
    "proto",
    [
        *(dense(*it) for it in [(1, 1, 1), (1, 5, 33), (2, 1, 16), (5, 3, 17), (7, 129, 10), (3, 2, 40)]),
        convolved([1, 34, 5, 7], (6, 34, 3, 3), [1, 6, 5, 7], pads=[1, 1, 1, 1]),
        convolved([2, 9, 8, 9], (5, 9, 3, 2), [2, 5, 3, 4], strides=[2, 2], dilations=[1, 1]),
        convolved([1, 33, 9, 9], (7, 33, 2, 3), [1, 7, 7, 5], dilations=[2, 2]),
        convolved([1, 10, 5, 5], (14, 5, 1, 1), [1, 14, 5, 5], group=2),
        convolved([1, 9, 6, 5], (12, 3, 3, 3), [1, 12, 4, 3], group=3),
    ],
    ids=lambda proto: "-".join(str(it.dims) for it in proto.graph.initializer),
)
def test_loops_that_walk_sum_what_they_did(proto: onnx.ModelProto, laboratory: Laboratory, tmp_path: Path) -> None:
    onnx.save(proto, tmp_path / "model.onnx")
    x = RANDOM.standard_normal([it.dim_value for it in proto.graph.input[0].type.tensor_type.shape.dim])
    values = {"x": x.astype("float32")}
    (found,) = laboratory.run(compiled(tmp_path / "model.onnx", tmp_path, "model"), values)
    (wanted,) = ReferenceEvaluator(proto).run(None, values)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
