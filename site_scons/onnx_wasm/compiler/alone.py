"""A kernel by itself: a model of one operator whose weights mean nothing, and what mostly follows such a one."""

from __future__ import annotations

import functools
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

_READ = {"float32": "float32", "int32": "int16"}
"""What is multiplied, by what is summed up."""

_SCALE = 2.0**-12


def module_of(kernel: Kernel, choice: Choice | None) -> tvm.IRModule:
    """A module whose ``main`` lowers to a kernel, computed as chosen."""
    if isinstance(kernel, tuning.Convolution):
        return _Convolved(kernel, choice).run()
    product = functools.partial(R.matmul, out_dtype=kernel.dtype)
    if isinstance(kernel, Product):
        weights = constant(_numbers(_READ[kernel.dtype], kernel.depth, kernel.columns))
        return _main(
            kernel, lambda x: _followed(kernel, product(x, weights), kernel.columns), (kernel.rows, kernel.depth)
        )
    assert isinstance(kernel, Batched)
    left, right = (kernel.rows, kernel.depth), (kernel.depth, kernel.columns)
    return _main(kernel, product, (kernel.batch, *left), (kernel.batch, *right))


class _Convolved(Rewriter):
    """Puts a convolution of pictures whose channels come last, which no operator stands for, in a function's place."""

    def __init__(self, kernel: tuning.Convolution, choice: Choice | None) -> None:
        super().__init__(_main(kernel, R.abs, (math.prod(kernel.picture[:3]), kernel.picture[3])))
        self._kernel, self._choice = kernel, choice
        self.rules = {"relax.abs": self._convolved}

    def _convolved(self, call: relax.Call) -> relax.Expr:
        it, (columns, *taps) = self._kernel, self._kernel.weights
        dtype = _READ[it.dtype]
        weights = Stored(_numbers(dtype, columns, it.picture[3] // it.groups, *taps), dtype)
        window, x = Window(it.out, it.strides, it.dilation), self.rewritten(call.args[0])
        whole = Convolution(x, it.picture, weights, window, it.padding, it.groups, chosen=self._choice)
        return self.emit(_followed(it, convolution.lower(self, whole), columns))


def _followed(kernel: Kernel, result: relax.Expr, columns: int) -> relax.Expr:
    """A layer's result [rows, columns] with its bias and its activation, which are computed before it is written."""
    floats = result if kernel.dtype == "float32" else R.multiply(R.astype(result, "float32"), relax.const(_SCALE))
    return R.nn.relu(R.add(floats, constant(_numbers("float32", 1, columns))))


def _main(kernel: Kernel, operator: Callable[..., relax.Expr], *shapes: tuple[int, ...]) -> tvm.IRModule:
    types = [relax.TensorType(shape, _READ[kernel.dtype]) for shape in shapes]
    parameters = [relax.Var(f"x{index}", it) for index, it in enumerate(types)]
    builder = relax.BlockBuilder()
    names = {"input_names": [it.name for it in parameters], "output_names": ["y"]}
    with builder.function("main", parameters, attrs=names):
        with builder.dataflow():
            output = builder.emit_output(operator(*parameters))
        builder.emit_func_output(output)
    return builder.get()


def _numbers(dtype: str, *shape: int) -> np.ndarray:
    random = np.random.default_rng(0)
    if dtype == "float32":
        return random.standard_normal(shape, "float32")
    return random.integers(-128, 128, shape, "int8").astype(dtype)
