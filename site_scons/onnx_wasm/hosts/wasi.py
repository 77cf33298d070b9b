"""Runs modules for WASI, in wasmtime, on the files that are named and no others.

The module sees one folder with copies of the files that there are. What it writes there is put in place, each file
whole, only if it exits with 0.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import wasmtime
from wasmtime import TrapCode

from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.hosts.compiled import compiled
from onnx_wasm.hosts.result import Result, Taken
from onnx_wasm.platforms import WASI

STANDARD = "-"
"""In place of a file: the standard input, or a place in the line that is printed."""

_WASMTIME = WASI.with_optional_features()
_FOLDER = "files"
_UNTOUCHED = 0
_INPUT_NOT_OPENED = 5


class WasiHost:
    """Loads a module once and runs it any number of times, each time in a memory of its own.

    Args:
        data: The module.
        where: The module's file, as messages call it.

    Raises:
        BuildError: It is no module for WASI; every reason is named.
    """

    def __init__(self, data: bytes, where: str) -> None:
        self._compiled = compiled(data, _WASMTIME, where)
        self.compiled_in = self._compiled.seconds
        self._linker = wasmtime.Linker(self._compiled.engine)
        self._linker.define_wasi()

    def run(
        self,
        arguments: Mapping[str, str],
        *,
        timeout: float | None = None,
        memory_limit: int | None = None,
        standard_input: Path | None = None,
    ) -> Result:
        """Runs the command on files.

        Args:
            arguments: The path that goes with each key; ``-`` stands for the standard input, or for a place in the line
                that is printed.
            timeout: Seconds after which the run ends with a trap; None for no limit.
            memory_limit: Bytes of linear memory that the module may have; None for no limit.
            standard_input: The file that the module reads as its standard input; None for this process's own.

        Returns:
            What came of it. The value is what the printed line says, or the exit status as a code below 0.

        Raises:
            BuildError: The module could not be started with these arguments, or an output could not be put in place.
        """
        with (
            tempfile.TemporaryDirectory(prefix="onnx-wasm-wasi-") as scratch,
            wasmtime.Store(self._compiled.engine) as store,
        ):
            staged, errors = _stage(arguments, Path(scratch, _FOLDER))
            words = [f"{key}={STANDARD if file is None else f'{_FOLDER}/{file.name}'}" for key, file in staged.items()]
            if any("\0" in word for word in words):
                raise BuildError(Problem(self._compiled.where, "an argument contains a NUL"))
            printed = Path(scratch, "printed")
            configuration = wasmtime.WasiConfig()
            configuration.argv = [self._compiled.where, *words]
            configuration.preopen_dir(str(Path(scratch, _FOLDER)), _FOLDER)
            configuration.stdout_file = printed
            configuration.stderr_file = Path(scratch, "told")  # the status says the same
            if standard_input is None:
                configuration.inherit_stdin()
            else:
                configuration.stdin_file = standard_input
            store.set_wasi(configuration)
            if memory_limit is not None:
                store.set_limits(memory_size=memory_limit)
            ended = self._start(store, timeout)
            if isinstance(ended, Result):
                return ended
            status, taken = ended
            line = printed.read_text("utf-8")
            if status:
                # Which files there must be, only the module knows.
                return Result(-status, file_errors=tuple(errors) if status == _INPUT_NOT_OPENED else (), taken=taken)
            _put_in_place(arguments, staged)
            return Result(_returned(line, self._compiled.where), printed=line, taken=taken)

    def _start(self, store: wasmtime.Store, timeout: float | None) -> tuple[int, Taken] | Result:
        """The exit status and what the run took, or the result of a run that has none."""
        try:
            with self._compiled.deadline(store, timeout):
                begun = time.perf_counter()
                exports = self._linker.instantiate(store, self._compiled.module).exports(store)
                called = time.perf_counter()
                status = _status(exports, store)
                run = time.perf_counter() - called
            memory = exports["memory"]
            assert isinstance(memory, wasmtime.Memory)
            return status, Taken(called - begun, run, memory.data_len(store))
        except wasmtime.Trap as trap:
            if trap.trap_code is TrapCode.INTERRUPT:
                return Result(None, f"timed out after {timeout} s", timed_out=True)
            return Result(None, trap.message)
        except wasmtime.WasmtimeError as error:
            raise self._compiled.not_instantiated(error) from error


def _status(exports: wasmtime.InstanceExports, store: wasmtime.Store) -> int:
    """Runs the command and gives its exit status."""
    start = exports["_start"]
    assert isinstance(start, wasmtime.Func)
    try:
        start(store)
    except wasmtime.ExitTrap as exit_:
        return int(exit_.code)
    return 0


def _stage(arguments: Mapping[str, str], folder: Path) -> tuple[dict[str, Path | None], list[Problem]]:
    """Copies the files that there are into a folder, under names without meaning.

    Returns:
        The copy that goes with each key, there or not; None for ``-``. And what could not be copied.
    """
    folder.mkdir()
    staged: dict[str, Path | None] = {}
    errors = []
    for index, (key, file) in enumerate(arguments.items()):
        if file == STANDARD:
            staged[key] = None
            continue
        copy = staged[key] = folder / str(index)
        try:
            shutil.copyfile(file, copy)
        except OSError as error:
            errors.append(Problem(file, f"cannot be read: {error.strerror}"))
            copy.unlink(missing_ok=True)
        else:
            os.utime(copy, (_UNTOUCHED, _UNTOUCHED))
    return staged, errors


def _put_in_place(arguments: Mapping[str, str], staged: Mapping[str, Path | None]) -> None:
    """Gives the files that the module wrote their own names."""
    for key, copy in staged.items():
        if copy is None or not copy.exists() or copy.stat().st_mtime == _UNTOUCHED:
            continue
        target = Path(arguments[key]).resolve()
        partial = target.with_name(f".{target.name}.partial")
        try:
            shutil.copyfile(copy, partial)
            partial.replace(target)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise BuildError(Problem(str(target), f"cannot be written: {error.strerror}")) from error


def _returned(line: str, where: str) -> int:
    try:
        return int(json.loads(line)["return"])
    except (ValueError, KeyError, TypeError) as error:
        raise BuildError(Problem(where, f"printed what is not its result: {line[:80]!r}")) from error
