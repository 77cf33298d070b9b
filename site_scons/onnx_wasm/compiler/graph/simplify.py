"""Operators that do nothing here, or that the importer writes in a roundabout way, in their simplest form."""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.relax import op as R  # noqa: N812 - TVM's own abbreviation

from onnx_wasm.compiler.graph.rewriter import Rewriter, integers, shape_of


def simplify(module: tvm.IRModule) -> tvm.IRModule:
    """Applies the pass."""
    return _Simplify(module).run()


class _Simplify(Rewriter):
    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self.rules = {
            "relax.nn.dropout": self._dropout,
            "relax.broadcast_to": self._unless_shaped,
            "relax.reshape": self._unless_shaped,
            "relax.sum": self._sum_of_stack,
        }
        self._stacks = {
            binding.var: binding.value.args[0]
            for block in module["main"].body.blocks
            for binding in block.bindings
            if isinstance(binding.value, relax.Call) and getattr(binding.value.op, "name", "") == "relax.stack"
        }

    def _dropout(self, call: relax.Call) -> relax.Expr:
        data = self.rewritten(call.args[0])
        return relax.Tuple([data, data])  # at inference; nobody reads the mask

    def _unless_shaped(self, call: relax.Call) -> relax.Expr | None:
        (data, *_) = call.args
        return self.rewritten(data) if shape_of(data) == shape_of(call) else None

    def _sum_of_stack(self, call: relax.Call) -> relax.Expr | None:
        """ONNX's Sum arrives as a sum over a new first axis."""
        parts = self._stacks.get(call.args[0])
        if not isinstance(parts, relax.Tuple) or integers(call.attrs.axis or []) != [0] or call.attrs.keepdims:
            return None
        first, *rest = (self.rewritten(part) for part in parts.fields)
        for part in rest:
            first = self.emit(R.add(first, part))
        return first
