"""The stand-in for Teaclave's executor: what it accepts, what it hands a module, and what it gives back."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import wasmtime

from onnx_wasm import manifest, status
from onnx_wasm.errors import BuildError
from onnx_wasm.hosts import checks, teaclave
from onnx_wasm.hosts.teaclave import TeaclaveHost
from onnx_wasm.platforms import TEACLAVE

SITE = Path(status.__file__).parent.parent

IMPORTS = """
  (import "env" "teaclave_open_input" (func $open (param i32) (result i32)))
  (import "env" "teaclave_create_output" (func $create (param i32) (result i32)))
  (import "env" "teaclave_read_file" (func $read (param i32 i32 i32) (result i32)))
  (import "env" "teaclave_write_file" (func $write (param i32 i32 i32) (result i32)))
  (import "env" "teaclave_close_file" (func $close (param i32) (result i32)))
  (memory (export "memory") 2)
"""
# The value of the argument at a place: argv[2 * place + 1].
VALUE = "(func $value (param $argv i32) (param $place i32) (result i32)"
VALUE += " (i32.load offset=4 (i32.add (local.get $argv) (i32.shl (local.get $place) (i32.const 3)))))"

# Adds the bytes of the first argument's file, and a thousand for every read.
SUM = """
  (local $file i32) (local $got i32) (local $sum i32)
  (local.set $file (call $open (call $value (local.get 1) (i32.const 0))))
  (if (i32.lt_s (local.get $file) (i32.const 0)) (then (return (i32.const -1))))
  (loop $more
    (local.set $got (call $read (local.get $file) (i32.const 1024) (i32.const 4096)))
    (if (i32.lt_s (local.get $got) (i32.const 0)) (then (return (i32.const -2))))
    (if (local.get $got) (then
      (local.set $sum (i32.add (local.get $sum) (i32.const 1000)))
      (loop $byte
        (local.set $got (i32.sub (local.get $got) (i32.const 1)))
        (local.set $sum (i32.add (local.get $sum) (i32.load8_u offset=1024 (local.get $got))))
        (br_if $byte (local.get $got)))
      (br $more))))
  (if (call $close (local.get $file)) (then (return (i32.const -3))))
  (local.get $sum)
"""

# Copies 8 bytes from the first argument's file to the second's. If there is a third argument, it then traps if that
# begins with "t", and returns an error if not.
COPY = """
  (local $in i32) (local $out i32)
  (local.set $in (call $open (call $value (local.get 1) (i32.const 0))))
  (local.set $out (call $create (call $value (local.get 1) (i32.const 1))))
  (if (i32.lt_s (local.get $out) (i32.const 0)) (then (return (i32.const -5))))
  (drop (call $read (local.get $in) (i32.const 64) (i32.const 8)))
  (if (i32.ne (call $write (local.get $out) (i32.const 64) (i32.const 8)) (i32.const 8)) (then (return (i32.const -6))))
  (if (i32.eq (local.get 0) (i32.const 6)) (then
    (if (i32.eq (i32.load8_u (call $value (local.get 1) (i32.const 2))) (i32.const 116)) (then unreachable))
    (return (i32.const -7))))
  (i32.const 0)
"""


def module(body: str, rest: str = "") -> bytes:
    entrypoint = f'(func (export "entrypoint") (param i32 i32) (result i32) {body})'
    return bytes(wasmtime.wat2wasm(f"(module {IMPORTS} {VALUE} {entrypoint} {rest})"))


def host(body: str, rest: str = "") -> TeaclaveHost:
    return TeaclaveHost(module(body, rest), "test.wasm")


def messages(data: bytes) -> list[str]:
    with pytest.raises(BuildError) as caught:
        checks.check(data, TEACLAVE, "test.wasm")
    assert all(problem.where == "test.wasm" for problem in caught.value.problems)
    return [problem.message for problem in caught.value.problems]


# --- what it accepts


def test_a_module_with_only_teaclaves_imports_is_accepted() -> None:
    module_ = checks.check(module(SUM), TEACLAVE, "test.wasm")
    assert {import_.name for import_ in module_.imports} == set(TEACLAVE.imports)


def test_every_wrong_import_and_export_is_named_at_once() -> None:
    text = """(module
      (import "env" "expf" (func (param f32) (result f32)))
      (import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))
      (import "env" "teaclave_read_file" (func (param i32 i32) (result i32)))
      (import "env" "table" (table 1 funcref))
      (func (export "entrypoint") (result i32) i32.const 0))"""
    assert messages(bytes(wasmtime.wat2wasm(text))) == [
        "imports env.expf, a function (f32) -> f32, which teaclave does not offer",
        "imports wasi_snapshot_preview1.random_get, a function (i32, i32) -> i32, which teaclave does not offer",
        "imports env.teaclave_read_file as (i32, i32) -> i32; teaclave offers it as (i32, i32, i32) -> i32",
        "imports env.table, a table, which teaclave does not offer",
        "does not export memory (memory), which teaclave needs",
        "exports entrypoint as () -> i32; teaclave needs it as (i32, i32) -> i32",
    ]


@pytest.mark.parametrize(
    ("rest", "lacks"),
    [
        ("(func $dot (result v128) v128.const i64x2 0 0)", "SIMD"),
        ("(func $fill (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)))", "bulk memory"),
        ("(func $two (result i32 i32) (i32.const 0) (i32.const 0))", "multi-value"),
        ("(func $again return_call $again)", "tail calls"),
        ("(table 1 externref)", "reference types"),
        ("(table 1 funcref) (table 1 funcref)", "multiple tables"),
        ("(func $wait (drop (i32.atomic.load (i32.const 0))))", "threads"),
        ("(tag)", "exceptions"),
        ('(data "passive")', "bulk-memory"),
        ("(memory $second 1)", "multiple memories"),
    ],
)
def test_what_its_interpreter_does_not_know_is_refused(rest: str, lacks: str) -> None:
    (message,) = messages(module("(i32.const 0)", rest))
    assert message.startswith("uses what teaclave does not have: ")
    assert lacks in message


def test_the_function_that_uses_it_is_named() -> None:
    (message,) = messages(module("(i32.const 0)", "(func $dot (drop (v128.const i64x2 0 0)))"))
    assert message.endswith("in function dot")


def test_sign_extension_and_saturating_conversion_are_known() -> None:
    body = "(i32.extend8_s (i32.trunc_sat_f32_s (f32.const 300)))"
    assert host(body).run({}).value == 44


def test_a_platform_with_simd_accepts_simd() -> None:
    data = module("(i32.const 0)", "(func $dot (drop (v128.const i64x2 0 0)))")
    checks.check(data, dataclasses.replace(TEACLAVE, features=("simd128",)), "test.wasm")


def test_an_invalid_module_is_called_that() -> None:
    data = module("i32.const 21930")
    constant = b"\x41\xaa\xab\x01\x0b"
    assert data.count(constant) == 1
    # Nothing is left on the stack, though a result is declared.
    (message,) = messages(data.replace(constant, b"\x01\x01\x01\x01\x0b"))
    assert message.startswith("is not a valid WebAssembly module: type mismatch")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"absent\.wasm: cannot be read: No such file"):
        TeaclaveHost.load(tmp_path / "absent.wasm")


# --- what a module is handed


def test_argc_counts_keys_and_values() -> None:
    assert host("(local.get 0)").run({"a": "x", "b": "y", "c": "z"}).value == 6
    assert host("(local.get 0)").run({}).value == 0


def test_argv_holds_c_strings_in_turn_and_keys_in_order() -> None:
    # The third byte of what argv[1] points to; then the first of argv[2].
    third = host("(i32.load8_u offset=2 (i32.load offset=4 (local.get 1)))")
    assert third.run({"k": "abc"}).value == ord("c")
    assert third.run({"k": "ab"}).value == 0
    key = host("(i32.load8_u (i32.load offset=8 (local.get 1)))")
    assert key.run({"y": "1", "x": "2"}).value == ord("y")
    assert host("(i32.load8_u (i32.load offset=4 (local.get 1)))").run({"k": "é"}).value == 0xC3


def test_arguments_lie_behind_the_modules_own_memory() -> None:
    assert host("(i32.load (local.get 1))").run({"key": "value"}).value == 2 * 65536
    assert host("(memory.size)").run({}).value == 2 + 320


def test_a_module_can_grow_its_memory_behind_the_app_heap() -> None:
    assert host("(memory.grow (i32.const 1))").run({}).value == 322


def test_a_memory_that_cannot_hold_the_app_heap_is_refused() -> None:
    data = module("(i32.const 0)").replace(b"\x05\x03\x01\x00\x02", b"\x05\x04\x01\x01\x02\x03")
    with pytest.raises(BuildError, match="at most 3 pages is too small: it needs 2 pages at first, 320 more"):
        TeaclaveHost(data, "test.wasm").run({})


def test_arguments_larger_than_the_app_heap_or_with_a_nul_are_refused() -> None:
    with pytest.raises(BuildError, match="longer than the app heap"):
        host("(i32.const 0)").run({"k": "x" * teaclave.APP_HEAP_SIZE})
    with pytest.raises(BuildError, match="contains a NUL"):
        host("(i32.const 0)").run({"k": "a\0b"})


def test_a_file_is_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(bytes(range(250)) * 40)
    expected = sum(range(250)) * 40
    adder = host(SUM)
    arguments = {"file": str(tmp_path / "in")}
    assert adder.run(arguments).value == expected + 3000
    assert adder.run(arguments, longest_read=1000).value == expected + 10_000
    assert adder.run(arguments, longest_read=4096).value == adder.run(arguments).value


def test_a_file_that_is_not_there_gives_minus_one_and_is_told(tmp_path: Path) -> None:
    result = host(SUM).run({"file": str(tmp_path / "absent")})
    assert result.value == -1
    assert [str(problem) for problem in result.file_errors] == [
        f"{tmp_path / 'absent'}: cannot be read: No such file or directory"
    ]
    assert host(SUM).run({"file": str(tmp_path)}).value == -1


def test_only_files_that_the_arguments_name_can_be_had(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    opens = host("(call $open (i32.const 16))", f'(data (i32.const 16) "{secret}\\00")')
    creates = host("(call $create (i32.const 16))", f'(data (i32.const 16) "{secret}\\00")')
    for allowed in ({}, {"a": str(tmp_path)}, {str(secret): "other"}):
        assert opens.run(allowed).value == -1
        assert creates.run(allowed).value == -1
    assert opens.run({"a": str(secret)}).value == 1
    assert secret.read_text() == "secret"


IN = "(call $open (call $value (local.get 1) (i32.const 0)))"
OUT = "(call $create (call $value (local.get 1) (i32.const 1)))"


def test_handles_count_up_and_outputs_have_a_bit(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x")
    arguments = {"a": str(tmp_path / "in"), "b": str(tmp_path / "out")}
    assert host(f"(drop {IN}) {IN}").run(arguments).value == 2
    assert host(f"(drop {IN}) {OUT}").run(arguments).value == 0x4000_0002


@pytest.mark.parametrize(
    "calls",
    [
        "(call $read (i32.const 7) (i32.const 0) (i32.const 1))",
        "(call $write (i32.const 7) (i32.const 0) (i32.const 1))",
        "(call $close (i32.const 7))",
        "(call $close (i32.const 0x40000001))",
        f"(call $read {OUT} (i32.const 0) (i32.const 1))",
        f"(call $write {IN} (i32.const 0) (i32.const 1))",
        f"(drop (call $close {IN})) (call $close (i32.const 1))",
        f"(drop {IN}) (call $create (call $value (local.get 1) (i32.const 0)))",
        # The 1024th handle.
        f"""(local $n i32) (local $handle i32)
        (loop $more
          (local.set $handle {IN})
          (drop (call $close (local.get $handle)))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $more (i32.lt_s (local.get $n) (i32.const 1024))))
        (local.get $handle)""",
    ],
)
def test_misuse_of_the_imports_gives_minus_one(calls: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x")
    assert host(calls).run({"a": str(tmp_path / "in"), "b": str(tmp_path / "out")}).value == -1
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    "call",
    [
        "(call $read (i32.const 1) (i32.const -4) (i32.const 8))",
        "(call $write (i32.const 1) (i32.const 0) (i32.const -1))",
        "(call $open (i32.const 0x7fffffff))",
        # A string without an end before the memory's.
        "(call $open (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1)))",
    ],
)
def test_a_pointer_outside_memory_is_a_trap(call: str) -> None:
    ones = "(i32.store8 (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1)) (i32.const 65))"
    result = host(ones + call).run({})
    assert result == teaclave.Result(None, "Exception: out of bounds memory access")


# --- what it gives back


def test_an_output_is_put_in_place_when_the_run_ends_well(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"12345678")
    arguments = {"a": str(tmp_path / "in"), "b": str(tmp_path / "out")}
    copy = host(COPY)
    assert copy.run(arguments).value == 0
    assert (tmp_path / "out").read_bytes() == b"12345678"
    (tmp_path / "in").write_bytes(b"abcdefgh")
    assert copy.run(arguments).value == 0
    assert (tmp_path / "out").read_bytes() == b"abcdefgh"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


@pytest.mark.parametrize(("ending", "value"), [("failure", -7), ("trap", None)])
def test_an_output_is_not_put_in_place_when_the_run_fails(ending: str, value: int | None, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"12345678")
    (tmp_path / "out").write_bytes(b"old")
    arguments = {"a": str(tmp_path / "in"), "b": str(tmp_path / "out"), "c": ending}
    assert host(COPY).run(arguments).value == value
    assert (tmp_path / "out").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_an_output_that_cannot_be_written_gives_minus_one(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"12345678")
    for bad in (tmp_path / "absent" / "out", tmp_path, Path("/dev/full")):
        result = host(COPY).run({"a": str(tmp_path / "in"), "b": str(bad)})
        assert result.value == -5
        assert str(bad) in str(result.file_errors[0])
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("unreachable", "unreachable"),
        ("(i32.div_s (local.get 0) (i32.const 0))", "integer divide by zero"),
        ("(i32.div_s (i32.const -2147483648) (i32.const -1))", "integer overflow"),
        ("(i32.trunc_f32_s (f32.const nan))", "invalid conversion to integer"),
        ("(i32.load (i32.const -4))", "out of bounds memory access"),
        ("(call_indirect (result i32) (i32.const 9))", "undefined element"),
        ("(call_indirect (result i32) (i32.const 0))", "uninitialized element"),
        ("(call_indirect (result i32) (i32.const 1))", "indirect call type mismatch"),
        ("(call $down (i32.const 1))", "wasm operand stack overflow"),
    ],
)
def test_a_trap_is_told_in_the_interpreters_words(body: str, words: str) -> None:
    rest = """(table 2 funcref) (elem (i32.const 1) $close)
      (func $down (param i32) (result i32) (i32.add (local.get 0) (call $down (local.get 0))))"""
    result = host(body, rest).run({})
    assert result.value is None
    assert str(result) == result.trap == f"Exception: {words}"


def test_the_stack_is_160_kilobytes() -> None:
    down = """(func $down (param i32) (result i32)
        (if (result i32) (local.get 0)
          (then (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1))))) (else (i32.const 0))))"""
    assert host("(call $down (i32.const 1000))", down).run({}).value == 1000
    assert host("(call $down (i32.const 20000))", down).run({}).value is None


def test_a_run_can_be_ended_after_a_time() -> None:
    endless = host("(loop $for (br $for)) (i32.const 0)")
    start = time.monotonic()
    assert str(endless.run({}, timeout=0.2)) == "timed out after 0.2 s"
    assert time.monotonic() - start < 5
    assert host("(i32.const 3)").run({}, timeout=60).value == 3


def test_a_host_that_timed_out_runs_again() -> None:
    loops = host("(loop $for (br_if $for (local.get 0))) (i32.const 5)")
    assert loops.run({"a": "x"}, timeout=0.1).value is None
    assert loops.run({}, timeout=60).value == 5


def test_instructions_are_counted_from_the_start_where_that_is_asked_for() -> None:
    less = "(local.tee 1 (i32.sub (local.get 1) (i32.const 1)))"
    body = f"(local.set 1 (i32.const 100)) (loop $again (br_if $again {less})) (i32.const 0)"
    used = []
    for _ in range(2):
        taken = TeaclaveHost(module(body), "test.wasm", count_fuel=True).run({}).taken
        assert taken is not None
        used.append(taken.fuel)
    assert used[0] == used[1]
    assert 100 < (used[0] or 0) < 1000
    taken = host(body).run({}).taken
    assert taken is not None
    assert taken.fuel is None


def test_memory_can_be_limited() -> None:
    grow = host("(memory.grow (i32.const 100))")
    megabyte = 1024 * 1024
    assert grow.run({}).value == 322
    assert grow.run({}, memory_limit=21 * megabyte).value == -1
    with pytest.raises(BuildError, match="cannot be instantiated"):
        grow.run({}, memory_limit=100)


def test_each_run_has_a_memory_of_its_own() -> None:
    counts = host("(i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1))) (i32.load (i32.const 8))")
    assert [counts.run({}).value for _ in range(3)] == [1, 1, 1]


def test_a_module_whose_data_lies_outside_its_memory_is_refused() -> None:
    with pytest.raises(BuildError, match=r"test\.wasm: cannot be instantiated: .*out of bounds"):
        host("(i32.const 0)", '(data (i32.const 131070) "long")').run({})


# --- the command line


def command(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "onnx_wasm", *map(str, words)]
    environment = {"PYTHONPATH": str(SITE), "PATH": "/usr/bin:/bin"}
    return subprocess.run(arguments, check=False, capture_output=True, text=True, cwd=cwd, env=environment, timeout=60)


def outcome(*words: str | Path, cwd: Path | None = None) -> tuple[int, str, str]:
    ended = command(*words, cwd=cwd)
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sum.wasm").write_bytes(module(SUM))
    (tmp_path / "two").write_bytes(b"\2")
    return tmp_path


def test_run_prints_the_value_alone(folder: Path) -> None:
    assert outcome("run", "sum.wasm", "file=two", cwd=folder) == (0, "1002\n", "")


def test_run_of_an_error_code_exits_1(folder: Path) -> None:
    (folder / "fails.wasm").write_bytes(module("(i32.const -2147483648)"))
    code, out, err = outcome("run", "fails.wasm", cwd=folder)
    assert (code, out) == (1, "-2147483648\n")
    assert err == "fails.wasm: returned -2147483648, which says nothing of ours\n"


def test_run_tells_what_an_error_code_means(folder: Path) -> None:
    known = next(iter(status.statuses().values()))
    (folder / "fails.wasm").write_bytes(module(f"(i32.const {known.code})"))
    explained = f"fails.wasm: {known.text} ({known.name})\n"
    assert outcome("run", "fails.wasm", cwd=folder) == (1, f"{known.code}\n", explained)


def test_run_of_a_trap_exits_1(folder: Path) -> None:
    (folder / "traps.wasm").write_bytes(module("unreachable"))
    assert outcome("run", "traps.wasm", cwd=folder) == (1, "", "traps.wasm: Exception: unreachable\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "sum.wasm", "file=absent"], "absent: cannot be read: No such file or directory"),
        (["run", "sum.wasm", "file"], "'file' is not of the form KEY=FILE"),
        (["run", "sum.wasm", "=two"], "'=two' is not of the form KEY=FILE"),
        (["run", "sum.wasm", "file=two", "file=two"], "sum.wasm: file is given twice"),
        (["run", "two"], "two: is not a WebAssembly module"),
        (["run", "absent.wasm"], "absent.wasm: cannot be read: No such file or directory"),
        (["run", "."], ".: cannot be read: Is a directory"),
        (["run", "foreign.wasm"], "foreign.wasm: imports env.expf, a function (f32) -> f32, which teaclave"),
        (["run"], "the following arguments are required: MODULE"),
        ([], "the following arguments are required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
    ],
)
def test_misuse_exits_2(words: list[str], message: str, folder: Path) -> None:
    foreign = '(module (import "env" "expf" (func (param f32) (result f32))))'
    (folder / "foreign.wasm").write_bytes(wasmtime.wat2wasm(foreign))
    code, out, err = outcome(*words, cwd=folder)
    assert code == 2
    assert message in err
    assert not out or words == ["run", "sum.wasm", "file=absent"]


# --- a manifest's tests


MODEL = 'schema-version = 1\n[model]\nname = "m"\npath = "m.onnx"\n'


def run_tests(folder: Path, tests: str) -> subprocess.CompletedProcess[str]:
    """Runs the tests of a manifest whose fifth line is the first one given here."""
    (folder / "m.toml").write_text(MODEL + tests)
    entries = [{**dataclasses.asdict(it), "index": at} for at, it in manifest.load(folder / "m.toml").own_tests]
    arguments = [sys.executable, "-m", "onnx_wasm.actions.run_tests", "--module", "m.wasm", "--directory", str(folder)]
    arguments += ["--manifest", "m.toml", "--stamp", "build/m.test", "--tests", json.dumps(entries)]
    environment = {"PYTHONPATH": str(SITE), "PATH": "/usr/bin:/bin"}
    return subprocess.run(arguments, check=False, capture_output=True, text=True, cwd=folder, env=environment)


def test_tests_that_pass_leave_a_report(folder: Path) -> None:
    (folder / "sum.wasm").rename(folder / "m.wasm")
    tests = """
[[output]]
name = "z"
return = "argmax"
[[test]]
name = "two"
inputs = { file = "two" }
return = 1002
[[test]]
inputs = { file = "two" }
return = 1002
"""
    ended = run_tests(folder, tests)
    assert (ended.returncode, ended.stderr) == (0, "")
    first, second = ended.stdout.splitlines()
    assert first.startswith("m.toml: two: 1002  ok (")
    assert second.startswith("m.toml: file=two: 1002  ok (")
    report = (folder / "build" / "m.test").read_bytes()
    assert json.loads(report) == {"tests": [{"name": "two", "result": "1002"}, {"name": "file=two", "result": "1002"}]}
    assert run_tests(folder, tests).returncode == 0
    assert (folder / "build" / "m.test").read_bytes() == report


def test_every_test_that_fails_is_named_and_leaves_no_report(folder: Path) -> None:
    (folder / "sum.wasm").rename(folder / "m.wasm")
    tests = """[[test]]
name = "a"
inputs = { file = "two" }
return = 7
[[test]]
name = "b"
inputs = { file = "two" }
return = 1002
[[test]]
name = "c"
inputs = { file = "absent" }
return = 7
[[output]]
name = "z"
argument = "z"
return = "argmax"
[[test]]
name = "d"
inputs = { file = "two" }
return = 1002
outputs = { z = "two" }
"""
    ended = run_tests(folder, tests)
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "m.toml:5: test a: returned 1002, not 7",
        f"m.toml:13: test c: {folder / 'absent'} cannot be read: No such file or directory",
        "m.toml:13: test c: returned -1 (OddArguments: the arguments are not pairs of a key and a value), not 7",
        "m.toml:21: test d: z was not written",
    ]
    assert not (folder / "build" / "m.test").exists()


@pytest.mark.slow
def test_written_tensors_are_compared_within_the_tolerance(folder: Path) -> None:
    import numpy as np

    # Writes what is at 4096 (a file of 144 bytes) to the argument "out".
    tensor = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    np.save(folder / "written.npy", tensor)
    content = (folder / "written.npy").read_bytes()
    data = "".join(f"\\{byte:02x}" for byte in content)
    body = f"""(drop (call $write (call $create (call $value (local.get 1) (i32.const 0)))
      (i32.const 4096) (i32.const {len(content)}))) (i32.const 0)"""
    (folder / "m.wasm").write_bytes(module(body, f'(data (i32.const 4096) "{data}")'))

    def failure(expected: np.ndarray) -> str:
        np.save(folder / "expected.npy", expected)
        tests = '[[output]]\nname = "out"\nargument = "out"\n[[test]]\ninputs = {}\noutputs = { out = "expected.npy" }'
        ended = run_tests(folder, tests)
        assert ended.returncode == (2 if ended.stderr else 0)
        return ended.stderr

    assert failure(tensor) == ""
    assert failure(tensor + np.float32(5e-5)) == ""
    assert "in 1 of 4 elements, first at [1, 0]: 3.0, not 3.5" in failure(tensor + np.float32([[0, 0], [0.5, 0]]))
    assert "out is float32[2, 2], but" in failure(tensor.astype(np.float64))
    assert "out is float32[2, 2], but" in failure(tensor.reshape(4))
    assert "in 1 of 4 elements" in failure(np.array([[np.nan, 2], [3, 4]], np.float32))


# --- the table of error codes


def test_statuses_are_read_from_the_wrappers_source() -> None:
    source = """
statuses! {
    /// Comment.
    Fine = -1, "all is \\"well\\"";
    Other = -12, "a; b";
    NotThis = 3, "no";
}
"""
    assert status.parse(source, "status.rs") == {
        -1: status.Status(-1, "Fine", 'all is "well"'),
        -12: status.Status(-12, "Other", "a; b"),
    }


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("fn main() {}", "status.rs: has no line of the form"),
        ('    A = -1, "a";\n    B = -1, "b";\n', "status.rs: B and A are both -1"),
    ],
)
def test_a_table_without_sense_is_refused(source: str, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        status.parse(source, "status.rs")
