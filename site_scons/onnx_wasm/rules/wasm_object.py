"""The rule WasmObject."""

from __future__ import annotations

from collections.abc import Sequence

from SCons.Builder import Builder
from SCons.Environment import Base as Environment
from SCons.Node import Node
from SCons.Node.FS import File

from onnx_wasm.rules import step

_STEP = step.Step(
    "WasmObject",
    "wasm_object",
    (
        *("errors.py", "platforms.py", "toml_tables.py", "tuning.py"),
        *("actions/common.py", "actions/wasm_object.py", "compiler"),
    ),
    ("python", "tvm", "numpy", "safetensors"),
    memory=step.Memory(260_000_000, 6),
)


def rule() -> Builder:
    """``env.WasmObject(target, source)``: TVM IR as one wasm32 object.

    Args:
        target: The object, ``build/x/mnist.o``. The graph, ``mnist.graph.json``, and the parameters, ``mnist.params``,
            are put beside it.
        source: What ``TvmIr`` made: the IR, then the weights. Then tuning files, if there are any: of several records
            of one kernel, the first counts.
        WASM_PLATFORM: Where the module will run. Default ``teaclave``.
        TARGET_FEATURES: The platform's optional features that the module uses. Default: none.
        SHARED_WEIGHTS: Whether a module without these features reads the same file of weights: then that one's records
            count. Default: no.
        OPT_LEVEL: LLVM's, 0 to 3, or ``s`` for small code. Default 3.
        EXECUTOR: ``aot`` or ``graph``. Default ``aot``.
        MANIFEST: The manifest that messages name.
    """
    return step.builder(_STEP, _arguments, _targets, suffix=".o")


def _targets(target: list[File], source: list[File], _env: Environment) -> tuple[list[Node], list[Node]]:
    return [target[0], step.beside(target[0], ".graph.json"), step.beside(target[0], ".params")], source


def _arguments(target: Sequence[File], source: Sequence[File], env: Environment) -> step.Words:
    return step.Words(
        [
            *("--ir", source[0].path, "--weights", source[1].path),
            *(word for file in source[2:] for word in ("--tuning", file.path)),
            *(["--shared-weights"] if env.get("SHARED_WEIGHTS") else []),
            *("--platform", env.get("WASM_PLATFORM", "teaclave"), *step.target_features(env)),
            *("--opt-level", str(env.get("OPT_LEVEL", 3)), "--executor", env.get("EXECUTOR", "aot")),
            *("--object", target[0].path, "--graph", target[1].path, "--params", target[2].path),
        ]
    )
