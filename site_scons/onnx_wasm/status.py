"""The codes that a module returns when something is wrong, read from the wrapper that returns them."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from onnx_wasm import WRAPPER
from onnx_wasm.errors import BuildError, Problem

_SOURCE = WRAPPER / "src" / "status.rs"
_LINE = re.compile(r'^ {4}(?P<name>[A-Z]\w*) = (?P<code>-\d+), "(?P<text>(?:[^"\\]|\\.)*)";$', re.MULTILINE)


@dataclass(frozen=True)
class Status:
    """One way in which a module says that it could not do its work.

    Args:
        code: What the entry point returns; negative.
        name: What the wrapper calls it.
        text: What it means.
    """

    code: int
    name: str
    text: str


def parse(source: str, where: str) -> dict[int, Status]:
    """Reads the table of statuses out of the wrapper's source: lines ``    Name = -N, "text";``.

    Args:
        source: The text of ``status.rs``.
        where: Its file, as messages call it.

    Raises:
        BuildError: There is no such line, or a code stands on two of them.
    """
    table: dict[int, Status] = {}
    for match in _LINE.finditer(source):
        text = re.sub(r"\\(.)", r"\1", match["text"])
        status = Status(int(match["code"]), match["name"], text)
        if status.code in table:
            raise BuildError(Problem(where, f"{status.name} and {table[status.code].name} are both {status.code}"))
        table[status.code] = status
    if not table:
        raise BuildError(Problem(where, 'has no line of the form `    Name = -1, "what is wrong";`'))
    return table


@functools.cache
def statuses() -> dict[int, Status]:
    """The statuses of the wrapper that belongs to this package, by code.

    Raises:
        BuildError: The wrapper's source is not there.
    """
    if not _SOURCE.is_file():
        raise BuildError(Problem(str(_SOURCE), "is missing", "install onnx-wasm again, or check it out whole"))
    return parse(_SOURCE.read_text(encoding="utf-8"), str(_SOURCE))
