"""The compiler's table of contents: ONNX → Relax, then Relax → loops → one wasm object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import tvm

from onnx_wasm.compiler import (
    alone,
    codegen,
    frontend,
    graph_json,
    importer,
    intrinsics,
    lowering,
    params,
    targets,
    weights,
)
from onnx_wasm.compiler.costs import costs_of
from onnx_wasm.compiler.kernels import as_c_functions
from onnx_wasm.compiler.plan import plan
from onnx_wasm.compiler.sharing import share
from onnx_wasm.compiler.tvm_errors import told
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.platforms import Platform
from onnx_wasm.tuning import Choice, Choose, Kernel


@dataclass(frozen=True)
class Freeze:
    """What the manifest fixes of what the ONNX file leaves open.

    Args:
        shapes: Whole shapes, by the name of the input.
        dimensions: Extents, by the name of the dimension.
        values: What inputs are that the module does not take, by name.
    """

    shapes: Mapping[str, tuple[int, ...]]
    dimensions: Mapping[str, int]
    values: Mapping[str, float] = field(default_factory=dict)


def to_ir(model: Path, freeze: Freeze, label: str, ir: Path, weights_file: Path) -> None:
    """Writes a model as TVM IR, its weights apart.

    Args:
        model: The ONNX file.
        freeze: Open dimensions.
        label: What messages call the model.
        ir: The Relax module to write, as TVM's JSON.
        weights_file: The safetensors file to write.

    Raises:
        BuildError: Everything that stands in the way.
    """
    imported = _imported(model, freeze, label)
    ir.write_text(tvm.ir.save_json(imported.module), encoding="utf-8")
    weights.save(imported.weights, weights_file)


def obstacles(model: Path, freeze: Freeze, label: str) -> tuple[Problem, ...]:
    """What stands in the way of ``to_ir``, without writing anything.

    Args:
        model: The ONNX file.
        freeze: Open dimensions.
        label: What messages call the model.
    """
    try:
        _imported(model, freeze, label)
    except BuildError as error:
        return error.problems
    return ()


def _imported(model: Path, freeze: Freeze, label: str) -> importer.ImportedModel:
    graph = frontend.load(model, freeze.shapes, freeze.dimensions, label, importer.is_known, freeze.values)
    return importer.import_onnx(graph, str(model))


@dataclass(frozen=True)
class ObjectFiles:
    """The files that ``to_object`` writes.

    Args:
        object: The kernels, and with the executor ``aot`` the entry function.
        graph: What runs in which order on which storage, as graph JSON.
        params: The weights as the kernels read them, at the offsets that the graph gives.
    """

    object: Path
    graph: Path
    params: Path


def to_object(
    ir: Path,
    weights_file: Path,
    platform: Platform,
    opt_level: int | str,
    executor: str,
    label: str,
    outputs: ObjectFiles,
    choose: Choose = lambda _: None,
) -> None:
    """Compiles TVM IR to one wasm32 object.

    Args:
        ir: What ``to_ir`` wrote.
        weights_file: The weights beside it.
        platform: Where the module will run.
        opt_level: LLVM's, 0 to 3; ``s`` for small code.
        executor: ``aot`` or ``graph``.
        label: What messages call the model.
        outputs: The files to write.
        choose: How kernels are to be computed, where that was measured.

    Raises:
        BuildError: Something in the model cannot be compiled ahead of time.
    """
    intrinsics.register()
    target = targets.wasm_target(platform, opt_level)
    with told(label, "compile this model"):
        _compile(_read(ir, weights_file), platform, target, executor, label, outputs, choose)


def tunable(ir: Path, weights_file: Path, platform: Platform, label: str) -> list[Kernel]:
    """The kernels of a model that there is something to choose about, each once.

    Args:
        ir: What ``to_ir`` wrote.
        weights_file: The weights beside it.
        platform: Where the module will run.
        label: What messages call the model.

    Raises:
        BuildError: Something in the model cannot be compiled ahead of time.
    """
    intrinsics.register()
    with told(label, "compile this model"):
        return lowering.kernels_of(_read(ir, weights_file), targets.wasm_target(platform, _OPT_LEVEL))


def kernel_to_object(
    kernel: Kernel, choice: Choice | None, platform: Platform, opt_level: int | str, label: str, outputs: ObjectFiles
) -> None:
    """Compiles a model of one kernel, with weights of no meaning.

    Args:
        kernel: The kernel.
        choice: How it is to be computed; None for as without a record.
        platform: Where it will run.
        opt_level: LLVM's, 0 to 3; ``s`` for small code.
        label: What messages call the kernel.
        outputs: The files to write.

    Raises:
        BuildError: It cannot be compiled.
    """
    intrinsics.register()
    target = targets.wasm_target(platform, opt_level)
    with told(label, "compile this kernel"):
        with target:
            module = alone.module_of(kernel, choice)
        _compile(module, platform, target, "aot", label, outputs, {kernel: choice}.get)


_OPT_LEVEL = 3
"""Passes over graphs do not ask for it."""


def _read(ir: Path, weights_file: Path) -> tvm.IRModule:
    return importer.with_weights(tvm.ir.load_json(ir.read_text(encoding="utf-8")), weights.load(weights_file))


def _compile(
    module: tvm.IRModule,
    platform: Platform,
    target: tvm.target.Target,
    executor: str,
    label: str,
    outputs: ObjectFiles,
    choose: Choose,
) -> None:
    calls, loops = lowering.to_loops(module, target, choose)
    if executor == "aot":
        kernels = as_c_functions(loops, target)
        scratch = {name: kernel.scratch for name, kernel in kernels.items()}
        planned = plan(calls, scratch, label, resident=platform.resident)
        shared = share({name: kernel.function for name, kernel in kernels.items()}, target)
        codegen.write_c_object(shared, planned, target, outputs.object)
    else:
        planned = plan(calls, {}, label)
        codegen.write_packed_object(loops, target, outputs.object)
    outputs.graph.write_text(graph_json.dumps(planned, module["main"].attrs, costs_of(loops)), encoding="utf-8")
    params.write(planned, outputs.params)
