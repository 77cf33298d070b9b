"""Floats that are rounded and made int16 become so by one addition.

WebAssembly converts vectors of floats to int32 only, with what must be done for those that do not fit. Where they fit
because they were clipped, the sum with ``ROUNDING`` has the rounded number in its last bits.
"""

from __future__ import annotations

import tvm
from tvm import relax, te, tirx

from onnx_wasm.compiler.graph.rewriter import ELEMENTWISE, Rewriter, dtype_of
from onnx_wasm.compiler.intrinsics import ROUNDING

_ROOM = 2**15


def rounding(module: tvm.IRModule) -> tvm.IRModule:
    """Applies the pass."""
    return _Rounding(module).run()


class _Rounding(Rewriter):
    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self.rules = {"relax.astype": self._astype}

    def _astype(self, call: relax.Call) -> relax.Expr | None:
        clipped = self.call_of(call.args[0], "relax.clip")
        rounded = None if clipped is None else self.call_of(clipped.args[0], "relax.round")
        if clipped is None or rounded is None or (dtype_of(rounded), dtype_of(call)) != ("float32", "int16"):
            return None
        least, most = (float(it.value) for it in clipped.args[1:])
        if not (-_ROOM <= least <= most < _ROOM and least.is_integer() and most.is_integer()):
            return None
        return self.call_te("rounded", _rounded, self.rewritten(rounded.args[0]), least, most, pattern=ELEMENTWISE)


def _rounded(x: te.Tensor, least: float, most: float) -> te.Tensor:
    def element(*at: tirx.Expr) -> tirx.Expr:
        clipped = tirx.max(tirx.min(x(*at), tirx.const(most, "float32")), tirx.const(least, "float32"))
        return tirx.reinterpret("int32", clipped + tirx.const(ROUNDING, "float32")).astype("int16")

    return te.compute(x.shape, element, name="rounded")
