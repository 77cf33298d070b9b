"""Relax → loops: operators become kernels (PrimFuncs), fused with their neighbours, and ``main`` a list of calls."""

from __future__ import annotations

import tvm
from tvm import relax, tirx
from tvm.ir.transform import Sequential
from tvm.relax import backend
from tvm.relax import transform as rt


def to_loops(module: tvm.IRModule, target: tvm.target.Target) -> tuple[relax.Function, tvm.IRModule]:
    """Lowers a Relax module.

    Args:
        module: ``main`` with static shapes, and kernels of its own where the importer made some.
        target: What the kernels will be compiled for.

    Returns:
        ``main``, which now only allocates tensors, views them under another shape and calls kernels that write
        their last arguments; and those kernels.
    """
    with target:
        lowered = Sequential([*_OPERATORS_TO_KERNELS, *_KERNELS_TO_CALLS])(module)
    kernels = {var: it for var, it in lowered.functions.items() if isinstance(it, tirx.PrimFunc)}
    return lowered["main"], tvm.IRModule(kernels)


_OPERATORS_TO_KERNELS = (
    rt.DecomposeOpsForInference(),
    rt.CanonicalizeBindings(),
    rt.DeadCodeElimination(),
    rt.LegalizeOps(),
    rt.AnnotateTIROpPattern(),
    rt.FuseOps(),
    rt.FuseTIR(),
    rt.DeadCodeElimination(),
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
