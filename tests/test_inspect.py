"""``python -m onnx_wasm inspect``: what it tells of modules, also of damaged ones."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st
from support import ROOT, environment

from onnx_wasm import symbols, wasm
from onnx_wasm.errors import BuildError
from onnx_wasm.hosts.inspection import inspect, to_json, to_text
from onnx_wasm.symbols import Symbols

ODD = wasmtime.wat2wasm("""
(module
  (import "env" "a\\1b[2J" (func $asked (param i32) (result f64)))
  (memory (export "memory") 2 7)
  (func $adds (export "sum") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func $simd (result v128) (i8x16.splat (i32.const 7)))
  (func $fills (memory.fill (i32.const 0) (i32.const 1) (i32.const 2))))
""")


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "onnx_wasm", "inspect", *map(str, words)]
    path = {"PYTHONPATH": str(ROOT / "site_scons")}
    return subprocess.run(line, env=environment(path), capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("platform", ["teaclave", "wasi", "web"])
def test_a_built_module_s_kernels_have_their_sizes(built: Path, platform: str) -> None:
    module = built / f"build/{platform}/mnist/mnist.wasm"
    done = command("--json", module)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    data = module.read_bytes()
    assert told["sha256"] == hashlib.sha256(data).hexdigest()
    assert [name for name, problems in told["platforms"].items() if not problems] == [platform]
    assert ("simd128" in told["features"]) is (platform != "teaclave")
    functions = {it["index"]: it for it in told["functions"]}
    assert {index: it["size"] for index, it in functions.items()} == {
        it.index: it.size for it in wasm.read(data, "").functions
    }
    calls = json.loads(module.with_suffix(".graph.json").read_text())["nodes"]
    kernels = {it["attrs"]["func_name"] for it in calls if it["op"] == "tvm_op"} - {"__nop", "__copy"}
    assert kernels | {"onnx_wasm_run"} <= {it["name"] for it in functions.values() if it["of"] == "model"}
    assert all(it["name"] for it in functions.values())
    of_wrapper = {it["name"] for it in functions.values() if it["of"] == "wrapper"}
    assert any("descriptor::Words" in name for name in of_wrapper)
    assert not of_wrapper & kernels


def test_the_table_has_all_parts(built: Path) -> None:
    done = command(built / "build/web/mnist/mnist.wasm")
    assert done.returncode == 0, done.stderr
    for words in ("features", "runs there", "picture", "(i32, i32, i32, i32) -> i32", "pages", "code", "onnx_wasm_run"):
        assert words in done.stdout
    assert "the wrapper, " in done.stdout


def test_a_module_ships_without_names(built: Path) -> None:
    for module in built.glob("build/*/*/*.wasm"):
        assert [it.name for it in wasm.read(module.read_bytes(), "").sections if it.kind == "custom"] == []


def test_what_a_module_consists_of() -> None:
    told = json.loads(to_json(inspect(ODD, "odd.wasm")))
    assert set(told["features"]) == {"simd128", "bulk-memory"}
    assert told["imports"] == [{"name": "env.a\x1b[2J", "kind": "func", "type": "(i32) -> f64"}]
    assert [it["name"] for it in told["exports"]] == ["memory", "sum"]
    assert told["memories"] == [{"minimum": 2, "maximum": 7, "shared": False, "wide": False}]
    assert [it["name"] for it in told["functions"]] == ["adds", "simd", "fills"]
    assert {it["of"] for it in told["functions"]} == {None}
    assert any("does not offer" in it for it in told["platforms"]["web"])
    text = to_text(inspect(ODD, "odd.wasm"), "odd.wasm")
    assert "env.a\\x1b[2J" in text
    assert "\x1b" not in text


def test_a_memory_that_the_platform_could_not_give_is_told() -> None:
    entrypoint = '(func (export "entrypoint") (param i32 i32) (result i32) i32.const 0)'
    text = f'(module (memory (export "memory") 1 {{most}}) {entrypoint})'
    small = json.loads(to_json(inspect(wasmtime.wat2wasm(text.format(most=320)), "")))
    assert small["platforms"]["teaclave"] == [
        "its memory of at most 320 pages is too small: it needs 1 pages at first, 320 more for teaclave"
    ]
    assert json.loads(to_json(inspect(wasmtime.wat2wasm(text.format(most=321)), "")))["platforms"]["teaclave"] == []


def test_names_of_another_module_are_not_taken() -> None:
    stripped = wasm.without_custom_sections(ODD, "")
    assert len(stripped) < len(ODD)
    right, wrong = hashlib.sha256(stripped).hexdigest(), hashlib.sha256(ODD).hexdigest()
    for sha256, named in ((right, True), (wrong, False)):
        found = inspect(stripped, "", Symbols(sha256, {1: "kernel"}, {2: "rest"}))
        text = to_text(found, "odd.wasm")
        assert ("kernel" in text) is named
        assert ("number 1" in text) is not named


def test_what_cannot_be_inspected_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.wasm").write_text("not a module")
    (tmp_path / "odd.wasm").write_bytes(ODD)
    (tmp_path / "names.json").write_text("[]")
    for words, message in (
        ([tmp_path / "absent.wasm"], "absent.wasm: cannot be read"),
        ([tmp_path / "text.wasm"], "is not a WebAssembly module"),
        ([tmp_path / "odd.wasm", "--symbols", tmp_path / "names.json"], "does not hold the names"),
    ):
        done = command(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert "Traceback" not in done.stderr


@settings(max_examples=300)
@given(
    edits=st.lists(st.tuples(st.integers(0, len(ODD) - 1), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, len(ODD)),
)
def test_a_damaged_module_is_inspected_or_refused(edits: list[tuple[int, int]], cut: int) -> None:
    damaged = bytearray(ODD)
    for at, byte in edits:
        damaged[at] = byte
    for data in (bytes(damaged), bytes(damaged[:cut])):
        try:
            found = inspect(data, "odd.wasm")
        except BuildError:
            continue
        text = to_text(found, "odd.wasm")
        assert all(it.isprintable() or it == "\n" for it in text)
        json.loads(to_json(found))


SYMBOLS = Symbols("0" * 64, {1: "kernel"}, {0: "start", 7: "käse"})


def test_names_are_read_as_they_were_written() -> None:
    assert symbols.parse(symbols.to_json(SYMBOLS), "x") == SYMBOLS


@settings(max_examples=300)
@given(edits=st.lists(st.tuples(st.integers(0, 10**6), st.characters()), min_size=1, max_size=6))
def test_damaged_names_are_read_or_refused(edits: list[tuple[int, str]]) -> None:
    text = symbols.to_json(SYMBOLS)
    for at, character in edits:
        place = at % len(text)
        text = text[:place] + character + text[place + 1 :]
    try:
        found = symbols.parse(text, "x")
    except BuildError:
        return
    to_text(inspect(ODD, "odd.wasm", found), "odd.wasm")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        "null",
        '{"sha256": 1, "model": {}, "wrapper": {}}',
        '{"sha256": "", "model": {"x": ""}, "wrapper": {}}',
        '{"sha256": "", "model": [1], "wrapper": {}}',
    ],
    ids=range(6),
)
def test_what_holds_no_names_is_refused(text: str) -> None:
    with pytest.raises(BuildError, match="does not hold the names"):
        symbols.parse(text, "x")


@settings(max_examples=200)
@given(data=st.binary(max_size=200), size=st.integers(0, 10**10 - 1))
def test_any_archive_gives_names_or_none(data: bytes, size: int) -> None:
    for library in (
        data,
        b"!<arch>\n" + data,
        b"!<arch>\n" + b"/".ljust(48) + str(size)[:10].ljust(12).encode() + data,
    ):
        assert isinstance(symbols._index(library), list)
