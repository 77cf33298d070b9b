"""Pictures as matrices: every activation [N, C, H, W] becomes [N·H·W, C], with no transpose left inside a chain.

Convolutions become matrix products on packed weights, elementwise operators and concatenations work on the matrices;
where an operator is not known here, its operands are brought back to the original layout first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.relax import op as R  # noqa: N812 - TVM's own abbreviation

from onnx_wasm.compiler.anchors import channels, gemm
from onnx_wasm.compiler.graph import convolution
from onnx_wasm.compiler.graph.convolution import Convolution
from onnx_wasm.compiler.graph.held import Held, Holder
from onnx_wasm.compiler.graph.panels import PRODUCTS
from onnx_wasm.compiler.graph.rewriter import array_of, constant, dtype_of, integers, is_constant, shape_of
from onnx_wasm.tuning import Choose

_PICTURE = 4
_LAST = (0, 3, 1, 2)
"""Where each axis of [N, C, H, W] is in [N, H, W, C]."""


def channels_last(module: tvm.IRModule, choose: Choose) -> tvm.IRModule:
    """Applies the pass."""
    return _ChannelsLast(module, choose).run()


class _ChannelsLast(Holder):
    def __init__(self, module: tvm.IRModule, choose: Choose) -> None:
        super().__init__(module)
        self._choose = choose
        self.rules = {
            **self.rules,
            "relax.nn.conv2d": self._convolution,
            "relax.nn.max_pool2d": self._pool,
            "relax.nn.avg_pool2d": self._pool,
            "relax.mean": self._mean,
            "relax.concat": self.concat_of_channels,
            "relax.reshape": self._reshape,
            "relax.strided_slice": self._slice,
            "relax.nn.pad": self._pad,
        }

    def to_form(self, value: relax.Expr) -> relax.Expr:
        """[N, C, H, W] as [N·H·W, C]."""
        n, c, h, w = shape_of(value)
        if c > 1 and h * w > 1:  # else the elements are in the same order
            value = self.emit(R.permute_dims(value, [0, 2, 3, 1]))
        return self.emit(R.reshape(value, (n * h * w, c)))

    def from_form(self, held: Held) -> relax.Expr:
        """Brings an activation back to [N, C, H, W]."""
        n, c, h, w = held.shape
        if h == w == 1 or c == 1:
            return self.emit(R.reshape(held.value, (n, c, h, w)))
        return self.emit(R.permute_dims(self.emit(R.reshape(held.value, (n, h, w, c))), [0, 3, 1, 2]))

    def operand(self, argument: relax.Expr, shape: tuple[int, ...]) -> relax.Expr | None:
        """Activations of the result's shape, channels' factors, and constants that go with them."""
        if len(shape) != _PICTURE:
            return None
        n, c, h, w = shape
        if is_constant(argument):
            array = array_of(argument)
            array = array.reshape((1,) * (_PICTURE - array.ndim) + array.shape).transpose(0, 2, 3, 1)
            if array.shape[:3] == (1, 1, 1):
                return constant(array.reshape(1, array.shape[3])) if array.size > 1 else constant(array.reshape(()))
            return constant(np.broadcast_to(array, (n, h, w, c)).reshape(n * h * w, c))
        if not isinstance(argument, relax.Var):
            return None
        goes_with = shape_of(argument) == shape or (shape_of(argument) == (1, c, 1, 1) and n == 1)
        return self.form(argument) if goes_with else None

    def _convolution(self, call: relax.Call) -> Held | None:
        it = self._described(call)
        if it is None:
            return None
        return Held(convolution.lower(self, replace(it, picture=self.form(call.args[0]))), shape_of(call))

    def _described(self, call: relax.Expr) -> Convolution | None:
        """A convolution as it stands in the original function; None if it is none, or one that is not known here."""
        if not isinstance(call, relax.Call) or getattr(call.op, "name", "") != "relax.nn.conv2d":
            return None
        (picture, weights), attributes = call.args, call.attrs
        stored = self.stored(weights)
        if (
            (dtype_of(picture), dtype_of(call)) not in PRODUCTS
            or stored is None
            or attributes.data_layout != "NCHW"
            or attributes.kernel_layout != "OIHW"
        ):
            return None
        (n, depth, high, long), (*_, height, width) = shape_of(picture), shape_of(call)
        top, left, bottom, right = integers(attributes.padding)
        it = Convolution(
            picture,
            (n, high, long, depth),
            stored,
            gemm.Window((height, width), _pair(attributes.strides), _pair(attributes.dilation)),
            (top, left, bottom, right),
            int(attributes.groups),
        )
        return replace(it, chosen=self._choose(it.kernel) if it.kernel else None)

    def _pool(self, call: relax.Call) -> Held | None:
        attributes = call.attrs
        kind = "max" if call.op.name == "relax.nn.max_pool2d" else "average"
        if attributes.layout != "NCHW" or (kind == "average" and dtype_of(call) != "float32"):
            return None
        n, _, h, w = shape_of(call.args[0])
        padding = integers(attributes.padding)
        extents = _pair(attributes.pool_size)
        if kind == "average" and extents == (h, w) and not any(padding):
            return Held(self.call_te("mean", channels.mean, self.form(call.args[0]), n), shape_of(call))
        *_, height, width = shape_of(call)
        window = gemm.Window((height, width), _pair(attributes.strides), _pair(attributes.dilation))
        how = channels.Pool(kind, extents, window, (padding[0], padding[1]), bool(attributes.count_include_pad))
        return Held(self.call_te(f"{kind}_pool", channels.pool, self._picture(call.args[0]), how), shape_of(call))

    def _mean(self, call: relax.Call) -> Held | None:
        shape = shape_of(call.args[0])
        if (
            dtype_of(call) != "float32"
            or len(shape) != _PICTURE
            or sorted(integers(call.attrs.axis or [])) != [2, 3]
            or not call.attrs.keepdims
        ):
            return None
        return Held(self.call_te("mean", channels.mean, self.form(call.args[0]), shape[0]), shape_of(call))

    def _reshape(self, call: relax.Call) -> relax.Expr | None:
        held = self.held(call.args[0])
        if held is None or held.shape[2:] != (1, 1):
            return None
        return self.emit(R.reshape(held.value, shape_of(call)))

    def _slice(self, call: relax.Call) -> Held | None:
        if self.held(call.args[0]) is None:
            return None
        axes = relax.Tuple([relax.prim_value(_LAST[int(axis) % _PICTURE]) for axis in call.args[1]])
        part = relax.Call(call.op, [self._picture(call.args[0]), axes, *call.args[2:]], call.attrs, call.ty_args)
        return self._held(self.emit(part), shape_of(call))

    def _pad(self, call: relax.Call) -> Held | None:
        how = call.attrs
        if self.held(call.args[0]) is None or how.pad_mode != "constant":
            return None
        widths = integers(how.pad_width)
        n, c, h, w = zip(widths[::2], widths[1::2], strict=True)
        padded = R.nn.pad(self._picture(call.args[0]), [*n, *h, *w, *c], "constant", float(how.pad_value))
        return self._held(self.emit(padded), shape_of(call))

    def _picture(self, expression: relax.Var) -> relax.Expr:
        """An activation as [N, H, W, C]."""
        n, c, h, w = shape_of(expression)
        return self.emit(R.reshape(self.form(expression), (n, h, w, c)))

    def _held(self, picture: relax.Expr, shape: tuple[int, ...]) -> Held:
        n, c, h, w = shape
        return Held(self.emit(R.reshape(picture, (n * h * w, c))), shape)


def _pair(values: Any) -> tuple[int, int]:
    first, second = integers(values)
    return first, second
