"""Which of the operators that ONNX defines the compiler knows, and in which way, as its tables say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx
from onnx.defs import OpSchema

from onnx_wasm.compiler.converters import CONVERTERS
from onnx_wasm.compiler.converters.tvm_own import tvm_converter
from onnx_wasm.compiler.frontend.functions import has_body
from onnx_wasm.compiler.frontend.graph import Node
from onnx_wasm.compiler.frontend.rewrites import REWRITES
from onnx_wasm.compiler.frontend.walk import WITHOUT_CONVERTER

WAYS: Mapping[str, str] = {
    "kernel": "a converter of this project's makes its kernels",
    "others": "becomes other operators, or what is known of it a constant",
    "TVM": "TVM's converter makes its kernels",
    "definition": "is written out as ONNX defines it by other operators",
    "beforehand": "the shape of what it makes depends on values: only where those are known when the model is built",
}
"""How an operator is compiled."""


_OF_ANY_LENGTH = frozenset(("NonMaxSuppression", "NonZero", "Unique"))
_RANDOM = frozenset(("Bernoulli",))


@dataclass(frozen=True)
class Operator:
    """An operator that can be compiled.

    Args:
        domain: ``ai.onnx`` or another.
        name: The operator's.
        since: The versions of its domain's operator set that defined it anew.
        ways: Of ``WAYS``, those that apply; the first that takes a node compiles it.
    """

    domain: str
    name: str
    since: tuple[int, ...]
    ways: tuple[str, ...]


def operators() -> list[Operator]:
    """Those that the compiler knows, by domain and name."""
    versions: dict[tuple[str, str], list[OpSchema]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        versions.setdefault((schema.domain, schema.name), []).append(schema)
    found = []
    for (domain, name), schemas in sorted(versions.items()):
        newest = max(schemas, key=lambda it: it.since_version)
        ways = tuple(_ways(domain, name, newest.since_version))
        if ways and _is_of_numbers(newest):
            since = tuple(sorted(it.since_version for it in schemas if not it.deprecated))
            found.append(Operator(domain or "ai.onnx", name, since, ways))
    return found


def _ways(domain: str, name: str, version: int) -> Iterable[str]:
    node = Node(onnx.helper.make_node(name, [], [], domain=domain), version, name)
    if name in _OF_ANY_LENGTH:
        yield "beforehand"
        return
    if node.key in REWRITES or node.key in WITHOUT_CONVERTER:
        yield "others"
    if node.key in CONVERTERS:
        yield "kernel"
    elif tvm_converter(node) is not None:
        yield "TVM"
    if has_body(node) and name not in _RANDOM:
        yield "definition"


def _is_of_numbers(schema: OpSchema) -> bool:
    """Whether it can take tensors of numbers and make some."""
    kinds = {it.type_param_str: it.allowed_type_strs for it in schema.type_constraints}

    def numbers(type_: str) -> bool:
        return any(it.startswith("tensor(") and it != "tensor(string)" for it in kinds.get(type_, [type_]))

    makes = any(numbers(it.type_str) for it in schema.outputs) or schema.name == "ZipMap"
    return makes and all(
        numbers(it.type_str) for it in schema.inputs if it.option == OpSchema.FormalParameterOption.Single
    )
