"""A module's interface: what it takes and gives, from the compiled graph and what the manifest says of it.

As JSON it is for people and for other programs; as the descriptor (ARCHITECTURE.md) it is what the wrapper reads.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.manifest import CHANNELS, Image, Input, Output, as_argument
from onnx_wasm.platforms import Platform

DTYPES = (
    *("float32", "float64", "float16"),
    *("int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
    "bool",
)
"""The dtypes a tensor can have, in the order of their numbers in the descriptor."""

_MAGIC = 0x314D574F
_FORMATS = ("raw", "npy", "image")
_LAYOUTS = ("nchw", "nhwc")
_COLORS = tuple(CHANNELS)
_RESIZES = ("nearest", "bilinear")
_RETURNS = ("status", "argmax")


@dataclass(frozen=True)
class Tensor:
    """An input or output of the module.

    Args:
        name: In the ONNX file.
        argument: The argument that names its file; empty if there is none.
        dtype: One of ``DTYPES``.
        shape: Static.
        offset: Bytes from the start of the inputs or outputs.
        format: ``raw``, ``npy`` or ``image``.
        image: How a picture becomes the tensor, if ``format`` is ``image``; its layout is known.
    """

    name: str
    argument: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    format: str
    image: Image | None = None


@dataclass(frozen=True)
class ParamsFile:
    """The file that a module reads its weights from.

    Args:
        argument: The argument that names it.
        file: What the build calls it.
        sha256: Of its bytes, in hexadecimal.
    """

    argument: str
    file: str
    sha256: str


@dataclass(frozen=True)
class Interface:
    """What a module takes and gives.

    Args:
        inputs: In the graph's order.
        outputs: In the graph's order.
        returns: ``status`` (0) or ``argmax``: what the entry point returns when all went well.
        return_output: Index of the output whose largest element ``argmax`` finds.
        sizes: Bytes of the areas ``inputs``, ``outputs``, ``params`` and ``workspace``.
        params_file: Where the weights come from; None if the module holds them.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    returns: str
    return_output: int
    sizes: dict[str, int]
    params_file: ParamsFile | None = None


def combine(
    graph: Mapping[str, Any],
    inputs: Sequence[Input],
    outputs: Sequence[Output],
    label: str,
    params_file: ParamsFile | None = None,
) -> Interface:
    """Joins what the compiled graph knows with what the manifest says.

    Args:
        graph: The graph JSON, parsed.
        inputs: The manifest's ``[[input]]``.
        outputs: The manifest's ``[[output]]``. An output that it does not name can be written under its own name.
        label: What messages call the manifest.
        params_file: Where the module will read its weights from; None if it holds them.

    Raises:
        BuildError: Everything in which the two do not fit.
    """
    attributes = {key: value[1] for key, value in graph["attrs"].items()}

    def tensors(names: Sequence[str], entries: Sequence[int]) -> dict[str, Tensor]:
        rows = {
            name: {key: column[entry] for key, column in attributes.items()}
            for name, entry in zip(names, entries, strict=True)
        }
        return {
            name: Tensor(name, as_argument(name), row["dltype"], tuple(row["shape"]), row["storage_offset"], "npy")
            for name, row in rows.items()
        }

    rows = graph["node_row_ptr"]
    is_input = [node for node in graph["arg_nodes"] if attributes["storage_kind"][rows[node]] == "inputs"]
    takes = tensors([graph["nodes"][node]["name"] for node in is_input], [rows[node] for node in is_input])
    gives = tensors(graph["output_names"], [rows[node] + index for node, index, _ in graph["heads"]])
    problems = [
        *_unknown("input", [it.name for it in inputs], takes, label),
        *_unknown("output", [it.name for it in outputs], gives, label),
    ]
    for declared in inputs:
        if declared.name in takes:
            takes[declared.name] = tensor = _read_as(takes[declared.name], declared)
            problems += _image_problems(tensor, label)
    for wanted in outputs:
        if wanted.name in gives:
            gives[wanted.name] = dataclasses.replace(
                gives[wanted.name], argument=wanted.argument or "", format=wanted.format
            )
    arguments = [it.argument for it in (*takes.values(), *gives.values())]
    problems += _ambiguous_arguments([*arguments, params_file.argument if params_file else ""], label)
    if problems:
        raise BuildError(problems)
    returning = next((it.name for it in outputs if it.return_), None)
    return Interface(
        tuple(takes.values()),
        tuple(gives.values()),
        "argmax" if returning else "status",
        list(gives).index(returning) if returning else 0,
        dict(graph["areas"]),
        params_file,
    )


def to_json(interface: Interface, platform: Platform, executor: str, statuses: Mapping[int, str]) -> str:
    """The interface as JSON, for people and other programs.

    Args:
        interface: What the module takes and gives.
        platform: Where the module will run.
        executor: ``aot`` or ``graph``.
        statuses: What each code below 0 means.
    """
    described = {
        **dataclasses.asdict(interface),
        "platform": platform.name,
        "executor": executor,
        "statuses": {str(code): text for code, text in statuses.items()},
        "imports": platform.imports,
        "exports": platform.exports,
    }
    return json.dumps(described, indent=2) + "\n"


def to_descriptor(interface: Interface, graph_size: int) -> bytes:
    """The interface as the wrapper reads it.

    Args:
        interface: What the module takes and gives.
        graph_size: Bytes of the graph JSON that the module holds; 0 for the executor ``aot``.

    Returns:
        The descriptor that ARCHITECTURE.md describes.
    """
    sizes = interface.sizes
    max_pixels = max((it.image.max_pixels for it in interface.inputs if it.image), default=0)
    head = _words(
        *(_MAGIC, sizes["params"], sizes["workspace"], sizes["inputs"], sizes["outputs"], graph_size),
        *(max_pixels, _RETURNS.index(interface.returns), interface.return_output),
    )
    params = interface.params_file
    head += _string(params.argument) + bytes.fromhex(params.sha256) if params else _string("")
    lists = (
        _words(len(tensors)) + b"".join(map(_tensor, tensors)) for tensors in (interface.inputs, interface.outputs)
    )
    return head + b"".join(lists)


def _tensor(it: Tensor) -> bytes:
    words = _words(DTYPES.index(it.dtype), it.offset, len(it.shape), *it.shape, _FORMATS.index(it.format))
    return _string(it.name) + _string(it.argument) + words + (_image(it.image) if it.image else b"")


def _image(it: Image) -> bytes:
    assert it.layout is not None
    channels = CHANNELS[it.color]
    numbers = struct.pack(f"<{2 * channels}f", *it.scale, *it.mean)
    return _words(_LAYOUTS.index(it.layout), _COLORS.index(it.color), _RESIZES.index(it.resize), channels) + numbers


def _words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def _string(text: str) -> bytes:
    data = text.encode()
    return _words(len(data)) + data + bytes(-len(data) % 4)


def _read_as(tensor: Tensor, declared: Input) -> Tensor:
    image = declared.image
    if image is not None:
        layout = image.layout or _layout(tensor.shape, CHANNELS[image.color])
        image = dataclasses.replace(image, layout=layout)
    return dataclasses.replace(tensor, argument=declared.argument, format=declared.format, image=image)


def _layout(shape: Sequence[int], channels: int) -> str | None:
    """Where a picture's channels stand in a tensor, if its shape tells."""
    found = [layout for layout, axis in (("nchw", -3), ("nhwc", -1)) if len(shape) >= 3 and shape[axis] == channels]
    return found[0] if found else None


def _image_problems(tensor: Tensor, label: str) -> list[Problem]:
    if tensor.image is None:
        return []
    channels, layout = CHANNELS[tensor.image.color], tensor.image.layout
    *batch, first, _, third = (1, 1, 1, *tensor.shape) if len(tensor.shape) < 3 else tensor.shape
    fits = (
        math.prod(batch) == 1
        and len(tensor.shape) >= 3
        and {"nchw": first, "nhwc": third}.get(layout or "") == channels
    )
    if fits:
        return []
    message = (
        f'input "{tensor.name}" is {list(tensor.shape)}: not one picture of {channels} '
        f"channel{'s' if channels > 1 else ''} ({tensor.image.color})"
    )
    return [Problem(label, message, "choose another color, or read it as npy", key=("input", tensor.name, "image"))]


def _unknown(kind: str, names: Sequence[str], known: Mapping[str, Tensor], label: str) -> list[Problem]:
    hint = f"its {kind}s: {', '.join(known)}"
    return [
        Problem(label, f'the model has no {kind} "{name}"', hint, key=(kind, name, "name"))
        for name in names
        if name not in known
    ]


def _ambiguous_arguments(arguments: Sequence[str], label: str) -> list[Problem]:
    return [
        Problem(label, f'two files would be named by one argument, "{argument}"', 'give one of them an argument = "…"')
        for argument in dict.fromkeys(arguments)
        if argument and arguments.count(argument) > 1
    ]
