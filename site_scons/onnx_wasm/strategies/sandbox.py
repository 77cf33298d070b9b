"""The strategy ``sandbox``: an action sees what it declares, the toolchain and the system's programs, and nothing else.

Bubblewrap (https://github.com/containers/bubblewrap) makes a root of its own for each action, on Linux: what is
read is mounted there read-only, what is written goes to folders of its own, and only what was declared is taken over
when the action is done. There is no network, no home, no other process, and the host has a fixed name.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx_wasm import remedies
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.strategies.action import Action
from onnx_wasm.strategies.local import Local

FAILED = 2

_PROGRAM = "bwrap"
_HOST = "onnx-wasm"
_ALONE = ("--unshare-all", "--hostname", _HOST, "--die-with-parent", "--proc", "/proc", "--dev", "/dev")
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_SETTINGS = ("/etc/alternatives", "/etc/ld.so.cache", "/sys/devices/system/cpu")
"""What programs of the system read to find other programs, libraries, and their processor's features."""

_REFUSED = {"No such file or directory": "reads", "Read-only file system": "writes"}
_PATH = re.compile(r"""[^\s'"`:,;()\[\]]+""")
_MODULE = re.compile(
    r"No module named '(?P<whole>[\w.]+)'|cannot import name '(?P<name>\w+)' from '(?P<package>[\w.]+)'"
)


class Sandbox:
    """Runs each action in a sandbox, but for those that reach out of the build.

    Raises:
        BuildError: There is no bubblewrap, or the system does not let it make a sandbox.
    """

    def __init__(self, where: str) -> None:
        program = shutil.which(_PROGRAM)
        if program is None:
            hint = " && ".join(remedies.commands([_PROGRAM]))
            raise BuildError(
                Problem(where, "the strategy sandbox needs bubblewrap, and there is no program bwrap", hint)
            )
        self._program = program
        trial = [program, *_ALONE, *_system(), "--", "/usr/bin/env", "true"]
        done = subprocess.run(trial, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            message = f"bubblewrap cannot make a sandbox here: {done.stderr.strip()}"
            hint = "it needs user namespaces, or to be root with CAP_SYS_ADMIN; --strategy=local does without"
            raise BuildError(Problem(where, message, hint))

    def run(self, action: Action) -> int:
        """Runs an action: see ``Strategy``."""
        if action.outside:
            return Local().run(action)
        top = Path.cwd()
        with _places(action) as places:
            status, said = self._start(action, top, places)
            problems = _misses(action, top, said) if status else _differences(action, places)
            if problems:
                sys.stderr.write(f"{BuildError(problems)}\n")
            if status or problems:
                return FAILED
            for place in places:
                place.take_over()
        return 0

    def close(self) -> None:
        """Nothing was left."""

    def _start(self, action: Action, top: Path, places: Sequence[_Place]) -> tuple[int, str]:
        """Runs the action's process in a sandbox and gives its exit status and what it wrote to stderr."""
        variables = (word for key, value in action.environment.items() for word in ("--setenv", key, value))
        command = [self._program, *_ALONE, "--clearenv", *variables, *_mounts(action, top, places)]
        process = subprocess.Popen(
            [*command, "--chdir", str(top), "--", *action.command], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert process.stderr is not None
        said = []
        with process:
            for line in process.stderr:
                sys.stderr.write(line.decode("utf-8", "replace"))
                sys.stderr.flush()
                said.append(line)
        return process.returncode, b"".join(said).decode("utf-8", "replace")


@dataclass(frozen=True)
class _Place:
    """A folder that an action may write to.

    Args:
        folder: The folder.
        scratch: What stands for it in the sandbox.
        outputs: What is taken over from there: files, or the only folder, by their paths in it.
    """

    folder: Path
    scratch: Path
    outputs: tuple[Path, ...]

    def take_over(self) -> None:
        """Moves the outputs to where they belong."""
        for output in self.outputs:
            source, target = self.scratch / output, self.folder / output
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.rmtree(target, ignore_errors=True)
            source.replace(target)


@contextlib.contextmanager
def _places(action: Action) -> Iterator[list[_Place]]:
    """The folders that an action may write to: those that its outputs are in."""
    outputs = [Path(output) for output in ([action.folder] if action.folder else action.outputs)]
    whole = outputs[0].with_name(f".{outputs[0].name}.sandbox")
    shutil.rmtree(whole, ignore_errors=True)  # of a build that was killed
    folders = {output.parent for output in outputs}
    apart = sorted(it for it in folders if not folders.intersection(it.parents))
    places = []
    for number, folder in enumerate(apart):
        its = tuple(output.relative_to(folder) for output in outputs if output.is_relative_to(folder))
        places.append(_Place(folder, whole / str(number), its))
        for output in its:  # as SCons does in the checkout
            (whole / str(number) / output).parent.mkdir(parents=True, exist_ok=True)
    try:
        yield places
    finally:
        shutil.rmtree(whole)


def _system() -> list[str]:
    """What mounts the system's programs. Where ``/bin`` is a link to ``/usr/bin``, it is one there too."""
    words = []
    for root in map(Path, _SYSTEM):
        if root.is_symlink():
            words += ["--symlink", str(root.readlink()), str(root)]
        elif root.is_dir():
            words += ["--ro-bind", str(root), str(root)]
    return [*words, *(word for path in _SETTINGS for word in ("--ro-bind-try", path, path))]


def _mounts(action: Action, top: Path, places: Sequence[_Place]) -> list[str]:
    """What puts the action's root together; a later word mounts over what an earlier one did."""
    tools = [tool for tool in _roots(action.tools) if not _within(tool, _SYSTEM)]
    outer = [tool for tool in tools if not tool.is_relative_to(top)]
    inner = [tool for tool in tools if tool.is_relative_to(top)]
    files = {top / path for path in (*action.inputs, *action.consulted)}
    read = {it for it in files if not _within(it, (*_SYSTEM, *tools))}
    return [
        *_system(),
        *("--tmpfs", "/tmp"),
        *_read_only(outer),
        *("--tmpfs", str(top)),
        *_read_only(inner),
        *(word for place in places for word in ("--bind", str(top / place.scratch), str(top / place.folder))),
        *_read_only(_gathered(read, [top / place.folder for place in places])),
        *("--remount-ro", str(top), "--remount-ro", "/"),
    ]


def _gathered(files: set[Path], apart: Sequence[Path]) -> list[Path]:
    """Folders in place of files where there is nothing else in them: mounts take time.

    Args:
        files: The files.
        apart: Folders that none of the folders may hold.
    """

    @functools.cache
    def whole(folder: Path) -> bool:
        if any(it.is_relative_to(folder) for it in apart):
            return False
        try:
            entries = [it for it in folder.iterdir() if it.name != "__pycache__"]
        except OSError:
            return False
        return all(whole(it) if it.is_dir() else it in files for it in entries)

    def outermost(file: Path) -> Path:
        return outermost(file.parent) if file.parent.is_dir() and whole(file.parent) else file

    return sorted(set(map(outermost, files)))


def _read_only(paths: Iterable[Path]) -> list[str]:
    """A missing one is for the action to tell of."""
    return [word for path in paths for word in ("--ro-bind-try", str(path), str(path))]


def _roots(paths: Iterable[str]) -> list[Path]:
    """The paths that are not below another."""
    known = set(map(Path, paths))
    return sorted(path for path in known if not known.intersection(path.parents))


def _within(path: Path, roots: Iterable[str | Path]) -> bool:
    return any(path.is_relative_to(root) for root in roots)


def _differences(action: Action, places: Sequence[_Place]) -> list[Problem]:
    """What was written but not declared, and declared but not written."""
    there = {place.folder / path for place in places for path in _files(place.scratch)}
    declared = set(map(Path, action.outputs))
    mounted = set(map(Path, (*action.inputs, *action.consulted)))  # bubblewrap leaves an empty file for each
    missing = [Problem(path, f"{action.rule} declares it, but did not write it") for path in _shown(declared - there)]
    more = there - declared - mounted
    hint = "an action leaves nothing behind but its targets: name it in the rule's emitter, or take it away again"
    return [
        *missing,
        *(Problem(path, f"{action.rule} wrote it, but does not declare it", hint) for path in _shown(more)),
    ]


def _files(folder: Path) -> Iterator[Path]:
    for path, _, names in os.walk(folder):
        yield from (Path(path, name).relative_to(folder) for name in names)


def _shown(paths: Iterable[Path]) -> list[str]:
    return sorted(map(str, paths))


def _misses(action: Action, top: Path, said: str) -> list[Problem]:
    """The files below the top that a failed action complains of, which are there but not declared."""
    declared = {top / path for path in (*action.inputs, *action.consulted)}
    found: dict[str, Problem] = {}
    for line in said.splitlines():
        does = next((verb for sign, verb in _REFUSED.items() if sign in line), "")
        named = [Path(word) for word in _PATH.findall(line)] if does else _module_files(action, line)
        for path in named:
            file = Path(os.path.normpath(top / path))
            undeclared = file not in declared and file.is_relative_to(top) and not _within(file, action.tools)
            if undeclared and (file.is_file() or (does == "writes" and file.parent != top)):
                shown = str(file.relative_to(top))
                message = f"{action.rule} {does or 'reads'} it, but does not declare it"
                hint = "an action sees only what it declares: name it in the rule, or do without"
                found.setdefault(shown, Problem(shown, message, hint))
    return list(found.values())


def _module_files(action: Action, line: str) -> list[Path]:
    """The files of a module that an action could not import."""
    match = _MODULE.search(line)
    if not match:
        return []
    name = match["whole"] or f"{match['package']}.{match['name']}"
    path = Path(action.environment["PYTHONPATH"], *name.split("."))
    return [path.with_suffix(".py"), path / "__init__.py"]
