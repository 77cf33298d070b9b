"""Matrix products become kernels of their own: on packed weights where one operand is known, batched where none is.

The result of a product with weights stays a matrix, whatever its rank, through the elementwise operators and layer
normalisations that follow, so that they can join its kernel; it gets its shape back where something else reads it.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import tvm
from tvm import relax
from tvm.relax import op as R  # noqa: N812 - TVM's own abbreviation

from onnx_wasm.compiler.anchors import gemm
from onnx_wasm.compiler.graph.elementwise import BINARY, UNARY
from onnx_wasm.compiler.graph.panels import PRODUCTS, fitting, panels
from onnx_wasm.compiler.graph.rewriter import (
    Rewriter,
    array_of,
    constant,
    dtype_of,
    integers,
    is_constant,
    shape_of,
)
from onnx_wasm.compiler.graph.stored import Stored
from onnx_wasm.tuning import Batched, Choose, Product

_MATRIX = 2


@dataclass(frozen=True)
class Rows:
    """A tensor […, D], held as a matrix [rows, D].

    Args:
        value: The matrix.
        shape: The tensor's.
    """

    value: relax.Expr
    shape: tuple[int, ...]


def matrix_products(module: tvm.IRModule, choose: Choose) -> tvm.IRModule:
    """Applies the pass."""
    return _Products(module, choose).run()


class _Products(Rewriter):
    def __init__(self, module: tvm.IRModule, choose: Choose) -> None:
        super().__init__(module)
        self._choose = choose
        self.rules = {
            "relax.matmul": self._matmul,
            "relax.nn.layer_norm": self._layer_norm,
            "relax.reshape": self._reshape,
            **dict.fromkeys(UNARY, self._unary),
            **dict.fromkeys(BINARY, self._binary),
        }
        self._tensors: dict[relax.Var, relax.Expr] = {}

    def rewritten(self, expression: relax.Expr) -> relax.Expr:
        """Gives a matrix its shape back, once."""
        value = self.values.get(expression) if isinstance(expression, relax.Var) else None
        if not isinstance(value, Rows):
            return super().rewritten(expression)
        if expression not in self._tensors:
            self._tensors[expression] = self._reshaped(value.value, value.shape)
        return self._tensors[expression]

    def _is_rows(self, expression: relax.Expr) -> bool:
        return isinstance(expression, relax.Var) and isinstance(self.values.get(expression), Rows)

    def _matrix(self, expression: relax.Var) -> relax.Expr:
        """A tensor as a matrix: all but its last axis are one."""
        value = self.values[expression]
        if isinstance(value, Rows):
            return value.value
        shape = shape_of(expression)
        return self._reshaped(value, (math.prod(shape[:-1]), shape[-1]))

    def _matmul(self, call: relax.Call) -> relax.Expr | Rows | None:
        left, right = call.args
        dtypes = (dtype_of(left), dtype_of(call))
        if dtypes not in PRODUCTS or not isinstance(left, relax.Var) or len(shape_of(left)) < _MATRIX:
            return None
        weights = self.stored(right)
        if weights is not None and len(shape_of(right)) == _MATRIX:
            return self._dense(call, weights)
        if weights is None and len(shape_of(left)) == len(shape_of(right)):
            return self._batched(call)
        return None

    def _dense(self, call: relax.Call, weights: Stored) -> Rows:
        x, columns = self._matrix(call.args[0]), shape_of(call)[-1]
        rows, depth = shape_of(x)
        chosen = self._choose(Product(rows, depth, columns)) if dtype_of(call) == "float32" else None
        tile = chosen.tile if chosen else gemm.choose_tile(rows, columns, dtype_of(call))
        packed, offset = panels(self, weights, lambda it: it, functools.partial(gemm.pack, columns=tile.columns))
        x = fitting(self, x, packed)
        return Rows(self.call_te("dense", gemm.matmul, x, packed, columns, tile, offset), shape_of(call))

    def _batched(self, call: relax.Call) -> relax.Expr | None:
        left, right = (shape_of(argument) for argument in call.args)
        columns = right[-1]
        if left[:-2] != right[:-2] or columns % 4:
            return None
        batch = math.prod(left[:-2])
        chosen = self._choose(Batched(batch, left[-2], left[-1], columns)) if dtype_of(call) == "float32" else None
        tile = chosen.tile if chosen else gemm.choose_tile(left[-2], columns, dtype_of(call), dividing=True)
        x, y = (self._reshaped(self.rewritten(it), (batch, *shape_of(it)[-2:])) for it in call.args)
        return self._reshaped(self.call_te("batched", gemm.batched, x, y, tile), shape_of(call))

    def _layer_norm(self, call: relax.Call) -> Rows | None:
        data, *parameters = call.args
        rank = len(shape_of(data))
        if not self._is_rows(data) or [axis % rank for axis in integers(call.attrs.axes)] != [rank - 1]:
            return None
        how = call.attrs
        arguments = [self._matrix(data), *map(self.rewritten, parameters)]
        value = R.nn.layer_norm(*arguments, axes=[-1], epsilon=how.epsilon, center=how.center, scale=how.scale)
        return Rows(self.emit(value), shape_of(call))

    def _reshape(self, call: relax.Call) -> relax.Expr | None:
        return self._reshaped(self._matrix(call.args[0]), shape_of(call)) if self._is_rows(call.args[0]) else None

    def _unary(self, call: relax.Call) -> Rows | None:
        if not self._is_rows(call.args[0]):
            return None
        rest = [self.rewritten(argument) for argument in call.args[1:]]
        return Rows(self.emit(relax.Call(call.op, [self._matrix(call.args[0]), *rest], call.attrs)), shape_of(call))

    def _binary(self, call: relax.Call) -> Rows | None:
        if not any(map(self._is_rows, call.args)):
            return None
        operands = [self._operand(argument, shape_of(call)) for argument in call.args]
        if any(operand is None for operand in operands):
            return None
        return Rows(self.emit(relax.Call(call.op, operands, call.attrs)), shape_of(call))

    def _operand(self, argument: relax.Expr, shape: tuple[int, ...]) -> relax.Expr | None:
        extents = shape_of(argument)
        if is_constant(argument) and math.prod(extents[:-1]) == 1:
            array = array_of(argument)
            return constant(array.reshape(()) if array.size == 1 else array.reshape(1, -1))
        if not isinstance(argument, relax.Var):
            return None
        if extents != shape and math.prod(extents[:-1]) == 1:
            value = self.rewritten(argument)
            return self._reshaped(value, () if math.prod(extents) == 1 else (1, extents[-1]))
        return self._matrix(argument) if extents == shape else None

    def _reshaped(self, value: relax.Expr, shape: tuple[int, ...]) -> relax.Expr:
        return value if shape_of(value) == tuple(shape) else self.emit(R.reshape(value, shape))
