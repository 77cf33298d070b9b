"""The rule WasmVerify."""

from __future__ import annotations

from collections.abc import Sequence

from SCons.Builder import Builder
from SCons.Environment import Base as Environment
from SCons.Node.FS import File

from onnx_wasm.rules import step, tvm_ir

_STEP = step.Step(
    "WasmVerify",
    "verify",
    ("errors.py", "platforms.py", "status.py", "wasm.py", "hosts", "actions/common.py", "actions/verify.py"),
    ("python", "wasmtime", "numpy", "onnx"),
)


def rule() -> Builder:
    """``env.WasmVerify(target, source)``: holds the finished module, in its host, against the ONNX reference evaluator.

    Args:
        target: The report, ``build/x/mnist.verify.json``, there only if every output was close enough.
        source: The module, its interface, and the ONNX file.
        SAMPLES: How many seeded inputs are drawn. Default 2.
        TOLERANCE: The greatest difference allowed, as a share of an output's largest element. Default 1e-4.
        MANIFEST: The manifest that messages name.
    """
    return step.builder(_STEP, _arguments, suffix=".verify.json", source_scanner=tvm_ir.external_data_scanner())


def _arguments(target: Sequence[File], source: Sequence[File], env: Environment) -> step.Words:
    files = ["--module", source[0].path, "--interface", source[1].path, "--model", source[2].path]
    how = ["--samples", str(env.get("SAMPLES", 2)), "--tolerance", repr(float(env.get("TOLERANCE", 1e-4)))]
    return step.Words([*files, *how, "--report", target[0].path])
