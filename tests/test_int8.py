"""Products of quantised tensors run on integers, in the instruction made for them, and give just those integers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from support import model

from onnx_wasm import toolchain, wasm
from onnx_wasm.benchmarks.bare_module import Compiled, Laboratory, compiled
from onnx_wasm.platforms import TEACLAVE, WASI, Platform

RANDOM = np.random.default_rng(8)
PLATFORMS = {"with vectors": WASI, "without": TEACLAVE}
DOT = bytes((0xFD, 0xBA, 0x01))
"""``i32x4.dot_i16x8_s``, as the specification of fixed-width SIMD numbers it."""

Its = tuple[onnx.ModelProto, dict[str, np.ndarray]]


def whole(dtype: str, *shape: int) -> np.ndarray:
    """A tensor of all values of a dtype of few bits."""
    limits = np.iinfo(dtype)
    return RANDOM.integers(limits.min, limits.max + 1, shape).astype(dtype)


def product(
    x: tuple[str, tuple[int, ...]],
    w: tuple[str, tuple[int, ...]],
    zeros: tuple[object, object] = (None, None),
    **window: object,
) -> Its:
    """A product of integers with known weights; each zero point is left out, one for all, or a list."""
    operator = "ConvInteger" if len(w[1]) > 2 else "MatMulInteger"
    known = {"w": whole(w[0], *w[1])}
    for name, dtype, zero in zip(("xz", "wz"), (x[0], w[0]), zeros, strict=True):
        if zero is not None:
            known[name] = np.array(zero, dtype)
    names = ["x", "w", *(it if it in known else "" for it in ("xz", "wz"))]
    node = helper.make_node(operator, names, ["y"], **window)
    its = model([node], {"x": (x[0], list(x[1]))}, {"y": ("int32", [None] * len(x[1]))}, known)
    return onnx.shape_inference.infer_shapes(its), {"x": whole(*[x[0]], *x[1])}


PRODUCTS = {
    "matrices": lambda: product(("uint8", (5, 96)), ("int8", (96, 72)), (117, None)),
    "one row": lambda: product(("uint8", (1, 96)), ("int8", (96, 72)), (128, None)),
    "odd depth and columns": lambda: product(("int8", (7, 33)), ("int8", (33, 13)), (-5, None)),
    "a batch": lambda: product(("uint8", (2, 3, 17)), ("int8", (17, 9)), (3, 0)),
    "zero points of the weights": lambda: product(("uint8", (6, 20)), ("uint8", (20, 24)), (9, 128)),
    "zero points far from the middle": lambda: product(("uint8", (6, 20)), ("uint8", (20, 24)), (255, 3)),
    "zero points far from the middle, odd": lambda: product(("uint8", (6, 21)), ("uint8", (21, 8)), (1, 250)),
    "a zero point for each row and column": lambda: product(
        ("uint8", (4, 10)), ("int8", (10, 8)), ([[0], [7], [128], [255]], [-128, -1, 0, 1, 5, 9, 100, 127])
    ),
    "pointwise": lambda: product(("uint8", (1, 16, 5, 4)), ("int8", (24, 16, 1, 1)), (100, None)),
    "pointwise, odd": lambda: product(("uint8", (2, 15, 5, 4)), ("int8", (9, 15, 1, 1)), (100, None)),
    "a few channels": lambda: product(("uint8", (1, 3, 9, 7)), ("int8", (8, 3, 3, 3)), (117, None), pads=[1, 1, 1, 1]),
    "padded": lambda: product(("uint8", (1, 32, 6, 7)), ("int8", (24, 32, 3, 3)), (200, None), pads=[1, 0, 2, 1]),
    "strided, odd": lambda: product(("int8", (1, 13, 9, 8)), ("int8", (24, 13, 3, 3)), (-7, None), strides=[2, 2]),
    "dilated, odd": lambda: product(("int8", (1, 13, 9, 9)), ("int8", (8, 13, 3, 3)), (1, None), dilations=[2, 2]),
    "in groups": lambda: product(("uint8", (1, 16, 6, 6)), ("int8", (24, 8, 3, 3)), (1, None), group=2),
    "in odd groups": lambda: product(
        ("uint8", (2, 15, 6, 6)), ("int8", (25, 3, 3, 3)), (90, None), group=5, pads=[1, 1, 1, 1]
    ),
    "odd channels of uint8": lambda: product(
        ("uint8", (1, 11, 6, 6)), ("uint8", (12, 11, 3, 3)), (1, 40), pads=[1, 1, 1, 1]
    ),
    "odd groups of uint8": lambda: product(("uint8", (1, 15, 6, 6)), ("uint8", (25, 3, 3, 3)), (9, 250), group=5),
    "weights of uint8": lambda: product(("uint8", (1, 12, 6, 6)), ("uint8", (12, 12, 3, 3)), (1, 100)),
    "lines": lambda: product(("uint8", (1, 6, 20)), ("int8", (8, 6, 3)), (77, None)),
}
APART = {
    "depthwise": lambda: product(
        ("uint8", (1, 12, 6, 6)), ("int8", (12, 1, 3, 3)), (77, None), group=12, pads=[1, 1, 1, 1]
    ),
}
"""Products without neighbours to multiply at once."""


@pytest.fixture(scope="module")
def laboratory(built: Path) -> Laboratory:
    return Laboratory(toolchain.find().linker.command, built / "build/teaclave/wrapper/libwrapper.a")


def made(its: onnx.ModelProto, folder: Path, platform: Platform = WASI) -> Compiled:
    onnx.save(its, folder / "it.onnx")
    return compiled(folder / "it.onnx", folder, "it", platform)


def dots(its: Compiled) -> int:
    """How many of the instructions for products of integers there are in an object's code."""
    data = its.object.read_bytes()
    (code,) = (it for it in wasm.read(data, "it.o").sections if it.kind == "code")
    return data[code.offset : code.offset + code.size].count(DOT)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("name", [*PRODUCTS, *APART])
def test_sums_of_integers_are_exact(name: str, platform: str, laboratory: Laboratory, tmp_path: Path) -> None:
    its, inputs = (PRODUCTS | APART)[name]()
    module = made(its, tmp_path, PLATFORMS[platform])
    (found,) = laboratory.run(module, inputs)
    (wanted,) = ReferenceEvaluator(its).run(None, inputs)
    np.testing.assert_array_equal(found, wanted)
    assert (dots(module) > 0) == (platform == "with vectors" and name in PRODUCTS)


def test_results_of_integers_are_rounded_in_the_kernel_that_sums_them(laboratory: Laboratory, tmp_path: Path) -> None:
    known = {
        "xs": np.array(0.02, "float32"),
        "xz": np.array(113, "uint8"),
        "w": whole("int8", 24, 16, 3, 3),
        "ws": RANDOM.uniform(0.01, 0.02, 24).astype("float32"),
        "wz": np.zeros(24, "int8"),
        "ys": np.array(0.3, "float32"),
        "yz": np.array(130, "uint8"),
        "b": RANDOM.integers(-999, 999, 24).astype("int32"),
    }
    node = helper.make_node("QLinearConv", ["x", *known], ["y"], pads=[1, 1, 1, 1])
    its = model([node], {"x": ("uint8", [1, 16, 8, 8])}, {"y": ("uint8", [1, 24, 8, 8])}, known)
    module = made(its, tmp_path)
    inputs = {"x": whole("uint8", 1, 16, 8, 8)}
    (found,) = laboratory.run(module, inputs)
    (wanted,) = ReferenceEvaluator(its).run(None, inputs)
    np.testing.assert_array_equal(found, wanted)
    assert dots(module) > 0
    nodes = json.loads((tmp_path / "model.graph.json").read_text())["nodes"]
    (name,) = (it["name"] for it in nodes if "conv" in it["name"])
    assert "round" in name
    assert "clip" in name


def test_weights_take_a_byte_each(tmp_path: Path) -> None:
    its, _ = product(("uint8", (5, 96)), ("int8", (96, 72)), (117, None))
    assert len(made(its, tmp_path).params) == 96 * 72
    its, _ = product(("uint8", (1, 16, 5, 4)), ("uint8", (24, 16, 3, 3)), (117, 128))
    assert len(made(its, tmp_path).params) == 24 * 16 * 9
    its, _ = product(("uint8", (6, 32)), ("uint8", (32, 24)), (9, 3))
    assert len(made(its, tmp_path).params) == 32 * 24


def quantised(w: tuple[int, ...], axis: int | None, name: str = "w") -> tuple[onnx.NodeProto, dict[str, np.ndarray]]:
    """Weights as DequantizeLinear gives them, of one scale or of one for each index of an axis."""
    scale = RANDOM.uniform(0.01, 0.02, [] if axis is None else w[axis]).astype("float32")
    known = {f"{name}_q": whole("int8", *w), f"{name}_s": scale, f"{name}_z": np.zeros(scale.shape, "int8")}
    return helper.make_node("DequantizeLinear", list(known), [name], axis=axis or 0), known


def around(
    nodes: list[onnx.NodeProto], x: tuple[int, ...], w: tuple[int, ...], axis: int | None, extra: dict[str, np.ndarray]
) -> Its:
    """What is between DequantizeLinear and QuantizeLinear: from x, quantised, and w to y."""
    reading, known = quantised(w, axis)
    known |= {"xs": np.array(0.02, "float32"), "xz": np.array(131, "uint8")} | extra
    known |= {"ys": np.array(0.5, "float32"), "yz": np.array(-3, "int8")}
    before = [helper.make_node("DequantizeLinear", ["x", "xs", "xz"], ["xf"]), reading]
    after = [helper.make_node("QuantizeLinear", ["yf", "ys", "yz"], ["y"])]
    its = model([*before, *nodes, *after], {"x": ("uint8", list(x))}, {"y": ("int8", [None] * len(x))}, known, 19)
    return onnx.shape_inference.infer_shapes(its), {"x": whole("uint8", *x)}


BIAS = {"b": np.linspace(-3, 3, 24, dtype="float32")}
QDQ = {
    "matrices": lambda: around(
        [helper.make_node("MatMul", ["xf", "w"], ["yf"])], (5, 50), (50, 24), 1, {}
    ),
    "Gemm": lambda: around(
        [helper.make_node("Gemm", ["xf", "w", "b"], ["yf"], transB=1)], (5, 51), (24, 51), 0, BIAS
    ),
    "convolution": lambda: around(
        [helper.make_node("Conv", ["xf", "w", "b"], ["c"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["yf"])],
        *((1, 16, 7, 6), (24, 16, 3, 3), 0, BIAS),
    ),
    "convolution, padded as it must be": lambda: around(
        [helper.make_node("Conv", ["xf", "w"], ["yf"], auto_pad="SAME_UPPER")], (1, 16, 7, 6), (24, 16, 3, 3), None, {}
    ),
    "convolution in groups": lambda: around(
        [helper.make_node("Conv", ["xf", "w", "b"], ["yf"], group=2)], (1, 16, 7, 6), (24, 8, 3, 3), 0, BIAS
    ),
    "behind what moves elements": lambda: around(
        [
            helper.make_node("Transpose", ["xf"], ["t"], perm=[0, 2, 1]),
            helper.make_node("MatMul", ["t", "w"], ["yf"]),
        ],
        *((2, 18, 5), (18, 24), 1, {}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", QDQ)
def test_products_of_dequantised_tensors_are_products_of_integers(
    name: str, laboratory: Laboratory, tmp_path: Path
) -> None:
    its, inputs = QDQ[name]()
    module = made(its, tmp_path)
    (found,) = laboratory.run(module, inputs)
    (wanted,) = ReferenceEvaluator(its).run(None, inputs)
    steps = np.abs(found.astype(int) - wanted)
    assert steps.max() <= 1  # where the reference's float sum is on the other side of a half
    assert (steps > 0).mean() < 0.01
    assert dots(module) > 0
    stored = next(it for it in its.graph.initializer if it.name == "w_q")
    assert len(module.params) < 1.3 * len(stored.raw_data) + 1024


def layer(x: str, w: str, y: str, quantisation: Sequence[str], **window: object) -> list[onnx.NodeProto]:
    """A convolution of what is dequantised as ``x``, quantised and dequantised again."""
    return [
        helper.make_node("DequantizeLinear", [f"{w}_q", "ws"], [w]),
        helper.make_node("Conv", [x, w], [f"{y}_f"], **window),
        helper.make_node("QuantizeLinear", [f"{y}_f", *quantisation], [f"{y}_q"]),
        helper.make_node("DequantizeLinear", [f"{y}_q", *quantisation], [y]),
    ]


def fire() -> onnx.ModelProto:
    """Two convolutions of one tensor, put together and pooled, then another, of scales with which floats are exact."""
    near, far = ("s", "z"), ("t", "n")
    known = {
        "ws": np.array(2**-5, "float32"),
        "s": np.array(2**-3, "float32"),
        "z": np.array(7, "uint8"),
        "t": np.array(0.5, "float32"),
        "n": np.array(-100, "int8"),
        "v_q": whole("int8", 8, 16, 3, 3),
        "w_q": whole("int8", 12, 16, 3, 3),
        "u_q": whole("int8", 8, 20, 1, 1),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *near], ["x_q"]),
        helper.make_node("DequantizeLinear", ["x_q", *near], ["x_d"]),
        *layer("x_d", "v", "a", near, pads=[1, 1, 1, 1]),
        *layer("x_d", "w", "b", far, pads=[1, 1, 1, 1]),
        helper.make_node("Concat", ["a", "b"], ["c_f"], axis=1),
        helper.make_node("QuantizeLinear", ["c_f", *far], ["c_q"]),
        helper.make_node("DequantizeLinear", ["c_q", *far], ["c"]),
        helper.make_node("MaxPool", ["c"], ["p_f"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("QuantizeLinear", ["p_f", *far], ["p_q"]),
        helper.make_node("DequantizeLinear", ["p_q", *far], ["p"]),
        *layer("p", "u", "y", near),
    ]
    outputs = {"y": ("float32", [1, 8, 5, 4]), "p": ("float32", [1, 20, 5, 4])}
    return model(nodes, {"x": ("float32", [1, 16, 9, 8])}, outputs, known, 21)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_what_is_quantised_is_put_together_and_pooled_as_integers(
    platform: str, laboratory: Laboratory, tmp_path: Path
) -> None:
    its = fire()
    module = made(its, tmp_path, PLATFORMS[platform])
    inputs = {"x": 4 * RANDOM.standard_normal((1, 16, 9, 8)).astype("float32")}
    for found, wanted in zip(laboratory.run(module, inputs), ReferenceEvaluator(its).run(None, inputs), strict=True):
        np.testing.assert_array_equal(found, wanted)
    graph = json.loads((tmp_path / "model.graph.json").read_text())
    dtypes = graph["attrs"]["dltype"][1]
    moved = {
        name: dtypes[graph["node_row_ptr"][index]]
        for index, it in enumerate(graph["nodes"])
        for name in ("concatenate", "max_pool")
        if name in it["name"]
    }
    assert moved == {"concatenate": "int16", "max_pool": "int16"}


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(("dtype", "zero"), [("uint8", 0), ("uint8", 131), ("int8", -128), ("int8", 5)])
def test_what_is_quantised_is_rounded_to_even_and_saturated(
    dtype: str, zero: int, platform: str, laboratory: Laboratory, tmp_path: Path
) -> None:
    known = {"s": np.array(0.25, "float32"), "z": np.array(zero, dtype)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    x = np.concatenate([np.arange(-600, 600) / 8, [1e9, -1e9, np.inf, -np.inf, 1e-40, -0.0, 8e37]]).astype("float32")
    its = model(nodes, {"x": ("float32", [x.size])}, {"y": ("float32", [x.size])}, known, 21)
    (found,) = laboratory.run(made(its, tmp_path, PLATFORMS[platform]), {"x": x})
    limits = np.iinfo(dtype)
    wanted = (np.clip(np.rint(x / np.float32(0.25)), limits.min - zero, limits.max - zero) * 0.25).astype("float32")
    np.testing.assert_array_equal(found, wanted)


def test_sums_that_int32_does_not_hold_stay_floats(laboratory: Laboratory, tmp_path: Path) -> None:
    depth = 70_000
    known = {"w_q": np.full((depth, 4), 127, "int8"), "s": np.array(0.01, "float32")}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w_q", "s"], ["w"]),
        helper.make_node("MatMul", ["xf", "w"], ["y"]),
    ]
    its = model(nodes, {"x": ("uint8", [1, depth])}, {"y": ("float32", [1, 4])}, known)
    module = made(its, tmp_path)
    (found,) = laboratory.run(module, {"x": np.full((1, depth), 255, "uint8")})
    np.testing.assert_allclose(found, depth * 2.55 * 1.27, rtol=1e-3)
    assert dots(module) == 0


@pytest.mark.parametrize("mean", [127.5, 300])
def test_a_mean_that_is_no_zero_point_of_bytes_is_subtracted_as_float(
    mean: float, laboratory: Laboratory, tmp_path: Path
) -> None:
    reading, known = quantised((12, 8), None)
    known |= {"mean": np.array(mean, "float32"), "scale": np.array(0.01, "float32")}
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Sub", ["f", "mean"], ["m"]),
        helper.make_node("Mul", ["m", "scale"], ["xf"]),
        *(reading, helper.make_node("MatMul", ["xf", "w"], ["y"])),
    ]
    its = model(nodes, {"x": ("uint8", [5, 12])}, {"y": ("float32", [5, 8])}, known, 19)
    module, inputs = made(its, tmp_path), {"x": whole("uint8", 5, 12)}
    (found,) = laboratory.run(module, inputs)
    (wanted,) = ReferenceEvaluator(its).run(None, inputs)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert dots(module) == 0


def test_what_a_run_quantises_is_multiplied_as_integers(laboratory: Laboratory, tmp_path: Path) -> None:
    known = {"w": whole("int8", 48, 24), "ws": RANDOM.uniform(0.01, 0.02, 24).astype("float32")}
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["s", "ws"], ["both"]),
        helper.make_node("Mul", ["f", "both"], ["y"]),
    ]
    its = model(nodes, {"x": ("float32", [7, 48])}, {"y": ("float32", [7, 24])}, known)
    module = made(its, tmp_path)
    inputs = {"x": RANDOM.standard_normal((7, 48)).astype("float32")}
    (found,) = laboratory.run(module, inputs)
    (wanted,) = ReferenceEvaluator(its).run(None, inputs)
    np.testing.assert_array_equal(found, wanted)
    assert dots(module) > 0
