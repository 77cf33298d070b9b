"""The manifest: what it may say, how each mistake is told, and that its schema and docstrings tell the same."""

from __future__ import annotations

import dataclasses
import json
import re
import string
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onnx_wasm import schema as schema_module
from onnx_wasm.errors import BuildError
from onnx_wasm.manifest import (
    PLATFORM_NAMES,
    Compile,
    Image,
    Input,
    Manifest,
    Model,
    Output,
    Params,
    Test,
    Verify,
    load,
)
from onnx_wasm.platforms import PLATFORMS
from onnx_wasm.schema import documented, schema
from onnx_wasm.toml_lines import lines_of, nearest
from onnx_wasm.toml_tables import (
    Boolean,
    Choice,
    Either,
    Integer,
    Kind,
    List,
    Mapping,
    Table,
    Text,
    default_of,
    keys_of,
    required,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
BAD = sorted(ROOT.glob("tests/bad/manifest-*"))

MNIST = """\
schema-version = 1

[model]
name = "mnist"
path = "mnist.onnx"
sha256 = "AB00000000000000000000000000000000000000000000000000000000000000"
license = "Apache-2.0"

[dimensions]
batch = 1

[[input]]
name = "Input3"
argument = "input_img"
shape = [1, 1, 28, 28]
format = "image"
image = { color = "rgb", resize = "nearest", scale = 0.5, mean = [1, 2, 3] }

[[output]]
name = "Plus214_Output_0"
return = "argmax"
argument = "output"

[compile]
platforms = ["web", "teaclave"]
executor = "graph"

[[test]]
inputs = { input_img = "digits/3.png" }
return = 3

[[test]]
name = "tensor"
inputs.input_img = "digits/4.png"
outputs.output = "digits/4.npy"
"""


def test_a_manifest_becomes_plain_data(tmp_path: Path) -> None:
    path = tmp_path / "mnist.toml"
    path.write_text(MNIST)
    manifest = load(path)
    assert manifest == Manifest(
        schema_version=1,
        model=Model(name="mnist", path="mnist.onnx", sha256="ab" + "0" * 62, license="Apache-2.0"),
        dimensions={"batch": 1},
        inputs=(
            Input(
                name="Input3",
                argument="input_img",
                shape=(1, 1, 28, 28),
                format="image",
                image=Image(color="rgb", resize="nearest", scale=(0.5, 0.5, 0.5), mean=(1.0, 2.0, 3.0)),
            ),
        ),
        outputs=(Output(name="Plus214_Output_0", return_="argmax", argument="output"),),
        compile=Compile(platforms=("web", "teaclave"), executor="graph"),
        tests=(
            Test(inputs={"input_img": "digits/3.png"}, return_=3),
            Test(name="tensor", inputs={"input_img": "digits/4.png"}, outputs={"output": "digits/4.npy"}),
        ),
        path=path,
        text=MNIST,
    )
    assert json.loads(json.dumps(dataclasses.asdict(manifest.inputs[0])))["image"]["scale"] == [0.5, 0.5, 0.5]


def test_absent_keys_have_defaults(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text('schema-version = 1\nmodel = { name = "m", path = "m.onnx" }\ninput = [{ name = "x" }]\n')
    manifest = load(path)
    assert manifest.inputs == (Input(name="x", argument="x", shape=None, format="npy", image=None),)
    assert manifest.compile == Compile(platforms=("teaclave",), opt_level=3, executor="aot")
    assert (manifest.dimensions, manifest.outputs, manifest.tests) == ({}, (), ())


def test_an_argument_may_come_from_the_name(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    for name, argument in {"x:0": "x_0", "0/é": "_0__", "images": "images"}.items():
        path.write_text(f'{MNIST}\n[[input]]\nname = "{name}"\n')
        assert load(path).inputs[1].argument == argument


def test_lines_do_not_count_in_equality(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text(MNIST)
    before = load(path)
    path.write_text(f"# a comment\n\n{MNIST}")
    assert load(path) == before


def test_where_tells_file_and_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    path = Path("models/mnist.toml")
    path.write_text(MNIST)
    assert load(path).where("model", "sha256") == "models/mnist.toml:6"
    assert load(path.absolute()).where("input", 0, "name") == "models/mnist.toml:13"
    assert load(path).where("input", 0, "image", "scale") == "models/mnist.toml:17"
    assert load(path).where("test", 1, "outputs", "output") == "models/mnist.toml:35"
    assert load(path).where("model", "url") == "models/mnist.toml:3"  # not written: its table
    assert load(path).where("input", "Input3", "shape") == "models/mnist.toml:15"
    assert load(path).where("output", "Plus214_Output_0") == "models/mnist.toml:19"
    assert load(path).where() == "models/mnist.toml:1"
    assert load(path).where("nothing") == "models/mnist.toml:1"


@pytest.mark.parametrize("folder", BAD, ids=lambda folder: folder.name)
def test_each_mistake_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    expected = Path("expected.txt").read_text().splitlines()
    with pytest.raises(BuildError) as error:
        load(Path("model.toml"))
    for part in expected:
        assert part in str(error.value)
    told = [str(problem).splitlines()[0] for problem in error.value.problems]
    begun = [part for part in expected if part.startswith("model.toml:")]
    assert len(told) == len(begun), "a problem too many or too few"
    assert all(line.startswith(part) for line, part in zip(told, begun, strict=True)), "problems in another order"


def test_there_are_bad_manifests() -> None:
    assert len(BAD) >= 40


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("absent.toml", "."):
        with pytest.raises(BuildError, match=rf"^{re.escape(path)}: cannot be read: "):
            load(Path(path))


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        "a = " + "[" * 2000 + "]" * 2000,
        "a = " + "9" * 5000,
        "schema-version = 0x" + "f" * 5000,
        "[compile]\nopt-level = 0x" + "f" * 5000,
        "a" + ".a" * 3000 + " = 1",
        "a = 2024-02-31",
        'schema-version = 1\n[model]\nname = "' + "x" * 100_000 + '"',
        '\ufeffschema-version = 1\n[model]\nname = "m"\npath = "m.onnx"\n',
    ],
    ids=range(9),
)
def test_extremes_are_told(text: str, tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text(text)
    with pytest.raises(BuildError) as error:
        load(path)
    assert len(str(error.value)) < 2000


def test_a_good_manifest_costs_no_heavy_import(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text(MNIST)
    program = f"import sys; from pathlib import Path; from onnx_wasm.manifest import load; load(Path({str(path)!r}))"
    run = subprocess.run(
        [sys.executable, "-c", f"{program}; print(*sys.modules)"],
        cwd=ROOT / "site_scons",
        capture_output=True,
        text=True,
        check=True,
    )
    ours = {name for name in run.stdout.split() if name.startswith("onnx_wasm.")}
    assert ours == {"onnx_wasm.errors", "onnx_wasm.manifest", "onnx_wasm.toml_tables"}
    assert not {"difflib", "numpy", "onnx", "tvm", "SCons"} & set(run.stdout.split())


def test_platforms_agree() -> None:
    assert set(PLATFORMS) <= set(PLATFORM_NAMES)


# The schema and the docstrings


def test_the_schema_file_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    schema_module.main()
    written = (ROOT / "docs/manifest.schema.json").read_text()
    assert written == capsys.readouterr().out, "run: python -m onnx_wasm.schema > docs/manifest.schema.json"


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


SHAPES = [Manifest, Model, Image, Input, Output, Compile, Params, Test, Verify]


def type_of(kind: Kind) -> str:
    match kind:
        case Boolean():
            return "boolean"
        case Choice(words):
            return " | ".join(f'"{word}"' for word in words)
        case Integer():
            return "integer"
        case Either(kinds):
            return " | ".join(map(type_of, kinds))
        case List(or_one=True):
            return "number or array of numbers"
        case List(item) | Mapping(_, item):
            of = "string" if isinstance(item, Choice) else type_of(item)
            return f"{'array' if isinstance(kind, List) else 'table'} of {of}s"
        case Table():
            return "table"
        case Text():
            return "string"
        case _:
            return "number"


def default_told(its: dataclasses.Field[Any]) -> str:
    if required(its):
        return "required"
    default = its.metadata.get("default", default_of(its))
    match default:
        case None:
            return "optional"
        case "the name":
            return "default the name"
        case Compile() | Params() | Verify():
            return "default {}"
        case (float(number),):
            return f"default {number}"
        case _:
            return f"default {json.dumps(default)}"


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_docstrings_tell_type_and_default_of_each_key(shape: type) -> None:
    keys, said = keys_of(shape), documented(shape)
    assert {key: (its.type, its.default) for key, its in said.items()} == {
        key: (type_of(its.metadata["kind"]), default_told(its)) for key, its in keys.items()
    }
    assert all(its.meaning.endswith(".") for its in said.values())


# Properties

# A busy machine is no failure.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

bare = string.ascii_letters + string.digits
argument = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
file = st.from_regex(r"[A-Za-z0-9 é_-]{1,8}(/[A-Za-z0-9 é_-]{1,8}){0,2}\.npy", fullmatch=True)
positive = st.integers(1, 2**31 - 1)
number = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def images(draw: st.DrawFn) -> Image:
    color = draw(st.sampled_from(["gray", "rgb", "bgr"]))
    channels = 1 if color == "gray" else 3
    per_channel = st.lists(number, min_size=channels, max_size=channels).map(tuple)
    return draw(
        st.builds(
            Image,
            color=st.just(color),
            resize=st.sampled_from(["nearest", "bilinear"]),
            scale=per_channel,
            mean=per_channel,
            layout=st.sampled_from([None, "nchw", "nhwc"]),
            max_pixels=positive,
        )
    )


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    fields = st.fixed_dictionaries
    names = draw(st.lists(argument, unique=True, min_size=2, max_size=5))
    split = draw(st.integers(1, len(names) - 1))
    inputs = []
    for name in names[:split]:
        image = draw(st.none() | images())
        formats = ["npy", "raw"] if image is None else ["image"]
        shape = draw(st.none() | st.lists(positive, max_size=4).map(tuple))
        form = draw(st.sampled_from(formats))
        inputs.append(Input(name=draw(text) + name, argument=name, shape=shape, format=form, image=image))
    returned = draw(st.sampled_from([None, *names[split:]]))
    outputs = [
        Output(
            name=draw(text) + name,
            argument=name,
            return_="argmax" if name == returned else None,
            format=draw(st.sampled_from(["npy", "raw"])),
        )
        for name in names[split:]
    ]
    lowest = -(2**31)
    tests = draw(
        st.lists(
            st.builds(
                Test,
                name=st.none() | text,
                inputs=fields({}, optional=dict.fromkeys(names[:split], file)),
                return_=st.integers(lowest, 2**31 - 1 if returned else 0),
                outputs=fields({}, optional=dict.fromkeys(names[split:], file)),
            ),
            max_size=2,
        )
    )
    sha256 = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
    local = st.fixed_dictionaries({"path": file, "sha256": st.none() | sha256})
    remote = st.fixed_dictionaries({"url": st.just("https://example.org/m.onnx"), "sha256": sha256})
    model = Model(
        name=draw(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,8}(\.[0-9_-]{1,4}){0,2}", fullmatch=True)),
        license=draw(st.sampled_from([None, "MIT", "(MIT OR Apache-2.0) AND LicenseRef-x"])),
        version=draw(st.sampled_from([None, "0.1.0", "1.0.2", "1.0.0-rc.1+x"])),
        **draw(local | remote),
    )
    compiling = st.builds(
        Compile,
        platforms=st.lists(st.sampled_from(PLATFORM_NAMES), min_size=1, unique=True).map(tuple),
        opt_level=st.integers(0, 3) | st.just("s"),
        executor=st.sampled_from(["aot", "graph"]),
        deterministic=st.booleans(),
    )
    return Manifest(
        schema_version=1,
        model=model,
        dimensions=draw(st.dictionaries(text, positive, max_size=3)),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        compile=draw(compiling),
        params=draw(
            st.builds(Params, mode=st.sampled_from(["embedded", "file"]), argument=st.just("of_another_owner"))
        ),
        tests=tuple(tests),
        verify=draw(st.builds(Verify, samples=st.integers(1, 1000), tolerance=number)),
        path=Path(),
        text="",
    )


def table_of(part: Any) -> Any:
    """The TOML values that a part of a manifest is read from."""
    if not dataclasses.is_dataclass(part):
        return [table_of(item) for item in part] if isinstance(part, tuple) else part
    values = {key: getattr(part, its.name) for key, its in keys_of(type(part)).items()}
    return {key: table_of(value) for key, value in values.items() if value is not None}


def quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


class Writer:
    """Writes TOML in every style that ``draw`` may choose, with decoys in between."""

    DECOYS = ("", "", "\n", "# [model]\n", '# name = "x\n', "  \t\n")

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self.draw = draw

    def one_of(self, *choices: str) -> str:
        return str(self.draw(st.sampled_from(choices)))

    def key(self, key: str) -> str:
        styles = [quoted(key)]
        if key and not set(key) - set(bare + "_-"):
            styles += [key, f"'{key}'", f'"\\u{ord(key[0]):04x}{key[1:]}"']
        return self.one_of(*styles)

    def value(self, value: Any) -> str:
        if isinstance(value, str):
            styles = [quoted(value)]
            if value.isalnum():
                styles += [f"'{value}'", f"'''\n{value}'''", f'"""\n{value}"""', f'"""\\\n   {value}"""']
            return self.one_of(*styles)
        if isinstance(value, list):
            gap = self.one_of("", "\n", " # ] name = [\n", "\n\n")
            items = [f"{gap}{self.value(item)}" for item in value]
            return f"[{','.join(items)}{',' if items and self.one_of('', ',') else ''}{gap}]"
        if isinstance(value, dict):
            space = self.one_of("", " ")
            items = [f"{space}{self.key(key)}{space}={space}{self.value(item)}" for key, item in value.items()]
            return f"{{{','.join(items)}{space}}}"
        return json.dumps(value)

    def pairs(self, values: dict[str, Any], prefix: str = "") -> str:
        lines = ""
        for key, value in values.items():
            name = prefix + self.key(key)
            if isinstance(value, dict) and value and self.one_of("dotted", "inline") == "dotted":
                lines += self.pairs(value, f"{name}{self.one_of('.', ' . ')}")
            else:
                lines += f"{self.one_of(*self.DECOYS)}{name} = {self.value(value)}{self.one_of('', ' # = 1')}\n"
        return lines

    def document(self, values: dict[str, Any], header: str = "") -> str:
        later: dict[str, Any] = {}
        here: dict[str, Any] = {}
        for key, value in values.items():
            tables = isinstance(value, dict) or (
                value and isinstance(value, list) and all(isinstance(item, dict) for item in value)
            )
            (later if tables and self.one_of("header", "here") == "header" else here)[key] = value
        lines = self.pairs(here)
        for key, value in later.items():
            name = f"{header}.{self.key(key)}" if header else self.key(key)
            space = self.one_of("", " ")
            for item in [value] if isinstance(value, dict) else value:
                brackets = ("[", "]") if isinstance(value, dict) else ("[[", "]]")
                lines += f"{self.one_of(*self.DECOYS)}{brackets[0]}{space}{name}{space}{brackets[1]}\n"
                lines += self.document(item, name)
        return lines


@st.composite
def documents(draw: st.DrawFn) -> tuple[Manifest, str]:
    manifest = draw(manifests())
    written = Writer(draw).document(table_of(manifest))
    return manifest, draw(st.sampled_from([written, written.replace("\n", "\r\n")]))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("manifests") / "m.toml"


@pytest.mark.slow
@patient
@given(document=documents())
def test_what_is_written_is_read(document: tuple[Manifest, str], path: Path) -> None:
    manifest, written = document
    path.write_text(written, newline="")
    read = load(path)
    assert read == dataclasses.replace(manifest, path=path)
    jsonschema.Draft202012Validator(schema()).validate(tomllib.loads(written))


def problems(path: Path) -> int:
    """Load a manifest that may be bad.

    Returns:
        How many problems were told; each must have its line, unless the file is no TOML at all.
    """
    try:
        load(path)
    except BuildError as error:
        for problem in error.problems:
            assert re.fullmatch(rf"{re.escape(str(path))}(:[1-9]\d*){{0,2}}", problem.where)
        return len(error.problems)
    return 0


@patient
@given(data=st.binary(max_size=200))
def test_bytes_are_told(data: bytes, path: Path) -> None:
    path.write_bytes(data)
    problems(path)


@patient
@given(data=st.data())
def test_mutations_are_told(data: st.DataObject, path: Path) -> None:
    written = bytearray(MNIST.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(written)))
        end = start + data.draw(st.integers(0, 8))
        written[start:end] = data.draw(
            st.sampled_from([*b"\"'[]{}=.,#\n\\0"]).map(lambda byte: bytes([byte])) | st.binary(max_size=4)
        )
    path.write_bytes(written)
    problems(path)


values = st.recursive(
    st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(-1e300, 1e300)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(["image", "npy", "argmax", "..", "a/../b", "https://x/y", "0" * 64, "input_img"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a TOML value with each of its keys."""
    items = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    return [(value, key) for key, _ in items] + [place for _, item in items for place in places(item)]


@pytest.mark.slow
@patient
@given(data=st.data())
def test_wrong_values_are_told_and_the_schema_is_no_stricter(data: st.DataObject, path: Path) -> None:
    table = tomllib.loads(MNIST)
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(table)))
        match data.draw(st.sampled_from(["replace", "remove", "rename"])):
            case "replace":
                container[key] = data.draw(values)
            case "rename" if isinstance(container, dict):
                container[data.draw(text)] = container.pop(key)
            case _:
                del container[key]
    path.write_text(Writer(data.draw).document(table), newline="")
    if not problems(path):
        jsonschema.Draft202012Validator(schema()).validate(table)


@pytest.mark.slow
@patient
@given(data=st.data())
def test_every_place_has_its_line(data: st.DataObject) -> None:
    """Each leaf holds a number of its own, and the line that is told for its key or element has that number."""
    count = iter(range(1000, 10_000))
    leaf = st.builds(lambda: next(count))
    key = st.text(st.sampled_from("ab-_1 .\"'\\é\n#=[]"), max_size=4)
    tree = st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(key, inner, max_size=3),
        max_leaves=12,
    )
    table = data.draw(st.dictionaries(key, tree, max_size=5))
    written = Writer(data.draw).document(table)
    assert tomllib.loads(written) == table
    lines = lines_of(written)

    def check(value: Any, place: tuple[str | int, ...]) -> int:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        if isinstance(value, int):
            assert re.search(rf"\b{value}\b", written.split("\n")[lines[place] - 1])
        return 1 + sum(check(item, (*place, key)) for key, item in items)

    assert check(table, ()) == len(lines)


def test_lines_of_hard_cases() -> None:
    document = '''\
top = """
[fake]
name = "x" \\""" """   # [fake]
a.b."c.d" = 1
a.'e"#' = [ 1979-05-27 07:32:00, # ]
  { x = 2, y = [
    3] },
  \'\'\'
it's [[fake]]
\'\'\'\',
  "four quotes""" ]
'''.replace('"four quotes""" ]', '""""quoted"""""]')
    document += (
        '[ t . "u" ]\nv = 07:32:00.5\n[[t.w]]\nx=inf\n[[t.w]]\n[t.w.z]\nx = -1e+5#\n[t]\nv=0x1F\nq=""""x"""""\np=1\n'
    )
    tomllib.loads(document)
    lines = lines_of(document)

    def line(*place: str | int) -> int:
        return lines[place]

    assert [line("top"), line("a"), line("a", "b", "c.d"), line("a", 'e"#')] == [1, 4, 4, 5]
    assert [line("a", 'e"#', index) for index in range(4)] == [5, 6, 8, 11]
    assert [line("a", 'e"#', 1, "y"), line("a", 'e"#', 1, "y", 0)] == [6, 7]
    assert [line("t", "u"), line("t", "u", "v"), line("t", "w"), line("t", "w", 0), line("t", "w", 0, "x")] == [
        12,
        13,
        14,
        14,
        15,
    ]
    assert [line("t", "w", 1), line("t", "w", 1, "z"), line("t", "w", 1, "z", "x"), line("t"), line("t", "v")] == [
        16,
        17,
        18,
        19,
        20,
    ]
    assert [line("t", "q"), line("t", "p")] == [21, 22]
    assert nearest(lines, ("t", "w", 1, "q", "r")) == 16
    assert "fake" not in {place[0] for place in lines if place}
