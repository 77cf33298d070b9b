"""If: the branch that is taken; where only a run knows, both are computed and one is chosen."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import helper

from onnx_wasm.compiler.frontend.graph import Node
from onnx_wasm.compiler.frontend.walk import Rewrite, Scope


def _if(scope: Scope, node: Node) -> Sequence[onnx.NodeProto]:
    branches = {it.name: it.g for it in node.proto.attribute}
    then, otherwise = branches["then_branch"], branches["else_branch"]
    condition, outputs = node.proto.input[0], node.proto.output
    value = scope.value(condition)
    if value is not None:
        return scope.body(then if value.reshape(-1)[0] else otherwise, (), outputs)
    names = [[scope.fresh(it) if it else "" for it in outputs] for _ in (then, otherwise)]
    both = [*scope.body(then, (), names[0]), *scope.body(otherwise, (), names[1])]
    choices = [
        helper.make_node("Where", [condition, first, second], [output])
        for output, first, second in zip(outputs, *names, strict=True)
        if output
    ]
    return [*both, *choices]


REWRITES: dict[tuple[str, str], Rewrite] = {("", "If"): _if}
