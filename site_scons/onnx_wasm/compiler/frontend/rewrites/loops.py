"""Loop and Scan, written out step by step, where the number of steps is known.

A Loop's condition may only be known once its body has been walked. So a step leaves, besides the body, a Loop for the
steps that remain; what has been done so far is in attributes of it that ONNX does not have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper

from onnx_wasm.compiler.frontend import splice
from onnx_wasm.compiler.frontend.graph import Node
from onnx_wasm.compiler.frontend.refusal import Refusal
from onnx_wasm.compiler.frontend.rewrites.nodes import Nodes
from onnx_wasm.compiler.frontend.walk import Rewrite, Scope

_DONE, _MADE = "onnx_wasm_done", "onnx_wasm_made"
_HINT = "make the number of steps a constant of the model, or leave this part to whoever calls the module"
_AXES_ARE_ATTRIBUTES = 9


def _loop(scope: Scope, node: Node) -> Sequence[onnx.NodeProto]:
    attributes = {it.name: it for it in node.proto.attribute}
    body = attributes["body"].g
    done = attributes[_DONE].i if _DONE in attributes else 0
    made = [it.decode() for it in attributes[_MADE].strings] if _MADE in attributes else []
    most, condition, *states = [*node.proto.input, ""][: max(len(node.proto.input), 2)]
    if not _goes_on(scope, most, condition, done):
        return _ended(scope, node, body, states, made)
    scans = len(body.output) - 1 - len(states)
    after = [scope.fresh("state") for _ in states]
    again, each = scope.fresh("condition"), [scope.fresh("scanned") for _ in range(scans)]
    count = scope.constant(np.array(done, np.int64))
    given = condition or scope.constant(np.array(True))
    nodes = scope.body(body, [count, given, *states], [again, *after, *each])
    rest = onnx.NodeProto()
    rest.CopyFrom(node.proto)
    rest.input[:] = [most, again if condition else "", *after]  # of a loop without a condition the body's is ignored
    kept = [it for it in rest.attribute if it.name == "body"]
    del rest.attribute[:]
    rest.attribute.extend([*kept, helper.make_attribute(_DONE, done + 1)])
    if made or each:
        rest.attribute.append(helper.make_attribute(_MADE, [*made, *each]))
    return [*nodes, rest]


def _goes_on(scope: Scope, most: str, condition: str, done: int) -> bool:
    steps, holds = (scope.value(it) if it else None for it in (most, condition))
    if steps is not None and done >= steps.reshape(-1)[0]:
        return False
    if holds is not None and not holds.reshape(-1)[0]:
        return False
    if (condition and holds is None) or (most and steps is None):
        raise Refusal("runs as often as only a run knows", _HINT)
    if steps is None and holds is None:
        raise Refusal("runs without end", "export the model again")
    return True


def _ended(
    scope: Scope, node: Node, body: onnx.GraphProto, states: Sequence[str], made: Sequence[str]
) -> list[onnx.NodeProto]:
    results = list(node.proto.output)
    nodes = [splice.identity(it, name) for it, name in zip(states, results, strict=False) if name]
    scans = results[len(states) :]
    for index, name in enumerate(scans):
        if not name:
            continue
        parts = made[index :: len(scans)]
        if not parts:
            nodes.append(_nothing(scope, body.output[1 + len(states) + index], name))
            continue
        nodes += _stacked(scope, parts, 0, name)
    return nodes


def _nothing(scope: Scope, output: onnx.ValueInfoProto, name: str) -> onnx.NodeProto:
    """What a loop of no steps collects."""
    tensor = output.type.tensor_type
    if not all(it.HasField("dim_value") for it in tensor.shape.dim) or not tensor.HasField("shape"):
        raise Refusal("collects nothing, of a shape that is not known", _HINT)
    shape = (0, *(it.dim_value for it in tensor.shape.dim))
    empty = np.zeros(shape, helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return splice.identity(scope.constant(empty), name)


def _stacked(scope: Scope, parts: Sequence[str], axis: int, name: str) -> list[onnx.NodeProto]:
    scope.opsets = {**scope.opsets, "": max(13, scope.opsets.get("", 13))}
    nodes = Nodes(scope)
    spread = [nodes.add("Unsqueeze", it, np.array([axis], np.int64)) for it in parts]
    nodes.add("Concat", *spread, output=name, axis=axis)
    return nodes.made


def _scan(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    if node.opset < _AXES_ARE_ATTRIBUTES:
        raise Refusal("is of a version that scans batches", "export the model for a newer operator set")
    attributes = node.attributes()
    body = next(it.g for it in node.proto.attribute if it.name == "body")
    count = attributes["num_scan_inputs"]
    states, sources = list(node.proto.input[:-count]), list(node.proto.input[-count:])
    types = [scope.type(it) for it in sources]
    if any(it is None for it in types):
        return None
    axes, backwards = _per(attributes, "scan_input_axes", count), _per(attributes, "scan_input_directions", count)
    shapes = [it.shape for it in types if it is not None]
    steps = {shape[axis % len(shape)] for shape, axis in zip(shapes, axes, strict=True)}
    if len(steps) != 1:
        raise Refusal(f"scans inputs of different lengths: {sorted(steps)}", "export the model again")
    (total,) = steps
    scans = len(body.output) - len(states)
    nodes: list[onnx.NodeProto] = []
    collected: list[list[str]] = [[] for _ in range(scans)]
    for step in range(total):
        given = []
        for source, shape, axis, is_back in zip(sources, shapes, axes, backwards, strict=True):
            given.append(scope.fresh("step"))
            at = scope.constant(np.array(total - 1 - step if is_back else step, np.int64))
            nodes.append(helper.make_node("Gather", [source, at], [given[-1]], axis=axis % len(shape)))
        after, each = [scope.fresh("state") for _ in states], [scope.fresh("scanned") for _ in range(scans)]
        nodes += scope.body(body, [*states, *given], [*after, *each])
        states = after
        for parts, it in zip(collected, each, strict=True):
            parts.append(it)
    results = list(node.proto.output)
    nodes += [splice.identity(it, name) for it, name in zip(states, results, strict=False) if name]
    out_axes, out_back = _per(attributes, "scan_output_axes", scans), _per(attributes, "scan_output_directions", scans)
    for parts, axis, is_back, name in zip(collected, out_axes, out_back, results[len(states) :], strict=False):
        if name and not parts:
            raise Refusal("scans nothing", "export the model again")
        if name:
            nodes += _stacked(scope, parts[::-1] if is_back else parts, axis, name)
    return nodes


def _per(attributes: dict[str, list[int]], name: str, count: int) -> list[int]:
    return list(attributes.get(name) or [0] * count)


REWRITES: dict[tuple[str, str], Rewrite] = {("", "Loop"): _loop, ("", "Scan"): _scan}
