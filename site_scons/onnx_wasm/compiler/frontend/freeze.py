"""Open dimensions frozen: every input gets a static shape, from the file or from the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnx_wasm.compiler.frontend.graph import DTYPES, TensorType, dtype_of
from onnx_wasm.errors import BuildError, Problem


def freeze(
    graph: onnx.GraphProto, shapes: Mapping[str, tuple[int, ...]], dimensions: Mapping[str, int], path: Path, label: str
) -> dict[str, TensorType]:
    """Gives every input of a graph a static shape.

    Args:
        graph: The graph; it is not changed.
        shapes: Whole shapes, by the name of the input.
        dimensions: Extents, by the name of the dimension.
        path: The ONNX file.
        label: What messages call the manifest.

    Returns:
        The inputs' types, by name.

    Raises:
        BuildError: Dimensions that stay open, shapes that contradict the file, names that it does not have.
    """
    problems = [*_unknown_names(graph, shapes, dimensions, path, label)]
    types = {}
    for value in graph.input:
        if not _is_numbers(value.type):
            message = f'input "{value.name}" is no tensor of numbers that a module can take: {_kind(value.type)}'
            hint = "export the model with tensors of numbers as its inputs"
            problems.append(Problem(str(path), message, hint))
            continue
        found = list(_misfits(value, shapes.get(value.name), dimensions, path, label))
        problems.extend(found)
        if found:
            continue
        type_ = TensorType(
            dtype_of(value.type.tensor_type.elem_type), _frozen(value, shapes.get(value.name), dimensions)
        )
        if not type_.is_addressable:
            message = f'input "{value.name}" is {type_.nbytes} bytes ({type_}); wasm32 has 4 GiB of memory'
            problems.append(Problem(label, message, "freeze smaller dimensions", key=("input", value.name)))
        types[value.name] = type_
    if problems:
        raise BuildError(problems)
    return types


def settle(types: Mapping[str, TensorType], values: Mapping[str, Any], path: Path, label: str) -> dict[str, np.ndarray]:
    """The tensors of inputs whose values are settled: they are the model's own from now on.

    Args:
        types: The inputs' types, by name.
        values: By the name of the input a number, for all its elements, or nested lists of them.
        path: The ONNX file.
        label: What messages call the manifest.

    Raises:
        BuildError: A value that its input cannot have, or for an input that the file does not have.
    """
    problems, tensors = [], {}
    for name, value in values.items():
        if name not in types:
            hint = f"its inputs: {', '.join(types)}"
            problems.append(Problem(label, f'{path} has no input "{name}"', hint, key=("input", name, "name")))
            continue
        given = np.asarray(value)
        settled = given.astype(types[name].dtype, casting="unsafe") if given.dtype != object else given
        if not np.array_equal(settled, given) or given.shape not in ((), types[name].shape):
            message = f'input "{name}" is {types[name]}, which cannot be {value}'
            problems.append(Problem(label, message, key=("input", name, "value")))
            continue
        tensors[name] = np.array(np.broadcast_to(settled, types[name].shape))
    if problems:
        raise BuildError(problems)
    return tensors


def _unknown_names(
    graph: onnx.GraphProto, shapes: Mapping[str, tuple[int, ...]], dimensions: Mapping[str, int], path: Path, label: str
) -> Iterator[Problem]:
    names = [value.name for value in graph.input]
    known = ", ".join(names)
    for name in shapes:
        if name not in names:
            yield Problem(label, f'{path} has no input "{name}"', f"its inputs: {known}", key=("input", name, "name"))
    used = {extent.dim_param for value in graph.input for extent in value.type.tensor_type.shape.dim}
    for name in dimensions:
        if name not in used:
            yield Problem(label, f'no input of {path} has a dimension "{name}"', key=("dimensions", name))


def _misfits(
    value: onnx.ValueInfoProto,
    shape: tuple[int, ...] | None,
    dimensions: Mapping[str, int],
    path: Path,
    label: str,
) -> Iterator[Problem]:
    extents = value.type.tensor_type.shape.dim
    has_rank = value.type.tensor_type.HasField("shape")
    if shape is not None:
        fits = not has_rank or (
            len(shape) == len(extents)
            and all(it.dim_value <= 0 or it.dim_value == n for it, n in zip(extents, shape, strict=True))
        )
        if not fits:
            message = f'input "{value.name}" is {_shown(value)}, not {list(shape)}'
            yield Problem(label, message, key=("input", value.name, "shape"))
    elif not has_rank:
        message = f'input "{value.name}" of {path} leaves its shape open'
        hint = f'give it a shape: [[input]] name = "{value.name}", shape = […]'
        yield Problem(label, message, hint, key=("input", value.name))
    else:
        for axis, extent in enumerate(extents):
            is_open = not extent.HasField("dim_value") or extent.dim_value < 0
            if is_open and extent.dim_param not in dimensions:
                by_name = f", or freeze it by name: [dimensions] {extent.dim_param} = 1" if extent.dim_param else ""
                yield Problem(
                    label,
                    f'input "{value.name}" of {path} leaves dimension {axis} open: {_shown(value)}',
                    f'give it a shape: [[input]] name = "{value.name}", shape = […]{by_name}',
                    key=("input", value.name),
                )


def _frozen(
    value: onnx.ValueInfoProto, shape: tuple[int, ...] | None, dimensions: Mapping[str, int]
) -> tuple[int, ...]:
    if shape is not None:
        return shape
    extents = value.type.tensor_type.shape.dim
    return tuple(it.dim_value if it.HasField("dim_value") else dimensions[it.dim_param] for it in extents)


def _shown(value: onnx.ValueInfoProto) -> str:
    extents = value.type.tensor_type.shape.dim
    return (
        "[" + ", ".join(str(it.dim_value) if it.HasField("dim_value") else it.dim_param or "?" for it in extents) + "]"
    )


def _is_numbers(type_: onnx.TypeProto) -> bool:
    return type_.HasField("tensor_type") and dtype_of(type_.tensor_type.elem_type) in DTYPES


def _kind(type_: onnx.TypeProto) -> str:
    kind = type_.WhichOneof("value")
    if kind == "tensor_type":
        element = type_.tensor_type.elem_type
        if element == onnx.TensorProto.STRING:
            return "a tensor of text"
        return f"a tensor of {dtype_of(element)}" if dtype_of(element) else "a tensor without a dtype"
    return f"a {kind.removesuffix('_type')}" if kind else "without a type"
