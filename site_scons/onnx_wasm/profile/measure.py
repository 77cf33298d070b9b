"""Measures a model's kernels in the runtime of its platform: V8 for JavaScript hosts, wasmtime for the others.

Where modules are interpreted, what counts is how many instructions a kernel runs, not how long compiled code takes.
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import wasmtime

from onnx_wasm import wasm
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.hosts import checks
from onnx_wasm.platforms import Platform
from onnx_wasm.profile.calls import AREAS, Call
from onnx_wasm.profile.driver import PEAK_FLOPS, driver, peak

_TARGET = 0.005
"""Seconds that a call is timed for at least, again and again."""

_ROUNDS = 7
_ALIGNMENT = 64
_FUEL = 1 << 60
_NODE = Path(__file__).with_name("node.mjs")


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Args:
        runtime: In what.
        unit: ``seconds`` or ``instructions``.
        calls: How many of them each call takes.
        peak: Operations a second of a loop that only multiplies and adds vectors of float32; 0 for instructions.
    """

    runtime: str
    unit: str
    calls: tuple[float, ...]
    peak: float = 0


def measure(
    module: Path, params: Path, calls: Sequence[Call], sizes: Mapping[str, int], platform: Platform, scratch: Path
) -> Measured:
    """Runs every call alone, in order.

    Args:
        module: The kernels, linked, each exported by its name, with ``memory`` and ``__heap_base``.
        params: The model's weights.
        calls: What the model runs.
        sizes: Bytes of each area.
        platform: Where the model is to run.
        scratch: An empty folder.

    Raises:
        BuildError: The runtime is not there, or failed.
    """
    if not platform.host:
        return _in_node(module, params, calls, sizes, scratch, "relaxed-simd" in platform.features)
    return _in_wasmtime(module, params, calls, sizes, platform)


def _in_node(
    module: Path, params: Path, calls: Sequence[Call], sizes: Mapping[str, int], scratch: Path, relaxed: bool
) -> Measured:
    node = shutil.which("node")
    if node is None:
        raise BuildError(Problem(str(module), "a profile for the web needs node", "./sconsw setup dev brings it"))
    files = {"driver": scratch / "driver.wasm", "peak": scratch / "peak.wasm"}
    files["driver"].write_bytes(driver(calls))
    files["peak"].write_bytes(peak(relaxed=relaxed))
    paths = {name: str(path) for name, path in (*files.items(), ("module", module), ("params", params))}
    given = {**paths, "sizes": {area: sizes[area] for area in AREAS}, "calls": len(calls), "target": _TARGET * 1000}
    command = [node, str(_NODE)]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(Problem(str(module), f"node ended with {done.returncode}:\n{done.stderr.strip()}"))
    found = json.loads(done.stdout)
    times = tuple(milliseconds / 1000 for milliseconds in found["calls"])
    return Measured(f"Node.js {found['version']}", "seconds", times, PEAK_FLOPS / (found["peak"] / 1000))


def _in_wasmtime(
    module: Path, params: Path, calls: Sequence[Call], sizes: Mapping[str, int], platform: Platform
) -> Measured:
    settings = checks.config(platform)
    settings.consume_fuel = interpreted = "simd128" not in platform.features
    engine = wasmtime.Engine(settings)
    with wasmtime.Store(engine) as store:
        if interpreted:
            store.set_fuel(_FUEL)
        model = wasmtime.Instance(store, wasmtime.Module(engine, module.read_bytes()), []).exports(store)
        areas = _place(store, model, sizes, params)
        linker = wasmtime.Linker(engine)
        for area, address in areas.items():
            kind = wasmtime.GlobalType(wasmtime.ValType.i32(), False)
            linker.define(store, "areas", area, wasmtime.Global(store, kind, wasmtime.Val.i32(address)))
        for kernel in {call.kernel: None for call in calls}:
            linker.define(store, "model", kernel, model[kernel])
        timed = linker.instantiate(store, wasmtime.Module(engine, driver(calls))).exports(store)
        functions = [timed[str(index)] for index in range(len(calls))]
        for function in functions:
            function(store, 2)
        if interpreted:
            return Measured("wasmtime, fuel", "instructions", tuple(_fuel(store, it) for it in functions))
        registers = wasmtime.Instance(
            store, wasmtime.Module(engine, peak(relaxed="relaxed-simd" in platform.features)), []
        )
        best = _best(functools.partial(registers.exports(store)["peak"], store))
        seconds = tuple(_best(functools.partial(it, store)) for it in functions)
    return Measured(f"wasmtime {version('wasmtime')}", "seconds", seconds, PEAK_FLOPS / best)


def _place(
    store: wasmtime.Store, model: wasmtime.InstanceExports, sizes: Mapping[str, int], params: Path
) -> dict[str, int]:
    """Puts the areas behind the module's own data, and the weights into theirs."""
    memory, base = model["memory"], model["__heap_base"]
    assert isinstance(memory, wasmtime.Memory)
    assert isinstance(base, wasmtime.Global)
    end, areas = int(base.value(store)), {}
    for area in AREAS:
        areas[area] = -(-end // _ALIGNMENT) * _ALIGNMENT
        end = areas[area] + sizes[area]
    missing = end - memory.data_len(store)
    if missing > 0:
        memory.grow(store, -(-missing // wasm.PAGE_SIZE))
    memory.write(store, params.read_bytes(), areas["params"])
    return areas


def _fuel(store: wasmtime.Store, call: Callable[..., object]) -> float:
    before = store.get_fuel()
    call(store, 1)
    return float(before - store.get_fuel())


def _best(call: Callable[[int], object]) -> float:
    """Seconds of one turn: the least of several rounds, as what disturbs a run only ever makes it longer."""

    def seconds(times: int) -> float:
        start = time.perf_counter()
        call(times)
        return time.perf_counter() - start

    times, took = 1, seconds(1)
    while took < _TARGET:
        times *= 2
        took = seconds(times)
    return min(took, *(seconds(times) for _ in range(_ROUNDS))) / times
