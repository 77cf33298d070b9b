"""Our own converters and rewrites: what a module computes is what ONNX's reference implementation computes.

ONNX's tests of its operators (``test_conformance.py``) hold one or two shapes of each; these hold others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from support import model

from onnx_wasm import toolchain
from onnx_wasm.benchmarks import node_tests
from onnx_wasm.benchmarks.bare_module import Laboratory
from onnx_wasm.benchmarks.node_tests import NodeTest

RANDOM = np.random.default_rng(5)


@pytest.fixture(scope="module")
def laboratory(built: Path) -> Laboratory:
    return Laboratory(toolchain.find().linker.command, built / "build/teaclave/wrapper/libwrapper.a")


def floats(*shape: int, dtype: str = "float32") -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(dtype)


def integers(*shape: int, low: int = -9, high: int = 9, dtype: str = "int64") -> np.ndarray:
    return RANDOM.integers(low, high, shape).astype(dtype)


class Case:
    """One operator.

    Args:
        operator: Its name.
        inputs: Their values; those in ``constants`` are the model's own.
        attributes: Its attributes.
        constants: The positions of inputs that are known beforehand.
        outputs: How many.
        opset: Its operator set.
    """

    def __init__(
        self,
        operator: str,
        *inputs: Any,
        constants: tuple[int, ...] = (),
        outputs: int = 1,
        opset: int = 21,
        **attributes: Any,
    ) -> None:
        self.operator = operator
        self.inputs = [None if it is None else np.asarray(it) for it in inputs]
        self.constants = constants
        self.outputs = outputs
        self.opset = opset
        self.attributes = attributes

    def test(self) -> NodeTest:
        """The case as a test, what it must give by ONNX's reference implementation."""
        names = ["" if value is None else f"x{index}" for index, value in enumerate(self.inputs)]
        values = {name: value for name, value in zip(names, self.inputs, strict=True) if value is not None}
        known = {f"x{index}" for index in self.constants}
        made = [f"y{index}" for index in range(self.outputs)]
        node = helper.make_node(self.operator, names, made, **self.attributes)

        def described(of: Mapping[str, np.ndarray]) -> dict[str, tuple[str, list[int | str]]]:
            return {name: (str(value.dtype), list(value.shape)) for name, value in of.items()}

        given = {name: value for name, value in values.items() if name not in known}
        weights = {name: value for name, value in values.items() if name in known}
        unknown: dict[str, tuple[str, list[int | str]]] = {name: ("float32", []) for name in made}
        reference = model([node], described(given), unknown, weights, self.opset)
        wanted = [np.asarray(it) for it in ReferenceEvaluator(reference).run(None, given)]
        whole = model([node], described(given), described(dict(zip(made, wanted, strict=True))), weights, self.opset)
        return NodeTest(self.operator, whole, given, wanted, 1e-4, 1e-5)


def resize(shape: tuple[int, ...], scales: list[float], **attributes: Any) -> Case:
    return Case("Resize", floats(*shape), None, np.array(scales, np.float32), constants=(2,), **attributes)


PICTURE = floats(1, 2, 5, 6)
INDICES, ROWS = integers(2, 3, low=-4, high=4), integers(2, 4, low=-3, high=3)
SIZE = {"kernel_shape": [3, 3]}
CORNERS, PLAIN = ({"coordinate_transformation_mode": mode} for mode in ("align_corners", "asymmetric"))
SHORT = {"low": -128, "high": 128, "dtype": "int8"}
LONG = {"low": 0, "high": 256, "dtype": "uint8"}
SCALES = RANDOM.uniform(0.001, 0.01, 6).astype(np.float32)
GRID = RANDOM.uniform(-1.3, 1.3, (1, 4, 3, 2)).astype(np.float32)
BYTES = np.array([1, 7, 200, 255, 3], np.uint8)
CASES: dict[str, Callable[[], Case]] = {
    "bit shift of bytes": lambda: Case("BitShift", BYTES, np.array([0, 1, 3, 7, 2], np.uint8), direction="LEFT"),
    "clipped": lambda: Case("Clip", floats(3, 4), np.float32(-0.5), np.float32(0.25), constants=(1, 2)),
    "clipped the wrong way round": lambda: Case("Clip", floats(4), np.float32(1), np.float32(-1), constants=(1, 2)),
    "clipped with a ReLU6's bounds": lambda: Case("Clip", 5 * floats(9), opset=6, min=0.0, max=6.0),
    "cumulated backwards": lambda: Case("CumSum", floats(3, 4, 2), np.array(1), constants=(1,), reverse=1, exclusive=1),
    "cumulated in the first axis": lambda: Case("CumSum", floats(3, 4), np.array(-2), constants=(1,)),
    "determinants": lambda: Case("Det", floats(2, 3, 4, 4)),
    "depth to space": lambda: Case("DepthToSpace", floats(2, 18, 2, 3), blocksize=3, mode="CRD"),
    "dropout's mask": lambda: Case("Dropout", floats(2, 3), outputs=2),
    "gathered by a picture": lambda: Case("Gather", floats(3, 5, 2), integers(2, 3, low=-5, high=5), axis=1),
    "gathered slices": lambda: Case("GatherND", floats(2, 3, 4), integers(2, 1, low=-3, high=3), batch_dims=1),
    "grid, cubic": lambda: Case("GridSample", PICTURE, GRID, mode="cubic", padding_mode="reflection", align_corners=1),
    "grid, linear": lambda: Case("GridSample", PICTURE, GRID, mode="linear", padding_mode="border"),
    "grid, nearest": lambda: Case("GridSample", PICTURE, GRID, mode="nearest", padding_mode="zeros"),
    "infinities": lambda: Case("IsInf", np.array([np.inf, -np.inf, 0, np.nan], np.float32), detect_positive=0),
    "pooling, average": lambda: Case("AveragePool", floats(1, 2, 7, 8), strides=[2, 3], auto_pad="SAME_LOWER", **SIZE),
    "pooling, maximum": lambda: Case("MaxPool", floats(1, 2, 7, 8), strides=[2, 2], auto_pad="SAME_UPPER", **SIZE),
    "layer normalisation": lambda: Case("LayerNormalization", floats(2, 3, 4), floats(3, 4), axis=1, outputs=3),
    "maximum of infinities": lambda: Case("ReduceMax", np.full((2, 3), -np.inf, np.float32), [1], constants=(1,)),
    "maximum of truth": lambda: Case("ReduceMax", np.array([[True, False], [False, False]]), [1], constants=(1,)),
    "mish": lambda: Case("Mish", np.array([-100, -20, -1, 0, 1, 15, 20, 25, 80], np.float32), opset=18),
    "modulo": lambda: Case("Mod", floats(4, 5), floats(5), fmod=1),
    "one-hot": lambda: Case("OneHot", INDICES, np.array(4), np.array([0, 2], np.float32), constants=(1,), axis=1),
    "padding": lambda: Case("Pad", floats(4, 5), [1, 2, 0, 3], np.float32(3), constants=(1,)),
    "padding, edge": lambda: Case("Pad", floats(2, 3), [0, 2, 1, 1], constants=(1,), mode="edge"),
    "padding, reflect": lambda: Case("Pad", floats(4, 5), [2, 3, 1, 4], constants=(1,), mode="reflect"),
    "padding, wrap": lambda: Case("Pad", floats(2, 3), [1, 2, 1, 3], constants=(1,), mode="wrap"),
    "power of integers": lambda: Case("Pow", integers(3, 4, dtype="int32"), integers(4, low=0, high=12)),
    "power of mixed dtypes": lambda: Case("Pow", np.abs(floats(3)), integers(3, low=-3, high=3, dtype="int32")),
    "resize, cubic": lambda: resize((1, 1, 6, 7), [1, 1, 1.7, 0.6], mode="cubic", cubic_coeff_a=-0.5),
    "resize, downwards": lambda: resize((1, 2, 9, 8), [1, 1, 0.4, 0.5], mode="linear", antialias=1),
    "resize, linear": lambda: resize((2, 2, 4, 5), [1, 1, 2, 3], mode="linear", **CORNERS),
    "resize, nearest": lambda: resize((1, 2, 3, 5), [1, 1, 2, 2], nearest_mode="floor", **PLAIN),
    "resize, one dimension": lambda: resize((1, 2, 5), [1, 1, 2.5], mode="linear"),
    "resize, uneven": lambda: resize((1, 1, 5, 4), [1, 1, 1.3, 2.2], nearest_mode="ceil"),
    "quantised convolution": lambda: Case(
        *("QLinearConv", integers(2, 4, 7, 6, **LONG), np.float32(0.02), np.uint8(113), integers(6, 2, 3, 3, **SHORT)),
        *(SCALES, integers(6, low=-9, high=9, dtype="int8"), np.float32(0.03), np.uint8(130)),
        integers(6, low=-9999, high=9999, dtype="int32"),
        constants=(1, 2, 3, 4, 5, 6, 7, 8), group=2, strides=[2, 1], pads=[1, 0, 1, 2], dilations=[1, 2],
    ),
    "quantised convolution of sound": lambda: Case(
        *("QLinearConv", integers(1, 3, 20, **SHORT), np.float32(0.02), np.int8(5), integers(4, 3, 5, **SHORT)),
        *(np.float32(0.01), np.int8(0), np.float32(0.5), np.int8(-3)), auto_pad="SAME_UPPER",
    ),
    "quantised matrices": lambda: Case(
        *("QLinearMatMul", integers(2, 5, 7, **LONG), np.float32(0.02), np.uint8(120), integers(7, 6, **SHORT)),
        *(SCALES, np.zeros(6, np.int8), np.float32(0.01), np.int8(7)), constants=(3, 4, 5),
    ),
    "rounded to even and saturated": lambda: Case(
        *("QuantizeLinear", np.array([-1000, -1.5, -0.5, 0.5, 1.5, 2.5, 1000, 127.5], np.float32)),
        *(np.float32(1), np.int8(0)),
    ),
    "quantised in blocks": lambda: Case(
        *("QuantizeLinear", 9 * floats(3, 7), np.abs(floats(3, 2)) + 0.1, integers(3, 2, low=0, high=9, dtype="uint8")),
        block_size=4, axis=1,
    ),
    "dequantised in blocks": lambda: Case(
        *("DequantizeLinear", integers(6, 3, **SHORT), np.abs(floats(2, 3)), integers(2, 3, low=-9, dtype="int8")),
        block_size=3, axis=0,
    ),
    "sums of integers in a window": lambda: Case(
        *("ConvInteger", integers(1, 2, 5, 5, **LONG), integers(3, 2, 3, 3, **LONG), np.uint8(7), np.uint8(200)),
        pads=[1, 1, 1, 1],
    ),
    "reversed sequences": lambda: Case("ReverseSequence", floats(4, 3, 2), [1, 4, 2], time_axis=0, batch_axis=1),
    "scattered elements": lambda: Case("ScatterElements", floats(3, 4), ROWS, floats(2, 4), axis=0, reduction="add"),
    "scattered slices": lambda: Case("ScatterND", floats(4, 3), [[2], [0], [2]], floats(3, 3), reduction="max"),
    "space to depth": lambda: Case("SpaceToDepth", floats(1, 2, 4, 6), blocksize=2),
    "split unevenly": lambda: Case("Split", floats(2, 7), [3, 0, 4], constants=(1,), axis=1, outputs=3),
    "the smallest": lambda: Case("TopK", floats(3, 9), [4], constants=(1,), axis=1, largest=0, outputs=2),
    "the largest": lambda: Case("TopK", integers(9, 3), [4], constants=(1,), axis=0, outputs=2),
    "transposed convolution": lambda: Case(
        *("ConvTranspose", floats(2, 4, 5, 4), floats(4, 3, 3, 2), floats(3)),
        strides=[2, 3], pads=[1, 0, 0, 1], output_padding=[1, 0],
    ),
    "hyperbolic cosines, as many as fill vectors": lambda: Case("Cosh", floats(3, 8)),
    "hyperbolic sines, as many as fill vectors": lambda: Case("Sinh", floats(3, 8)),
    "exponentials of doubles": lambda: Case("Exp", floats(3, 8, dtype="float64")),
    "logarithms of doubles": lambda: Case("Log", np.abs(floats(3, 8, dtype="float64"))),
    "powers of doubles": lambda: Case("Pow", np.abs(floats(8, dtype="float64")), floats(8, dtype="float64")),
    "sigmoids of doubles": lambda: Case("Sigmoid", floats(3, 8, dtype="float64")),
    "tanh of doubles": lambda: Case("Tanh", floats(3, 8, dtype="float64")),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_module_computes_what_the_reference_computes(name: str, laboratory: Laboratory) -> None:
    verdict = node_tests.judge(CASES[name]().test(), laboratory)
    assert verdict.kind == "passed", verdict


def test_a_maximum_is_padded_more_in_front_if_it_says_so(laboratory: Laboratory) -> None:
    """SAME_LOWER, which ONNX's reference implementation computes otherwise than by these pads."""
    explicit = Case("MaxPool", floats(1, 2, 7, 8), strides=[2, 2], pads=[1, 1, 1, 0], **SIZE).test()
    shapes: list[dict[str, tuple[str, list[int | str]]]] = [
        {"x0": ("float32", [1, 2, 7, 8])},
        {"y0": ("float32", [1, 2, 4, 4])},
    ]
    node = helper.make_node("MaxPool", ["x0"], ["y0"], strides=[2, 2], auto_pad="SAME_LOWER", **SIZE)
    test = NodeTest("padded", model([node], *shapes), explicit.inputs, explicit.outputs, 0, 0)
    assert node_tests.judge(test, laboratory).kind == "passed"


@pytest.mark.parametrize("size", [3, 4])
def test_a_local_response_is_of_the_neighbouring_channels(size: int, laboratory: Laboratory) -> None:
    """By its definition: ONNX's reference implementation sums for as many channels only as the batch is large."""
    x = floats(1, 7, 3, 2)
    behind, ahead = (size - 1) // 2, size // 2
    squares = [(x[:, max(c - behind, 0) : c + ahead + 1] ** 2).sum(axis=1) for c in range(7)]
    wanted = x / np.sqrt(2 + 0.3 / size * np.stack(squares, axis=1))
    shape: list[int | str] = list(x.shape)
    node = helper.make_node("LRN", ["x"], ["y"], size=size, alpha=0.3, beta=0.5, bias=2.0)
    made = model([node], {"x": ("float32", shape)}, {"y": ("float32", shape)})
    test = NodeTest("local", made, {"x": x}, [wanted.astype(np.float32)], 1e-4, 1e-5)
    assert node_tests.judge(test, laboratory).kind == "passed"


@pytest.mark.parametrize(
    ("extents", "taps", "attributes"),
    [
        ([9, 9], [3, 3], {"strides": [2, 2], "pads": [2, 2, 2, 2], "dilations": [2, 2]}),
        ([8, 10], [2, 2], {"strides": [2, 2]}),
        ([9, 8], [3, 4], {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ([10, 9], [3, 3], {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ([11, 7], [2, 3], {"strides": [3, 1], "pads": [0, 1, 0, 2]}),
        ([17], [5], {"strides": [3], "pads": [1, 2]}),
    ],
    ids=["dilated", "side by side", "overlapping", "with more behind", "with gaps", "of lines"],
)
@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_is_the_transpose_of_a_convolution(
    extents: list[int], taps: list[int], attributes: dict[str, Any], groups: int, laboratory: Laboratory
) -> None:
    """⟨conv x, y⟩ = ⟨x, convᵀ y⟩; ONNX's reference implementation has no groups here."""
    attributes = {**attributes, "group": groups}
    weights, x = floats(4, 4 // groups, *taps), floats(1, 4, *extents)
    shape: list[int | str] = list(x.shape)
    forth = model(
        [helper.make_node("Conv", ["x", "w"], ["y"], **attributes)],
        {"x": ("float32", shape)}, {"y": ("float32", ["n", "c", "h", "w"][: x.ndim])}, {"w": weights},
    )  # fmt: skip
    (convolved,) = ReferenceEvaluator(forth).run(None, {"x": x})
    y = floats(*convolved.shape)
    # What the convolution's last window does not reach.
    pads, dilations = (attributes.get(name, [default] * 4) for name, default in (("pads", 0), ("dilations", 1)))
    attributes["output_padding"] = [
        (extents[axis] + pads[axis] + pads[axis + len(taps)] - dilations[axis] * (taps[axis] - 1) - 1) % stride
        for axis, stride in enumerate(attributes["strides"])
    ]
    back = model(
        [
            helper.make_node("ConvTranspose", ["y", "w"], ["z"], **attributes),
            helper.make_node("Mul", ["z", "x"], ["product"]),
            helper.make_node("ReduceSum", ["product"], ["sum"], keepdims=0),
        ],
        {"y": ("float32", list(y.shape)), "x": ("float32", shape)}, {"sum": ("float32", [])}, {"w": weights},
    )  # fmt: skip
    wanted = np.asarray((convolved * y).sum(), np.float32)
    test = NodeTest("transpose", back, {"y": y, "x": x}, [wanted], 1e-4, 1e-4)
    assert node_tests.judge(test, laboratory).kind == "passed"


@pytest.mark.parametrize(("operator", "shape"), [("Gather", [4]), ("GatherElements", [4]), ("GatherND", [4, 1])])
def test_an_index_that_is_out_of_range_reads_within_the_tensor(
    operator: str, shape: list[int | str], laboratory: Laboratory
) -> None:
    nodes = [helper.make_node(operator, ["x", "at"], ["y"])]
    described: dict[str, tuple[str, list[int | str]]] = {"x": ("float32", [3]), "at": ("int64", shape)}
    made: onnx.ModelProto = model(nodes, described, {"y": ("float32", [4])})
    values = {"x": np.array([1, 2, 3], np.float32), "at": np.array([2**40, -1, 1, -(2**40)]).reshape(shape)}
    test = NodeTest("range", made, values, [np.array([3, 3, 2, 1], np.float32)], 0, 0)
    assert node_tests.judge(test, laboratory).kind == "passed"


def test_an_index_that_is_out_of_range_writes_nowhere(laboratory: Laboratory) -> None:
    nodes = [helper.make_node("ScatterElements", ["x", "at", "new"], ["y"])]
    described: dict[str, tuple[str, list[int | str]]] = {
        "x": ("float32", [2]), "at": ("int64", [3]), "new": ("float32", [3]),
    }  # fmt: skip
    made: onnx.ModelProto = model(nodes, described, {"y": ("float32", [2])})
    x, new = np.array([1, 2], np.float32), np.array([7, 8, 9], np.float32)
    at = np.array([1, 2**40, -3])
    test = NodeTest("range", made, {"x": x, "at": at, "new": new}, [np.array([1, 7], np.float32)], 0, 0)
    assert node_tests.judge(test, laboratory).kind == "passed"
