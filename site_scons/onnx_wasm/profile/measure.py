"""Measures a model's kernels in the runtime of its platform: V8 for JavaScript hosts, wasmtime for the others.

Where modules are interpreted, what counts is how many instructions a kernel runs, not how long compiled code takes.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import wasmtime

from onnx_wasm import wasm
from onnx_wasm.hosts import checks, node
from onnx_wasm.hosts.compiled import FUEL
from onnx_wasm.platforms import Platform
from onnx_wasm.profile import ceilings
from onnx_wasm.profile.calls import AREAS, Call
from onnx_wasm.profile.ceilings import Ceilings
from onnx_wasm.profile.driver import driver

_TARGET = 0.005
"""Seconds that a call is timed for at least, again and again."""

_ROUNDS = 7
_ALIGNMENT = 64
_NODE = Path(__file__).with_name("node.mjs")


@dataclass(frozen=True)
class Linked:
    """Kernels that can run.

    Args:
        module: They, linked, each exported by its name, with ``memory`` and ``__heap_base``.
        params: The weights that they read.
        calls: What is run of them.
        sizes: Bytes of each area.
    """

    module: Path
    params: Path
    calls: Sequence[Call]
    sizes: Mapping[str, int]


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Args:
        runtime: In what.
        unit: ``seconds`` or ``instructions``.
        calls: How many of them each call takes, of one module after the other.
        ceilings: What the machine can do there; None for instructions, or if nobody asked.
    """

    runtime: str
    unit: str
    calls: tuple[float, ...]
    ceilings: Ceilings | None = None


def linking(calls: Sequence[Call], files: Sequence[Path], module: Path) -> list[str]:
    """What a linker is told to make a module of kernels alone, with what they call of the wrapper's.

    Args:
        calls: What is run of them: their kernels are exported.
        files: The object, then the wrapper's library.
        module: The module to write.
    """
    return [
        *("--no-entry", "--gc-sections", "--stack-first", "--export=__heap_base"),
        *(f"--export={kernel}" for kernel in sorted({call.kernel for call in calls})),
        *(*map(str, files), "-o", str(module)),
    ]


def measure(modules: Sequence[Linked], platform: Platform, scratch: Path, *, with_ceilings: bool = False) -> Measured:
    """Runs every call alone, in order and turn about.

    Args:
        modules: What is measured; several are held against each other.
        platform: Where they are to run.
        scratch: A folder.
        with_ceilings: Whether the machine is measured too, where calls are measured in seconds.

    Raises:
        BuildError: The runtime is not there, or failed.
    """
    machine = ceilings.module(relaxed="relaxed-simd" in platform.features) if with_ceilings else None
    return _in_wasmtime(modules, platform, machine) if platform.host else _in_node(modules, scratch, machine)


def _in_node(modules: Sequence[Linked], scratch: Path, machine: bytes | None) -> Measured:
    described = []
    for index, it in enumerate(modules):
        calling = scratch / f"driver{index}.wasm"
        calling.write_bytes(driver(it.calls))
        paths = {"module": str(it.module), "driver": str(calling), "params": str(it.params)}
        sizes = {area: it.sizes[area] for area in AREAS}
        described.append({**paths, "sizes": sizes, "calls": len(it.calls)})
    given: dict[str, object] = {"modules": described, "target": _TARGET * 1000}
    if machine:
        path = scratch / "machine.wasm"
        path.write_bytes(machine)
        given["machine"] = {"module": str(path), "functions": list(ceilings.FUNCTIONS)}
    found = node.answer(_NODE, given, str(modules[0].module))
    return _measured(f"Node.js {found['version']}", [it / 1000 for it in found["milliseconds"]], machine)


def _in_wasmtime(modules: Sequence[Linked], platform: Platform, machine: bytes | None) -> Measured:
    settings = checks.config(platform)
    settings.consume_fuel = interpreted = "simd128" not in platform.features
    engine = wasmtime.Engine(settings)
    with wasmtime.Store(engine) as store:
        if interpreted:
            store.set_fuel(FUEL)
        functions = [function for it in modules for function in _functions(store, engine, it)]
        for function in functions:
            function(store, 2)
        if interpreted:
            return Measured("wasmtime, fuel", "instructions", tuple(_fuel(store, it) for it in functions))
        if machine:
            exports = wasmtime.Instance(store, wasmtime.Module(engine, machine), []).exports(store)
            functions += [exports[name] for name in ceilings.FUNCTIONS]
        seconds = _least([functools.partial(it, store) for it in functions])
    return _measured(f"wasmtime {version('wasmtime')}", seconds, machine)


def _measured(runtime: str, seconds: Sequence[float], machine: bytes | None) -> Measured:
    """From the seconds of each call, and then of each of the machine's functions, if there are such."""
    count = len(seconds) - (len(ceilings.FUNCTIONS) if machine else 0)
    its = Ceilings.of(dict(zip(ceilings.FUNCTIONS, seconds[count:], strict=True))) if machine else None
    return Measured(runtime, "seconds", tuple(seconds[:count]), its)


def _functions(store: wasmtime.Store, engine: wasmtime.Engine, it: Linked) -> list[Callable[..., object]]:
    """For each call what makes it, as often as it is told."""
    model = wasmtime.Instance(store, wasmtime.Module(engine, it.module.read_bytes()), []).exports(store)
    linker = wasmtime.Linker(engine)
    for area, address in _place(store, model, it.sizes, it.params).items():
        kind = wasmtime.GlobalType(wasmtime.ValType.i32(), False)
        linker.define(store, "areas", area, wasmtime.Global(store, kind, wasmtime.Val.i32(address)))
    for kernel in {call.kernel: None for call in it.calls}:
        linker.define(store, "model", kernel, model[kernel])
    timed = linker.instantiate(store, wasmtime.Module(engine, driver(it.calls))).exports(store)
    return [timed[str(index)] for index in range(len(it.calls))]


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


def _least(calls: Sequence[Callable[[int], object]]) -> list[float]:
    """Seconds that each takes: the least of several rounds, as what disturbs a run only ever makes it longer."""

    def seconds(call: Callable[[int], object], times: int) -> float:
        start = time.perf_counter()
        call(times)
        return time.perf_counter() - start

    def enough(call: Callable[[int], object]) -> int:
        times = 1
        while seconds(call, times) < _TARGET:
            times *= 2
        return times

    times = [enough(call) for call in calls]
    rounds = [[seconds(*it) for it in zip(calls, times, strict=True)] for _ in range(_ROUNDS)]
    return [min(took) / count for *took, count in zip(*rounds, times, strict=True)]
