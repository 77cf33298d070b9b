"""Operators whose operands are all known are computed now.

With NumPy, and only operators that IEEE 754 defines to the last bit: every build machine gets the same weights. TVM's
own ``FoldConstant`` compiles and runs kernels on the build machine instead, which is slow and not the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
from tvm import relax

from onnx_wasm.compiler.graph.rewriter import (
    Rewriter,
    array_of,
    constant,
    dtype_of,
    integers,
    is_constant,
    shape_of,
)

_ELEMENTWISE: dict[str, Callable[..., np.ndarray]] = {
    "relax.add": np.add,
    "relax.subtract": np.subtract,
    "relax.multiply": np.multiply,
    "relax.negative": np.negative,
    "relax.sqrt": np.sqrt,
}


def fold_constants(module: tvm.IRModule) -> tvm.IRModule:
    """Applies the pass."""
    return _FoldConstants(module).run()


class _FoldConstants(Rewriter):
    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self.rules = {
            "relax.permute_dims": self._moved(lambda call, it: np.transpose(it, _axes(call, it.ndim))),
            **{name: self._moved(_shaped) for name in ("relax.reshape", "relax.expand_dims", "relax.squeeze")},
            "relax.broadcast_to": self._with(lambda call, it: np.broadcast_to(it, shape_of(call))),
            **{name: self._with(_elementwise(function)) for name, function in _ELEMENTWISE.items()},
        }

    def _moved(
        self, change: Callable[[relax.Call, np.ndarray], np.ndarray]
    ) -> Callable[[relax.Call], relax.Expr | None]:
        """Elements that only change their places stay as they are stored."""

        def rule(call: relax.Call) -> relax.Expr | None:
            it = self.stored(call.args[0])
            return None if it is None else self.read(it.laid_out(lambda array: change(call, array)))

        return rule

    def _with(self, compute: Callable[..., np.ndarray]) -> Callable[[relax.Call], relax.Expr | None]:
        def rule(call: relax.Call) -> relax.Expr | None:
            operands = [self.rewritten(it) for it in call.args if not isinstance(it, relax.ShapeExpr)]
            if not all(map(is_constant, operands)):
                return None
            result = compute(call, *map(array_of, operands))
            return constant(np.asarray(result, dtype_of(call)))

        return rule


def _axes(call: relax.Call, rank: int) -> list[int]:
    return integers(call.attrs.axes) if call.attrs.axes is not None else list(reversed(range(rank)))


def _shaped(call: relax.Call, array: np.ndarray) -> np.ndarray:
    return array.reshape(shape_of(call))


def _elementwise(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    def compute(_call: relax.Call, *arrays: Any) -> np.ndarray:
        return function(*arrays)

    return compute
