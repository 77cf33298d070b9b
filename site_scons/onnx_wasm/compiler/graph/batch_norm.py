"""Batch normalisation at inference is a factor and a summand per channel; convolutions take the factor in."""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
import tvm
from tvm import relax
from tvm.relax import op as R  # noqa: N812 - TVM's own abbreviation

from onnx_wasm.compiler.graph.rewriter import Rewriter, array_of, constant, is_constant, shape_of


def fold_batch_norm(module: tvm.IRModule) -> tvm.IRModule:
    """Applies the pass."""
    return _BatchNorm(module).run()


class _BatchNorm(Rewriter):
    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self.rules = {"relax.nn.batch_norm": self._batch_norm}
        main = module["main"]
        self._uses = relax.analysis.udchain(main.body.blocks[0]) if len(main.body.blocks) == 1 else {}

    def _batch_norm(self, call: relax.Call) -> relax.Expr | None:
        data, *statistics = call.args
        if not all(map(is_constant, statistics)):
            return None
        gamma, beta, mean, variance = (array_of(it).astype("float64") for it in statistics)
        factor = gamma / np.sqrt(variance + float(call.attrs.epsilon))
        summand = beta - mean * factor
        axis = int(call.attrs.axis)
        shape = [1] * len(shape_of(data))
        shape[axis] = -1
        convolution = self.definitions.get(data)
        if self._only_use(data) and self._is_convolution(convolution) and axis == 1:
            weights = array_of(convolution.args[1])
            scaled = weights * factor.reshape(-1, *[1] * (weights.ndim - 1))
            picture = self.rewritten(convolution.args[0])
            scaled_call = [picture, constant(scaled.astype(weights.dtype))]
            value = self.emit(relax.Call(convolution.op, scaled_call, convolution.attrs))
        else:
            value = self.emit(R.multiply(self.rewritten(data), constant(factor.reshape(shape).astype("float32"))))
        result = self.emit(R.add(value, constant(summand.reshape(shape).astype("float32"))))
        return relax.Tuple([result, *statistics[2:]])

    def _only_use(self, variable: relax.Expr) -> bool:
        return len(self._uses.get(variable, ())) == 1

    @staticmethod
    def _is_convolution(value: relax.Expr | None) -> TypeGuard[relax.Call]:
        return (
            isinstance(value, relax.Call)
            and getattr(value.op, "name", "") in ("relax.nn.conv1d", "relax.nn.conv2d", "relax.nn.conv3d")
            and is_constant(value.args[1])
            and value.attrs.data_layout in ("NCW", "NCHW", "NCDHW")
        )
