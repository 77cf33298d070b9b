"""WebAssembly binaries: read what one offers and asks for, and write bytes as an object that a linker takes.

Formats: the WebAssembly core specification (binary format) and WebAssembly's tool conventions, "Linking" (version 2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, NoReturn, TypeVar

from onnx_wasm.errors import BuildError, Problem

PAGE_SIZE = 65536
MOST_ELEMENTS = 1_000_000  # of one kind in a module, as the WebAssembly JavaScript API limits it

_T = TypeVar("_T")
_MAGIC = b"\0asm"
_VERSION = b"\1\0\0\0"
_VALUE_TYPES = {
    0x7F: "i32",
    0x7E: "i64",
    0x7D: "f32",
    0x7C: "f64",
    0x7B: "v128",
    0x70: "funcref",
    0x6F: "externref",
}
_SECTIONS = {
    0: "custom",
    1: "type",
    2: "import",
    3: "function",
    4: "table",
    5: "memory",
    13: "tag",
    6: "global",
    7: "export",
    8: "start",
    9: "element",
    12: "data count",
    10: "code",
    11: "data",
}
_SECTION_ORDER = {number: place for place, number in enumerate(_SECTIONS)}
_KINDS = ("func", "table", "memory", "global", "tag")


@dataclass(frozen=True)
class FunctionType:
    """What a function takes and gives, each of ``i32 i64 f32 f64 v128 funcref externref``."""

    parameters: tuple[str, ...]
    results: tuple[str, ...]

    def __str__(self) -> str:
        results = self.results[0] if len(self.results) == 1 else f"({', '.join(self.results)})"
        return f"({', '.join(self.parameters)}) -> {results}"


@dataclass(frozen=True)
class Section:
    """A part of the binary.

    Args:
        kind: ``type``, ``import`` …, or ``custom``.
        name: The name of a custom section; empty for all others.
        offset: Where its content starts in the file, in bytes; for a custom section, after its name.
        size: Bytes of content.
    """

    kind: str
    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class Import:
    """Something the module asks its host for.

    Args:
        name: ``module.field``, as in ``env.teaclave_open_input``.
        kind: ``func``, ``table``, ``memory``, ``global`` or ``tag``.
        type: A function's type as ``(i32) -> i32``, a global's as ``global mut i32``; else the kind.
    """

    name: str
    kind: str
    type: str


@dataclass(frozen=True)
class Export:
    """Something the module offers its host.

    Args:
        name: As the host looks it up.
        kind: As in ``Import``.
        index: Its place among all of its kind, imports first.
        type: As in ``Import``.
    """

    name: str
    kind: str
    index: int
    type: str


@dataclass(frozen=True)
class Function:
    """A function the module defines.

    Args:
        index: Its place among all functions, imports first.
        name: From the ``name`` section; empty if there is none.
        type: Parameters and results.
        offset: Where its body starts in the file.
        size: Bytes of its body.
    """

    index: int
    name: str
    type: FunctionType
    offset: int
    size: int


@dataclass(frozen=True)
class Memory:
    """A linear memory.

    Args:
        minimum: Pages of 64 KiB it starts with.
        maximum: Pages it may grow to; None if nothing is said.
        shared: Between threads.
        wide: Addressed with 64 bits.
    """

    minimum: int
    maximum: int | None
    shared: bool = False
    wide: bool = False


@dataclass(frozen=True)
class DataSegment:
    """Bytes that memory is filled with.

    Args:
        address: Where they go in memory; None if passive or computed from a global.
        offset: Where they start in the file.
        size: Bytes.
    """

    address: int | None
    offset: int
    size: int


@dataclass(frozen=True)
class Module:
    """What a WebAssembly module consists of, without the bytes themselves.

    Args:
        sections: In the order of the file.
        imports: In the order of the file.
        exports: In the order of the file.
        functions: Those with a body, in the order of the file.
        memories: Imported ones first.
        data: In the order of the file.
        features: What the ``target_features`` section says the code uses (``+simd128``, …); often stripped.
    """

    sections: tuple[Section, ...]
    imports: tuple[Import, ...]
    exports: tuple[Export, ...]
    functions: tuple[Function, ...]
    memories: tuple[Memory, ...]
    data: tuple[DataSegment, ...]
    features: tuple[str, ...]

    def export(self, name: str) -> Export | None:
        """Finds an export by its name."""
        return next((export for export in self.exports if export.name == name), None)


def read(data: bytes | memoryview, where: str) -> Module:
    """Reads a WebAssembly binary that nobody vouches for, without copying its code and data.

    Instructions are not looked at; a runtime's validation does that.

    Args:
        data: The whole file; an ``mmap`` wrapped in a ``memoryview`` serves.
        where: The file, as messages call it.

    Returns:
        What the module consists of.

    Raises:
        BuildError: It is no WebAssembly module, is cut short, or contradicts itself; the message names the byte.
    """
    return _ModuleReader(_Reader(memoryview(data).cast("B"), where)).module()


def without_custom_sections(data: bytes, where: str) -> bytes:
    """A module as it ships: without names, without what its compilers said of themselves.

    Args:
        data: The module.
        where: The file, as messages call it.

    Raises:
        BuildError: It is no sequence of sections.
    """
    reader = _Reader(memoryview(data), where)
    parts = [reader.data[: reader.skip(8, "the header") + 8]]
    while reader.at < reader.end:
        start = reader.at
        number = reader.byte("a section's number")
        reader.skip(reader.u32("a section's size"), "a section")
        if number:
            parts.append(reader.data[start : reader.at])
    return b"".join(parts)


class _Reader:
    """A place in a binary. Every method reads on from there and raises BuildError rather than read past the end."""

    def __init__(self, data: memoryview, where: str, start: int = 0, end: int | None = None) -> None:
        self.data = data
        self.where = where
        self.at = start
        self.end = len(data) if end is None else end

    def fail(self, message: str) -> NoReturn:
        raise BuildError(Problem(self.where, f"is not a valid WebAssembly module: {message} at byte {self.at}"))

    def skip(self, size: int, what: str) -> int:
        """Steps over bytes and gives the offset of the first."""
        if size > self.end - self.at:
            self.fail(f"{what} of {size} bytes runs past the end")
        start = self.at
        self.at += size
        return start

    def byte(self, what: str) -> int:
        if self.at == self.end:
            self.fail(f"{what} is missing")
        self.at += 1
        return self.data[self.at - 1]

    def u32(self, what: str) -> int:
        return self.unsigned(what, 32)

    def unsigned(self, what: str, bits: int) -> int:
        """An unsigned LEB128 number of at most so many bits."""
        value = 0
        for shift in range(0, bits, 7):
            byte = self.byte(what)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        else:
            self.fail(f"{what} has too many digits")
        if value >> bits:
            self.fail(f"{what} is larger than {bits} bits")
        return value

    def signed(self, what: str, bits: int) -> int:
        """A signed LEB128 number of at most so many bits."""
        value = 0
        for shift in range(0, bits, 7):
            byte = self.byte(what)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        else:
            self.fail(f"{what} has too many digits")
        if byte & 0x40:
            value -= 1 << (shift + 7)
        if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
            self.fail(f"{what} is larger than {bits} bits")
        return value

    def name(self, what: str) -> str:
        size = self.u32(f"the length of {what}")
        start = self.skip(size, what)
        try:
            return str(self.data[start : start + size], "utf-8")
        except UnicodeDecodeError:
            self.at = start
            self.fail(f"{what} is not UTF-8")

    def vector(self, what: str, element: Callable[[], _T]) -> list[_T]:
        count = self.u32(f"the number of {what}")
        if count > MOST_ELEMENTS:
            self.fail(f"{count} {what} are more than {MOST_ELEMENTS}")
        return [element() for _ in range(count)]

    def part(self, size: int, what: str) -> _Reader:
        """Steps over bytes and gives a reader of just those."""
        start = self.skip(size, what)
        return _Reader(self.data, self.where, start, self.at)

    def finish(self, what: str) -> None:
        if self.at != self.end:
            self.fail(f"{what} is longer than its content")


class _ModuleReader:
    """Collects what the sections say, in the order of the file."""

    def __init__(self, reader: _Reader) -> None:
        self.file = reader
        self.sections: list[Section] = []
        self.types: list[tuple[FunctionType, str]] = []  # with its text, made once: functions share it
        self.imports: list[Import] = []
        # One index space per kind, imports first: the type of each function, memory, …
        self.spaces: dict[str, list[str]] = {kind: [] for kind in _KINDS}
        self.defined: list[FunctionType] = []
        self.memories: list[Memory] = []
        self.exports: list[Export] = []
        self.exported: set[str] = set()
        self.bodies: list[tuple[int, int]] = []  # offset and size of each
        self.data: list[DataSegment] = []
        self.names: dict[int, str] = {}
        self.features: tuple[str, ...] = ()

    def module(self) -> Module:
        self.header()
        place = 0
        while self.file.at < self.file.end:
            number = self.file.byte("a section's number")
            if number not in _SECTIONS:
                self.file.fail(f"there is no section {number}")
            if len(self.sections) == MOST_ELEMENTS:
                self.file.fail(f"there are more than {MOST_ELEMENTS} sections")
            kind = _SECTIONS[number]
            content = self.file.part(self.file.u32("a section's size"), f"the {kind} section")
            if kind == "custom":
                self.custom(content)
                continue
            if _SECTION_ORDER[number] <= place:
                content.fail(f"the {kind} section is twice there or out of order")
            place = _SECTION_ORDER[number]
            self.sections.append(Section(kind, "", content.at, content.end - content.at))
            self.section(kind, content)
        if len(self.defined) != len(self.bodies):
            self.file.fail(f"{len(self.defined)} functions are declared, {len(self.bodies)} have a body")
        first = len(self.spaces["func"]) - len(self.defined)
        return Module(
            sections=tuple(self.sections),
            imports=tuple(self.imports),
            exports=tuple(self.exports),
            functions=tuple(
                Function(index, self.names.get(index, ""), type_, offset, size)
                for index, (type_, (offset, size)) in enumerate(zip(self.defined, self.bodies, strict=True), first)
            ),
            memories=tuple(self.memories),
            data=tuple(self.data),
            features=self.features,
        )

    def header(self) -> None:
        magic = bytes(self.file.data[:8])
        if magic[:4] != _MAGIC:
            raise BuildError(Problem(self.file.where, "is not a WebAssembly module"))
        if magic[4:] == b"\x0d\0\1\0":
            raise BuildError(Problem(self.file.where, "is a WebAssembly component, not a module"))
        if magic[4:] != _VERSION:
            raise BuildError(Problem(self.file.where, "is not of WebAssembly's version 1"))
        self.file.skip(8, "the header")

    def section(self, kind: str, reader: _Reader) -> None:
        readers: dict[str, Callable[[], None]] = {
            "type": lambda: self.types.extend(reader.vector("types", lambda: _function_type(reader))),
            "import": lambda: self.imports.extend(reader.vector("imports", lambda: self.import_(reader))),
            "function": lambda: self.defined.extend(reader.vector("functions", lambda: self.function(reader))),
            "table": lambda: self.spaces["table"].extend(reader.vector("tables", lambda: _table(reader))),
            "memory": lambda: self.memories.extend(reader.vector("memories", lambda: self.memory(reader))),
            "tag": lambda: self.spaces["tag"].extend(reader.vector("tags", lambda: self.tag(reader))),
            "global": lambda: self.spaces["global"].extend(reader.vector("globals", lambda: _defined_global(reader))),
            "export": lambda: self.exports.extend(reader.vector("exports", lambda: self.export(reader))),
            "code": lambda: self.bodies.extend(reader.vector("bodies", lambda: _body(reader))),
            "data": lambda: self.data.extend(reader.vector("data segments", lambda: _data_segment(reader))),
        }
        if kind in readers:
            readers[kind]()
            reader.finish(f"the {kind} section")

    def type_at(self, reader: _Reader) -> tuple[FunctionType, str]:
        index = reader.u32("a type's index")
        if index >= len(self.types):
            reader.fail(f"there is no type {index}")
        return self.types[index]

    def function(self, reader: _Reader) -> FunctionType:
        type_, text = self.type_at(reader)
        self.spaces["func"].append(text)
        return type_

    def memory(self, reader: _Reader) -> Memory:
        memory = _memory(reader)
        self.spaces["memory"].append("memory")
        return memory

    def tag(self, reader: _Reader) -> str:
        reader.byte("a tag's attribute")
        self.type_at(reader)
        return "tag"

    def kind(self, reader: _Reader) -> str:
        number = reader.byte("a kind")
        if number >= len(_KINDS):
            reader.fail(f"there is no kind {number}")
        return _KINDS[number]

    def import_(self, reader: _Reader) -> Import:
        name = f"{reader.name('a module name')}.{reader.name('an import name')}"
        kind = self.kind(reader)
        match kind:
            case "func":
                type_ = self.type_at(reader)[1]
            case "table":
                type_ = _table_type(reader)
            case "memory":
                self.memories.append(_memory(reader))
                type_ = "memory"
            case "global":
                type_ = _global_type(reader)
            case _:
                type_ = self.tag(reader)
        self.spaces[kind].append(type_)
        return Import(name, kind, type_)

    def export(self, reader: _Reader) -> Export:
        name = reader.name("an export name")
        kind = self.kind(reader)
        index = reader.u32("an export's index")
        if index >= len(self.spaces[kind]):
            reader.fail(f"there is no {kind} {index} to export")
        if name in self.exported:
            reader.fail(f"{name!r} is exported twice")
        self.exported.add(name)
        return Export(name, kind, index, self.spaces[kind][index])

    def custom(self, reader: _Reader) -> None:
        name = reader.name("a section's name")
        self.sections.append(Section("custom", name, reader.at, reader.end - reader.at))
        # A malformed custom section does not make a module invalid: then it says nothing.
        try:
            if name == "name":
                self.names = _function_names(reader)
            elif name == "target_features":
                self.features = tuple(reader.vector("features", lambda: _feature(reader)))
        except BuildError:
            pass


def _value_type(reader: _Reader) -> str:
    number = reader.byte("a value type")
    if number not in _VALUE_TYPES:
        reader.fail(f"there is no value type 0x{number:02x}")
    return _VALUE_TYPES[number]


def _function_type(reader: _Reader) -> tuple[FunctionType, str]:
    form = reader.byte("a type")
    if form != 0x60:
        reader.fail(f"a type of form 0x{form:02x} is not a function's")
    parameters = reader.vector("parameters", lambda: _value_type(reader))
    type_ = FunctionType(tuple(parameters), tuple(reader.vector("results", lambda: _value_type(reader))))
    return type_, str(type_)


def _limits(reader: _Reader) -> Memory:
    flags = reader.byte("limits")
    if flags > 7:
        reader.fail(f"limits of form 0x{flags:02x} are unknown")
    bits = 64 if flags & 4 else 32
    minimum = reader.unsigned("a minimum", bits)
    maximum = reader.unsigned("a maximum", bits) if flags & 1 else None
    return Memory(minimum, maximum, bool(flags & 2), bool(flags & 4))


def _memory(reader: _Reader) -> Memory:
    memory = _limits(reader)
    most = 1 << (48 if memory.wide else 16)
    if memory.minimum > most or (memory.maximum or 0) > most:
        reader.fail(f"a memory of more than {most} pages")
    return memory


def _table_type(reader: _Reader) -> str:
    _value_type(reader)
    _limits(reader)
    return "table"


def _table(reader: _Reader) -> str:
    if reader.at < reader.end and reader.data[reader.at] == 0x40:  # a table with an initial value
        reader.skip(2, "a table")
        table = _table_type(reader)
        _constant(reader)
        return table
    return _table_type(reader)


def _global_type(reader: _Reader) -> str:
    type_ = _value_type(reader)
    mutable = reader.byte("a global's mutability")
    if mutable > 1:
        reader.fail(f"there is no mutability {mutable}")
    return f"global mut {type_}" if mutable else f"global {type_}"


def _defined_global(reader: _Reader) -> str:
    type_ = _global_type(reader)
    _constant(reader)
    return type_


def _constant(reader: _Reader) -> int | None:
    """Reads a constant expression; gives the number if it is nothing but one integer."""
    values: list[int | None] = []
    while (opcode := reader.byte("a constant expression")) != 0x0B:
        value = None
        match opcode:
            case 0x41:
                value = reader.signed("i32.const", 32)
            case 0x42:
                value = reader.signed("i64.const", 64)
            case 0x43:
                reader.skip(4, "f32.const")
            case 0x44:
                reader.skip(8, "f64.const")
            case 0x23 | 0xD2:
                reader.u32("an index")
            case 0xD0:
                reader.signed("a heap type", 33)
            case 0x6A | 0x6B | 0x6C | 0x7C | 0x7D | 0x7E:
                pass
            case 0xFD if reader.u32("an opcode") == 12:
                reader.skip(16, "v128.const")
            case _:
                reader.fail(f"opcode 0x{opcode:02x} is not constant")
        values.append(value)
    return values[0] if len(values) == 1 else None


def _body(reader: _Reader) -> tuple[int, int]:
    size = reader.u32("a body's size")
    return reader.skip(size, "a body"), size


def _data_segment(reader: _Reader) -> DataSegment:
    flags = reader.u32("a data segment's form")
    if flags > 2:
        reader.fail(f"a data segment of form {flags} is unknown")
    if flags == 2:
        reader.u32("a memory's index")
    address = None if flags == 1 else _constant(reader)
    size = reader.u32("a data segment's size")
    return DataSegment(None if address is None else address & 0xFFFFFFFF, reader.skip(size, "a data segment"), size)


def _feature(reader: _Reader) -> str:
    return chr(reader.byte("a feature's prefix")) + reader.name("a feature's name")


def _function_names(reader: _Reader) -> dict[int, str]:
    while reader.at < reader.end:
        number = reader.byte("a kind of name")
        names = reader.part(reader.u32("a size"), "names")
        if number == 1:
            return dict(names.vector("names", partial(_function_name, names)))
    return {}


def _function_name(reader: _Reader) -> tuple[int, str]:
    return reader.u32("an index"), reader.name("a function's name")


@dataclass(frozen=True)
class DataSymbol:
    """Bytes that a linker places in memory under a name.

    Args:
        name: The C symbol.
        data: The bytes; a ``memoryview`` of an ``mmap`` or of an array serves.
        alignment: Of the first byte in memory; a power of two, bytes.
    """

    name: str
    data: bytes | memoryview
    alignment: int = 1


def write_data_object(symbols: Sequence[DataSymbol], file: BinaryIO) -> None:
    """Writes a relocatable WebAssembly object that defines data symbols, for ``wasm-ld``.

    The same symbols give the same bytes, and the data is written from where it lies, without a copy.

    Args:
        symbols: One segment each, in this order.
        file: Where the object goes.

    Raises:
        BuildError: The data does not fit into the 32-bit memory of a module.
    """
    views = [memoryview(symbol.data).cast("B") for symbol in symbols]
    headers, segments, entries, address = [], [], [], 0
    for index, (symbol, view) in enumerate(zip(symbols, views, strict=True)):
        if symbol.alignment < 1 or symbol.alignment & (symbol.alignment - 1):
            raise ValueError(f"{symbol.alignment} is not a power of two")
        address = -(-address // symbol.alignment) * symbol.alignment
        name = _string(symbol.name)
        headers.append(b"\0\x41" + _signed(address) + b"\x0b" + _unsigned(len(view)))
        segments.append(_string(f".rodata.{symbol.name}") + _unsigned(symbol.alignment.bit_length() - 1) + b"\0")
        entries.append(b"\1\0" + name + _unsigned(index) + b"\0" + _unsigned(len(view)))  # kind data, no flags
        address += len(view)
    if address >= 1 << 31:
        names = ", ".join(symbol.name for symbol in symbols)
        raise BuildError(Problem(names, f"{address} bytes of data do not fit into a 32-bit module (2 GiB)"))

    pages = -(-address // PAGE_SIZE)
    memory = _string("env") + _string("__linear_memory") + b"\2\0" + _unsigned(pages)
    count = _unsigned(len(symbols))
    data_size = len(count) + sum(len(header) + len(view) for header, view in zip(headers, views, strict=True))
    linking = b"\2" + _section(5, count + b"".join(segments)) + _section(8, count + b"".join(entries))

    file.write(_MAGIC + _VERSION + _section(2, b"\1" + memory) + b"\x0b" + _unsigned(data_size) + count)
    for header, view in zip(headers, views, strict=True):
        file.write(header)
        file.write(view)
    file.write(_section(0, _string("linking") + linking))


def _unsigned(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def _signed(value: int) -> bytes:
    digits = bytearray()
    while not -0x40 <= value < 0x40:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value & 0x7F)
    return bytes(digits)


def _string(text: str) -> bytes:
    encoded = text.encode()
    return _unsigned(len(encoded)) + encoded


def _section(number: int, content: bytes) -> bytes:
    return bytes((number,)) + _unsigned(len(content)) + content
