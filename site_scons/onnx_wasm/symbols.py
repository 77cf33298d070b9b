"""The names of a module's functions. A module ships without them; the build keeps them in a file beside it.

Names are told apart by where they come from: the model's library or the wrapper's. Format of an archive's index: the
member ``/`` of GNU ``ar``, a count and as many offsets, big-endian, then the names, each with a zero behind it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.wasm import Function

_INDEX_HEADER = re.compile(rb"!<arch>\n/ {15}.{32}(?P<size>\d{1,10}) *`\n", re.DOTALL)
_ESCAPES = {"$LT$": "<", "$GT$": ">", "$RF$": "&", "$C$": ",", "$u20$": " ", "$u7b$": "{", "$u7d$": "}", "..": "::"}
"""How rustc writes what cannot stand in a symbol."""


@dataclass(frozen=True)
class Symbols:
    """What a module's functions are called.

    Args:
        sha256: The module's, in hexadecimal.
        model: The names of the model's kernels and what drives them, by the functions' indices.
        wrapper: The names of all others.
    """

    sha256: str
    model: dict[int, str]
    wrapper: dict[int, str]


def sorted_by_origin(functions: Iterable[Function], library: bytes, sha256: str) -> Symbols:
    """Collects the names that a linker gave.

    Args:
        functions: A linked module's, with their names.
        library: The model's, an archive.
        sha256: The module's as it ships.
    """
    names = {it.index: it.name for it in functions if it.name}
    of_model = set(_index(library))
    model = {index: name for index, name in names.items() if name in of_model}
    wrapper = {index: _readable(name) for index, name in names.items() if name not in of_model}
    return Symbols(sha256, model, wrapper)


def to_json(symbols: Symbols) -> str:
    """The file's text."""
    return json.dumps(asdict(symbols), indent=1) + "\n"


def parse(text: str, where: str) -> Symbols:
    """Reads a file that nobody vouches for.

    Args:
        text: Its content.
        where: The file, as messages call it.

    Raises:
        BuildError: It is not what ``to_json`` writes.
    """
    try:
        described = json.loads(text)
        return Symbols(_text(described["sha256"]), _names(described["model"]), _names(described["wrapper"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BuildError(Problem(where, "does not hold the names of a module's functions")) from error


def _names(described: Mapping[str, Any]) -> dict[int, str]:
    return {int(index): _text(name) for index, name in dict(described).items()}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _index(library: bytes) -> list[str]:
    """The symbols that an archive says it defines."""
    header = _INDEX_HEADER.match(library)
    if header is None:
        return []
    index = library[header.end() :][: int(header["size"])]
    count = int.from_bytes(index[:4], "big")
    names = index[4 + 4 * count :].split(b"\0")[:-1]
    return [name.decode(errors="replace") for name in names[:count]]


def _readable(name: str) -> str:
    """A Rust function's name without its hash and the escapes."""
    name = re.sub(r"(::h[0-9a-f]{16})?( \(\.llvm\.\d+\))?$", "", name)
    return re.sub(r"\$\w+\$|\.\.", lambda found: _ESCAPES.get(found[0], found[0]), name).replace("_<", "<")
