"""What each byte of a finished module is for: kernels, weights, decoders of pictures, the wrapper, and the rest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

from onnx_wasm import wasm
from onnx_wasm.columns import table
from onnx_wasm.symbols import Symbols

KINDS: Mapping[str, str] = {
    "weights": "what the kernels read of the model's numbers",
    "kernels": "the model's code, and what drives it",
    "decoders": "code that decodes PNG and JPEG",
    "wrapper": "code that reads inputs and gives outputs",
    "library": "code of Rust's library",
    "data": "other data: the interface, tables, texts",
    "binary": "types, imports, exports, and what the binary format itself takes",
}
"""What there is, and what it is."""

_DECODERS = re.compile(r"\b(png|jpeg_decoder|miniz_oxide|flate2|crc32fast|adler|wrapper::image::(decode|jpeg|png))::")
_WRAPPER = re.compile(r"\bwrapper::")
_ROWS = 25


@dataclass(frozen=True)
class Item:
    """A part of a module.

    Args:
        kind: One of ``KINDS``.
        name: A function's name, a section, or what else it is.
        bytes: How many it takes in the file, with what the format puts before it.
    """

    kind: str
    name: str
    bytes: int


def items(data: bytes, where: str, names: Symbols, weights: bytes) -> list[Item]:
    """Takes a module apart, without a byte left.

    Args:
        data: The finished module.
        where: Its file, as messages call it.
        names: Of its functions.
        weights: Those that it holds, as the kernels read them; empty if it holds none.

    Returns:
        The parts, the largest first; together they have as many bytes as the module.

    Raises:
        BuildError: It is no WebAssembly module.
    """
    module = wasm.read(data, where)
    found = [*_functions(module, names), *_data(module, data, weights), *_sections(module)]
    rest = len(data) - sum(it.bytes for it in found)
    found.append(Item("binary", "headers of sections and of data", rest))
    return sorted(found, key=lambda it: (-it.bytes, it.name))


def _functions(module: wasm.Module, names: Symbols) -> Iterator[Item]:
    """Each function, with the number before it that says how long it is."""
    exported = {it.index for it in module.exports if it.kind == "func"}
    for it in module.functions:
        name = names.model.get(it.index) or names.wrapper.get(it.index) or f"function {it.index}"
        yield Item(_kind(name, it.index, names, exported), name, it.size + _digits(it.size))


def _sections(module: wasm.Module) -> Iterator[Item]:
    """What else a module consists of."""
    return (Item("binary", f"section {it.kind}", it.size) for it in module.sections if it.kind not in ("code", "data"))


def _kind(name: str, index: int, names: Symbols, exported: set[int]) -> str:
    if index in names.model:
        return "kernels"
    if _DECODERS.search(name):
        return "decoders"
    return "wrapper" if index in exported or _WRAPPER.search(name) else "library"


def _data(module: wasm.Module, data: bytes, weights: bytes) -> Iterator[Item]:
    """The data, of which the weights are those bytes that equal them."""
    total = sum(it.size for it in module.data)
    held = len(weights) if weights and any(_holds(data, it, weights) for it in module.data) else 0
    yield from (it for it in (Item("weights", "weights", held), Item("data", "constants", total - held)) if it.bytes)


def _holds(data: bytes, segment: wasm.DataSegment, weights: bytes) -> bool:
    return data.find(weights, segment.offset, segment.offset + segment.size) >= 0


def _digits(size: int) -> int:
    """Bytes of a LEB128 number."""
    return max((size.bit_length() + 6) // 7, 1)


def to_json(model: str, platform: str, data: bytes, found: Iterable[Item]) -> str:
    """The parts of a module, for programs.

    Args:
        model: The model's name.
        platform: The platform's.
        data: The module.
        found: Its parts.
    """
    parts = list(found)
    described = {
        "model": model,
        "platform": platform,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "kinds": _by_kind(parts),
        "items": [asdict(it) for it in parts],
    }
    return json.dumps(described, indent=1) + "\n"


def to_text(where: str, found: Iterable[Item]) -> str:
    """The parts of a module, for people: what each kind takes, then the largest parts.

    Args:
        where: The module's file.
        found: Its parts, the largest first.
    """
    parts = list(found)
    whole = sum(it.bytes for it in parts)
    kinds = [(*_cells(size, whole), kind, KINDS[kind]) for kind, size in _by_kind(parts).items()]
    largest = [(*_cells(it.bytes, whole), it.kind, it.name) for it in parts[:_ROWS]]
    rest = parts[_ROWS:]
    more = f"{sum(it.bytes for it in rest):,}"
    largest += [(more, "", "", f"… in {len(rest)} more")] if rest else []
    return (
        table([("bytes", "share", "kind", ""), *kinds, (f"{whole:,}", "", "", where)], (0, 1))
        + "\n"
        + table([("bytes", "share", "kind", "item"), *largest], (0, 1))
    )


def _by_kind(parts: Iterable[Item]) -> dict[str, int]:
    parts = list(parts)
    return {kind: sum(it.bytes for it in parts if it.kind == kind) for kind in KINDS}


def _cells(size: int, whole: int) -> tuple[str, str]:
    return f"{size:,}", f"{size / whole:.1%}"
