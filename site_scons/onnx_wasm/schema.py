"""The manifest's JSON Schema (draft 2020-12), so that editors complete and check manifests while they are written.

``python -m onnx_wasm.schema > docs/manifest.schema.json`` writes it. It accepts every manifest that
:func:`onnx_wasm.manifest.load` accepts, and refuses what one value alone gets wrong; what several keys get wrong
together, such as two inputs of one name, only ``load`` tells.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from dataclasses import Field, is_dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from onnx_wasm.manifest import Manifest
from onnx_wasm.toml_tables import (
    Boolean,
    Choice,
    Either,
    Integer,
    Kind,
    List,
    Mapping,
    Number,
    Table,
    Text,
    default_of,
    keys_of,
    required,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class Documented(NamedTuple):
    """What a docstring says of a key: ``name (type, default): meaning``.

    Args:
        type: The values it takes, such as ``"aot" | "graph"``.
        default: ``required``, ``optional`` or ``default …``.
        meaning: What it is for.
    """

    type: str
    default: str
    meaning: str


def documented(shape: type) -> dict[str, Documented]:
    """Read the keys that the ``Args`` of a table's docstring document.

    Args:
        shape: The dataclass of the table, such as :class:`onnx_wasm.manifest.Model`.

    Returns:
        What is said of each key, by the key's name in the manifest; arguments that are no keys are left out.
    """
    _, _, args = (inspect.getdoc(shape) or "").partition("\nArgs:\n")
    said = {
        entry[1]: Documented(entry[2], entry[3], " ".join(entry[4].split()))
        for entry in re.finditer(r"^    (\w+) \((.+?), ([^,\n]+?)\): (.+(?:\n {5,}.+)*)", args, re.MULTILINE)
    }
    return {key: said[its.name.rstrip("_")] for key, its in keys_of(shape).items()}


def schema() -> dict[str, Any]:
    """Make the schema of manifests."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "onnx-wasm manifest",
        **_table(Manifest),
        "$defs": {shape.__name__: _table(shape) for shape in _tables(Table(Manifest)) if shape is not Manifest},
    }


def _table(shape: type) -> dict[str, Any]:
    keys, said = keys_of(shape), documented(shape)
    summary, _, _ = (inspect.getdoc(shape) or "").partition("\n")
    return {
        "description": _markdown(summary),
        "type": "object",
        "properties": {
            key: {"description": _markdown(said[key].meaning), **_kind(its.metadata["kind"]), **_default(its)}
            for key, its in keys.items()
        },
        "required": [key for key, its in keys.items() if required(its)],
        "additionalProperties": False,
    }


def _tables(kind: Kind) -> Iterator[type]:
    match kind:
        case List(item=item) | Mapping(item=item):
            yield from _tables(item)
        case Table(shape=shape):
            yield shape
            for its in keys_of(shape).values():
                yield from _tables(its.metadata["kind"])


def _kind(kind: Kind) -> dict[str, Any]:
    match kind:
        case Text():
            return {"type": "string", "pattern": f"^(?:{kind.pattern})$", "maxLength": kind.longest}
        case Boolean():
            return {"type": "boolean"}
        case Choice():
            return {"type": "string", "enum": list(kind.words)}
        case Integer():
            return {"type": "integer", "minimum": kind.least, "maximum": kind.most}
        case Either():
            return {"anyOf": [_kind(each) for each in kind.kinds]}
        case Number():
            return {"type": "number", "minimum": -kind.most, "maximum": kind.most}
        case List():
            item = _kind(kind.item)
            array = {"type": "array", "items": item, "minItems": kind.fewest, "maxItems": kind.most}
            array |= {"uniqueItems": True} if kind.unique else {}
            return {"anyOf": [item, array]} if kind.or_one else array
        case Mapping():
            return {"type": "object", "propertyNames": _kind(kind.key), "additionalProperties": _kind(kind.item)}
        case Table():
            return {"$ref": f"#/$defs/{kind.shape.__name__}"}


def _default(its: Field[Any]) -> dict[str, Any]:
    if required(its) or "default" in its.metadata:  # a default that depends on another key cannot be told here
        return {}
    match default_of(its):
        case None:
            return {}
        case tuple(items) if its.metadata["kind"].or_one:
            return {"default": items[0]}
        case table if is_dataclass(table):
            return {"default": {}}
        case value:
            return {"default": value}


def _markdown(text: str) -> str:
    return text.replace("``", "`")


def main() -> None:
    """Print the schema."""
    sys.stdout.write(json.dumps(schema(), indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
