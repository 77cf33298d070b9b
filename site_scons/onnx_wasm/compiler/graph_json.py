"""The graph as JSON: TVM's graph executor format, with a place for every tensor, and what its readers need of it.

Source of the format: TVM's ``graph_executor`` (``nodes``, ``arg_nodes``, ``heads``, ``node_row_ptr``, ``attrs``).
``storage_kind``, ``storage_offset`` and ``areas`` are ours; see ARCHITECTURE.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from onnx_wasm.compiler.costs import Cost
from onnx_wasm.compiler.plan import Plan, Tensor


def dumps(plan: Plan, names: Mapping[str, Sequence[str]], costs: Mapping[str, Cost]) -> str:
    """Writes a plan as graph JSON.

    Args:
        plan: The compiled graph.
        names: The ONNX names: ``input_names`` and ``output_names``.
        costs: What each kernel does, by its name.

    Returns:
        The text, the same for the same plan.
    """
    nodes: list[dict[str, Any]] = []
    entries: list[Tensor] = []
    row_pointers = [0]
    produced: dict[Tensor, list[int]] = {}

    def add(node: dict[str, Any], tensors: Sequence[Tensor]) -> None:
        for index, tensor in enumerate(tensors):
            produced[tensor] = [len(nodes), index, 0]
        nodes.append(node)
        entries.extend(tensors)
        row_pointers.append(len(entries))

    def entry(tensor: Tensor) -> list[int]:
        if tensor not in produced:  # a view of a tensor that a node before this one made
            source = next(it for it in reversed(produced) if it.buffer == tensor.buffer)
            add(_operator("__nop", [produced[source]], 1, nodes), [tensor])
        return produced[tensor]

    for name, tensor in (
        *zip(names["input_names"], plan.inputs, strict=True),
        *((it.buffer, it) for it in plan.params),
    ):
        add({"op": "null", "name": str(name), "inputs": []}, [tensor])
    variables = len(nodes)
    for call in (*plan.preparation, *plan.calls):
        reads = [entry(tensor) for tensor in call.reads]
        cost = costs.get(call.kernel)
        about = {"flops": str(cost.flops), "rule": cost.rule} if cost else {}
        if cost and cost.left:
            about["left"] = cost.left
        if call in plan.preparation:
            about["prepares"] = "1"
        add(_operator(call.kernel, reads, len(call.writes), nodes, about), call.writes)
    heads = [entry(tensor) for tensor in plan.outputs]
    places = [plan.places[tensor.buffer] for tensor in entries]
    buffers = {buffer: index for index, buffer in enumerate(dict.fromkeys(tensor.buffer for tensor in entries))}
    return json.dumps(
        {
            "nodes": nodes,
            "arg_nodes": list(range(variables)),
            "heads": heads,
            "node_row_ptr": row_pointers,
            "attrs": {
                "dltype": ["list_str", [tensor.dtype for tensor in entries]],
                "shape": ["list_shape", [list(tensor.shape) for tensor in entries]],
                "storage_id": ["list_int", [buffers[tensor.buffer] for tensor in entries]],
                "storage_kind": ["list_str", [place.area for place in places]],
                "storage_offset": ["list_int", [place.offset for place in places]],
            },
            "areas": plan.sizes,
            "output_names": [str(name) for name in names["output_names"]],
        },
        separators=(",", ":"),
    )


def _operator(
    kernel: str,
    inputs: list[list[int]],
    outputs: int,
    nodes: list[dict[str, Any]],
    about: Mapping[str, str] = {},
) -> dict[str, Any]:
    return {
        "op": "tvm_op",
        "name": f"{kernel}_{len(nodes)}",
        "attrs": {
            "func_name": kernel,
            "num_inputs": str(len(inputs)),
            "num_outputs": str(outputs),
            "flatten_data": "0",
            **about,
        },
        "inputs": inputs,
    }
