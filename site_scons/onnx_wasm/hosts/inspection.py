"""What a module consists of and where it can run, as a table for people and as JSON for programs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from onnx_wasm import symbols, wasm
from onnx_wasm.columns import table
from onnx_wasm.errors import BuildError
from onnx_wasm.hosts import checks
from onnx_wasm.platforms import PLATFORMS

_MOST_NAMELESS = 20
"""Functions that are told of by their numbers, of a module whose names are not known."""


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Args:
        module: What the module consists of.
        size: Bytes.
        sha256: In hexadecimal.
        features: The WebAssembly features that it needs, by LLVM's names, beyond those that every runtime has.
        platforms: For each platform what keeps the module from running there; nothing if it does run.
        names: Of its functions; None if they are not known.
    """

    module: wasm.Module
    size: int
    sha256: str
    features: tuple[str, ...]
    platforms: dict[str, tuple[str, ...]]
    names: symbols.Symbols | None


def inspect(data: bytes, where: str, names: symbols.Symbols | None = None) -> Inspection:
    """Reads a module that nobody vouches for.

    Args:
        data: The module.
        where: Its file, as messages call it.
        names: Of its functions, if they are in a file beside it; taken if they are this module's.

    Raises:
        BuildError: It is no WebAssembly module.
    """
    module = wasm.read(data, where)
    sha256 = hashlib.sha256(data).hexdigest()
    if names is not None and names.sha256 != sha256:
        names = None
    own = {it.index: it.name for it in module.functions if it.name}
    if names is None and own:
        names = symbols.Symbols(sha256, {}, own)
    return Inspection(
        module, len(data), sha256, checks.features(data), {it: _problems(data, it) for it in PLATFORMS}, names
    )


def _problems(data: bytes, platform: str) -> tuple[str, ...]:
    try:
        checks.check(data, PLATFORMS[platform].with_optional_features(), "")
    except BuildError as error:
        return tuple(it.message for it in error.problems)
    return ()


def to_json(found: Inspection) -> str:
    """What was found, for programs: all functions, with their sizes."""
    module = found.module
    described: dict[str, Any] = {
        "size": found.size,
        "sha256": found.sha256,
        "features": found.features,
        "platforms": {name: list(problems) for name, problems in found.platforms.items()},
        "imports": [asdict(it) for it in module.imports],
        "exports": [{"name": it.name, "kind": it.kind, "type": it.type} for it in module.exports],
        "memories": [asdict(it) for it in module.memories],
        "sections": [{"kind": it.kind, "name": it.name, "size": it.size} for it in module.sections],
        "functions": [
            {"index": it.index, "name": _name(found, it.index), "of": _origin(found, it.index), "size": it.size}
            for it in module.functions
        ],
    }
    return json.dumps(described, indent=1) + "\n"


def to_text(found: Inspection, where: str) -> str:
    """What was found, for people."""
    module = found.module
    blocks = [
        table([(where, f"{found.size:,} bytes", f"sha256:{found.sha256}")]),
        table([("features", ", ".join(found.features) or "none that a runtime may lack")]),
        table([("platform", ""), *((name, _verdict(problems)) for name, problems in found.platforms.items())]),
        table([("import", "type"), *((it.name, it.type) for it in module.imports)] if module.imports else []),
        table([("export", "type"), *((it.name, it.type) for it in module.exports)]),
        table([("memory", ""), *(_memory(it) for it in module.memories)]),
        table([("section", "bytes", ""), *_shares(_sections(module), found.size)]),
        table([("function", "bytes", ""), *_shares(_functions(found), found.size)]),
    ]
    return "\n".join(block for block in blocks if block)


def _verdict(problems: Sequence[str]) -> str:
    return "; ".join(problems) or "runs there"


def _memory(it: wasm.Memory) -> tuple[str, str]:
    least, most = f"{it.minimum * wasm.PAGE_SIZE:,} bytes at first", "may grow"
    if it.maximum is not None:
        most = f"{it.maximum * wasm.PAGE_SIZE:,} at most"
    return f"{it.minimum} pages", f"{least}, {most}{', shared' if it.shared else ''}{', 64 bits' if it.wide else ''}"


def _sections(module: wasm.Module) -> list[tuple[str, int]]:
    return [(f"{it.kind} {it.name}".strip(), it.size) for it in module.sections]


def _functions(found: Inspection) -> list[tuple[str, int]]:
    """The model's functions, the largest first, then what all others come to."""
    functions = sorted(found.module.functions, key=lambda it: -it.size)
    if found.names is None:
        told = [(f"number {it.index}", it.size) for it in functions[:_MOST_NAMELESS]]
        return [*told, *_sum("others", [it.size for it in functions[_MOST_NAMELESS:]])]
    told = [(found.names.model[it.index], it.size) for it in functions if it.index in found.names.model]
    if not told:
        return [(_name(found, it.index) or f"number {it.index}", it.size) for it in functions]
    return [*told, *_sum("the wrapper", [it.size for it in functions if it.index not in found.names.model])]


def _sum(name: str, sizes: Sequence[int]) -> list[tuple[str, int]]:
    return [(f"{name}, {len(sizes)} functions", sum(sizes))] if sizes else []


def _name(found: Inspection, index: int) -> str:
    names = found.names
    return "" if names is None else names.model.get(index, names.wrapper.get(index, ""))


def _origin(found: Inspection, index: int) -> str | None:
    """``model`` or ``wrapper``; None if that is not known."""
    if found.names is None or not found.names.model:
        return None
    return "model" if index in found.names.model else "wrapper"


def _shares(rows: Iterable[tuple[str, int]], whole: int) -> list[tuple[str, str, str]]:
    return [(name, f"{size:,}", f"{size / whole:.1%}") for name, size in rows]
