"""What the front end makes of an ONNX file: a list of nodes, with every type and every known value beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

DEFAULT_DOMAINS = ("", "ai.onnx")
DTYPES = (
    *("float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    "bool",
)
"""What a module's tensors can be of."""

NARROW = ("int8", "uint8", "int16", "uint16", "float16")
"""What weights are stored in to take less room, and stay in: kernels make floats of them."""

FEW = 1 << 12
"""Elements up to which that is not worth it."""

_MEMORY = 1 << 32
_COUNTABLE = 1 << 31


@dataclass(frozen=True)
class TensorType:
    """A tensor's dtype and shape.

    Args:
        dtype: As NumPy, or else ml_dtypes, names it.
        shape: Static.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """The size of such a tensor in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def is_addressable(self) -> bool:
        """Whether wasm32 can hold it: below 4 GiB, and of extents that an int32 can count."""
        return self.nbytes < _MEMORY and all(extent < _COUNTABLE for extent in self.shape)

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


@dataclass(frozen=True)
class Node:
    """A node that the importer will convert.

    Args:
        proto: The node, without subgraphs.
        opset: The version of its domain's operator set.
        place: What messages call it: its name, or its number in the graph.
    """

    proto: onnx.NodeProto
    opset: int
    place: str

    @property
    def key(self) -> tuple[str, str]:
        """Its domain, ``""`` for ONNX's own, and its operator."""
        return domain_of(self.proto), self.proto.op_type

    @property
    def schema(self) -> onnx.defs.OpSchema | None:
        """How ONNX defines the operator in this opset; None for operators of others."""
        return schema_of(self.proto, self.opset)

    def attributes(self) -> dict[str, Any]:
        """Its attributes as Python has them, defaults included: text as ``str``, tensors as arrays."""
        schema = self.schema
        values = {
            name: helper.get_attribute_value(it.default_value)
            for name, it in (schema.attributes.items() if schema else ())
            if it.default_value.name
        }
        values |= {it.name: helper.get_attribute_value(it) for it in self.proto.attribute}
        return {name: _plain(value) for name, value in values.items()}


@dataclass(frozen=True)
class Graph:
    """A model that is static: no subgraphs, no functions, every shape known.

    Args:
        nodes: In an order in which they can run.
        inputs: The types of the inputs, by name.
        outputs: For each output, the tensor that it is.
        types: The type of every tensor that ONNX's own operators make.
        values: Every tensor whose value is known: the weights, and what was computed of them.
    """

    nodes: tuple[Node, ...]
    inputs: dict[str, TensorType]
    outputs: dict[str, str]
    types: dict[str, TensorType]
    values: dict[str, np.ndarray]


def dtype_of(element: int) -> str:
    """The dtype of a tensor's elements as NumPy, or else ml_dtypes, names it; empty for text and for what is none.

    Args:
        element: As ONNX numbers it, in an untrusted file.
    """
    if element in (onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING):
        return ""
    return str(helper.tensor_dtype_to_np_dtype(element)) if element in onnx.TensorProto.DataType.values() else ""


def domain_of(node: onnx.NodeProto) -> str:
    """A node's domain, ``""`` for ONNX's own under both of its names."""
    return "" if node.domain in DEFAULT_DOMAINS else str(node.domain)


def schema_of(node: onnx.NodeProto, opset: int) -> onnx.defs.OpSchema | None:
    """How ONNX defines a node's operator, or None."""
    try:
        return onnx.defs.get_schema(node.op_type, opset, domain_of(node))
    except onnx.defs.SchemaError:
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    if isinstance(value, list | tuple):
        return [_plain(it) for it in value]
    return value
