"""What is known is computed: nodes on shapes, indices and other constants, with ONNX's own reference implementation.

Only operators that IEEE 754 defines to the last bit, so that every build machine gets the same values; and only
so much of them that a small file cannot ask for large tensors or long work.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from onnx_wasm.compiler.frontend.graph import DTYPES, FEW, NARROW, Node, TensorType

_SMALL = 1 << 16
_WORK = 1 << 28

_EXACT = frozenset(
    (
        *("Abs", "Add", "And", "ArgMax", "ArgMin", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"),
        *("Cast", "CastLike", "Ceil", "Clip", "Compress", "Concat", "ConstantOfShape", "Div", "Equal", "Expand"),
        *("EyeLike", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Greater", "GreaterOrEqual"),
        *("Identity", "IsInf", "IsNaN", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "NonZero", "Not"),
        *("OneHot", "Or", "Pad", "QuantizeLinear", "Range", "Reciprocal", "ReduceMax", "ReduceMin", "Relu"),
        *("Reshape", "Round", "Scatter", "ScatterElements", "ScatterND", "Sign", "Slice", "Split", "Sqrt", "Squeeze"),
        *("Sub", "Tile", "TopK", "Transpose", "Trilu", "Unique", "Unsqueeze", "Where", "Xor"),
    )
)
_SLOW = frozenset(("GatherElements", "GatherND", "Scatter", "ScatterElements", "ScatterND", "TopK", "Unique"))
"""Those that the reference implementation does element by element, in Python."""

_SLOWNESS = 256
_IN_ANY_ORDER = frozenset(
    (
        *("CumSum", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean", "ReduceProd", "ReduceSum"),
        *("ReduceSumSquare", "Sum"),
    )
)
"""Exact for integers, and for no elements at all."""


class Evaluator:
    """Computes nodes, up to a budget of elements for a whole model."""

    def __init__(self) -> None:
        self._left = _WORK

    def known(
        self, node: Node, operands: Iterable[np.ndarray | None], types: Mapping[str, TensorType]
    ) -> list[np.ndarray] | None:
        """Computes a node all of whose operands are known.

        Args:
            node: The node.
            operands: One for each input; None for one that is left out.
            types: The types of its outputs as far as they are known.

        Returns:
            Its outputs, or None if it is one that stays for the module to compute.
        """
        given = list(operands)
        elements = sum(math.prod(types[name].shape) for name in node.proto.output if name in types)
        taken = sum(it.size for it in given if it is not None)
        if node.key[0] or node.proto.op_type not in _EXACT | _IN_ANY_ORDER or elements > max(_SMALL, taken):
            return None
        if any(name and name not in types for name in node.proto.output) and taken > _SMALL:
            return None
        if not _is_exact(node, given):
            return None
        self._left -= (elements + taken) * (_SLOWNESS if node.proto.op_type in _SLOW else 1)
        return _run(node, given) if self._left >= 0 else None


def _is_exact(node: Node, operands: list[np.ndarray | None]) -> bool:
    """Whether every machine computes the same, and at the width that the weights are stored in."""
    floats = any(it is not None and it.size and it.dtype.kind not in "biu" for it in operands)
    if node.proto.op_type in _IN_ANY_ORDER and floats:
        return False  # in which order?
    if node.proto.op_type in ("Cast", "CastLike"):
        return all(it is None or _is_light(it) or str(it.dtype) not in DTYPES for it in operands)
    return True


def _is_light(operand: np.ndarray) -> bool:
    """Whether a tensor may as well be held in a wider dtype."""
    return operand.size <= (FEW if str(operand.dtype) in NARROW else _SMALL)


def _run(node: Node, operands: list[np.ndarray | None]) -> list[np.ndarray] | None:
    names = [f"i{index}" if value is not None else "" for index, value in enumerate(operands)]
    outputs = [f"o{index}" if name else "" for index, name in enumerate(node.proto.output)]
    proto = onnx.NodeProto()
    proto.CopyFrom(node.proto)
    proto.input[:], proto.output[:] = names, outputs
    values = {name: value for name, value in zip(names, operands, strict=True) if value is not None}
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(it.dtype), it.shape)
        for name, it in values.items()
    ]
    made = [name for name in outputs if name]
    graph = helper.make_graph([proto], "known", inputs, [onnx.ValueInfoProto(name=name) for name in made])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", node.opset)])
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            results = [np.asarray(it) for it in ReferenceEvaluator(model).run(made, values)]
    except Exception:  # whatever it is, the module's own kernel or a refusal takes its place
        return None
    return results
