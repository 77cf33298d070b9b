"""In what two builds differ: the step that differs first, the bytes, and the section of a binary that they are in."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from onnx_wasm import wasm
from onnx_wasm.errors import BuildError

_STEPS = (
    ("ModelFetch", r"(^|/)fetched/"),
    ("TvmIr", r"\.(ir\.json|weights\.safetensors)$"),
    ("WasmObject", r"\.(o|graph\.json|params)$"),
    ("ModelLibrary", r"(\.interface\.json|/lib(?!wrapper\.a$)[^/]*\.a)$"),
    ("RustWrapper", r"/libwrapper\.a$"),
    ("WasmModule", r"\.symbols\.json$|/linked/[^/]*\.wasm$|^build/(?!release/)(?!.*\.web/).*\.wasm$"),
    ("WasmOptimize", r"^(?!.*\.web/).*\.wasm$"),
    ("WebPackage", r"\.web/"),
    ("WasmTest", r"\.test\.json$"),
    ("WasmVerify", r"\.verify\.json$"),
    ("WasmRelease", r""),
)
"""The steps of the chain, in order, and the files that each makes."""

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60
_SHOWN = 8


@dataclass(frozen=True)
class Difference:
    """A file that is not the same in two builds.

    Args:
        file: Its path from the top of the checkout.
        step: What made it.
        offset: The first byte that differs, from 0; None if one of the builds has no such file.
        count: How many bytes differ, those that only one of them has included.
        bytes: Some of both, from there on.
        place: Where in the file that is: a member of an archive, a section, a function; empty if nothing is known.
    """

    file: str
    step: str
    offset: int | None = None
    count: int = 0
    bytes: tuple[str, str] = ("", "")
    place: str = ""

    def __str__(self) -> str:
        if self.offset is None:
            return f"{self.step}: {self.file} is only in one of the two"
        first, second = self.bytes
        place = f" in {self.place}" if self.place else ""
        plural = "s differ" if self.count != 1 else " differs"
        where = f"first at {self.offset}{place}: {first}, not {second}"
        return f"{self.step}: {self.file}: {self.count} byte{plural}, {where}"


def differences(first: dict[str, Path], second: dict[str, Path]) -> list[Difference]:
    """Compares the files of two builds.

    Args:
        first: The files of one, by their paths from the top of the checkout.
        second: Those of the other.

    Returns:
        Every file that differs, in the order in which the chain makes them.
    """
    found = []
    for name in sorted({*first, *second}):
        if name not in first or name not in second:
            found.append(Difference(name, _step(name)))
        elif (difference := compare(name, first[name].read_bytes(), second[name].read_bytes())) is not None:
            found.append(difference)
    order = [step for step, _ in _STEPS]
    return sorted(found, key=lambda it: (order.index(it.step), it.file))


def compare(name: str, first: bytes, second: bytes) -> Difference | None:
    """Compares a file of two builds.

    Args:
        name: Its path from the top of the checkout.
        first: Its bytes in one.
        second: Its bytes in the other.

    Returns:
        How they differ; None if they do not.
    """
    if first == second:
        return None
    shorter = min(len(first), len(second))
    unequal = map(operator.ne, first, second)
    offset = next((at for at, differs in enumerate(unequal) if differs), shorter)
    count = sum(map(operator.ne, first, second)) + max(len(first), len(second)) - shorter
    shown = (_hexadecimal(first, offset), _hexadecimal(second, offset))
    longer = max(first, second, key=len)
    return Difference(name, _step(name), offset, count, shown, ", ".join(_places(longer, offset)))


def _step(name: str) -> str:
    return next(step for step, pattern in _STEPS if re.search(pattern, name))


def _hexadecimal(data: bytes, offset: int) -> str:
    return data[offset : offset + _SHOWN].hex(" ") or "the end"


def _places(data: bytes, offset: int) -> Iterator[str]:
    """Where in a binary a byte is, from the outside inwards."""
    if data.startswith(_AR_MAGIC):
        name, start, size = _member(data, offset)
        yield f"member {name}" if start <= offset else f"the header of member {name}"
        data, offset = data[start : start + size], offset - start
    if offset >= 0 and data.startswith(b"\0asm"):
        yield _section(data, offset)


def _member(data: bytes, offset: int) -> tuple[str, int, int]:
    """The member of an archive (GNU ar) that a byte is in: its name, where its content starts, and its size."""
    at, name, start, size = len(_AR_MAGIC), "", 0, 0
    while at + _AR_HEADER <= len(data):
        header = data[at : at + _AR_HEADER]
        number = header[48:58].strip()
        if not number.isdigit():
            break
        name, start, size = header[:16].decode(errors="replace").strip(), at + _AR_HEADER, int(number)
        at = start + size + size % 2
        if offset < at:
            break
    return name, start, size


def _section(data: bytes, offset: int) -> str:
    try:
        module = wasm.read(data, "")
    except BuildError:
        return "what is no valid module"
    for function in module.functions:
        if function.offset <= offset < function.offset + function.size:
            return f"the section code, function {function.name or function.index}"
    inside = (it for it in module.sections if it.offset <= offset < it.offset + it.size)
    section = next(inside, None)
    return f"the section {section.name or section.kind}" if section else "the head of a section"
