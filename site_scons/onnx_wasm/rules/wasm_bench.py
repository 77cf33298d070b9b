"""The rule WasmBench."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from SCons.Builder import Builder
from SCons.Environment import Base as Environment
from SCons.Node import Node
from SCons.Node.FS import File
from SCons.Script import ARGUMENTS, COMMAND_LINE_TARGETS, GetLaunchDir

from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.rules import step

_STEP = step.Step(
    "WasmBench",
    "bench",
    (
        *("columns.py", "errors.py", "platforms.py", "wasm.py"),
        *("bench", "hosts", "verification", "actions/common.py", "actions/bench.py"),
    ),
    ("python", "wasmtime", "numpy"),
    memory=step.Memory(300_000_000, 4),
)


def rule() -> Builder:
    """``env.WasmBench(target, source)``: how long a finished module takes where it runs, its memory and its size.

    It measures whenever it is asked for: in Node.js, through its package's own JavaScript, for ``web``; in the
    platform's host, on wasmtime, for the others.

    Args:
        target: The report, ``build/x/mnist.bench.json``.
        source: The module, its interface, with PARAMS_ARGUMENT the file of the weights, and for ``web`` the package's
            JavaScript and its ``package.json``.
        WASM_PLATFORM: Where the module runs. Default ``teaclave``.
        TARGET_FEATURES: The platform's optional features that the module uses. Default: none.
        PARAMS_ARGUMENT: The argument that names the file of the weights. Default: the module holds them.
        RANGES: For inputs, by name, the least and the greatest value that they are drawn from.
        AGAINST: An earlier report that the new one is held against. Default: none.
        LIMIT: By how many per cent runs may be slower than there, beyond their spread. Default: by any.
        MANIFEST: The manifest that messages name.
    """
    return step.builder(_STEP, _arguments, _targets, suffix=".bench.json")


def asked(report: File) -> dict[str, str]:
    """What the command line's words ask of a bench: ``AGAINST`` and ``LIMIT``, as the rule takes them.

    Args:
        report: The report that will be written.

    Raises:
        BuildError: There is no such file, or no such limit.
    """
    if not any(target.endswith(".bench") for target in COMMAND_LINE_TARGETS):
        return {}  # the words are for something else
    against, limit = ARGUMENTS.get("against"), ARGUMENTS.get("limit")
    problems = [*_file_problems(against, report), *_limit_problems(against, limit)]
    if problems:
        raise BuildError(problems)
    return {
        **({} if against is None else {"AGAINST": _path(against)}),
        **({} if limit is None else {"LIMIT": limit}),
    }


def _file_problems(against: str | None, report: File) -> list[Problem]:
    if against is None:
        return []
    where, copy = f"against={against}", f"keep a copy of {report.path} of an earlier build, and name that"
    path = Path(_path(against))
    if not path.is_file():
        return [Problem(where, "there is no such file", copy)]
    if path.resolve() == Path(report.get_abspath()).resolve():
        return [Problem(where, "is the file that will be written", copy)]
    return []


def _limit_problems(against: str | None, limit: str | None) -> list[Problem]:
    if limit is None:
        return []
    where = f"limit={limit}"
    alone = [Problem(where, "holds only against=FILE: say against what")] if against is None else []
    try:
        percent = float(limit)
    except ValueError:
        percent = math.nan
    wrong = [] if 0 <= percent < math.inf else [Problem(where, "is no number of per cent", "say limit=5")]
    return [*alone, *wrong]


def _path(file: str) -> str:
    return os.path.join(GetLaunchDir(), file)  # noqa: PTH118 - as the shell does


def _targets(target: list[File], source: list[File], env: Environment) -> tuple[list[Node], list[Node]]:
    env.AlwaysBuild(target)
    env.NoCache(target)
    against = env.get("AGAINST")
    return target, [*source, *([env.fs.File(against, env.fs.Top)] if against else [])]


def _arguments(target: Sequence[File], source: Sequence[File], env: Environment) -> step.Words:
    ranges: Mapping[str, object] = env.get("RANGES", {})
    glue = [file.path for file in source if file.name.endswith(".js")]
    params = [file.path for file in source if file.name.endswith(".params")]
    against = [*step.named("--against", source[-1].path)] if env.get("AGAINST") else []
    return step.Words(
        [
            *("--module", source[0].path, "--interface", source[1].path),
            *("--platform", env.get("WASM_PLATFORM", "teaclave"), *step.target_features(env)),
            *(word for file in glue for word in ("--glue", file)),
            *step.named("--params", env.get("PARAMS_ARGUMENT", ""), *params),
            *("--ranges", json.dumps(dict(ranges), sort_keys=True), "--report", target[0].path),
        ],
        [*against, *step.named("--limit", env.get("LIMIT", ""))],
    )
