"""Matrix products become kernels of their own: on packed weights where one operand is known, batched where none is."""

from __future__ import annotations

import math

import tvm
from tvm import relax
from tvm.relax import op as R  # noqa: N812 - TVM's own abbreviation

from onnx_wasm.compiler.anchors import gemm
from onnx_wasm.compiler.graph.rewriter import Rewriter, array_of, constant, dtype_of, is_constant, shape_of


def matrix_products(module: tvm.IRModule) -> tvm.IRModule:
    """Applies the pass."""
    return _Products(module).run()


class _Products(Rewriter):
    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self.rules = {"relax.matmul": self._matmul}

    def _matmul(self, call: relax.Call) -> relax.Expr | None:
        left, right = call.args
        if dtype_of(call) != "float32" or not isinstance(left, relax.Var):
            return None
        if is_constant(right) and len(shape_of(right)) == 2:
            return self._dense(call)
        if not is_constant(right) and len(shape_of(left)) == len(shape_of(right)) > 2:
            return self._batched(call)
        return None

    def _dense(self, call: relax.Call) -> relax.Expr:
        weights = array_of(call.args[1])
        depth, columns = weights.shape
        rows = math.prod(shape_of(call.args[0])[:-1])
        tile = gemm.choose_tile(rows, columns)
        x = self._reshaped(self.rewritten(call.args[0]), (rows, depth))
        packed = constant(gemm.pack(weights, tile.columns))
        return self._reshaped(self.call_te("dense", gemm.matmul, x, packed, columns, tile), shape_of(call))

    def _batched(self, call: relax.Call) -> relax.Expr | None:
        left, right = (shape_of(argument) for argument in call.args)
        columns = right[-1]
        if left[:-2] != right[:-2] or columns % 4:
            return None
        batch = math.prod(left[:-2])
        wide = next(it for it in (16, 8, 4) if columns % it == 0)
        tile = gemm.Tile(min(left[-2], {16: 2, 8: 4, 4: 8}[wide]), wide)
        x, y = (self._reshaped(self.rewritten(it), (batch, *shape_of(it)[-2:])) for it in call.args)
        return self._reshaped(self.call_te("batched", gemm.batched, x, y, tile), shape_of(call))

    def _reshaped(self, value: relax.Expr, shape: tuple[int, ...]) -> relax.Expr:
        return value if shape_of(value) == tuple(shape) else self.emit(R.reshape(value, shape))
