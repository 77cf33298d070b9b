"""Reading WebAssembly binaries, and writing data as an object that the linker takes."""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_wasm import wasm
from onnx_wasm.errors import BuildError

LINKER = shutil.which("wasm-ld-14") or shutil.which("wasm-ld") or "/usr/lib/llvm-14/bin/wasm-ld"

RICH = wasmtime.wat2wasm(
    """(module
      (import "env" "log" (func (param i32 f64)))
      (import "env" "base" (global i32))
      (memory (export "memory") 2 9)
      (table 1 funcref)
      (global $counter (export "counter") (mut i64) (i64.const -7))
      (func $add (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
      (func $idle)
      (data (i32.const 1024) "hello")
      (data (i32.const -16) "")
      (data (global.get 0) "moved"))"""
)


def object_of(*symbols: wasm.DataSymbol) -> bytes:
    file = io.BytesIO()
    wasm.write_data_object(symbols, file)
    return file.getvalue()


def test_a_module_is_read_whole() -> None:
    module = wasm.read(RICH, "rich.wasm")
    assert module.imports == (
        wasm.Import("env.log", "func", "(i32, f64) -> ()"),
        wasm.Import("env.base", "global", "global i32"),
    )
    assert module.export("add") == wasm.Export("add", "func", 1, "(i32, i32) -> i32")
    assert module.export("counter") == wasm.Export("counter", "global", 1, "global mut i64")
    assert module.export("memory") == wasm.Export("memory", "memory", 0, "memory")
    assert module.export("absent") is None
    assert [(function.index, function.name, function.size) for function in module.functions] == [
        (1, "add", 7),
        (2, "idle", 2),
    ]
    assert str(module.functions[0].type) == "(i32, i32) -> i32"
    assert RICH[module.functions[0].offset :].startswith(b"\0\x20\0\x20\x01\x6a\x0b")
    assert module.memories == (wasm.Memory(2, 9),)
    assert [segment.address for segment in module.data] == [1024, 0xFFFFFFF0, None]
    assert RICH[module.data[0].offset :][: module.data[0].size] == b"hello"
    code = next(section for section in module.sections if section.kind == "code")
    assert RICH[code.offset : code.offset + code.size][0] == len(module.functions)
    assert [section.name for section in module.sections if section.kind == "custom"] == ["name"]


def test_an_imported_memory_comes_first() -> None:
    module = wasm.read(wasmtime.wat2wasm('(module (import "env" "memory" (memory 3 3 shared)))'), "m.wasm")
    assert module.memories == (wasm.Memory(3, 3, shared=True),)
    assert module.imports == (wasm.Import("env.memory", "memory", "memory"),)


def test_target_features_are_read() -> None:
    content = b"\x0ftarget_features" + b"\x02+\x07simd128+\x08sign-ext"
    data = RICH + b"\0" + bytes([len(content)]) + content
    assert wasm.read(data, "m.wasm").features == ("+simd128", "+sign-ext")


def test_a_malformed_custom_section_says_nothing() -> None:
    for content in (b"\x04name\x01\x7f", b"\x0ftarget_features\x7f"):
        module = wasm.read(b"\0asm\1\0\0\0\0" + bytes([len(content)]) + content, "m.wasm")
        assert module.features == ()
        assert len(module.sections) == 1


def body(*sections: bytes) -> bytes:
    return b"\0asm\1\0\0\0" + b"".join(sections)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a WebAssembly module"),
        (b"\x7fELF\2\1\1\0", "is not a WebAssembly module"),
        (b"\0asm\x0d\0\1\0", "is a WebAssembly component, not a module"),
        (b"\0asm\2\0\0\0", "is not of WebAssembly's version 1"),
        (body(b"\x63\0"), "there is no section 99"),
        (body(b"\1\x05\1"), "the type section of 5 bytes runs past the end"),
        (body(b"\1\4\1\x60\0\0\0"), "a section's size is missing"),
        (body(b"\1\5\1\x60\0\0\0"), "the type section is longer than its content"),
        (body(b"\1\1\0", b"\1\1\0"), "the type section is twice there or out of order"),
        (body(b"\3\1\0", b"\1\1\0"), "the type section is twice there or out of order"),
        (body(b"\1\2\1\x5f"), "a type of form 0x5f is not a function's"),
        (body(b"\1\5\1\x60\1\x01\0"), "there is no value type 0x01"),
        (body(b"\1\6\xff\xff\xff\xff\x0f\x60"), "4294967295 types are more than 1000000"),
        (body(b"\1\6\xff\xff\xff\xff\x1f\x60"), "the number of types is larger than 32 bits"),
        (body(b"\1\6\x80\x80\x80\x80\x80\x00"), "the number of types has too many digits"),
        (body(b"\3\2\1\0"), "there is no type 0"),
        (body(b"\1\4\1\x60\0\0", b"\3\2\1\0"), "1 functions are declared, 0 have a body"),
        (body(b"\2\7\1\1\xff\1b\0\0"), "a module name is not UTF-8"),
        (body(b"\2\6\1\1a\1b\x09"), "there is no kind 9"),
        (body(b"\5\5\1\0\x81\x80\x04"), "a memory of more than 65536 pages"),
        (body(b"\7\5\1\1a\0\0"), "there is no func 0 to export"),
        (body(b"\5\3\1\0\1", b"\7\x09\2\1a\2\0\1a\2\0"), "'a' is exported twice"),
        (body(b"\6\4\1\x7f\0\x20"), "opcode 0x20 is not constant"),
        (body(b"\6\4\1\x7f\2\x0b"), "there is no mutability 2"),
        (body(b"\x0b\7\1\0\x41\0\x0b\x05x"), "a data segment of 5 bytes runs past the end"),
        (body(b"\x0b\2\1\x09"), "a data segment of form 9 is unknown"),
    ],
)
def test_what_is_malformed_is_named(data: bytes, message: str) -> None:
    with pytest.raises(BuildError) as caught:
        wasm.read(data, "bad.wasm")
    (problem,) = caught.value.problems
    assert problem.where == "bad.wasm"
    assert message in problem.message


@pytest.mark.parametrize("size", range(len(RICH)))
def test_every_truncation_is_refused_or_ends_between_sections(size: int) -> None:
    try:
        module = wasm.read(RICH[:size], "cut.wasm")
    except BuildError:
        return
    assert module.sections == wasm.read(RICH, "rich.wasm").sections[: len(module.sections)]


@settings(max_examples=400, deadline=None)
@given(edits=st.lists(st.tuples(st.integers(0, len(RICH) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_module_is_read_or_refused(edits: list[tuple[int, int]]) -> None:
    data = bytearray(RICH)
    for place, value in edits:
        data[place] = value
    try:
        module = wasm.read(bytes(data), "damaged.wasm")
    except BuildError:
        return
    assert all(segment.offset + segment.size <= len(data) for segment in module.data)


@settings(max_examples=400, deadline=None)
@given(data=st.binary(max_size=64), number=st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 13]))
def test_random_sections_are_read_or_refused(data: bytes, number: int) -> None:
    with contextlib.suppress(BuildError):
        wasm.read(body(b"\1\4\1\x60\0\0", bytes([number, len(data)]) + data), "random.wasm")


@settings(max_examples=150, deadline=None)
@given(
    parameters=st.lists(st.sampled_from(["i32", "i64", "f32", "f64"]), max_size=4),
    names=st.lists(st.text(st.characters(exclude_categories=["C"], exclude_characters='"\\')), unique=True),
    minimum=st.integers(0, 65536),
)
def test_wasmtime_reads_the_same(parameters: list[str], names: list[str], minimum: int) -> None:
    exports = "".join(f'(export "{name}" (func 0))' for name in names)
    data = wasmtime.wat2wasm(f"(module (memory {minimum}) (func (param {' '.join(parameters)})) {exports})")
    module = wasm.read(data, "m.wasm")
    theirs = wasmtime.Module(ENGINE, data).exports
    assert [export.name for export in module.exports] == [export.name for export in theirs]
    assert all(export.type == f"({', '.join(parameters)}) -> ()" for export in module.exports)
    assert module.memories == (wasm.Memory(minimum, None),)


ENGINE = wasmtime.Engine()

READER = """
  .text
  .globl {name}_address
  .type {name}_address,@function
{name}_address:
  .functype {name}_address () -> (i32)
  i32.const {name}
  end_function
  .size {name}, 1
"""


def linked(folder: Path, data: bytes, *names: str) -> tuple[wasmtime.Store, wasmtime.InstanceExports]:
    """Links an object with functions that give its symbols' addresses."""
    (folder / "data.o").write_bytes(data)
    (folder / "reader.s").write_text("".join(READER.format(name=name) for name in names))
    assembler = shutil.which("llvm-mc-14") or shutil.which("llvm-mc") or "/usr/lib/llvm-14/bin/llvm-mc"
    objects = [str(folder / "reader.o"), str(folder / "data.o")]
    command = [assembler, "--triple=wasm32", "--filetype=obj", str(folder / "reader.s"), "-o", objects[0]]
    subprocess.run(command, check=True)
    exports = [f"--export={name}_address" for name in names]
    output = folder / "linked.wasm"
    subprocess.run([LINKER, "--no-entry", "--fatal-warnings", *exports, *objects, "-o", str(output)], check=True)
    store = wasmtime.Store(ENGINE)
    return store, wasmtime.Instance(store, wasmtime.Module.from_file(ENGINE, str(output)), []).exports(store)


needs_llvm = pytest.mark.skipif(
    not (Path(LINKER).exists() and (shutil.which("llvm-mc-14") or Path("/usr/lib/llvm-14/bin/llvm-mc").exists())),
    reason="wasm-ld or llvm-mc is not installed",
)


@needs_llvm
def test_the_linker_places_the_data_under_its_names(tmp_path: Path) -> None:
    expected = {"params": bytes(range(256)) * 1000, "descriptor": b"OWM1", "nothing": b"", "graph": b"{}x"}
    alignments = {"params": 64, "descriptor": 4, "nothing": 1, "graph": 1}
    symbols = [wasm.DataSymbol(name, memoryview(data), alignments[name]) for name, data in expected.items()]
    store, exports = linked(tmp_path, object_of(*symbols), *expected)
    memory = exports["memory"]
    assert isinstance(memory, wasmtime.Memory)
    for name, data in expected.items():
        address = exports[f"{name}_address"](store)  # type: ignore[operator]
        assert address % alignments[name] == 0, name
        assert bytes(memory.read(store, address, address + len(data))) == data, name


@needs_llvm
@settings(max_examples=15, deadline=None)
@given(parts=st.lists(st.tuples(st.binary(max_size=300), st.integers(0, 12)), min_size=1, max_size=5))
def test_any_data_survives_the_linker(parts: list[tuple[bytes, int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    symbols = [wasm.DataSymbol(f"s{place}", data, 1 << power) for place, (data, power) in enumerate(parts)]
    names = [symbol.name for symbol in symbols]
    store, exports = linked(tmp_path_factory.mktemp("link"), object_of(*symbols), *names)
    memory = exports["memory"]
    assert isinstance(memory, wasmtime.Memory)
    for symbol in symbols:
        address = exports[f"{symbol.name}_address"](store)  # type: ignore[operator]
        assert address % symbol.alignment == 0
        assert bytes(memory.read(store, address, address + len(symbol.data))) == symbol.data


def test_an_object_can_be_read_back() -> None:
    data = object_of(wasm.DataSymbol("first", b"abc"), wasm.DataSymbol("second", b"defg", 16))
    module = wasm.read(data, "data.o")
    assert [import_.name for import_ in module.imports] == ["env.__linear_memory"]
    assert [segment.address for segment in module.data] == [0, 16]
    assert [data[segment.offset :][: segment.size] for segment in module.data] == [b"abc", b"defg"]


def test_the_same_data_gives_the_same_object() -> None:
    first, second = wasm.DataSymbol("first", b"abc", 8), wasm.DataSymbol("second", bytes(100_000), 64)
    assert object_of(first, second) == object_of(first, second) != object_of(second, first)


def test_an_alignment_is_a_power_of_two() -> None:
    with pytest.raises(ValueError, match="3 is not a power of two"):
        object_of(wasm.DataSymbol("odd", b"", 3))


def test_data_beyond_a_module_is_refused() -> None:
    class Huge(io.RawIOBase):
        def write(self, _data: object) -> int:
            raise AssertionError("nothing may be written")

    half = memoryview(bytearray(1 << 20)).cast("B")
    symbols = [wasm.DataSymbol(f"s{place}", half) for place in range(2049)]
    with pytest.raises(BuildError, match="do not fit into a 32-bit module"):
        wasm.write_data_object(symbols, Huge())  # type: ignore[arg-type]


def test_the_reader_needs_only_the_standard_library() -> None:
    code = "import sys, onnx_wasm.wasm; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=SITE).stdout
    assert not {"numpy", "wasmtime", "tvm", "onnx", "SCons"} & set(loaded.split())


SITE = Path(wasm.__file__).parent.parent
