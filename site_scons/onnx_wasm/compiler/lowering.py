"""Relax → loops: operators become kernels (PrimFuncs), fused and scheduled, and ``main`` a list of calls."""

from __future__ import annotations

from collections.abc import Callable

import tvm
from tvm import relax, tirx
from tvm.ir.transform import Pass, Sequential, module_pass
from tvm.relax import backend
from tvm.relax import transform as rt

from onnx_wasm.compiler.graph.batch_norm import fold_batch_norm
from onnx_wasm.compiler.graph.channels_last import channels_last
from onnx_wasm.compiler.graph.fold_constants import fold_constants
from onnx_wasm.compiler.graph.integer_products import integer_products
from onnx_wasm.compiler.graph.lines import lines_as_pictures
from onnx_wasm.compiler.graph.products import matrix_products
from onnx_wasm.compiler.graph.rounding import rounding
from onnx_wasm.compiler.graph.simplify import simplify
from onnx_wasm.compiler.graph.volumes import volumes_as_pictures
from onnx_wasm.compiler.schedules import schedule_kernels
from onnx_wasm.tuning import Choose, Kernel


def to_loops(module: tvm.IRModule, target: tvm.target.Target, choose: Choose) -> tuple[relax.Function, tvm.IRModule]:
    """Lowers a Relax module.

    Args:
        module: ``main`` with static shapes and weights as constants, and kernels of its own where the importer made
            some.
        target: What the kernels will be compiled for.
        choose: How kernels are to be computed, where that was measured.

    Returns:
        ``main``, which now only allocates tensors, views them under another shape and calls kernels that write
        their last arguments; and those kernels.
    """
    with target:
        lowered = Sequential([*_graph(choose), *_OPERATORS_TO_KERNELS, *_KERNELS_TO_CALLS])(module)
    kernels = {var: it for var, it in lowered.functions.items() if isinstance(it, tirx.PrimFunc)}
    return lowered["main"], tvm.IRModule(kernels)


def kernels_of(module: tvm.IRModule, target: tvm.target.Target) -> list[Kernel]:
    """The kernels of a module that there is something to choose about, as ``to_loops`` would ask: each once."""
    asked: dict[Kernel, None] = {}
    with target:
        Sequential(_graph(asked.setdefault))(module)
    return list(asked)


def _as_pass(rewrite: Callable[..., tvm.IRModule], *more: object) -> Pass:
    return module_pass(lambda module, _: rewrite(module, *more), opt_level=0, name=rewrite.__name__)


def _graph(choose: Choose) -> tuple[Pass, ...]:
    return (
        _as_pass(simplify),
        _as_pass(fold_constants),
        rt.DeadCodeElimination(),
        _as_pass(fold_batch_norm),
        _as_pass(integer_products),
        _as_pass(lines_as_pictures),
        _as_pass(volumes_as_pictures),
        rt.DeadCodeElimination(),
        _as_pass(channels_last, choose),
        _as_pass(matrix_products, choose),
        _as_pass(rounding),
    )


_OPERATORS_TO_KERNELS = (
    rt.DecomposeOpsForInference(),
    rt.CanonicalizeBindings(),
    rt.DeadCodeElimination(),
    rt.LegalizeOps(),
    rt.AnnotateTIROpPattern(),
    rt.FuseOps(),
    rt.FuseTIR(),
    rt.DeadCodeElimination(),
    _as_pass(schedule_kernels),
)

_KERNELS_TO_CALLS = (
    backend.DispatchSampling(),
    backend.DispatchSortScan(),
    rt.LegalizeOps(),
    rt.RewriteDataflowReshape(),
    rt.ToNonDataflow(),
    rt.RemovePurityChecking(),
    rt.CallTIRRewrite(),
    rt.DeadCodeElimination(),
)
