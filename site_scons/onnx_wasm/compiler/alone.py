"""A kernel by itself: a model of one operator whose weights mean nothing, and what mostly follows such a one."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import tvm
from tvm import relax
from tvm.relax import op as R  # noqa: N812 - TVM's own abbreviation

from onnx_wasm import tuning
from onnx_wasm.compiler.anchors.gemm import Window
from onnx_wasm.compiler.graph import convolution
from onnx_wasm.compiler.graph.convolution import Convolution
from onnx_wasm.compiler.graph.rewriter import Rewriter, constant
from onnx_wasm.compiler.graph.stored import Stored
from onnx_wasm.tuning import Batched, Choice, Kernel, Product


def module_of(kernel: Kernel, choice: Choice | None) -> tvm.IRModule:
    """A module whose ``main`` lowers to a kernel, computed as chosen."""
    if isinstance(kernel, tuning.Convolution):
        return _Convolved(kernel, choice).run()
    if isinstance(kernel, Product):
        weights = constant(_weights(kernel.depth, kernel.columns))
        return _main(lambda x: _followed(R.matmul(x, weights), kernel.columns), (kernel.rows, kernel.depth))
    assert isinstance(kernel, Batched)
    left, right = (kernel.rows, kernel.depth), (kernel.depth, kernel.columns)
    return _main(R.matmul, (kernel.batch, *left), (kernel.batch, *right))


class _Convolved(Rewriter):
    """Puts a convolution of pictures whose channels come last, which no operator stands for, in a function's place."""

    def __init__(self, kernel: tuning.Convolution, choice: Choice | None) -> None:
        super().__init__(_main(R.nn.relu, (math.prod(kernel.picture[:3]), kernel.picture[3])))
        self._kernel, self._choice = kernel, choice
        self.rules = {"relax.nn.relu": self._convolved}

    def _convolved(self, call: relax.Call) -> relax.Expr:
        it, (columns, *taps) = self._kernel, self._kernel.weights
        weights = Stored(_weights(columns, it.picture[3] // it.groups, *taps), "float32")
        window, x = Window(it.out, it.strides, it.dilation), self.rewritten(call.args[0])
        whole = Convolution(x, it.picture, weights, window, it.padding, it.groups, chosen=self._choice)
        return self.emit(_followed(convolution.lower(self, whole), columns))


def _followed(result: relax.Expr, columns: int) -> relax.Expr:
    """A layer's result [rows, columns] with its bias and its activation, which are computed before it is written."""
    return R.nn.relu(R.add(result, constant(_weights(1, columns))))


def _main(operator: Callable[..., relax.Expr], *shapes: tuple[int, ...]) -> tvm.IRModule:
    parameters = [relax.Var(f"x{index}", relax.TensorType(shape, "float32")) for index, shape in enumerate(shapes)]
    builder = relax.BlockBuilder()
    names = {"input_names": [it.name for it in parameters], "output_names": ["y"]}
    with builder.function("main", parameters, attrs=names):
        with builder.dataflow():
            output = builder.emit_output(operator(*parameters))
        builder.emit_func_output(output)
    return builder.get()


def _weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, "float32")
