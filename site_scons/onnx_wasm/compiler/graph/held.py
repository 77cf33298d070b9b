"""Passes that hold tensors in another form, through the operators that can work on them as they are.

A tensor gets its own form back where another operator reads it, once however many do.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import tvm
from tvm import relax
from tvm.relax import op as R  # noqa: N812 - TVM's own abbreviation

from onnx_wasm.compiler.graph.elementwise import BINARY, UNARY
from onnx_wasm.compiler.graph.rewriter import Rewriter, shape_of


@dataclass(frozen=True)
class Held:
    """A tensor in another form.

    Args:
        value: It in that form.
        shape: Its own shape.
    """

    value: relax.Expr
    shape: tuple[int, ...]


class Holder(Rewriter):
    """A pass that holds tensors: it knows elementwise operators, a subclass adds rules that return what is held.

    A subclass says what the form is, and which operands elementwise operators can take in it.
    """

    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self.rules = {**dict.fromkeys(UNARY, self._unary), **dict.fromkeys(BINARY, self._binary)}
        self._forms: dict[relax.Var, relax.Expr] = {}
        self._restored: dict[relax.Var, relax.Expr] = {}

    @abstractmethod
    def to_form(self, value: relax.Expr) -> relax.Expr:
        """Brings a tensor to the form."""

    @abstractmethod
    def from_form(self, held: Held) -> relax.Expr:
        """Gives a tensor its own form back."""

    @abstractmethod
    def operand(self, argument: relax.Expr, shape: tuple[int, ...]) -> relax.Expr | None:
        """An operand in the form, for an elementwise operator whose result has this shape; None if it cannot be."""

    def held(self, expression: relax.Expr) -> Held | None:
        """A tensor of the original function, if it is held."""
        value = self.values.get(expression) if isinstance(expression, relax.Var) else None
        return value if isinstance(value, Held) else None

    def form(self, expression: relax.Var) -> relax.Expr:
        """A tensor of the original function in the form, brought to it once if need be."""
        held = self.held(expression)
        if held is not None:
            return held.value
        if expression not in self._forms:
            self._forms[expression] = self.to_form(self.values[expression])
        return self._forms[expression]

    def rewritten(self, expression: relax.Expr) -> relax.Expr:
        """What has become of an expression of the original function, in its own form."""
        held = self.held(expression)
        if held is None:
            return super().rewritten(expression)
        if expression not in self._restored:
            self._restored[expression] = self.from_form(held)
        return self._restored[expression]

    def reshaped(self, value: relax.Expr, shape: tuple[int, ...]) -> relax.Expr:
        """A tensor under another shape."""
        return value if shape_of(value) == tuple(shape) else self.emit(R.reshape(value, shape))

    def concat_of_channels(self, call: relax.Call) -> Held | None:
        """The rule for concatenations along the second axis, for forms that have the channels there too."""
        parts = call.args[0].fields if isinstance(call.args[0], relax.Tuple) else []
        if int(call.attrs.axis) != 1 or not any(map(self.held, parts)):
            return None
        if not all(isinstance(part, relax.Var) for part in parts):
            return None
        return Held(self.emit(R.concat([self.form(part) for part in parts], axis=1)), shape_of(call))

    def _unary(self, call: relax.Call) -> Held | None:
        held = self.held(call.args[0])
        if held is None:
            return None
        rest = [self.rewritten(argument) for argument in call.args[1:]]
        return Held(self.emit(relax.Call(call.op, [held.value, *rest], call.attrs)), held.shape)

    def _binary(self, call: relax.Call) -> Held | None:
        if not any(map(self.held, call.args)):
            return None
        operands = [self.operand(argument, shape_of(call)) for argument in call.args]
        if any(operand is None for operand in operands):
            return None
        return Held(self.emit(relax.Call(call.op, operands, call.attrs)), shape_of(call))
