"""Nodes of a subgraph or of a function, put in the place of the node that has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import onnx


def renamed(
    nodes: Iterable[onnx.NodeProto],
    names: Mapping[str, str],
    prefix: str,
    attributes: Mapping[str, onnx.AttributeProto] | None = None,
) -> list[onnx.NodeProto]:
    """Copies nodes under other names.

    Args:
        nodes: The body, in order.
        names: What the body's inputs and outputs are called outside. Every other tensor that the body makes is called
            ``prefix/name``; one that the body neither makes nor takes keeps its name.
        prefix: What makes the names unique.
        attributes: The values of a function's attributes; an attribute of a node that refers to one that is not here
            is left out.
    """
    table = dict(names)
    copies = []
    for node in nodes:
        for output in node.output:
            if output and output not in table:
                table[output] = f"{prefix}/{output}"
    for index, node in enumerate(nodes):
        copy = _copy(node, table, attributes)
        copy.name = f"{prefix}/{node.name or f'number {index}'}"
        copies.append(copy)
    return copies


def bound(function: onnx.FunctionProto, node: onnx.NodeProto, prefix: str) -> list[onnx.NodeProto]:
    """The body of a function in the place of a node that calls it.

    Args:
        function: The function.
        node: The call.
        prefix: What makes the names unique.
    """
    names = dict.fromkeys(function.input, "")
    names |= dict(zip(function.input, node.input, strict=False))
    names |= {formal: actual for formal, actual in zip(function.output, node.output, strict=False) if actual}
    given = {it.name: it for it in (*function.attribute_proto, *node.attribute)}
    through = {formal for formal, actual in zip(function.output, node.output, strict=False) if formal in function.input}
    body = renamed(function.node, names, prefix, given)
    ends = zip(function.output, node.output, strict=False)
    inputs = dict(zip(function.input, node.input, strict=False))
    return [*body, *(identity(inputs[formal], actual) for formal, actual in ends if formal in through and actual)]


def identity(source: str, target: str) -> onnx.NodeProto:
    """A node that calls a tensor by a second name."""
    return onnx.helper.make_node("Identity", [source], [target])


def reading(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """The node with the tensors that it reads under other names."""
    if not any(it in names for it in reads(node)):
        return node
    made = {it: it for it in node.output}
    return _copy(node, {**names, **made}, None)


def reads(node: onnx.NodeProto) -> list[str]:
    """What a node and its subgraphs read of the graph around it."""
    inner = (name for graph in subgraphs(node) for name in free_names(graph))
    return [name for name in (*node.input, *inner) if name]


def free_names(graph: onnx.GraphProto) -> list[str]:
    """What a subgraph reads of the graphs around it, each once, in order."""
    known = {it.name for it in (*graph.input, *graph.initializer)}
    found: dict[str, None] = {}
    for node in graph.node:
        inner = (name for it in subgraphs(node) for name in free_names(it))
        found |= dict.fromkeys(name for name in (*node.input, *inner) if name and name not in known)
        known.update(node.output)
    found |= dict.fromkeys(it.name for it in graph.output if it.name not in known)
    return list(found)


def names(graph: onnx.GraphProto) -> Iterator[str]:
    """What a graph's tensors are called, those of its subgraphs too."""
    yield from (it.name for it in (*graph.input, *graph.initializer))
    for node in graph.node:
        yield from node.output
        for inner in subgraphs(node):
            yield from names(inner)


def subgraphs(node: onnx.NodeProto) -> Sequence[onnx.GraphProto]:
    """A node's subgraphs."""
    alone = [it.g for it in node.attribute if it.HasField("g")]
    return [*alone, *(graph for it in node.attribute for graph in it.graphs)]


def _copy(
    node: onnx.NodeProto, names: Mapping[str, str], attributes: Mapping[str, onnx.AttributeProto] | None
) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [names.get(name, name) for name in node.input]
    copy.output[:] = [names.get(name, name) for name in node.output]
    del copy.attribute[:]
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            referred = (attributes or {}).get(attribute.ref_attr_name)
            if referred is not None:
                copy.attribute.add().CopyFrom(referred)
                copy.attribute[-1].name = attribute.name
            continue
        added = copy.attribute.add()
        added.CopyFrom(attribute)
        for graph in (*([added.g] if added.HasField("g") else []), *added.graphs):
            _rename_inside(graph, names, attributes)
    return copy


def _rename_inside(
    graph: onnx.GraphProto, names: Mapping[str, str], attributes: Mapping[str, onnx.AttributeProto] | None
) -> None:
    own = {it.name for it in (*graph.input, *graph.initializer)} | {it for node in graph.node for it in node.output}
    outer = {name: other for name, other in names.items() if name not in own}
    copies = [_copy(node, outer, attributes) for node in graph.node]
    del graph.node[:]
    graph.node.extend(copies)
    for output in graph.output:  # one that is a tensor of the graph around it
        output.name = outer.get(output.name, output.name)
