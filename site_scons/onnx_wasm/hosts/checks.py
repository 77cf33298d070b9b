"""Whether a platform can load a module: its imports, its exports, and the instructions it uses."""

from __future__ import annotations

import re
from collections.abc import Iterator

import wasmtime
from wasmtime import _bindings

from onnx_wasm import wasm
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.platforms import Platform

# What wasmtime calls the WebAssembly features that LLVM has a name for. Not here are sign-ext, nontrapping-fptoint and
# mutable-globals: wasmtime always has them, and so has every runtime that we build for.
_OPTIONAL = {
    "atomics": "wasm_threads",
    "bulk-memory": "wasm_bulk_memory",
    "exception-handling": "wasm_exceptions",
    "multimemory": "wasm_multi_memory",
    "multivalue": "wasm_multi_value",
    "reference-types": "wasm_reference_types",
    "relaxed-simd": "wasm_relaxed_simd",
    "simd128": "wasm_simd",
    "tail-call": "wasm_tail_call",
    "wide-arithmetic": "wasm_wide_arithmetic",
}
_BUILDS_ON = {"simd128": ("relaxed-simd",)}
_MOST_PAGES = 1 << 16  # what 32 bits address
_NEVER = ("wasm_custom_page_sizes", "wasm_function_references", "wasm_gc", "wasm_memory64", "wasm_stack_switching")


def check(data: bytes, platform: Platform, where: str) -> wasm.Module:
    """Reads a module and holds it against what its platform can load.

    Args:
        data: The finished module.
        platform: Where it is to run.
        where: The module's file, as messages call it.

    Returns:
        What the module consists of.

    Raises:
        BuildError: It imports what the platform does not offer, lacks an export or has one of another type, asks for
            more memory than there can be, is invalid or uses instructions that the platform's runtime does not know.
            All of it at once.
    """
    module = wasm.read(data, where)
    problems = (
        *_import_problems(module, platform, where),
        *_export_problems(module, platform, where),
        *_memory_problems(module, platform, where),
        *_instruction_problems(module, data, platform, where),
    )
    if problems:
        raise BuildError(problems)
    return module


def features(data: bytes) -> tuple[str, ...]:
    """The features, by LLVM's names, without which a module is not valid; none of those that every runtime has.

    Args:
        data: The module.
    """
    needed = tuple(it for it in _OPTIONAL if _rejection(_without(it), data))
    return () if len(needed) == len(_OPTIONAL) else needed  # all: it is not valid with any


def _without(feature: str) -> wasmtime.Config:
    """Every optional feature but one, and what builds on that."""
    left_out = (feature, *_BUILDS_ON.get(feature, ()))
    left = tuple(it for it in _OPTIONAL if it not in left_out)
    return config(Platform(name="", rust_target="", cpu="", features=left))


def config(platform: Platform) -> wasmtime.Config:
    """Configures wasmtime to accept just the WebAssembly features that a platform has.

    Args:
        platform: Its ``features``; its ``cpu`` counts as having none.
    """
    settings = wasmtime.Config()
    # On by default, needs reference-types, and has no setter in wasmtime's Python class.
    _bindings.wasmtime_config_wasm_component_model_async_set(settings.ptr(), False)
    for feature, attribute in _OPTIONAL.items():
        setattr(settings, attribute, feature in platform.features)
    for attribute in _NEVER:
        setattr(settings, attribute, False)
    return settings


def _import_problems(module: wasm.Module, platform: Platform, where: str) -> Iterator[Problem]:
    for import_ in module.imports:
        offered = platform.imports.get(import_.name)
        if offered is None and import_.kind == "func":
            message = f"imports {import_.name}, a function {import_.type}, which {platform.name} does not offer"
            yield Problem(where, message, "a symbol that no object file and no library defines ends as an import")
        elif offered is None:
            yield Problem(where, f"imports {import_.name}, a {import_.type}, which {platform.name} does not offer")
        elif offered != import_.type:
            yield Problem(where, f"imports {import_.name} as {import_.type}; {platform.name} offers it as {offered}")


def _export_problems(module: wasm.Module, platform: Platform, where: str) -> Iterator[Problem]:
    for name, type_ in platform.exports.items():
        export = module.export(name)
        if export is None:
            yield Problem(where, f"does not export {name} ({type_}), which {platform.name} needs")
        elif export.type != type_:
            yield Problem(where, f"exports {name} as {export.type}; {platform.name} needs it as {type_}")


def _memory_problems(module: wasm.Module, platform: Platform, where: str) -> Iterator[Problem]:
    heap = platform.app_heap // wasm.PAGE_SIZE
    for memory in module.memories:
        most = _MOST_PAGES if memory.maximum is None else memory.maximum
        if memory.minimum + heap > most:
            needs = (
                f"{memory.minimum} pages at first, {heap} more for {platform.name}"
                if heap
                else f"{memory.minimum} pages"
            )
            yield Problem(where, f"its memory of at most {most} pages is too small: it needs {needs}")


def _instruction_problems(module: wasm.Module, data: bytes, platform: Platform, where: str) -> Iterator[Problem]:
    message = _rejection(config(platform), data)
    if not message:
        return
    place = _function_at(module, message)
    if _rejection(wasmtime.Config(), data):
        yield Problem(where, f"is not a valid WebAssembly module: {message}{place}")
    else:
        hint = "build it for the features that the platform has: " + (", ".join(platform.features) or platform.cpu)
        yield Problem(where, f"uses what {platform.name} does not have: {message}{place}", hint)


def _rejection(settings: wasmtime.Config, data: bytes) -> str:
    """Why wasmtime would not take a module; empty if it would."""
    try:
        wasmtime.Module.validate(wasmtime.Engine(settings), data)
    except wasmtime.WasmtimeError as error:
        return str(error).strip().splitlines()[-1].strip()
    return ""


def _function_at(module: wasm.Module, message: str) -> str:
    """Names the function that wasmtime's message gives the offset of."""
    offset = re.search(r"at offset 0x([0-9a-f]+)", message)
    if offset is None:
        return ""
    at = int(offset[1], 16)
    for function in module.functions:
        if function.offset <= at < function.offset + function.size:
            return f" in function {function.name or function.index}"
    return ""
