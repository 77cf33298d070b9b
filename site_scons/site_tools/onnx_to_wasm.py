"""The SCons tool: ``Environment(tools=["onnx_to_wasm"])`` registers the rules.

The name is not that of a package: SCons would put the tool in its place.
"""

import atexit

from onnx_wasm.rules import (
    model_fetch,
    model_library,
    questions,
    release_profile,
    rust_wrapper,
    teaclave_bundle,
    tvm_ir,
    wasm_bench,
    wasm_model,
    wasm_module,
    wasm_object,
    wasm_optimize,
    wasm_profile,
    wasm_release,
    wasm_size,
    wasm_test,
    wasm_verify,
    wasm_workspace,
    web_package,
    workspace,
)


def generate(env):
    """Registers the rules, ``WasmModel``, which composes them, and ``WasmWorkspace``, for many models."""
    env.SetDefault(ONNX_WASM_BUILD="#build", ONNX_WASM_DIST="#dist")
    workspace.set_up(env)
    questions.declare(env)
    env["BUILDERS"]["ModelFetch"] = model_fetch.rule()
    env["BUILDERS"]["TvmIr"] = tvm_ir.rule()
    env["BUILDERS"]["WasmObject"] = wasm_object.rule()
    env["BUILDERS"]["ModelLibrary"] = model_library.rule()
    env["BUILDERS"]["RustWrapper"] = rust_wrapper.rule()
    env["BUILDERS"]["WasmModule"] = wasm_module.rule()
    env["BUILDERS"]["WasmTest"] = wasm_test.rule()
    env["BUILDERS"]["WebPackage"] = web_package.rule()
    env["BUILDERS"]["TeaclaveBundle"] = teaclave_bundle.rule()
    env["BUILDERS"]["WasmVerify"] = wasm_verify.rule()
    env["BUILDERS"]["WasmProfile"] = wasm_profile.rule()
    env["BUILDERS"]["WasmBench"] = wasm_bench.rule()
    env["BUILDERS"]["WasmSize"] = wasm_size.rule()
    env["BUILDERS"]["WasmOptimize"] = wasm_optimize.rule()
    env["BUILDERS"]["WasmRelease"] = wasm_release.rule()
    env.AddMethod(wasm_model.wasm_model, "WasmModel")
    release_profile.declare_lock(env)
    env.AddMethod(wasm_workspace.wasm_workspace, "WasmWorkspace")
    atexit.register(workspace.of(env).report)
    atexit.register(workspace.of(env).strategy.close)


def exists(_env):
    """Whether the tool can be used here: always; what is missing is told when a model is declared."""
    return True
