"""``./sconsw fuzz``: mutants of ONNX files and manifests are built or refused with a plain message; nothing else."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import os
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

import onnx
from onnx import helper

from onnx_wasm import external_data
from onnx_wasm.benchmarks import measured, mutations, node_tests, table, workers
from onnx_wasm.benchmarks.bare_module import compiled
from onnx_wasm.benchmarks.table import Row, publish
from onnx_wasm.benchmarks.workers import Broken, Done, Limits
from onnx_wasm.errors import BuildError

TARGET = "fuzz"
FOLDER = Path("build", TARGET)
"""Where the mutants are put that something is wrong with."""

_COUNT = 2000
_LIMITS = Limits(seconds=60, memory=4 * 1000**3)
_MARGIN_SECONDS = 5
_MNIST = Path("models", "mnist")
_LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

_MANIFEST_EVERY = 4
_SIGNS = ("Traceback", '  File "', "broke off")
"""What Python, SCons and an action say when they break."""

_SCONSTRUCT = """\
import onnx_wasm

SetOption("hash_format", "sha256")
env = Environment(tools=["onnx_to_wasm"], toolpath=onnx_wasm.TOOLPATH)
Default([module.sources[0] for module in env.WasmModel("it.toml")])
"""
"""Builds each model's library: the wrapper and the linker read nothing of what a mutant changes."""

_EVERYTHING = """\
schema-version = 1

[model]
name = "it"
path = "it.onnx"
license = "Apache-2.0"
version = "1.2.3"

[dimensions]
n = 1

[[input]]
name = "picture"
argument = "file"
shape = [1, 3, 4, 4]
format = "image"
image = { color = "rgb", resize = "nearest", scale = [0.5, 0.5, 1], mean = 1, layout = "nchw", max-pixels = 100 }

[[input]]
name = "rows"
format = "raw"
range = [-1, 1]

[[input]]
name = "factor"
value = 2

[[output]]
name = "sums"
argument = "sums"
return = "argmax"
format = "npy"
tolerance = 1e-5

[[variant]]
name = "wide"
dimensions = { n = 3 }
shapes = { picture = [1, 3, 2, 2] }

[compile]
platforms = ["wasi", "web"]
opt-level = 2
executor = "aot"

[params]
mode = "file"
argument = "weights"

[[test]]
name = "ones"
variant = "wide"
inputs = { file = "it.onnx", rows = "it.onnx" }
outputs = { sums = "it.onnx" }

[verify]
samples = 1
tolerance = 0.001
reference = "onnx"
"""


@dataclass(frozen=True)
class Fate:
    """What became of a mutant.

    Args:
        kind: ``built``; ``refused`` with a plain message; ``broken``, a traceback or a crash; or ``hung``.
        message: What was said of it.
        peak: Bytes that the largest process had resident.
    """

    kind: Literal["built", "refused", "broken", "hung"]
    message: str = ""
    peak: int = 0


@dataclass(frozen=True)
class Seeds:
    """What mutants are made from.

    Args:
        nodes: Small models, of one operator each.
        networks: Whole models.
        manifests: Manifests, each with the files beside it, by name.
    """

    nodes: Sequence[bytes]
    networks: Sequence[bytes]
    manifests: Sequence[tuple[str, dict[str, bytes]]]


def seeds() -> Seeds:
    """ONNX's tests of its operators, mnist and ONNX's light models; the manifest of mnist and one with every key."""
    nodes = [it.model.SerializeToString() for it in node_tests.load().values()]
    mnist = {path.name: path.read_bytes() for path in _MNIST.glob("mnist.*")}
    digits = {f"digits/{path.name}": path.read_bytes() for path in sorted((_MNIST / "digits").glob("*"))}
    networks = [mnist["mnist.onnx"]] * 9 + [path.read_bytes() for path in sorted(_LIGHT.glob("*.onnx"))]
    own = (mnist.pop("mnist.toml").decode(), {**mnist, **digits})
    return Seeds(nodes, networks, [own, (_EVERYTHING, {"it.onnx": _two_inputs()})])


def is_manifest(number: int) -> bool:
    """Whether a mutant is a manifest, and not an ONNX file."""
    return number % _MANIFEST_EVERY == _MANIFEST_EVERY - 1


def mutant(number: int, of: Seeds) -> tuple[bytes, dict[str, bytes]]:
    """Makes a mutant; the same number and seeds give the same one.

    Args:
        number: Which one.
        of: What it is made from.

    Returns:
        The mutant, and the files beside it.
    """
    random = Random(number)
    if is_manifest(number):
        text, files = random.choice(of.manifests)
        return mutations.of_manifest(text, random), files
    model = random.choice(of.nodes if random.random() < 0.7 else of.networks)
    return mutations.of_model(model, random, random.choice(of.nodes)), {}


def fate(number: int, of: Seeds) -> Fate:
    """Builds a mutant.

    Args:
        number: Which one.
        of: What it is made from.
    """
    data, files = mutant(number, of)
    with tempfile.TemporaryDirectory(prefix="onnx-wasm-fuzz-") as folder, contextlib.chdir(folder):
        for name, its in files.items():
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_bytes(its)
        return _of_manifest(data) if is_manifest(number) else _of_model(data)


def _of_model(data: bytes) -> Fate:
    path = Path("it.onnx")
    path.write_bytes(data)
    external_data.locations(str(path))
    try:
        compiled(path, Path(), "it.toml")
    except BuildError as refusal:
        return Fate("refused", str(refusal))
    except OSError as error:  # as actions/common.py does
        return Fate("refused", str(error))
    return Fate("built")


def _of_manifest(data: bytes) -> Fate:
    Path("it.toml").write_bytes(data)
    Path("SConstruct").write_text(_SCONSTRUCT, encoding="utf-8")
    environ = measured.environment()
    command = [sys.executable, "-P", "-m", "SCons", "-Q"]
    try:
        done = subprocess.run(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LIMITS.seconds - _MARGIN_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return Fate("hung", str(late))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    told = done.stderr.decode(errors="replace")
    if done.returncode not in (0, 2) or any(sign in told for sign in _SIGNS):
        return Fate("broken", f"exit status {done.returncode}\n{told}", peak)
    return Fate("refused" if done.returncode else "built", told, peak)


def fates(numbers: Sequence[int], of: Seeds, processes: int) -> dict[int, Fate]:
    """Builds mutants.

    Args:
        numbers: Which ones.
        of: What they are made from.
        processes: How many are built at a time.

    Returns:
        What became of each, by number.
    """
    found = {}
    for done in workers.each(numbers, functools.partial(fate, of=of), _LIMITS, processes):
        found[done.item] = its = _ended(done)
        if its.kind in ("broken", "hung"):
            _keep(done.item, of)
            sys.stdout.write(f"{its.kind} {done.item}: {next(iter(its.message.splitlines()), '')}\n")
        _progress(len(found), len(numbers))
    return dict(sorted(found.items()))


def rows(found: dict[int, Fate]) -> list[Row]:
    """The figures of the table.

    Args:
        found: What became of each mutant.
    """
    counts = Counter(it.kind for it in found.values())
    peak = max((it.peak for it in found.values()), default=0)
    return [
        Row("mutants of ONNX files and manifests", len(found), "", _COUNT, "higher"),
        Row("of them, ending in a traceback or a crash", counts["broken"], "", 0),
        Row(f"of them, taking more than {_LIMITS.seconds:g} s", counts["hung"], "", 0),
        Row("memory of the largest process", peak / 1000**2, "MB", _LIMITS.memory / 1000**2),
    ]


def _ended(done: Done[int, Fate]) -> Fate:
    if isinstance(done.result, Broken):
        kind: Literal["hung", "broken"] = "hung" if done.seconds >= _LIMITS.seconds else "broken"
        return Fate(kind, f"{done.result.reason}\n{done.result.details}".strip(), done.peak)
    return dataclasses.replace(done.result, peak=max(done.peak, done.result.peak))


def _two_inputs() -> bytes:
    """A model for the manifest that has every key."""
    float_ = onnx.TensorProto.FLOAT
    inputs = [
        helper.make_tensor_value_info("picture", float_, [1, 3, "h", "w"]),
        helper.make_tensor_value_info("rows", float_, ["n", 3]),
        helper.make_tensor_value_info("factor", float_, [1]),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["rows", "factor"], ["scaled"]),
        helper.make_node("Add", ["scaled", "means"], ["sums"]),
    ]
    graph = helper.make_graph(nodes, "it", inputs, [helper.make_tensor_value_info("sums", float_, ["n", 3])])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    return bytes(model.SerializeToString())


def _progress(count: int, total: int) -> None:
    if sys.stdout.isatty():
        sys.stdout.write(f"\r{TARGET}: {count:,} of {total:,}" if count < total else "\r\033[K")
        sys.stdout.flush()


def _keep(number: int, of: Seeds) -> None:
    """Puts a mutant where it can be looked at."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{number}.{'toml' if is_manifest(number) else 'onnx'}").write_bytes(mutant(number, of)[0])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("onnx_wasm.benchmarks.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=_COUNT, help="how many mutants")
    parser.add_argument("--first", type=int, default=0, metavar="NUMBER", help="the first of them")
    parser.add_argument("--one", type=int, metavar="NUMBER", help="build this one here, and tell all that is said")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    return parser


def main() -> None:
    """Builds the mutants and ends the process: 0, or 1 if a limit is missed."""
    arguments = _parser().parse_args()
    of = seeds()
    if arguments.one is not None:
        _keep(arguments.one, of)
        sys.stdout.write(f"{fate(arguments.one, of)}\n")
        return
    found = fates(range(arguments.first, arguments.first + arguments.count), of, arguments.processes)
    bad = {number: it.message for number, it in found.items() if it.kind in ("broken", "hung")}
    kinds = Counter(f"{'manifests' if is_manifest(number) else 'models'} {it.kind}" for number, it in found.items())
    sys.stdout.write(", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) + "\n")
    details = {"fates": kinds, "bad": bad}
    sys.exit(0 if publish(TARGET, rows(found), table.FOLDER, details) else 1)


if __name__ == "__main__":
    main()
