"""A short way to write a few nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper

from onnx_wasm.compiler.frontend.walk import Scope


class Nodes:
    """Nodes in the making, in order; ``made`` has them."""

    def __init__(self, scope: Scope) -> None:
        self.made: list[onnx.NodeProto] = []
        self._scope = scope

    def add(self, operator: str, *inputs: str | np.ndarray | np.generic, output: str = "", **attributes: Any) -> str:
        """Adds a node of one output.

        Args:
            operator: Of ONNX's own domain.
            inputs: Tensors by their names, or their values.
            output: The output's name; a fresh one if it is not given.
            attributes: As ``onnx.helper.make_node`` takes them.

        Returns:
            The output's name.
        """
        names = [it if isinstance(it, str) else self._scope.constant(np.asarray(it)) for it in inputs]
        output = output or self._scope.fresh(operator)
        self.made.append(helper.make_node(operator, names, [output], **attributes))
        return output
