"""Measures a finished module where it runs: in V8 through its package's own glue, or in its platform's host.

It is started anew several times, so that what differs from start to start is part of what is measured.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from onnx_wasm.bench.figures import RUN
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.hosts import node
from onnx_wasm.hosts.loading import load
from onnx_wasm.hosts.result import Host, Taken
from onnx_wasm.verification.samples import Sample

_STARTS = 5
_WARM = 0.3
_SECONDS = 0.5
"""How long a start's runs are measured."""

_FEWEST, _MOST = 5, 2000
"""Of a start's runs, whatever they take."""

_NODE = Path(__file__).with_name("node.mjs")


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Args:
        module: The module.
        interface: Its interface, as JSON describes it.
        sample: What it is run on.
        params: The argument and the file of the weights, if the module does not hold them.
        glue: The package's JavaScript; None if the platform has a host.
    """

    module: Path
    interface: Mapping[str, Any]
    sample: Sample
    params: tuple[str, Path] | None
    glue: Path | None


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Args:
        runtime: In what.
        seconds: Of each time its measurements.
        memory: Bytes of linear memory after a run.
    """

    runtime: str
    seconds: Mapping[str, tuple[float, ...]]
    memory: int


@dataclass(frozen=True)
class _Start:
    compile: float
    instantiate: tuple[float, ...]
    first: float
    runs: tuple[float, ...]
    memory: int


def measure(subject: Subject, scratch: Path) -> Measured:
    """Starts and runs a module again and again.

    Args:
        subject: The module and what goes with it.
        scratch: An empty folder.

    Raises:
        BuildError: The runtime is not there, or the module fails.
    """
    if subject.glue is None:
        runtime, starts = f"wasmtime {version('wasmtime')}", _in_host(subject, scratch)
    else:
        runtime, starts = _in_node(subject, subject.glue, scratch)
    return Measured(
        runtime,
        {
            "compile": tuple(it.compile for it in starts),
            "instantiate": tuple(each for it in starts for each in it.instantiate),
            "first run": tuple(it.first for it in starts),
            RUN: tuple(each for it in starts for each in it.runs),
        },
        starts[-1].memory,
    )


def _in_node(subject: Subject, glue: Path, scratch: Path) -> tuple[str, list[_Start]]:
    inputs = {name: scratch / str(index) for index, name in enumerate(subject.sample.tensors)}
    for name, file in inputs.items():
        file.write_bytes(subject.sample.tensors[name].tobytes())
    given = {
        "glue": str(glue),
        "module": str(subject.module),
        "params": str(subject.params[1]) if subject.params else None,
        "inputs": {name: str(file) for name, file in inputs.items()},
        "warm": _WARM,
        "seconds": _SECONDS,
        "fewest": _FEWEST,
        "most": _MOST,
    }
    found: dict[str, Any] = {}
    starts = []
    for _ in range(_STARTS):
        found = node.answer(_NODE, given, str(subject.module))
        compile_, instantiate, first = (found[key] / 1000 for key in ("compile", "instantiate", "first"))
        runs = tuple(milliseconds / 1000 for milliseconds in found["runs"])
        starts.append(_Start(compile_, (instantiate,), first, runs, found["memory"]))
    return f"Node.js {found['version']}", starts


def _in_host(subject: Subject, scratch: Path) -> list[_Start]:
    params = {subject.params[0]: str(subject.params[1])} if subject.params else {}
    arguments = {**params, **subject.sample.placed(scratch, subject.interface["outputs"])}
    starts = []
    for _ in range(_STARTS):
        host = load(subject.module)
        first, *runs = _runs(host, arguments, subject)
        instantiate = tuple(it.instantiate for it in (first, *runs))
        starts.append(_Start(host.compiled_in, instantiate, first.run, tuple(it.run for it in runs), first.memory))
    return starts


def _runs(host: Host, arguments: Mapping[str, str], subject: Subject) -> Iterator[Taken]:
    """The first run, and then as many as there is time for."""
    end, count = time.perf_counter() + _SECONDS, 0
    while count <= _FEWEST or (count <= _MOST and time.perf_counter() < end):
        result = host.run(arguments)
        if result.taken is None or result.value is None or result.value < 0:
            status = subject.interface["statuses"].get(str(result.value))
            said = result.trap or f"returned {result.value}" + (f": {status}" if status else "")
            hint = "give the inputs that it takes: [[input]] range = […]"
            raise BuildError(Problem(str(subject.module), said, hint))
        count += 1
        yield result.taken
