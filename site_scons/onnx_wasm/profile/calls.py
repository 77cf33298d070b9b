"""The calls of kernels that a compiled graph makes, as its JSON tells of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

AREAS = ("inputs", "outputs", "params", "workspace")
_NOT_KERNELS = ("__nop", "__copy")


@dataclass(frozen=True)
class Call:
    """One call of a kernel.

    Args:
        node: Its name in the graph.
        kernel: The kernel's name, which is its symbol too.
        places: For each of its arguments, the area and the offset in it, in bytes.
        shapes: For each of its arguments, dtype and extents, as people write them: ``float32[1, 10]``.
        follows: Indices of the calls that wrote what it reads.
        bytes: How many its arguments have.
        flops: Operations on elements.
        rule: What scheduled the kernel; empty if nothing did.
        left: Its parts that the rule left as they stood.
    """

    node: str
    kernel: str
    places: tuple[tuple[str, int], ...]
    shapes: tuple[str, ...]
    follows: tuple[int, ...]
    bytes: int
    flops: int
    rule: str
    left: tuple[str, ...]

    @property
    def scheduled(self) -> bool:
        """Whether a rule took it, and left no part of it as it stood."""
        return bool(self.rule) and not self.left


def calls_of(graph: Mapping[str, Any]) -> list[Call]:
    """Reads the calls that each run of a graph makes, in their order.

    Args:
        graph: The graph JSON that ``WasmObject`` writes.
    """
    attributes = {name: values for name, (_, values) in graph["attrs"].items()}
    first = graph["node_row_ptr"]
    writer: dict[int, int] = {}  # the call that wrote each entry
    calls: list[Call] = []
    for index, node in enumerate(graph["nodes"]):
        reads = [first[source] + output for source, output, _ in node["inputs"]]
        writes = list(range(first[index], first[index + 1]))
        if node["op"] != "tvm_op":
            continue
        about = node["attrs"]
        if about.get("prepares"):
            continue
        if about["func_name"] in _NOT_KERNELS:
            sources = {writer[entry] for entry in reads if entry in writer}
            writer |= {entry: source for entry in writes for source in sources}
            continue
        entries = [*reads, *writes]
        shapes = [(attributes["dltype"][it], attributes["shape"][it]) for it in entries]
        calls.append(
            Call(
                node["name"],
                about["func_name"],
                tuple((attributes["storage_kind"][it], attributes["storage_offset"][it]) for it in entries),
                tuple(f"{dtype}{shape}" for dtype, shape in shapes),
                tuple(sorted({writer[entry] for entry in reads if entry in writer})),
                sum(np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in shapes),
                int(about.get("flops", 0)),
                about.get("rule", ""),
                tuple(about.get("left", "").split()),
            )
        )
        writer |= dict.fromkeys(writes, len(calls) - 1)
    return calls
