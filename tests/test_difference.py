"""What differs between two builds is told by step, bytes and section, whatever step it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime

from onnx_wasm.release.difference import compare, differences

MODULE = bytes(
    wasmtime.wat2wasm("""
    (module
      (memory (export "memory") 1)
      (func (export "sum") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
      (func (export "seven") (result i32) (i32.const 7))
      (data (i32.const 8) "abcdef"))
    """)
)


def changed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def archive(*members: bytes) -> bytes:
    """A GNU archive, as llvm-ar writes it."""
    parts = [b"!<arch>\n"]
    for number, data in enumerate(members):
        name = f"m{number}.o/".ljust(16).encode()
        parts += [name, b"0           0     0     644     ", str(len(data)).ljust(10).encode(), b"`\n", data]
        parts += [b"\n"] if len(data) % 2 else []
    return b"".join(parts)


@pytest.mark.parametrize(
    ("mark", "place"),
    [
        (b"abcdef", "the section data"),
        (b"\x41\x07\x0b", "the section code, function 1"),
        (b"memory", "the section export"),
    ],
)
def test_a_byte_of_a_module_is_told_with_its_section(mark: bytes, place: str) -> None:
    at = MODULE.index(mark)
    found = compare("build/web/m/m.wasm", MODULE, changed(MODULE, at))
    assert found is not None
    assert (found.step, found.offset, found.count, found.place) == ("WasmModule", at, 1, place)
    assert found.bytes[0].startswith(f"{MODULE[at]:02x} ")
    assert "1 byte differs" in str(found)


def test_a_byte_of_a_library_is_told_with_its_member() -> None:
    first = archive(b"odd", MODULE, b"x")
    at = first.index(b"abcdef")
    found = compare("build/web/m/libm.a", first, changed(first, at))
    assert found is not None
    assert (found.step, found.offset) == ("ModelLibrary", at)
    assert found.place == "member m1.o/, the section data"
    header = first.index(b"m2.o/")
    found = compare("build/web/wrapper/libwrapper.a", first, changed(first, header + 20))
    assert found is not None
    assert (found.step, found.place) == ("RustWrapper", "the header of member m2.o/")


def test_what_one_has_more_than_the_other_counts() -> None:
    found = compare("build/web/m/m.ir.json", b"abc", b"abcde")
    assert found is not None
    assert (found.step, found.offset, found.count, found.bytes) == ("TvmIr", 3, 2, ("the end", "64 65"))
    assert compare("m.o", b"abc", b"abc") is None


def test_the_first_step_comes_first(tmp_path: Path) -> None:
    """Whatever the files are called: what the chain makes first is where to look."""
    names = {
        "build/release/web/m/a.wasm": "WasmOptimize",
        "build/release/web/m/linked/a.wasm": "WasmModule",
        "build/web/m/a.web/a.wasm": "WebPackage",
        "build/web/m/a.wasm": "WasmModule",
        "build/web/m/z.o": "WasmObject",
        "build/web/m/z.ir.json": "TvmIr",
        "build/web/m/liba.a": "ModelLibrary",
        "build/web/wrapper/libwrapper.a": "RustWrapper",
        "dist/m-1.0.0/sbom.cdx.json": "WasmRelease",
    }
    one, other = ({name: tmp_path / kind / name for name in names} for kind in ("one", "other"))
    for files in (one, other):
        for path in files.values():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(path))
    del other["build/web/m/z.o"]
    found = differences(one, other)
    assert {it.file: it.step for it in found} == names
    assert [it.step for it in found][:3] == ["TvmIr", "WasmObject", "ModelLibrary"]
    assert found[-1].step == "WasmRelease"
    assert str(found[1]) == "WasmObject: build/web/m/z.o is only in one of the two"
