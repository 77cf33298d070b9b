"""The ONNX file, checked: parsed, its external data loaded, its dimensions frozen, its operators known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import checker, external_data_helper

from onnx_wasm.errors import BuildError, Problem

_DEFAULT_DOMAINS = ("", "ai.onnx")
_OLDEST_IR = 3
_INITIALISERS_ALONE = 4  # the IR version from which initialisers need not be inputs


def load(
    path: Path, shapes: Mapping[str, tuple[int, ...]], dimensions: Mapping[str, int], label: str
) -> onnx.ModelProto:
    """Reads an untrusted ONNX file and makes it static.

    Args:
        path: The file; its external data lies beside it.
        shapes: Whole shapes, by the name of the input.
        dimensions: Extents, by the name of the dimension.
        label: What messages call the manifest or the model.

    Returns:
        The model, all inputs of static shape, no initialiser listed as an input.

    Raises:
        BuildError: Everything that stands in the way.
    """
    model = _parse(path)
    _load_external_data(model, path)
    _drop_initialisers_from_inputs(model)
    _check(model, path)
    problems = [*_unknown_operators(model, path), *_freeze(model.graph, shapes, dimensions, path, label)]
    if problems:
        raise BuildError(problems)
    return model


def _parse(path: Path) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise BuildError(
            Problem(str(path), "not an ONNX file, or a damaged one", "export or download it again")
        ) from error
    if model.ir_version < _OLDEST_IR or not model.graph.node:
        reason = f"IR version {model.ir_version}" if model.graph.node else "no graph in it"
        raise BuildError(Problem(str(path), f"not an ONNX model that can be built: {reason}", "export it again"))
    return model


def _load_external_data(model: onnx.ModelProto, path: Path) -> None:
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except (checker.ValidationError, ValueError, OSError) as error:
        hint = "external data must be files in the model's own folder"
        raise BuildError(Problem(str(path), f"external data: {_first_line(error)}", hint)) from error


def _check(model: onnx.ModelProto, path: Path) -> None:
    try:
        checker.check_model(model)
    except checker.ValidationError as error:
        raise BuildError(
            Problem(str(path), f"not a valid ONNX model: {_first_line(error)}", "export it again")
        ) from error


def _drop_initialisers_from_inputs(model: onnx.ModelProto) -> None:
    """Before IR version 4 every initialiser was an input too; a module's inputs are only what has no value."""
    model.ir_version = max(model.ir_version, _INITIALISERS_ALONE)
    graph = model.graph
    initialisers = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in initialisers]
    del graph.input[:]
    graph.input.extend(inputs)


def _unknown_operators(model: onnx.ModelProto, path: Path) -> Iterator[Problem]:
    from tvm.relax.frontend.onnx.onnx_frontend import _get_convert_map

    known = {*_get_convert_map(), "Constant", "If"}
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    for index, node in enumerate(_nodes(model.graph)):
        if node.domain not in _DEFAULT_DOMAINS or node.op_type not in known:
            name = f'"{node.name}"' if node.name else f"number {index}"
            domain = node.domain or "ai.onnx"
            version = opsets.get(node.domain, opsets.get("ai.onnx", "?"))
            yield Problem(
                str(path),
                f"node {name}: operator {node.op_type} of {domain}, opset {version}, cannot be compiled",
                "replace it, or leave this part of the model to whoever calls the module",
            )


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for subgraph in (attribute.g, *attribute.graphs):
                yield from _nodes(subgraph)


def _freeze(
    graph: onnx.GraphProto, shapes: Mapping[str, tuple[int, ...]], dimensions: Mapping[str, int], path: Path, label: str
) -> Iterator[Problem]:
    names = [value.name for value in graph.input]
    for name in shapes:
        if name not in names:
            known = ", ".join(names)
            yield Problem(label, f'{path} has no input "{name}"', f"its inputs: {known}", key=("input", name, "name"))
    used = set()
    for value in graph.input:
        extents = value.type.tensor_type.shape.dim
        frozen = shapes.get(value.name)
        if frozen is not None and len(frozen) != len(extents) and value.type.tensor_type.HasField("shape"):
            shown = _shown(value)
            yield Problem(
                label, f'input "{value.name}" is {shown}, not {list(frozen)}', key=("input", value.name, "shape")
            )
            continue
        if frozen is not None and not value.type.tensor_type.HasField("shape"):
            for _ in frozen:
                extents.add()
        for axis, extent in enumerate(extents):
            used.add(extent.dim_param)
            wanted = frozen[axis] if frozen is not None else dimensions.get(extent.dim_param, extent.dim_value)
            if extent.HasField("dim_value") and extent.dim_value > 0 and wanted != extent.dim_value:
                shown = _shown(value)
                yield Problem(
                    label,
                    f'input "{value.name}" is {shown}, not {list(frozen or ())}',
                    key=("input", value.name, "shape"),
                )
            elif wanted <= 0:
                yield Problem(
                    label,
                    f'input "{value.name}" of {path} leaves dimension {axis} open: {_shown(value)}',
                    f'give it a shape: [[input]] name = "{value.name}", shape = […]'
                    + (f", or freeze it by name: [dimensions] {extent.dim_param} = 1" if extent.dim_param else ""),
                    key=("input", value.name),
                )
            else:
                extent.dim_value = wanted
    for name in dimensions:
        if name not in used:
            yield Problem(label, f'no input of {path} has a dimension "{name}"', key=("dimensions", name))


def _shown(value: onnx.ValueInfoProto) -> str:
    extents = value.type.tensor_type.shape.dim
    return (
        "[" + ", ".join(str(it.dim_value) if it.HasField("dim_value") else it.dim_param or "?" for it in extents) + "]"
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
