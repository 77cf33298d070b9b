"""A first manifest for an ONNX file: what the file says, what it leaves open, and what stands in the way of a build."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from onnx_wasm.actions.common import importing, written_whole
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.manifest import PLATFORM_NAMES, as_argument
from onnx_wasm.verification import reference, samples, tensors

_MOST_BYTES = 16 << 20
"""The largest file that is written for a first test."""


_BATCH = ("n", "batch", "batch_size")
"""What the number of samples is called."""


@dataclass(frozen=True)
class Found:
    """An input or output, as the ONNX file has it.

    Args:
        name: Its name.
        argument: The argument that will name its file.
        dtype: As NumPy calls it; empty if it is no tensor of numbers.
        dims: Sizes, or the names of open dimensions, which may be empty; None if even their number is open.
    """

    name: str
    argument: str
    dtype: str
    dims: tuple[int | str, ...] | None

    def __str__(self) -> str:
        dims = "of any shape" if self.dims is None else f"[{', '.join(str(it) or '?' for it in self.dims)}]"
        return f"{self.dtype or 'no tensor of numbers'} {dims}"

    @property
    def unnamed(self) -> tuple[int, ...]:
        """The axes that are open and have no name."""
        return tuple(axis for axis, it in enumerate(self.dims or ()) if it == "")


@dataclass(frozen=True)
class Frozen:
    """What the manifest will say of open dimensions: one picture, text or sound at a time is a fair guess, no more.

    Args:
        dimensions: Sizes by name; None where only the user knows.
        shapes: Whole shapes, by input, for open dimensions without a name; None where only the user knows.
    """

    dimensions: Mapping[str, int | None]
    shapes: Mapping[str, tuple[int | str, ...] | None]

    @property
    def open(self) -> list[str]:
        """What is left for the user to say."""
        inputs = [name for name, it in self.shapes.items() if it is None or not all(isinstance(n, int) for n in it)]
        return [name for name, size in self.dimensions.items() if size is None] + inputs


@dataclass(frozen=True)
class FirstTest:
    """A test with drawn inputs, and the outputs that a reference gives for them.

    Args:
        files: By the names of inputs and outputs; empty if there is no test.
        reason: Why there is none, or why the reference is another than what is used if nothing is said.
        reference: What ``[verify] reference`` must say; empty if nothing.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    reason: str = ""
    reference: str = ""


@dataclass(frozen=True)
class Written:
    """What came of it.

    Args:
        manifest: The file.
        open: Dimensions and inputs that the user has to say something of.
        obstacles: What stands in the way of a build, as far as it could be seen.
        test: Whether the manifest has a test.
    """

    manifest: Path
    open: Sequence[str]
    obstacles: Sequence[Problem]
    test: bool


def write(path: Path) -> Written:
    """Writes a manifest beside an ONNX file, and the files of a first test.

    Args:
        path: The ONNX file.

    Raises:
        BuildError: It cannot be read, or something would be overwritten.
    """
    name = _name(path)
    manifest = path.with_name(f"{name}.toml")
    inputs, outputs = _read(path)
    frozen = _freeze(inputs)
    _refuse_to_overwrite([manifest, *(_file(manifest, it) for it in (*inputs, *outputs))])
    obstacles = () if frozen.open else _obstacles(path, frozen, manifest)
    test = FirstTest() if frozen.open or obstacles else _test(path, inputs, outputs, frozen)
    text = "\n\n".join(_paragraphs(path, name, inputs, outputs, frozen, obstacles, test)) + "\n"
    files = {_file(manifest, it): test.files[it.name] for it in (*inputs, *outputs) if it.name in test.files}
    with written_whole(*files, manifest) as (*partial, first):
        for file, data in zip(partial, files.values(), strict=True):
            file.write_bytes(data)
        first.write_text(text, encoding="utf-8")
    return Written(manifest, frozen.open, obstacles, bool(test.files))


def _name(path: Path) -> str:
    """A name for the model, from its file's."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", path.stem).strip("-.")[:64].strip("-.")
    name = re.sub(r"\.{2,}", ".", name)
    while name.endswith(endings := tuple(f".{it}" for it in ("wasm", *PLATFORM_NAMES))):
        name = name[: -len(next(it for it in endings if name.endswith(it)))]
    if re.search(r"[\\$#\x00-\x1f\x7f]", path.name):
        raise BuildError(Problem(str(path), "a manifest cannot name this file", "rename it, without \\, $ or #"))
    return name or "model"


def _read(path: Path) -> tuple[list[Found], list[Found]]:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except OSError as error:
        raise BuildError(Problem(str(path), f"cannot be read: {error.strerror}")) from error
    except DecodeError as error:
        raise BuildError(Problem(str(path), "not an ONNX file, or a damaged one")) from error
    if not model.graph.output:
        raise BuildError(Problem(str(path), "not an ONNX model: no graph in it"))
    weights = {it.name for it in model.graph.initializer}
    taken: set[str] = set()
    inputs = [_found(it, taken) for it in model.graph.input if it.name not in weights]
    return inputs, [_found(it, taken) for it in model.graph.output]


def _found(value: onnx.ValueInfoProto, taken: set[str]) -> Found:
    argument = stem = as_argument(value.name)[:60]
    number = 1
    while argument in taken:
        number += 1
        argument = f"{stem}_{number}"
    taken.add(argument)
    type_ = value.type.tensor_type
    known = set(onnx.TensorProto.DataType.values()) - {onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING}
    numbers = type_.elem_type in known
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(type_.elem_type)) if numbers else ""
    dims = tuple(it.dim_value if it.dim_value > 0 else it.dim_param.strip("?") for it in type_.shape.dim)
    return Found(value.name, argument, dtype, dims if type_.HasField("shape") else None)


def _freeze(inputs: Sequence[Found]) -> Frozen:
    """Takes the first dimension, or one of its name, for the number of samples, and makes it 1."""
    axes: dict[str, set[int]] = {}
    for it in inputs:
        for axis, size in enumerate(it.dims or ()):
            if isinstance(size, str) and size:
                axes.setdefault(size, set()).add(axis)
    dimensions = {name: 1 if at == {0} or name.lower() in _BATCH else None for name, at in axes.items()}
    shapes: dict[str, tuple[int | str, ...] | None] = {}
    for it in inputs:
        if it.dims is None:
            shapes[it.name] = None
        elif it.unnamed:
            sizes = (dimensions.get(size) or size if isinstance(size, str) and size else size for size in it.dims)
            shapes[it.name] = tuple(1 if axis == 0 and size == "" else size for axis, size in enumerate(sizes))
    return Frozen(dimensions, shapes)


def _refuse_to_overwrite(paths: Iterable[Path]) -> None:
    there = [path for path in paths if path.exists()]
    if there:
        raise BuildError(
            Problem(str(path), "is there already", "move it away to have another written") for path in there
        )


def _file(manifest: Path, it: Found) -> Path:
    return manifest.with_name(f"{manifest.stem}.{it.argument}.npy")


def _obstacles(path: Path, frozen: Frozen, manifest: Path) -> tuple[Problem, ...]:
    with importing():
        from onnx_wasm.compiler import pipeline

    shapes = {name: tuple(int(n) for n in it) for name, it in frozen.shapes.items() if it is not None}
    dimensions = {name: size for name, size in frozen.dimensions.items() if size is not None}
    return pipeline.obstacles(path, pipeline.Freeze(shapes, dimensions), str(manifest))


def _test(path: Path, inputs: Sequence[Found], outputs: Sequence[Found], frozen: Frozen) -> FirstTest:
    described = [
        {"name": it.name, "argument": it.argument, "dtype": it.dtype, "shape": _shape(it, frozen), "format": "npy"}
        for it in inputs
    ]
    sample = samples.drawn(described, {}, 0)
    reason = ""
    for asked in (None, reference.ONNXRUNTIME):
        try:
            _, evaluate = reference.evaluator(path, asked, str(path))
            wanted = evaluate(sample.tensors)
            break
        except BuildError as error:
            reason = reason or error.problems[0].message
        except Exception as error:
            reason = reason or next(iter(str(error).strip().splitlines()), type(error).__name__)
    else:
        return FirstTest(reason=reason)
    made: dict[str, np.ndarray] = {**sample.tensors, **{it.name: wanted[it.name] for it in outputs}}
    large = [name for name, tensor in made.items() if tensor.nbytes > _MOST_BYTES]
    if large:
        return FirstTest(reason=f"{large[0]} has {made[large[0]].nbytes:,} bytes")
    files = {name: tensors.to_file(tensor, "npy") for name, tensor in made.items()}
    return FirstTest(files, reason, asked or "")


def _shape(it: Found, frozen: Frozen) -> tuple[int, ...]:
    sizes = frozen.shapes.get(it.name) or it.dims or ()
    return tuple(size if isinstance(size, int) else frozen.dimensions[size] or 0 for size in sizes)


def _paragraphs(
    path: Path,
    name: str,
    inputs: Sequence[Found],
    outputs: Sequence[Found],
    frozen: Frozen,
    obstacles: Sequence[Problem],
    test: FirstTest,
) -> Iterator[str]:
    """The manifest's paragraphs."""
    yield f"# What {_quoted(path.name)} says of itself, and what there is to add. docs/manifest.md has every key."
    if obstacles:
        yield "\n".join(["# This stands in the way of a build:", *_commented(obstacles)])
    yield "schema-version = 1"
    yield (
        f"[model]\nname = {_quoted(name)}\npath = {_quoted(path.name)}\n"
        '# license = "Apache-2.0"   # the licence of the model, as an SPDX expression'
    )
    if frozen.dimensions:
        sizes = (
            f"{_quoted(it)} = {size} # a guess: one at a time"
            if size
            else f"# {_quoted(it)} = …   # say how large it is"
            for it, size in frozen.dimensions.items()
        )
        yield "\n".join(["[dimensions] # the file leaves them open; the module's are fixed", *sizes])
    yield from (_input(it, frozen) for it in inputs)
    yield from map(_output, outputs)
    others = ", ".join(_quoted(it) for it in PLATFORM_NAMES[1:])
    yield f'[compile]\nplatforms = ["{PLATFORM_NAMES[0]}"] # also {others}'
    if test.files:
        takes, gives = (
            ", ".join(f'{it.argument} = "{name}.{it.argument}.npy"' for it in tensors_)
            for tensors_ in (inputs, outputs)
        )
        yield (
            "[[test]] # drawn at random; the outputs are what ONNX defines\n"
            f'name = "drawn"\ninputs = {{ {takes} }}\noutputs = {{ {gives} }}'
        )
        if test.reference:
            yield f'[verify]\nreference = "{test.reference}" # ONNX\'s own stops: {_one_line(test.reason)}'
    else:
        why = f"# There is no first test: {_one_line(test.reason)}\n" if test.reason else ""
        yield f'{why}# [[test]]\n# inputs = {{ {inputs[0].argument if inputs else "x"} = "x.npy" }}\n# return = 0'


def _input(it: Found, frozen: Frozen) -> str:
    lines = ["[[input]]", f"name = {_quoted(it.name)} # {_one_line(str(it))}", f"argument = {_quoted(it.argument)}"]
    if it.name in frozen.shapes:
        shape = frozen.shapes[it.name]
        if shape is not None and all(isinstance(size, int) for size in shape):
            lines.append(f"shape = {list(shape)} # a guess: one at a time")
        else:
            sizes = "…" if shape is None else ", ".join(str(size) or "…" for size in shape)
            lines.append(f"# shape = [{_one_line(sizes)}]   # say how large it is")
    if it.dtype.startswith("float") and _looks_like_pictures(it):
        lines.append('# format = "image"   # reads JPEG and PNG; then each pixel p becomes (p - mean) * scale')
        lines.append('# image = { color = "rgb", mean = 0, scale = 0.00392156862745098 }')
    if it.dtype.startswith(("int", "uint")):
        lines.append(f"# range = [0, 9]   # what {_one_line(it.argument)} may be, for the verification")
    return "\n".join(lines)


def _output(it: Found) -> str:
    lines = ["[[output]]", f"name = {_quoted(it.name)} # {_one_line(str(it))}", f"argument = {_quoted(it.argument)}"]
    if it.dtype.startswith("float"):
        lines.append('# return = "argmax"   # the module returns the index of the largest element')
    return "\n".join(lines)


def _looks_like_pictures(it: Found) -> bool:
    return it.dims is not None and len(it.dims) == 4 and (it.dims[1] in (1, 3) or it.dims[3] in (1, 3))


def _commented(problems: Iterable[Problem]) -> Iterator[str]:
    for problem in problems:
        yield f"#   {_one_line(problem.message)}"
        if problem.hint:
            yield f"#       {_one_line(problem.hint)}"


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
