"""Operators whose result's shape is known beforehand: nothing is left to find out."""

from __future__ import annotations

from itertools import accumulate

from tvm import relax

from onnx_wasm.compiler.converters.call import Call, Converter
from onnx_wasm.compiler.frontend.graph import TensorType
from onnx_wasm.compiler.frontend.refusal import Refusal


def _view(call: Call) -> relax.Expr:
    """The same elements under the shape that ONNX infers."""
    return relax.op.reshape(call.operand(0), _type(call, 0).shape)


def _split(call: Call) -> list[relax.Expr]:
    data = call.operand(0)
    rank = len(data.ty.shape.values)
    axis = call.attributes["axis"] % rank
    sizes = [_type(call, index).shape[axis] for index in range(len(call.types))]
    ends = list(accumulate(sizes))
    return [
        call.emit(relax.op.strided_slice(data, [axis], [end - size], [end]))
        for size, end in zip(sizes, ends, strict=True)
    ]


def _type(call: Call, index: int) -> TensorType:
    type_ = call.types[index]
    if type_ is None:
        raise Refusal("makes a tensor whose shape is not known")
    return type_


CONVERTERS: dict[tuple[str, str], Converter] = {
    ("", "Flatten"): _view,
    ("", "Reshape"): _view,
    ("", "Split"): _split,
    ("", "Squeeze"): _view,
    ("", "Unsqueeze"): _view,
}
