"""Pictures as matrices: every activation [N, C, H, W] becomes [N·H·W, C], with no transpose left inside a chain.

Convolutions become matrix products on packed weights, elementwise operators and concatenations work on the matrices;
where an operator is not known here, its operands are brought back to the original layout first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.relax import op as R  # noqa: N812 - TVM's own abbreviation

from onnx_wasm.compiler.anchors import channels, gemm
from onnx_wasm.compiler.graph import convolution
from onnx_wasm.compiler.graph.convolution import Convolution
from onnx_wasm.compiler.graph.elementwise import BINARY, UNARY
from onnx_wasm.compiler.graph.panels import PRODUCTS
from onnx_wasm.compiler.graph.rewriter import (
    Rewriter,
    array_of,
    constant,
    dtype_of,
    integers,
    is_constant,
    shape_of,
)
from onnx_wasm.tuning import Choose

_PICTURE = 4


@dataclass(frozen=True)
class Matrix:
    """An activation [N, C, H, W], held as [N·H·W, C].

    Args:
        value: The matrix.
        extents: (N, H, W, C).
    """

    value: relax.Expr
    extents: tuple[int, int, int, int]


def channels_last(module: tvm.IRModule, choose: Choose) -> tvm.IRModule:
    """Applies the pass."""
    return _ChannelsLast(module, choose).run()


class _ChannelsLast(Rewriter):
    def __init__(self, module: tvm.IRModule, choose: Choose) -> None:
        super().__init__(module)
        self._choose = choose
        self.rules = {
            "relax.nn.conv2d": self._convolution,
            "relax.nn.max_pool2d": self._pool,
            "relax.nn.avg_pool2d": self._pool,
            "relax.mean": self._mean,
            "relax.concat": self._concat,
            "relax.reshape": self._reshape,
            **dict.fromkeys(UNARY, self._unary),
            **dict.fromkeys(BINARY, self._binary),
        }
        self._matrices: dict[relax.Var, Matrix] = {}
        self._pictures: dict[relax.Var, relax.Expr] = {}

    def rewritten(self, expression: relax.Expr) -> relax.Expr:
        """Brings an activation back to [N, C, H, W], once."""
        value = self.values.get(expression) if isinstance(expression, relax.Var) else None
        if not isinstance(value, Matrix):
            return super().rewritten(expression)
        if expression not in self._pictures:
            n, h, w, c = value.extents
            if h == w == 1 or c == 1:  # the elements are in the same order
                self._pictures[expression] = self.emit(R.reshape(value.value, (n, c, h, w)))
            else:
                picture = self.emit(R.reshape(value.value, value.extents))
                self._pictures[expression] = self.emit(R.permute_dims(picture, [0, 3, 1, 2]))
        return self._pictures[expression]

    def _matrix(self, expression: relax.Var) -> Matrix:
        """The matrix of an activation, transposed once if need be."""
        value = self.values[expression]
        if isinstance(value, Matrix):
            return value
        if expression not in self._matrices:
            n, c, h, w = shape_of(expression)
            if c > 1 and h * w > 1:
                value = self.emit(R.permute_dims(value, [0, 2, 3, 1]))
            self._matrices[expression] = Matrix(self.emit(R.reshape(value, (n * h * w, c))), (n, h, w, c))
        return self._matrices[expression]

    def _is_matrix(self, expression: relax.Expr) -> bool:
        return isinstance(expression, relax.Var) and isinstance(self.values.get(expression), Matrix)

    def _convolution(self, call: relax.Call) -> Matrix | None:
        it = self._described(call)
        if it is None:
            return None
        lowered = replace(it, picture=self._matrix(call.args[0]).value)
        n, out, height, width = shape_of(call)
        return Matrix(convolution.lower(self, lowered), (n, height, width, out))

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

    def _pool(self, call: relax.Call) -> Matrix | None:
        attributes = call.attrs
        kind = "max" if call.op.name == "relax.nn.max_pool2d" else "average"
        if attributes.layout != "NCHW" or (kind == "average" and dtype_of(call) != "float32"):
            return None
        matrix = self._matrix(call.args[0])
        n, c, height, width = shape_of(call)
        padding = integers(attributes.padding)
        extents = _pair(attributes.pool_size)
        if kind == "average" and extents == matrix.extents[1:3] and not any(padding):
            return Matrix(self.call_te("mean", channels.mean, matrix.value, n), (n, 1, 1, c))
        window = gemm.Window((height, width), _pair(attributes.strides), _pair(attributes.dilation))
        how = channels.Pool(kind, extents, window, (padding[0], padding[1]), bool(attributes.count_include_pad))
        picture = self.emit(R.reshape(matrix.value, matrix.extents))
        return Matrix(self.call_te(f"{kind}_pool", channels.pool, picture, how), (n, height, width, c))

    def _mean(self, call: relax.Call) -> Matrix | None:
        shape = shape_of(call.args[0])
        if (
            dtype_of(call) != "float32"
            or len(shape) != _PICTURE
            or sorted(integers(call.attrs.axis or [])) != [2, 3]
            or not call.attrs.keepdims
        ):
            return None
        matrix = self._matrix(call.args[0])
        return Matrix(self.call_te("mean", channels.mean, matrix.value, shape[0]), (shape[0], 1, 1, shape[1]))

    def _concat(self, call: relax.Call) -> Matrix | None:
        parts = call.args[0].fields if isinstance(call.args[0], relax.Tuple) else []
        if len(shape_of(call)) != _PICTURE or int(call.attrs.axis) != 1 or not any(map(self._is_matrix, parts)):
            return None
        if not all(isinstance(part, relax.Var) for part in parts):
            return None
        matrices = [self._matrix(part) for part in parts]
        n, c, h, w = shape_of(call)
        return Matrix(self.emit(R.concat([it.value for it in matrices], axis=1)), (n, h, w, c))

    def _reshape(self, call: relax.Call) -> relax.Expr | None:
        if not self._is_matrix(call.args[0]):
            return None
        matrix = self.values[call.args[0]]
        if matrix.extents[1] * matrix.extents[2] != 1:
            return None
        return self.emit(R.reshape(matrix.value, shape_of(call)))

    def _unary(self, call: relax.Call) -> Matrix | None:
        if not self._is_matrix(call.args[0]):
            return None
        matrix = self.values[call.args[0]]
        rest = [self.rewritten(argument) for argument in call.args[1:]]
        return Matrix(self.emit(relax.Call(call.op, [matrix.value, *rest], call.attrs)), matrix.extents)

    def _binary(self, call: relax.Call) -> Matrix | None:
        shape = shape_of(call)
        if len(shape) != _PICTURE or not any(map(self._is_matrix, call.args)):
            return None
        n, c, h, w = shape
        operands = [self._operand(argument, (n, h, w, c)) for argument in call.args]
        if any(operand is None for operand in operands):
            return None
        return Matrix(self.emit(relax.Call(call.op, operands, call.attrs)), (n, h, w, c))

    def _operand(self, argument: relax.Expr, extents: tuple[int, int, int, int]) -> relax.Expr | None:
        n, h, w, c = extents
        if is_constant(argument):
            array = array_of(argument)
            array = array.reshape((1,) * (_PICTURE - array.ndim) + array.shape).transpose(0, 2, 3, 1)
            if array.shape[:3] == (1, 1, 1):
                return constant(array.reshape(1, array.shape[3])) if array.size > 1 else constant(array.reshape(()))
            return constant(np.broadcast_to(array, extents).reshape(n * h * w, c))
        if not isinstance(argument, relax.Var):
            return None
        shape = shape_of(argument)
        if shape == (n, c, h, w):
            return self._matrix(argument).value
        if shape == (1, c, 1, 1) and n == 1:
            return self._matrix(argument).value
        return None


def _pair(values: Any) -> tuple[int, int]:
    first, second = integers(values)
    return first, second
