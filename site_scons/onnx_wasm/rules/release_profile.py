"""What a model must be before it is released: why a release is refused, and what one is made of."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from SCons.Action import Action
from SCons.Environment import Base as Environment
from SCons.Node import Node
from SCons.Node.FS import File
from SCons.Script import ARGUMENTS, COMMAND_LINE_TARGETS

from onnx_wasm import WRAPPER, __version__, external_data, remedies
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.manifest import Manifest
from onnx_wasm.release import ARCHIVE_SUFFIX, lock, source
from onnx_wasm.release.source import Source
from onnx_wasm.rules import workspace

_PACKAGES = Path(__file__).parents[2]
_SHOWN = 5


def check(env: Environment, model: Manifest) -> Source:
    """Holds a model, the working tree and the toolchain against what a release asks of them.

    Args:
        env: The environment.
        model: The model's manifest.

    Returns:
        The commit that the release is made from.

    Raises:
        BuildError: Every reason to refuse it.
    """
    tools = workspace.of(env).toolchain
    problems = [*_unsaid(model), *lock.problems(Path(lock.NAME), tools)]
    for name, program, tool in (("optimizer", "wasm-opt", tools.optimizer), ("crates", "crates", tools.crates)):
        if tool is None:
            commands = " && ".join(remedies.commands([program]))
            problems.append(Problem(f"toolchain: {name}", "is missing, and a release needs it", commands))
    try:
        its = source.read(Path(), os.environ)
    except BuildError as error:
        raise BuildError([*error.problems, *problems]) from error
    ours = tuple(f"{env.Dir(folder).path}/" for folder in ("$ONNX_WASM_BUILD", "$ONNX_WASM_DIST"))
    uncommitted = [path for path in its.uncommitted if not path.startswith((*ours, ".sconsign"))]
    if uncommitted:
        more = f" and {len(uncommitted) - _SHOWN} more" if len(uncommitted) > _SHOWN else ""
        message = f"not committed: {', '.join(uncommitted[:_SHOWN])}{more}"
        problems.insert(0, Problem("git", message, "commit them, or git stash --include-untracked"))
    if problems:
        raise BuildError(problems)
    return its


def _unsaid(model: Manifest) -> list[Problem]:
    """What a manifest may leave out, but not that of a model which is released."""
    hints = {
        "version": 'say for example version = "1.0.0"',
        "sha256": "add what sha256sum prints of the ONNX file",
        "license": 'say for example license = "Apache-2.0"',
    }
    return [
        Problem(model.where("model"), f"model.{key} is missing: a release needs it", hint)
        for key, hint in hints.items()
        if getattr(model.model, key) is None
    ]


def declare(
    env: Environment, model: Manifest, its: Source, onnx: File, built: Sequence[Mapping[str, Any]], read: Iterable[Node]
) -> None:
    """Declares ``<model>.release``.

    Args:
        env: The environment.
        model: The model's manifest.
        its: The commit that it is made from.
        onnx: The ONNX file.
        built: What was made for each platform: the fields of ``release.assembly.Built``.
        read: All of that, as nodes.
    """
    folder, crates = model.path.parent, workspace.of(env).toolchain.crates
    assert crates is not None  # has been checked
    vectors = sorted({file for _, test in model.own_tests for file in (*test.inputs.values(), *test.outputs.values())})
    data = [onnx.dir.File(file).path for file in (*model.model.data, *external_data.locations(onnx.get_abspath()))]
    tuning = [str(folder / file) for file in model.compile.tuning]
    requirements = [path for path in ("requirements-full.lock", "requirements.lock") if Path(path).exists()][:1]
    release = {
        "name": model.model.target,
        "version": model.model.version,
        "license": model.model.license,
        "commit": its.commit,
        "epoch": its.epoch,
        "onnx_wasm": __version__,
        "manifest": str(model.path),
        "vectors": {file: str(folder / file) for file in vectors},
        "model": [onnx.path, *dict.fromkeys(data)],
        "built": built,
        "materials": {
            **{f"wrapper/{path.relative_to(WRAPPER).as_posix()}": str(path) for path in _wrapper()},
            **dict(zip(tuning, tuning, strict=True)),
        },
        "lock": lock.NAME,
        "requirements": requirements,
        "cargo_lock": str(WRAPPER / "Cargo.lock"),
        "crates": str(crates.path),
        "license_text": str(_license()),
    }
    paths = [model.path, lock.NAME, *requirements, *tuning, *(folder / file for file in vectors)]
    archive = env.WasmRelease(
        f"{_folder(model)}{ARCHIVE_SUFFIX}",
        [*read, onnx, *(env.fs.File(str(path), env.fs.Top) for path in paths)],
        RELEASE=release,
        MANIFEST=model.path,
    )
    env.Alias(f"{model.model.target}.release", archive)


def declare_verification(env: Environment, model: Manifest) -> None:
    """Declares ``<model>.verify-release``: ``python -m onnx_wasm verify-release`` on the folder of the release.

    Args:
        env: The environment.
        model: The model's manifest.
    """

    def verify(**_kwargs: object) -> int:
        words = [word for key in ("KEY",) if key in ARGUMENTS for word in ("--key", ARGUMENTS[key])]
        folder = env.Dir(_folder(model)).path
        # In the user's environment: what is rebuilt may have to be fetched.
        command = [sys.executable, "-m", "onnx_wasm", "verify-release", folder, *words]
        return subprocess.run(command, env=os.environ | {"PYTHONPATH": str(_PACKAGES)}, check=False).returncode

    name = f"{model.model.target}.verify-release"
    if model.model.version is None:
        raise BuildError(_unsaid(model)[0])
    made = [env.Alias(f"{model.model.target}.release")] if asked(model, "release") else []
    env.AlwaysBuild(env.Alias(name, made, Action(verify, cmdstr=None)))


def declare_lock(env: Environment) -> None:
    """Declares ``toolchain.lock``: writes the file from the tools in use.

    Args:
        env: The environment.
    """

    def write(**_kwargs: object) -> int:
        tools = workspace.of(env).toolchain
        Path(lock.NAME).write_text(lock.text(tools), encoding="utf-8")
        sys.stdout.write(f"{lock.NAME}: {len(lock.in_use(tools))} tools\n")
        return 0

    if lock.NAME in COMMAND_LINE_TARGETS:
        env.AlwaysBuild(env.Alias(lock.NAME, [], Action(write, cmdstr=None)))


def asked(model: Manifest, kind: str) -> bool:
    """Whether the command line names this target of a model: only then are its steps declared."""
    return f"{model.model.target}.{kind}" in COMMAND_LINE_TARGETS


def _folder(model: Manifest) -> str:
    return f"$ONNX_WASM_DIST/{model.model.target}-{model.model.version}"


def _wrapper() -> list[Path]:
    """The wrapper's sources, as the rule RustWrapper takes them."""
    return [WRAPPER / "Cargo.toml", WRAPPER / "Cargo.lock", *sorted((WRAPPER / "src").rglob("*.rs"))]


def _license() -> Path:
    """The licence of this package: beside the wrapper in a checkout, in what pip notes of an installed package."""
    installed = _PACKAGES.glob("onnx_wasm-*.dist-info/licenses/LICENSE")
    return next(path for path in (WRAPPER.parent / "LICENSE", *installed) if path.is_file())
