"""Why a node cannot be compiled."""

from __future__ import annotations

from onnx_wasm.compiler.frontend.graph import Node
from onnx_wasm.errors import Problem

_OF_PYTHON = (LookupError, AttributeError, TypeError, UnicodeError, ArithmeticError, AssertionError)
"""What reading a node ends with that lacks an attribute or an input, or has one of another kind; it says no more."""


class Refusal(Exception):  # noqa: N818 - an answer rather than an error
    """A node that cannot be compiled.

    Args:
        reason: What of it cannot, as the rest of a sentence that begins with the operator; empty if it is the
            operator as such.
        hint: What could be done.
    """

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint or "replace it, or leave this part of the model to whoever calls the module"

    def problem(self, node: Node, file: str) -> Problem:
        """The refusal as it is told: with the node, its operator, domain and opset."""
        operator = f"operator {node.proto.op_type} of {node.key[0] or 'ai.onnx'}, opset {node.opset}"
        text = f"{operator}, cannot be compiled" if not self.reason else f"{operator}: {self.reason}"
        return Problem(file, f"node {node.place}: {text}", self.hint)


def broken(error: Exception, said: str) -> Refusal:
    """Why a node is refused that could not be read to its end.

    Args:
        error: What that ended with.
        said: What it says, on one line.
    """
    if isinstance(error, _OF_PYTHON):
        return Refusal("its attributes and inputs do not go together", "export the model again")
    return Refusal(f"cannot be converted: {said}")
