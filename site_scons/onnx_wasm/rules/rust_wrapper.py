"""The rule RustWrapper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from SCons.Builder import Builder
from SCons.Environment import Base as Environment
from SCons.Node import Node
from SCons.Node.FS import File

from onnx_wasm import WRAPPER
from onnx_wasm.rules import step, workspace

_STEP = step.Step(
    "RustWrapper",
    "rust_wrapper",
    ("errors.py", "platforms.py", "actions/common.py", "actions/rust_wrapper.py"),
    ("python", "rustc", "cargo", "cc", "crates"),
    memory=step.Memory(400_000_000, 0),
)


def rule() -> Builder:
    """``env.RustWrapper(target, [])``: the wrapper around a model's library, compiled once for all models.

    Args:
        target: The library, ``build/teaclave/wrapper/libwrapper.a``.
        source: Nothing: the crate's sources are found.
        WASM_PLATFORM: Where the module will run. Default ``teaclave``.
        FEATURES: The crate's features: ``image`` to decode pictures, ``pixels`` to take decoded ones, ``graph`` for the
            executor of that name.
    """
    return step.builder(_STEP, _arguments, _sources, suffix=".a")


def _sources(target: list[File], source: list[File], env: Environment) -> tuple[list[Node], list[Node]]:
    files = [
        path
        for path in sorted(WRAPPER.rglob("*"))
        if path.is_file() and "target" not in path.relative_to(WRAPPER).parts
    ]
    sources = [path for path in files if path.name in ("Cargo.toml", "Cargo.lock") or path.suffix == ".rs"]
    env.Clean(target, _work(target[0]))
    return target, [
        *source,
        *(env.File(str(path)) for path in sources if "tests" not in path.relative_to(WRAPPER).parts),
    ]


def _arguments(target: Sequence[File], _source: Sequence[File], env: Environment) -> step.Words:
    tools = workspace.of(env).toolchain
    crates = ["--crates", str(tools.crates.path)] if tools.crates else []
    features = [word for feature in env.get("FEATURES", ()) for word in ("--feature", feature)]
    return step.Words(
        ["--platform", env.get("WASM_PLATFORM", "teaclave"), *features, "--library", target[0].path],
        [
            *("--rustc", str(tools.rustc.path), "--cargo", str(tools.cargo.path), *crates),
            *("--source", env.Dir(str(WRAPPER)).path, "--work", _work(target[0])),
        ],
    )


def _work(library: File) -> str:
    return str(Path(library.dir.path, "cargo"))
