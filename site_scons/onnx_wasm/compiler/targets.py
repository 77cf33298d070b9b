"""What TVM compiles for."""

from __future__ import annotations

import tvm

from onnx_wasm.platforms import Platform

_LLVM_OPTIONS = (
    "--disable-lsr:bool=1",  # strength reduction spends a register per address: see walking.py
    "--inline-instr-cost:int=10000",  # a kernel inlined into the entry function costs it its registers, and size
)
_MOST_UNROLLED = 100  # of LLVM's instructions; at its own 300 it undoes the loops of Winograd's transforms
_LLVM_OPTIONS_FOR_VECTORS = (
    f"--unroll-threshold-default:uint={_MOST_UNROLLED}",
    f"--unroll-threshold-aggressive:uint={_MOST_UNROLLED}",
)

_FOR_SIZE, _LLVM_LEVEL_FOR_SIZE = "s", 2
_RESIDENT = "resident"
_SMALL = "small"
_VECTORS, _FUSED = "simd128", "relaxed-simd"


def wasm_target(platform: Platform, opt_level: int | str) -> tvm.target.Target:
    """The TVM target that compiles for a platform at LLVM's optimisation level 0 to 3, or for small code."""
    small = opt_level == _FOR_SIZE
    keys = {_RESIDENT: platform.resident, _SMALL: small}
    return tvm.target.Target(
        {
            "kind": "llvm",
            "mtriple": "wasm32-unknown-unknown",
            "mcpu": platform.cpu,
            "mattr": [f"+{feature}" for feature in platform.features],
            "opt-level": _LLVM_LEVEL_FOR_SIZE if small else opt_level,
            "vector-width": 128,
            "keys": ["cpu", *(key for key, holds in keys.items() if holds)],
            # The only way to the fused instruction: LLVM takes it for products whose sums may be contracted.
            "fast-math-contract": _FUSED in platform.features,
            "cl-opt": [*_LLVM_OPTIONS, *(_LLVM_OPTIONS_FOR_VECTORS if _VECTORS in platform.features else ())],
        }
    )


def is_resident() -> bool:
    """Whether what depends on weights alone is computed once for many runs."""
    return _RESIDENT in tvm.target.Target.current().keys


def is_small() -> bool:
    """Whether code is to be small rather than quick."""
    return _SMALL in tvm.target.Target.current().keys


def has_vectors() -> bool:
    """Whether the target that is being compiled for has SIMD."""
    return f"+{_VECTORS}" in tvm.target.Target.current().attrs["mattr"]


def has_fused() -> bool:
    """Whether the target that is being compiled for multiplies and adds in one instruction."""
    return f"+{_FUSED}" in tvm.target.Target.current().attrs["mattr"]
