"""The stand-in for Teaclave's WebAssembly executor, on wasmtime.

Teaclave runs a module in WAMR's classic interpreter. What is the same here: the five imports and every value they
return, the arguments and where they lie (in an app heap of 20 MiB behind the module's own memory), no WASI, no libc, no
feature beyond WebAssembly 1.0 with sign extension and saturating conversion, and the text of a trap.

What differs: WAMR refuses an import it does not have only when it is called, this host before anything runs. WAMR's
160 KiB of stack hold the operands and locals of its interpreter, four bytes a slot; wasmtime's 160 KiB hold the frames
of compiled code, where most locals are in registers: what overflows here is likely to overflow there, but the depths
are not the same. A module that exports ``malloc`` and ``free`` is asked by WAMR for the arguments' memory; here they
always lie in the app heap.

Read from Teaclave's ``executor/src/wamr.rs`` and ``executor/context/src/context.rs`` (branch legacy), and from WAMR at
the commit that it pins (d856af6, January 2022).
"""

from __future__ import annotations

import errno
import os
import struct
import time
from collections.abc import Callable, Mapping
from io import FileIO
from pathlib import Path

import wasmtime
from wasmtime import TrapCode

from onnx_wasm import wasm
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.hosts.compiled import FUEL, compiled
from onnx_wasm.hosts.result import Result, Taken
from onnx_wasm.platforms import TEACLAVE

STACK_SIZE = 160 * 1024
"""Bytes of stack, as the executor sets it."""

APP_HEAP_SIZE = TEACLAVE.app_heap
"""Bytes behind the module's memory that the executor puts the arguments into."""

_ERROR = -1
_OUTPUT_HANDLE = 0x4000_0000
_LAST_HANDLE = 1023

# How WAMR words what wasmtime reports.
_TRAPS = {
    TrapCode.STACK_OVERFLOW: "wasm operand stack overflow",
    TrapCode.MEMORY_OUT_OF_BOUNDS: "out of bounds memory access",
    TrapCode.TABLE_OUT_OF_BOUNDS: "undefined element",
    TrapCode.INDIRECT_CALL_TO_NULL: "uninitialized element",
    TrapCode.BAD_SIGNATURE: "indirect call type mismatch",
    TrapCode.INTEGER_OVERFLOW: "integer overflow",
    TrapCode.INTEGER_DIVISION_BY_ZERO: "integer divide by zero",
    TrapCode.BAD_CONVERSION_TO_INTEGER: "invalid conversion to integer",
    TrapCode.UNREACHABLE: "unreachable",
}


class TeaclaveHost:
    """Loads a module once and runs it any number of times, each time in a memory of its own.

    Args:
        data: The module.
        where: The module's file, as messages call it.
        count_fuel: Whether runs count their instructions, which makes them slower.

    Raises:
        BuildError: Teaclave could not load the module; every reason is named.
    """

    def __init__(self, data: bytes, where: str, *, count_fuel: bool = False) -> None:
        self._count_fuel = count_fuel
        settings = {"max_wasm_stack": STACK_SIZE, "consume_fuel": count_fuel}
        self._compiled = compiled(data, TEACLAVE, where, settings)
        self.compiled_in = self._compiled.seconds

    @classmethod
    def load(cls, path: Path) -> TeaclaveHost:
        """Loads a module from a file.

        Raises:
            BuildError: The file cannot be read, or Teaclave could not load the module.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BuildError(Problem(str(path), f"cannot be read: {error.strerror}")) from error
        return cls(data, str(path))

    def run(
        self,
        arguments: Mapping[str, str],
        *,
        inputs: Mapping[str, Path] | None = None,
        outputs: Mapping[str, Path] | None = None,
        timeout: float | None = None,
        longest_read: int | None = None,
        memory_limit: int | None = None,
    ) -> Result:
        """Runs the module's entry point on files.

        In Teaclave the value of an argument is the name of an input or output of the task; here it is a path, unless
        ``inputs`` and ``outputs`` say what such names stand for. The module can open and create these files and no
        others. What it writes is held back and put in place, each file whole, only if ``entrypoint`` returns 0 or more.
        One run at a time for each host.

        Args:
            arguments: The value that goes with each key. The module gets keys and values in turn, keys in order.
            inputs: The file behind each name that can be opened; None if each value is a path.
            outputs: The file behind each name that can be created; None if each value is a path.
            timeout: Seconds after which the run ends with a trap; None for no limit.
            longest_read: The most bytes that one read gives, so that a test can make reads short; None for no limit.
            memory_limit: Bytes of linear memory that the module may have, the app heap included; None for no limit.

        Returns:
            What came of it.

        Raises:
            BuildError: The module could not be started with these arguments, or an output could not be put in place.
        """
        store = wasmtime.Store(self._compiled.engine)
        if memory_limit is not None:
            store.set_limits(memory_size=memory_limit)
        if self._count_fuel:
            store.set_fuel(FUEL)
        paths = {value: Path(value) for value in arguments.values()}
        files = _Files(paths if inputs is None else inputs, paths if outputs is None else outputs, longest_read)
        try:
            with self._compiled.deadline(store, timeout):
                start = time.perf_counter()
                exports = self._instantiate(store, files)
                instantiated = time.perf_counter()
                memory, entrypoint = exports["memory"], exports["entrypoint"]
                assert isinstance(memory, wasmtime.Memory)
                assert isinstance(entrypoint, wasmtime.Func)
                count, address = self._place_arguments(store, memory, arguments)
                called = time.perf_counter()
                value = _call(entrypoint, store, count, address)
                run = time.perf_counter() - called
            if value >= 0:
                files.put_outputs_in_place()
            fuel = FUEL - store.get_fuel() if self._count_fuel else None
            taken = Taken(instantiated - start, run, memory.data_len(store), fuel)
            return Result(value, file_errors=tuple(files.errors), taken=taken)
        except _TrapError as trap:
            return Result(None, f"Exception: {trap}", tuple(files.errors))
        except _TimeOutError:
            return Result(None, f"timed out after {timeout} s", tuple(files.errors), timed_out=True)
        finally:
            files.close()
            store.close()

    def _instantiate(self, store: wasmtime.Store, files: _Files) -> wasmtime.InstanceExports:
        linker = wasmtime.Linker(self._compiled.engine)
        functions: dict[str, Callable[..., int]] = {
            "env.teaclave_open_input": files.open_input,
            "env.teaclave_create_output": files.create_output,
            "env.teaclave_read_file": files.read_file,
            "env.teaclave_write_file": files.write_file,
            "env.teaclave_close_file": files.close_file,
        }
        for import_ in self._compiled.module.imports:
            assert isinstance(import_.type, wasmtime.FuncType)
            function = functions[f"{import_.module}.{import_.name}"]
            linker.define_func(import_.module, import_.name or "", import_.type, function, access_caller=True)
        try:
            return linker.instantiate(store, self._compiled.module).exports(store)
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            raise self._compiled.not_instantiated(error) from error

    def _place_arguments(
        self, store: wasmtime.Store, memory: wasmtime.Memory, arguments: Mapping[str, str]
    ) -> tuple[int, int]:
        """Writes ``argv`` behind the module's memory and gives ``argc`` and its address."""
        start = memory.data_len(store)
        pointers, strings = [], bytearray()
        for text in (text for pair in sorted(arguments.items()) for text in pair):
            encoded = os.fsencode(text)
            if b"\0" in encoded:
                raise BuildError(Problem(self._compiled.where, f"the argument {text!r} contains a NUL"))
            pointers.append(start + len(strings))
            strings += encoded + b"\0"
            strings += bytes(-len(strings) % 8)
        argv = struct.pack(f"<{len(pointers)}I", *pointers)
        if len(strings) + len(argv) > APP_HEAP_SIZE:
            message = f"the arguments are longer than the app heap of {APP_HEAP_SIZE} bytes"
            raise BuildError(Problem(self._compiled.where, message))
        try:
            memory.grow(store, APP_HEAP_SIZE // wasm.PAGE_SIZE)
        except wasmtime.WasmtimeError as error:
            message = f"its memory of {start} bytes cannot grow by an app heap of {APP_HEAP_SIZE} bytes"
            raise BuildError(Problem(self._compiled.where, message, "set no maximum, or a larger one")) from error
        memory.write(store, strings + argv, start)
        return len(pointers), start + len(strings)


def _call(entrypoint: wasmtime.Func, store: wasmtime.Store, count: int, address: int) -> int:
    try:
        value = entrypoint(store, count, address)
    except wasmtime.Trap as trap:
        if trap.trap_code is TrapCode.INTERRUPT:
            raise _TimeOutError from trap
        words = _TRAPS.get(trap.trap_code) if trap.trap_code else None
        raise _TrapError(words or trap.message) from trap
    assert isinstance(value, int)
    return value


class _TrapError(Exception):
    """The module did what ends a run in WAMR."""


class _TimeOutError(Exception):
    """The module did not return in time."""


class _Files:
    """The five imports, over the files of a run.

    Handles count from 1, an output's have a bit of their own, and none is given twice: as in Teaclave. An output is
    written to a temporary file beside it.

    Args:
        inputs: The file behind each name that can be opened.
        outputs: The file behind each name that can be created.
        longest_read: The most bytes that one read gives; None for no limit.
    """

    def __init__(self, inputs: Mapping[str, Path], outputs: Mapping[str, Path], longest_read: int | None) -> None:
        self.errors: list[Problem] = []
        self._readable = {os.fsencode(name): path for name, path in inputs.items()}
        self._writable = {os.fsencode(name): path for name, path in outputs.items()}
        self._longest_read = longest_read
        self._handles = iter(range(1, _LAST_HANDLE + 1))
        self._inputs: dict[int, FileIO] = {}
        self._outputs: dict[int, FileIO] = {}
        self._read: set[Path] = set()
        self._temporary: dict[Path, Path] = {}

    def open_input(self, caller: wasmtime.Caller, address: int) -> int:
        return self._opened(caller, address, self._inputs, self._open)

    def create_output(self, caller: wasmtime.Caller, address: int) -> int:
        return self._opened(caller, address, self._outputs, self._create)

    def read_file(self, caller: wasmtime.Caller, handle: int, address: int, size: int) -> int:
        buffer = _window(caller, address, size)
        if handle not in self._inputs:
            return _ERROR
        try:
            return self._inputs[handle].readinto(buffer[: self._longest_read])
        except OSError:
            return _ERROR

    def write_file(self, caller: wasmtime.Caller, handle: int, address: int, size: int) -> int:
        buffer = _window(caller, address, size)
        if handle not in self._outputs:
            return _ERROR
        try:
            return self._outputs[handle].write(buffer)
        except OSError as error:
            self.errors.append(Problem(str(self._outputs[handle].name), f"cannot be written: {error.strerror}"))
            return _ERROR

    def close_file(self, _caller: wasmtime.Caller, handle: int) -> int:
        file = (self._outputs if handle & _OUTPUT_HANDLE else self._inputs).pop(handle, None)
        if file is None:
            return _ERROR
        file.close()
        return 0

    def put_outputs_in_place(self) -> None:
        """Renames every output to its own name."""
        for path, temporary in self._temporary.items():
            try:
                temporary.replace(path)
            except OSError as error:
                raise BuildError(Problem(str(path), f"cannot be written: {error.strerror}")) from error

    def close(self) -> None:
        """Closes every file and removes the outputs that were not put in place."""
        for file in (*self._inputs.values(), *self._outputs.values()):
            file.close()
        for temporary in self._temporary.values():
            temporary.unlink(missing_ok=True)

    def _opened(
        self, caller: wasmtime.Caller, address: int, files: dict[int, FileIO], open_: Callable[[Path], FileIO]
    ) -> int:
        paths = self._readable if files is self._inputs else self._writable
        path = paths.get(_string(caller, address))
        if path is None:
            return _ERROR
        try:
            file = open_(path)
        except OSError as error:
            verb = "read" if files is self._inputs else "written"
            self.errors.append(Problem(str(path), f"cannot be {verb}: {error.strerror}"))
            return _ERROR
        handle = next(self._handles, None)
        if handle is None:
            file.close()
            return _ERROR
        if files is self._outputs:
            handle |= _OUTPUT_HANDLE
        files[handle] = file
        return handle

    def _open(self, path: Path) -> FileIO:
        file = FileIO(path)
        self._read.add(path.resolve())
        return file

    def _create(self, path: Path) -> FileIO:
        path = path.resolve()
        if path in self._read:
            raise PermissionError(errno.EACCES, "the module reads it too")
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "it is not a regular file")
        temporary = path.with_name(f".{path.name}.partial")
        temporary.unlink(missing_ok=True)
        file = FileIO(temporary, "x")
        self._temporary[path] = temporary
        return file


def _memory(caller: wasmtime.Caller) -> wasmtime.Memory:
    memory = caller["memory"]
    assert isinstance(memory, wasmtime.Memory)
    return memory


def _window(caller: wasmtime.Caller, address: int, size: int) -> memoryview:
    """The part of the guest's memory that it gives a function; WAMR traps where it is not all memory."""
    memory = _memory(caller)
    address, size = address & 0xFFFF_FFFF, size & 0xFFFF_FFFF
    if address + size > memory.data_len(caller):
        raise _TrapError("out of bounds memory access")
    return memoryview(memory.get_buffer_ptr(caller, size, address)).cast("B")


def _string(caller: wasmtime.Caller, address: int) -> bytes:
    """The C string that the guest points to; WAMR traps where it does not end in memory."""
    memory = _memory(caller)
    address &= 0xFFFF_FFFF
    text = bytearray()
    while b"\0" not in text:
        start = address + len(text)
        part = memory.read(caller, start, start + 4096)
        if not part:
            raise _TrapError("out of bounds memory access")
        text += part
    return bytes(text[: text.index(0)])
