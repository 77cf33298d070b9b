"""Compiled models without the wrapper's entry points: linked in a moment, and run on arrays.

What is compiled, and the functions of C that it calls, are those of a finished module: ``onnx_wasm_run`` and the ABI
behind it are described in ARCHITECTURE.md.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import wasmtime

from onnx_wasm import interface
from onnx_wasm.compiler import pipeline
from onnx_wasm.hosts import checks
from onnx_wasm.interface import Interface, Tensor
from onnx_wasm.platforms import WASI, Platform
from onnx_wasm.wasm import PAGE_SIZE

PLATFORM = WASI
"""What models are compiled for: it has vectors, as all platforms but one."""

_OPT_LEVEL = 3
_ALIGNMENT = 64
_UNWRITTEN = 0xFF  # as float, NaN: what is read before it is written shows
_AREAS = ("inputs", "outputs", "params", "workspace")


@dataclass(frozen=True)
class Compiled:
    """A model, compiled.

    Args:
        interface: Its inputs and outputs.
        object: The object file.
        params: Its weights.
    """

    interface: Interface
    object: Path
    params: bytes


def compiled(model: Path, folder: Path, label: str, platform: Platform = PLATFORM) -> Compiled:
    """Takes a model through the whole compiler.

    Args:
        model: The ONNX file.
        folder: Where to put what is made.
        label: What messages call the model.
        platform: What to compile for; one with no more features than ``PLATFORM`` can run here.

    Raises:
        BuildError: The model is refused.
    """
    ir, weights = folder / "model.ir.json", folder / "model.weights.safetensors"
    files = pipeline.ObjectFiles(*(folder / name for name in ("model.o", "model.graph.json", "model.params")))
    pipeline.to_ir(model, pipeline.Freeze({}, {}), label, ir, weights)
    pipeline.to_object(ir, weights, platform, _OPT_LEVEL, "aot", label, files)
    graph = json.loads(files.graph.read_text(encoding="utf-8"))
    takes_and_gives = interface.combine(graph, (), (), label)
    interface.to_descriptor(takes_and_gives, graph_size=0)
    return Compiled(takes_and_gives, files.object, files.params.read_bytes())


class Laboratory:
    """Links and runs compiled models, all in one engine.

    Args:
        linker: The words that start wasm-ld.
        wrapper: The wrapper's library, for the functions of C that kernels call.
    """

    def __init__(self, linker: Sequence[str], wrapper: Path) -> None:
        self._linker = linker
        self._wrapper = wrapper
        settings = checks.config(PLATFORM)
        settings.parallel_compilation = False
        settings.cranelift_opt_level = "none"
        self._engine = wasmtime.Engine(settings)

    def run(self, model: Compiled, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Runs a model once.

        Args:
            model: The model.
            inputs: By name, of the dtypes and shapes that the model takes.

        Returns:
            Its outputs, in order.

        Raises:
            RuntimeError: The module does not link, traps, or writes where it must not.
        """
        module = wasmtime.Module(self._engine, self._linked(model.object).read_bytes())
        with wasmtime.Store(self._engine) as store:
            exports = wasmtime.Instance(store, module, []).exports(store)
            memory, entry, heap = (exports[name] for name in ("memory", "onnx_wasm_run", "__heap_base"))
            assert isinstance(memory, wasmtime.Memory)
            assert isinstance(entry, wasmtime.Func)
            assert isinstance(heap, wasmtime.Global)
            places, end = _places(heap.value(store), model.interface.sizes)
            memory.grow(store, max(0, -(-end // PAGE_SIZE) - memory.size(store)))
            given = _area(model.interface.inputs, inputs, model.interface.sizes["inputs"])
            for area, held in (
                ("inputs", bytes([_UNWRITTEN]) * (end - places["inputs"])),
                ("inputs", given),
                ("params", model.params),
            ):
                if held:  # nothing may be written behind the end, not even nothing
                    memory.write(store, held, places[area])
            status = entry(store, *places.values())
            if status != 0:
                raise RuntimeError(f"the model returned {status}")
            for area, held in (("inputs", given), ("params", model.params)):
                if memory.read(store, places[area], places[area] + len(held)) != held:
                    raise RuntimeError(f"the model wrote to its {area}")
            return [_tensor(memory, store, places["outputs"], it) for it in model.interface.outputs]

    def _linked(self, object_: Path) -> Path:
        module = object_.with_suffix(".wasm")
        command = [
            *(*self._linker, "--no-entry", "--gc-sections", "--stack-first", "--fatal-warnings"),
            *("--export=onnx_wasm_run", "--export=__heap_base", str(object_), str(self._wrapper), "-o", str(module)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the model does not link: {done.stderr.strip()}")
        return module


def _places(start: int, sizes: Mapping[str, int]) -> tuple[dict[str, int], int]:
    """The address of each area, and the end of the last."""
    places = {}
    for area in _AREAS:
        places[area] = start = -(-start // _ALIGNMENT) * _ALIGNMENT
        start += sizes[area]
    return places, start


def _area(tensors: Sequence[Tensor], values: Mapping[str, np.ndarray], size: int) -> bytes:
    data = bytearray(size)
    for it in tensors:
        value = np.asarray(values[it.name])
        if (str(value.dtype), value.shape) != (it.dtype, it.shape):
            found = f"{value.dtype}{list(value.shape)}"
            raise RuntimeError(f"input {it.name} became {it.dtype}{list(it.shape)}; it is {found}")
        data[it.offset : it.offset + value.nbytes] = value.tobytes()
    return bytes(data)


def _tensor(memory: wasmtime.Memory, store: wasmtime.Store, outputs: int, it: Tensor) -> np.ndarray:
    start = outputs + it.offset
    nbytes = int(np.prod(it.shape, dtype=np.int64)) * np.dtype(it.dtype).itemsize
    return np.frombuffer(memory.read(store, start, start + nbytes), it.dtype).reshape(it.shape)
