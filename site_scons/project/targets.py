"""The targets of this repository itself: ``test``, ``lint``, ``docs`` and the benchmarks."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from SCons.Action import Action
from SCons.Environment import Base as Environment
from SCons.Node import Node
from SCons.Node.FS import File
from SCons.Script import ARGUMENTS

from onnx_wasm import WRAPPER
from onnx_wasm.rules import step, workspace

_SITE = Path(__file__).parents[1]
_HELP = """
Targets of this repository:
  test [TESTS=...]        run every test: those of the models, the wrapper's, and pytest; TESTS are words for pytest
  lint                    run every linter
  docs                    make the reference in docs/
  bench-build             measure builds against their limits
  bench-weights           measure the memory that a build has for 500 MB of weights
  bench-platforms         measure modules where they run, against their limits
  bench-scale             measure workspaces of many models, against their limits
  bench-speed [MODELS=...]  measure how fast modules run, against onnxruntime-web
  examples [MODELS=...]   build, test and verify the models under examples/
  verify-reproducible [MODELS=... BUILDS=2 SEED=0]  build again and again under other circumstances, and compare
  fuzz-platforms [CASES=20000 SEED=0]  feed modules of every platform what is no picture and no tensor
  fuzz-kills [MOMENTS=100 SEED=0]  kill builds, their processes and their caches' servers, and build again
  conformance             run ONNX's tests of its operators as WebAssembly
  fuzz                    build mutants of ONNX files and manifests
"""
_MODULES = {
    "lint": "project.lint",
    "docs": "project.reference",
    "bench-build": "onnx_wasm.benchmarks.build",
    "bench-weights": "onnx_wasm.benchmarks.weights",
    "bench-platforms": "onnx_wasm.benchmarks.platforms",
    "bench-scale": "onnx_wasm.benchmarks.scale",
    "conformance": "onnx_wasm.benchmarks.conformance",
    "fuzz": "onnx_wasm.benchmarks.fuzz",
}


def declare(env: Environment) -> None:
    """Declares the targets; those that are not files run whenever they are asked for.

    Args:
        env: An environment that the tool has been loaded into.
    """
    env.Help(_HELP, append=True)
    for name, module in _MODULES.items():
        _command(env, name, ["-m", module], {"PYTHONPATH": str(_SITE)})
    models = shlex.split(ARGUMENTS.get("MODELS", ""))
    _command(env, "bench-speed", ["-m", "onnx_wasm.benchmarks.speed", *models], {"PYTHONPATH": str(_SITE)})
    _command(env, "examples", ["-m", "project.examples", *models], {"PYTHONPATH": str(_SITE)})
    builds = ["--builds", ARGUMENTS.get("BUILDS", "2"), "--seed", ARGUMENTS.get("SEED", "0")]
    reproducible = ["-m", "onnx_wasm.benchmarks.reproducible", *builds, *models]
    _command(env, "verify-reproducible", reproducible, {"PYTHONPATH": str(_SITE)})
    fuzz = ["--cases", ARGUMENTS.get("CASES", "20000"), "--seed", ARGUMENTS.get("SEED", "0")]
    _command(env, "fuzz-platforms", ["-m", "onnx_wasm.benchmarks.fuzz_platforms", *fuzz], {"PYTHONPATH": str(_SITE)})
    kills = ["--moments", ARGUMENTS.get("MOMENTS", "100"), "--seed", ARGUMENTS.get("SEED", "0")]
    _command(env, "fuzz-kills", ["-m", "onnx_wasm.benchmarks.kills", *kills], {"PYTHONPATH": str(_SITE)})
    env.Depends("fuzz-platforms", [env.Alias(f"mnist.{it}") for it in ("teaclave.wasm", "wasi.wasm", "web")])
    env.Depends("bench-speed", env.Alias("mnist.teaclave.wasm"))
    env.Depends("bench-platforms", env.Alias("mnist.web"))
    env.Depends("conformance", env.Alias("mnist.wasi.wasm"))  # it comes with a wrapper
    env.Alias("test", [_wrapper_tests(env), _command(env, "pytest", ["-m", "pytest", *_pytest_words()])])


def _command(env: Environment, name: str, words: Sequence[str], variables: Mapping[str, str] = {}) -> Node:
    """An alias that runs Python in the user's environment, at the top of the checkout."""

    def run(**_kwargs: object) -> int:
        command = [sys.executable, "-P", *words]
        return subprocess.run(command, env={**os.environ, **variables}, check=False).returncode

    (alias,) = env.AlwaysBuild(env.Alias(name, [], Action(run, cmdstr=None)))
    return alias


def _pytest_words() -> list[str]:
    """What the user asks of pytest, or everything, on several processors."""
    return shlex.split(ARGUMENTS.get("TESTS", "-n auto --maxprocesses 4"))


def _wrapper_tests(env: Environment) -> Node:
    """The report of the wrapper's tests: made again when the crate or a tool is another."""
    crate = WRAPPER
    files = [path for folder in ("src", "tests") for path in sorted((crate / folder).rglob("*")) if path.is_file()]
    sources = [env.File(str(path)) for path in (crate / "Cargo.toml", crate / "Cargo.lock", *files)]
    report = env.Command("$ONNX_WASM_BUILD/wrapper.test.txt", sources, _RUN)
    tools = workspace.of(env).toolchain
    env.Depends(report, [env.Value(tool.fingerprint) for tool in (tools.rustc, tools.cargo, tools.crates) if tool])
    return report


def _run_wrapper_tests(target: Sequence[File], source: Sequence[File], env: Environment) -> int:  # noqa: ARG001 - SCons's
    tools = workspace.of(env).toolchain
    options = {
        "--report": target[0].path,
        "--work": f"{target[0].path}.cargo",
        "--source": str(WRAPPER),
        "--rustc": str(tools.rustc.path),
        "--cargo": str(tools.cargo.path),
        **({"--crates": str(tools.crates.path)} if tools.crates else {}),
    }
    words = [word for option in options.items() for word in option]
    return step.start([sys.executable, "-m", "project.wrapper_tests", *words])


_RUN = Action(_run_wrapper_tests, "wrapper tests")
