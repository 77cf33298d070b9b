"""Matrix products become kernels of their own: on packed weights where one operand is known, batched where none is.

The result of a product with weights stays a matrix, whatever its rank, through the elementwise operators and layer
normalisations that follow, so that they can join its kernel; it gets its shape back where something else reads it.
"""

from __future__ import annotations

import functools
import math

import tvm
from tvm import relax
from tvm.relax import op as R  # noqa: N812 - TVM's own abbreviation

from onnx_wasm.compiler.anchors import gemm
from onnx_wasm.compiler.graph.held import Held, Holder
from onnx_wasm.compiler.graph.panels import PRODUCTS, fitting, panels
from onnx_wasm.compiler.graph.rewriter import array_of, constant, dtype_of, integers, is_constant, shape_of
from onnx_wasm.compiler.graph.stored import Stored
from onnx_wasm.tuning import Batched, Choose, Product

_MATRIX = 2


def matrix_products(module: tvm.IRModule, choose: Choose) -> tvm.IRModule:
    """Applies the pass."""
    return _Products(module, choose).run()


class _Products(Holder):
    def __init__(self, module: tvm.IRModule, choose: Choose) -> None:
        super().__init__(module)
        self._choose = choose
        self.rules = {
            **self.rules,
            "relax.matmul": self._matmul,
            "relax.nn.layer_norm": self._layer_norm,
            "relax.reshape": self._reshape,
        }

    def to_form(self, value: relax.Expr) -> relax.Expr:
        """A tensor as a matrix: all but its last axis are one."""
        shape = shape_of(value)
        return self.reshaped(value, (math.prod(shape[:-1]), shape[-1]))

    def from_form(self, held: Held) -> relax.Expr:
        """Gives a matrix its shape back."""
        return self.reshaped(held.value, held.shape)

    def operand(self, argument: relax.Expr, shape: tuple[int, ...]) -> relax.Expr | None:
        """Tensors of the result's shape, and those that are one row of it."""
        extents = shape_of(argument)
        if is_constant(argument) and math.prod(extents[:-1]) == 1:
            array = array_of(argument)
            return constant(array.reshape(()) if array.size == 1 else array.reshape(1, -1))
        if not isinstance(argument, relax.Var):
            return None
        if extents != shape and math.prod(extents[:-1]) == 1:
            value = self.rewritten(argument)
            return self.reshaped(value, () if math.prod(extents) == 1 else (1, extents[-1]))
        return self.form(argument) if extents == shape else None

    def _matmul(self, call: relax.Call) -> relax.Expr | Held | None:
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

    def _dense(self, call: relax.Call, weights: Stored) -> Held:
        x, columns = self.form(call.args[0]), shape_of(call)[-1]
        rows, depth = shape_of(x)
        chosen = self._choose(Product(rows, depth, columns, dtype=dtype_of(call)))
        tile = chosen.tile if chosen else gemm.choose_tile(rows, columns, dtype_of(call))
        packed, offset = panels(self, weights, lambda it: it, functools.partial(gemm.pack, columns=tile.columns))
        x = fitting(self, x, packed)
        return Held(self.call_te("dense", gemm.matmul, x, packed, columns, tile, offset), shape_of(call))

    def _batched(self, call: relax.Call) -> relax.Expr | None:
        left, right = (shape_of(argument) for argument in call.args)
        columns = right[-1]
        if left[:-2] != right[:-2] or columns % 4:
            return None
        batch = math.prod(left[:-2])
        chosen = self._choose(Batched(batch, left[-2], left[-1], columns, dtype=dtype_of(call)))
        tile = chosen.tile if chosen else gemm.choose_tile(left[-2], columns, dtype_of(call), dividing=True)
        x, y = (self.reshaped(self.rewritten(it), (batch, *shape_of(it)[-2:])) for it in call.args)
        return self.reshaped(self.call_te("batched", gemm.batched, x, y, tile), shape_of(call))

    def _layer_norm(self, call: relax.Call) -> Held | None:
        data, *parameters = call.args
        rank = len(shape_of(data))
        if self.held(data) is None or [axis % rank for axis in integers(call.attrs.axes)] != [rank - 1]:
            return None
        how = call.attrs
        arguments = [self.form(data), *map(self.rewritten, parameters)]
        value = R.nn.layer_norm(*arguments, axes=[-1], epsilon=how.epsilon, center=how.center, scale=how.scale)
        return Held(self.emit(value), shape_of(call))

    def _reshape(self, call: relax.Call) -> relax.Expr | None:
        return self.reshaped(self.form(call.args[0]), shape_of(call)) if self.held(call.args[0]) else None
