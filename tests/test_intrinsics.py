"""exp, log, pow, tanh, sigmoid and erf are as accurate as they say, in lanes and at the edges."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import s_tir, te, tirx

from onnx_wasm.compiler import intrinsics, targets
from onnx_wasm.compiler.kernels import as_c_functions
from onnx_wasm.compiler.schedules import schedule_kernels
from onnx_wasm.platforms import WEB

COUNT = 1 << 16
EDGES = [0, -0.0, math.inf, -math.inf, math.nan, 1, -1, 88.7, 88.8, -87.3, -104, 1e-45, 3e38, 0.5, 2, 4, -4]
ULPS = 2

erf = np.vectorize(math.erf)


def evaluated(function: Callable[..., tirx.Expr], *arguments: np.ndarray) -> np.ndarray:
    """Compiles a vectorised kernel that applies an intrinsic, for this machine, and runs it."""
    intrinsics.register()
    inputs = [te.placeholder((COUNT,), name=f"x{index}") for index in range(len(arguments))]
    result = te.compute((COUNT,), lambda i: function(*(it[i] for it in inputs)), name="result")
    schedule = s_tir.Schedule(te.create_prim_func([*inputs, result]))
    (loop,) = schedule.get_loops(schedule.get_sblock("result"))
    _, lanes = schedule.split(loop, [None, 4])
    schedule.vectorize(lanes)
    kernel = tvm.compile(schedule.mod, tvm.target.Target({"kind": "llvm"}))
    output = tvm.runtime.tensor(np.zeros(COUNT, "float32"))
    kernel(*map(tvm.runtime.tensor, arguments), output)
    return output.numpy()


@pytest.mark.parametrize("function", [tirx.exp, tirx.log, tirx.tanh, tirx.sigmoid, tirx.erf])
def test_each_runs_in_lanes(function: Callable[..., tirx.Expr]) -> None:
    """What TVM does not know to run in lanes, it takes apart into scalars."""
    intrinsics.register()
    shape = (tirx.const(64, "int64"),)
    x = te.placeholder(shape, "float32", "x")
    kernel = te.create_prim_func([x, te.compute(shape, lambda i: function(x[i]), name="result")])
    target = targets.wasm_target(WEB, 3)
    with target:
        scheduled = schedule_kernels(tvm.IRModule({"kernel": kernel}))
        lowered = as_c_functions(scheduled, target)["kernel"].function
    stores = list[tirx.BufferStore]()
    tvm_ffi.structural_walk(lowered.body, ((tirx.BufferStore, stores.append),))
    assert [str(it.value.ty.dtype) for it in stores] == ["float32x4"]


def samples(low: float, high: float, seed: int = 0) -> np.ndarray:
    """Evenly drawn float32 numbers, the edge cases first."""
    drawn = np.random.default_rng(seed).uniform(low, high, COUNT).astype("float32")
    drawn[: len(EDGES)] = EDGES
    return drawn


def assert_close(found: np.ndarray, exact: np.ndarray, scale: np.ndarray) -> None:
    """Within two units in the last place, times ``scale``; infinities and NaN where they belong."""
    with np.errstate(over="ignore"):
        rounded = exact.astype("float32")
    np.testing.assert_array_equal(np.isnan(found), np.isnan(rounded))
    infinite = np.isinf(rounded)
    np.testing.assert_array_equal(found[infinite], rounded[infinite])
    normal = np.isfinite(rounded) & (np.abs(rounded) >= np.finfo("float32").tiny)
    errors = np.abs(found.astype("float64") - exact)[normal] / np.spacing(np.abs(rounded[normal]))
    assert (errors <= ULPS * scale[normal]).all()
    assert (np.abs(found[np.isfinite(rounded) & ~normal]) <= np.finfo("float32").tiny).all()


@pytest.mark.parametrize(
    ("function", "exact", "low", "high"),
    [
        (tirx.exp, np.exp, -100, 100),
        (tirx.exp, np.exp, -1, 1),
        (tirx.log, np.log, 0, 3e38),
        (tirx.log, np.log, 0, 3),
        (tirx.tanh, np.tanh, -10, 10),
        (tirx.tanh, np.tanh, -1, 1),
        (tirx.sigmoid, lambda x: 1 / (1 + np.exp(-x)), -80, 80),
        (tirx.erf, erf, -5, 5),
        (tirx.erf, erf, -1, 1),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_functions_of_one_number_are_accurate(
    function: Callable[..., tirx.Expr], exact: Callable[..., np.ndarray], low: float, high: float
) -> None:
    x = samples(low, high)
    ulps = 2 if function is tirx.erf else 1  # in units of what the others have
    assert_close(evaluated(function, x), exact(x.astype("float64")), ulps * (1 + np.abs(x)))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_powers_are_accurate(whole: bool) -> None:
    x = samples(-20, 20)
    y = np.random.default_rng(1).uniform(-6, 6, COUNT).astype("float32")
    y = np.round(y) if whole else y
    exact = np.power(x.astype("float64"), y.astype("float64"))
    scale = 1 + np.nan_to_num(np.abs(y * np.log(np.abs(x))), posinf=0)
    found = evaluated(tirx.pow, x, y)
    known = x != -np.inf  # the sign of an infinite base is not told apart
    assert_close(found[known], exact[known], scale[known])


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 0.5, 0.75, 1.0, 2.0, 3.0])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_powers_with_a_known_exponent_are_accurate(exponent: float) -> None:
    x = np.abs(samples(0, 1000))
    found = evaluated(lambda it: tirx.pow(it, tirx.const(exponent, "float32")), x)
    scale = 1 + np.nan_to_num(np.abs(exponent * np.log(np.abs(x))), posinf=0)
    assert_close(found, np.power(x.astype("float64"), exponent), scale)
