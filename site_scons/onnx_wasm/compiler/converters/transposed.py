"""ConvTranspose: where the weights are known, an ordinary convolution that makes all pixels of a step side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import relax, te, tirx
from tvm.ir import GenericConst
from tvm.relax import op as R  # noqa: N812 - TVM's own abbreviation

from onnx_wasm.compiler.converters.call import Call, Converter, constant
from onnx_wasm.compiler.converters.indexing import within
from onnx_wasm.compiler.converters.windows import result_of, shape_of

_LINE, _PICTURE = 1, 2


def _transposed(call: Call) -> relax.Expr:
    weights, rank = call.operand(1), len(shape_of(call.operand(0))) - 2
    undilated = all(it == 1 for it in call.attributes.get("dilations") or [])
    known = isinstance(weights, GenericConst) and str(weights.ty.dtype) == "float32"
    if known and undilated and rank in (_LINE, _PICTURE) and min(_before(call)) >= 0:
        return _convolved(call)
    return _gathered(call)


def _convolved(call: Call) -> relax.Expr:
    """Of each step s of the window, the s × s pixels are s² channels of a convolution, which are then put in place.

    Source: Shi et al., "Is the deconvolution layer the same as a convolutional layer?", 2016.
    """
    weights, bias, groups = call.value(1), call.input(2), call.attributes.get("group", 1)
    assert weights is not None
    (batch, depth, *spatial), (_, channels, *made) = shape_of(call.operand(0)), result_of(call)
    strides = call.attributes.get("strides") or [1] * len(spatial)
    line = [1] * (_PICTURE - len(spatial))  # one is a picture of height 1
    extents, out, size = (line + list(it) for it in (spatial, made, weights.shape[2:]))
    strides, before = line + list(strides), [0] * len(line) + _before(call)
    ends = [first + length for first, length in zip(before, out, strict=True)]
    # So many steps that nothing of the result lies behind them.
    steps = [
        max(-(-taps // stride), -(-end // stride) - extent + 1)
        for taps, stride, end, extent in zip(size, strides, ends, extents, strict=True)
    ]
    kernel = _side_by_side(weights.reshape(*weights.shape[:2], *size), strides, steps, groups)
    picture = call.emit(R.reshape(call.operand(0), (batch, depth, *extents)))
    around = [count - 1 for count in steps] * 2
    convolved = call.emit(R.nn.conv2d(picture, constant(kernel), padding=around, groups=groups, out_dtype="float32"))
    high, wide = (extent + count - 1 for extent, count in zip(extents, steps, strict=True))
    apart = call.emit(R.reshape(convolved, (batch, channels, *strides, high, wide)))
    placed = call.emit(R.permute_dims(apart, [0, 1, 4, 2, 5, 3]))
    whole = call.emit(R.reshape(placed, (batch, channels, high * strides[0], wide * strides[1])))
    if any(before) or shape_of(whole)[2:] != out:
        whole = call.emit(R.strided_slice(whole, [2, 3], before, ends, assume_inbound=True))
    if bias is not None:
        whole = call.emit(R.add(whole, call.emit(R.reshape(bias, (1, channels, 1, 1)))))
    return R.reshape(whole, (batch, channels, *made))


def _side_by_side(weights: np.ndarray, strides: Sequence[int], steps: Sequence[int], groups: int) -> np.ndarray:
    """Weights [C, O / groups, KH, KW] for the convolution: [O · SH · SW, C / groups, steps down, steps right]."""
    depth, each, *sizes = weights.shape
    missing = [count * stride - size for count, stride, size in zip(steps, strides, sizes, strict=True)]
    padded = np.pad(weights, [(0, 0), (0, 0), *((0, it) for it in missing)])
    apart = padded.reshape(groups, depth // groups, each, steps[0], strides[0], steps[1], strides[1])
    turned = apart[:, :, :, ::-1, :, ::-1, :].transpose(0, 2, 4, 6, 1, 3, 5)
    return np.ascontiguousarray(turned.reshape(-1, depth // groups, *steps))


def _gathered(call: Call) -> relax.Expr:
    """Each element gathers what was spread to it: every element of the window that a whole step leads back from."""
    data, weights, bias = call.operand(0), call.operand(1), call.input(2)
    shape, result, attributes = shape_of(data), result_of(call), call.attributes
    rank, groups = len(shape) - 2, attributes.get("group", 1)
    sizes = shape_of(weights)[2:]
    strides = attributes.get("strides") or [1] * rank
    dilations = attributes.get("dilations") or [1] * rank
    before = _before(call)
    each_in, each_out = shape[1] // groups, result[1] // groups

    def compute(x: te.Tensor, w: te.Tensor, *summand: te.Tensor) -> te.Tensor:
        channel = te.reduce_axis((0, each_in), "channel")
        axes = [te.reduce_axis((0, size), f"k{axis}") for axis, size in enumerate(sizes)]

        def element(n: tirx.Expr, c: tirx.Expr, *at: tirx.Expr) -> tirx.Expr:
            spread = [
                index + first - axis * dilation
                for index, first, axis, dilation in zip(at, before, axes, dilations, strict=True)
            ]
            places = [tirx.floordiv(it, stride) for it, stride in zip(spread, strides, strict=True)]
            whole = [tirx.floormod(it, stride) == 0 for it, stride in zip(spread, strides, strict=True)]
            valid = tirx.all(*whole, *(within(it, size) for it, size in zip(places, shape[2:], strict=True)))
            source = c // each_out * each_in + channel
            value = x(n, source, *places) * w(source, c % each_out, *axes)
            return te.sum(tirx.if_then_else(valid, value, tirx.const(0, x.dtype)), axis=[channel, *axes])

        total = te.compute(result, element)
        return te.compute(result, lambda n, c, *at: total(n, c, *at) + summand[0](c)) if summand else total

    return call.kernel(compute, data, weights, *([bias] if bias is not None else []), name="conv_transpose")


def _before(call: Call) -> list[int]:
    """How much is cut off before, along each axis."""
    attributes, shape, result = call.attributes, shape_of(call.operand(0)), result_of(call)
    sizes = shape_of(call.operand(1))[2:]
    rank, how = len(sizes), attributes.get("auto_pad", "NOTSET")
    if how == "NOTSET" and not attributes.get("output_shape"):
        return list(attributes.get("pads") or [0] * rank)[:rank]
    if how == "VALID":
        return [0] * rank
    extra, strides, dilations = (
        attributes.get(name) or [default] * rank
        for name, default in (("output_padding", 0), ("strides", 1), ("dilations", 1))
    )
    cut = []
    for axis in range(rank):
        whole = strides[axis] * (shape[axis + 2] - 1) + extra[axis] + (sizes[axis] - 1) * dilations[axis] + 1
        total = whole - result[axis + 2]
        cut.append(total - total // 2 if how in ("SAME_LOWER", "NOTSET") else total // 2)
    return cut


CONVERTERS: dict[tuple[str, str], Converter] = {("", "ConvTranspose"): _transposed}
