"""How answers are told: as labels, as text, as JSON, or as a graph in Graphviz's language."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from onnx_wasm.query import picture
from onnx_wasm.query.graph import Node
from onnx_wasm.query.layout import colour
from onnx_wasm.strategies.action import Action


def labels(nodes: Sequence[Node]) -> str:
    """One label a line."""
    return "".join(f"{node.label}\n" for node in nodes)


def text(nodes: Sequence[Node]) -> str:
    """A table: whether the node is out of date, what it is, its label."""
    rows = [("out of date" if node.outdated else "", node.kind, node.label) for node in nodes]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(2)]
    return "".join(f"{state:{widths[0]}}  {kind:{widths[1]}}  {label}\n" for state, kind, label in rows)


def as_json(nodes: Sequence[Node]) -> str:
    """An array of objects with the fields of ``Node``."""
    return json.dumps([asdict(node) for node in nodes], indent=1) + "\n"


def dot(nodes: Sequence[Node]) -> str:
    """A digraph in DOT (https://graphviz.org/doc/info/lang.html): from what is made to what it is made from."""
    shown = {node.label for node in nodes}
    lines = ["digraph {", "  rankdir=LR", '  node [shape=box, style=filled, fontname="sans-serif"]']
    lines += [f"  {_quoted(node.label)} [fillcolor={_quoted(colour(node))}]" for node in nodes]
    lines += [f"  {_quoted(node.label)} -> {_quoted(it)}" for node in nodes for it in node.inputs if it in shown]
    return "\n".join([*lines, "}"]) + "\n"


OUTPUTS: Mapping[str, Callable[[Sequence[Node]], str]] = {
    "label": labels,
    "text": text,
    "json": as_json,
    "graph": dot,
    "svg": picture.svg,
}
"""What ``--output`` names."""


def actions_text(actions: Sequence[Action]) -> str:
    """Each action as a block: its rule and first output, its command, what it reads and writes."""
    return "".join(
        f"{its.rule} {its.outputs[0]}\n  command: {shlex.join(its.command)}\n"
        f"  inputs: {shlex.join(its.inputs)}\n  outputs: {shlex.join(its.outputs)}\n"
        for its in actions
    )


def actions_json(actions: Sequence[Action]) -> str:
    """An array of objects: of each action what is not the machine's own."""
    keys = ("rule", "arguments", "inputs", "consulted", "outputs")
    return json.dumps([{key: getattr(its, key) for key in keys} for its in actions], indent=1) + "\n"


ACTION_OUTPUTS: Mapping[str, Callable[[Sequence[Action]], str]] = {
    "text": actions_text,
    "json": actions_json,
}
"""What ``--output`` names where actions are asked for."""


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
