"""What the tests of whole builds share: checkouts to build in, SCons to build with, and models of a few weights."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).parents[1]
CHECKOUT = ("SConstruct", "site_scons", "wrapper", "models", "examples")
"""What of the project a build reads."""

MNIST = Path("build/teaclave/mnist")
CHAIN = ["TvmIr", "WasmObject", "ModelLibrary", "WasmModule"]
WORKSPACE = """
SetOption("hash_format", "sha256")
env = Environment(tools=["onnx_to_wasm"])
env.WasmModel(Glob("*.toml"))
"""
"""The SConstruct of a workspace of one folder; SCons needs ``--site-dir`` to build it."""

TINY = """\
schema-version = 1

[model]
name = "tiny"
path = "tiny.onnx"

[[output]]
name = "y"
argument = "y"
"""
"""The manifest of ``tiny()``."""

_STEP = re.compile(
    r"^(ModelFetch|TvmIr|WasmObject|ModelLibrary|RustWrapper|WasmModule|WasmTest|WebPackage|TeaclaveBundle) (\S+)$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Build:
    """What came of a run of SCons.

    Args:
        status: Its exit status.
        out: What it wrote to stdout.
        err: What it wrote to stderr.
    """

    status: int
    out: str
    err: str

    @property
    def steps(self) -> list[str]:
        """The rules of the steps that ran, in order."""
        return [rule for rule, _ in _STEP.findall(self.out)]

    @property
    def targets(self) -> list[str]:
        """The targets of the steps that ran, in order."""
        return [target for _, target in _STEP.findall(self.out)]


def command(*words: str | Path, python: str | Path = sys.executable) -> list[str]:
    """The command line that starts SCons as ``sconsw`` does."""
    return [str(python), "-P", "-m", "SCons", *map(str, words)]


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The user's environment without what changes how SCons and Python behave, then with changes."""
    unwanted = ("ONNX_WASM_VERBOSE", "SCONS", "PYTHON")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(unwanted)}
    return kept | dict(changes or {})


def scons(
    folder: Path,
    *words: str | Path,
    environ: Mapping[str, str] | None = None,
    python: str | Path = sys.executable,
    sconstruct: str | None = None,
    status: int | None = 0,
) -> Build:
    """Runs SCons in a folder.

    Args:
        folder: Where.
        words: Targets and options.
        environ: Changes to the environment.
        python: The interpreter.
        sconstruct: A text to read in place of the folder's SConstruct.
        status: The exit status that it must have; None for any.
    """
    if sconstruct is not None:
        words = ("-f", "-", *words)
    done = subprocess.run(
        command(*words, python=python),
        cwd=folder,
        env=environment(environ),
        input=sconstruct or "",
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    build = Build(done.returncode, done.stdout, done.stderr)
    assert status is None or build.status == status, f"exit status {build.status}\n{build.out}\n{build.err}"
    return build


def copy(source: Path, target: Path) -> Path:
    """Copies a folder with the times of its files, so that SCons finds a copy of a finished build up to date."""
    ignored = shutil.ignore_patterns("__pycache__", "target", ".pytest_cache")
    return Path(shutil.copytree(source, target, symlinks=True, ignore=ignored))


def checkout(target: Path) -> Path:
    """Copies what a build reads of the project."""
    target.mkdir(parents=True)
    update(target)
    return target


def update(target: Path) -> None:
    """Brings the sources of a checkout up to date; what was built there stays."""
    for name in CHECKOUT:
        source = ROOT / name
        if source.is_dir():
            shutil.rmtree(target / name, ignore_errors=True)
            copy(source, target / name)
        else:
            target.mkdir(exist_ok=True)
            shutil.copy2(source, target / name)


def parents() -> dict[int, int]:
    """Every process's parent, by its number."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            found[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    return found


def artefacts(build: Path) -> dict[str, bytes]:
    """Every file under a build folder's platforms, by its path there."""
    return {
        str(path.relative_to(build)): path.read_bytes()
        for path in sorted(build.glob("*/**/*"))
        if path.is_file() and "cargo" not in path.relative_to(build).parts
    }


def commit(folder: Path) -> None:
    """Commits all that is in a folder, which becomes a repository if it is none."""
    who = ("-c", "user.name=Tester", "-c", "user.email=tester@example.org", "-c", "commit.gpgsign=false")
    for words in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message=all")):
        subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def edit(path: Path, old: str, new: str) -> None:
    """Replaces a part of a text file that is there just once."""
    text = path.read_text()
    assert text.count(old) == 1, f"{path} has {text.count(old)} × {old!r}"
    path.write_text(text.replace(old, new))


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Keeps the other processes of pytest-xdist out."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def model(
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, tuple[str, list[int | str]]],
    outputs: Mapping[str, tuple[str, list[int | str]]],
    weights: Mapping[str, np.ndarray] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """Puts an ONNX model together.

    Args:
        nodes: In order.
        inputs: NumPy's name of the dtype, and the shape, by name.
        outputs: As the inputs.
        weights: By name.
        opset: Of the default domain.
    """

    def values(described: Mapping[str, tuple[str, list[int | str]]]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
            for name, (dtype, shape) in described.items()
        ]

    initialisers = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    graph = helper.make_graph(nodes, "graph", values(inputs), values(outputs), initialisers)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])


def tiny(seed: int = 0) -> onnx.ModelProto:
    """``y = relu(x · w + b)`` with ``x`` float32 [1, 4] and ``y`` float32 [1, 3]."""
    random = np.random.default_rng(seed)
    weights = {name: random.standard_normal(shape, np.float32) for name, shape in (("w", (4, 3)), ("b", (3,)))}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["xw"]),
        helper.make_node("Add", ["xw", "b"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["y"]),
    ]
    return model(nodes, {"x": ("float32", [1, 4])}, {"y": ("float32", [1, 3])}, weights)


def place_tiny(folder: Path, seed: int = 0) -> Path:
    """Writes ``tiny()`` and its manifest to a folder, which is made, and gives the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(tiny(seed), folder / "tiny.onnx")
    manifest = folder / "tiny.toml"
    manifest.write_text(TINY)
    return manifest


def store_outside(model_: onnx.ModelProto, tensor: str, location: str) -> bytes:
    """Moves an initialiser's values out of a model.

    Args:
        model_: The model, which is changed.
        tensor: The initialiser's name.
        location: What the model will say of the file.

    Returns:
        The bytes that belong into the file.
    """
    (found,) = (it for it in model_.graph.initializer if it.name == tensor)
    data = numpy_helper.to_array(found).tobytes()
    found.ClearField("raw_data")
    found.data_location = TensorProto.EXTERNAL
    found.external_data.append(onnx.StringStringEntryProto(key="location", value=location))
    return data
