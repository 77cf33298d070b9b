"""What a converter is given: a node with its operands as Relax."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from onnx_wasm.compiler.frontend.graph import Node, TensorType
from onnx_wasm.compiler.frontend.refusal import Refusal
from onnx_wasm.compiler.schedules import RULE

_INJECTIVE, _OPAQUE = 2, 8  # TVM's OpPatternKind


@dataclass(frozen=True)
class Call:
    """A node on its way to Relax.

    Args:
        builder: Where bindings go.
        node: The node; ``node.opset`` is the version of its operator set.
        inputs: Its operands in order, those that are left out as None; known ones are constants.
        types: The types of its outputs as ONNX infers them, None where it does not.
    """

    builder: relax.BlockBuilder
    node: Node
    inputs: tuple[relax.Expr | None, ...]
    types: tuple[TensorType | None, ...]

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """The node's attributes as Python has them, with the defaults of its definition."""
        return self.node.attributes()

    def input(self, index: int) -> relax.Expr | None:
        """An operand, None if it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def operand(self, index: int) -> relax.Expr:
        """An operand that must be there."""
        found = self.input(index)
        if found is None:
            raise Refusal(f"lacks its input {index}", "export the model again")
        return found

    def value(self, index: int) -> np.ndarray | None:
        """An operand's value, None if it is left out.

        Raises:
            Refusal: Only a run knows it.
        """
        found = self.input(index)
        if found is None:
            return None
        if not isinstance(found, GenericConst):
            name = self.node.proto.input[index]
            raise Refusal(f'its input {index}, "{name}", must be a constant', "make it a constant of the model")
        value: np.ndarray = found.value.numpy()
        return value

    def emit(self, expression: relax.Expr) -> relax.Var:
        """Binds an expression to a variable."""
        return self.builder.emit(expression)

    def kernel(
        self,
        compute: Callable[..., Any],
        *tensors: relax.Expr,
        name: str = "",
        alone: bool = False,
        injective: bool = False,
        rule: str = "",
    ) -> relax.Var:
        """Binds a call of a kernel of its own.

        Args:
            compute: From TVM's tensors to the tensor expression of the result, or several.
            tensors: The operands.
            name: The kernel's, the operator's in small letters if it is not given.
            alone: Whether it must not be fused with what reads its result, and be computed once for each reader.
            injective: Whether it only puts elements elsewhere, and may be fused with what makes them: TVM does not see
                it where a run computes the places.
            rule: What its loops were written by, if they stand as they are to run.
        """
        hint = name or self.node.proto.op_type.lower()
        attributes: dict[str, int | str] = {}
        if alone or injective:
            attributes["op_pattern"] = _OPAQUE if alone else _INJECTIVE
        if rule:
            attributes[RULE] = rule
        return self.builder.emit_te(compute, *tensors, primfunc_name_hint=hint, primfunc_attrs=attributes or None)


def constant(value: np.ndarray) -> GenericConst:
    """A known tensor as Relax; TVM's own default would narrow it to 32 bits, and give a scalar a dimension."""
    return relax.const(np.array(value, order="C"), str(value.dtype))


Converter = Callable[[Call], "relax.Expr | Sequence[relax.Expr]"]
