"""``<model>.tune``, and builds that read what it wrote."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from support import Build, copy, model, scons

from onnx_wasm import tuning
from onnx_wasm.errors import BuildError
from onnx_wasm.profile.search import search
from onnx_wasm.tuning import Batched, Choice, Convolution, Kernel, Product, Record, Tile

MANIFEST = """\
schema-version = 1

[model]
name = "{name}"
path = "{name}.onnx"

[compile]
platforms = ["teaclave", "wasi"]
tuning = {tuning}
"""
PLATFORMS = ("teaclave", "wasi")
WINDOWS = Convolution((1, 11, 11, 4), (8, 3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1)
STRIDED = Convolution((1, 11, 11, 8), (12, 3, 3), (2, 2), (1, 1), (1, 1, 1, 1), 1)
GROUPED = Convolution((1, 6, 6, 12), (6, 3, 3), (1, 1), (1, 1), (0, 0, 0, 0), 2)
POINTS = Product(16, 6, 5)
INTEGERS = replace(POINTS, dtype="int32")
KERNELS = {
    WINDOWS: Choice("winograd-2", Tile(5, 8)),
    STRIDED: Choice("gathered", Tile(3, 4)),
    GROUPED: Choice("grouped", Tile(2, 4)),
    POINTS: Choice("product", Tile(7, 4)),
}
"""Of ``layers``; none is what the compiler does by itself."""


def layers() -> onnx.ModelProto:
    """A model of a few convolutions."""
    random = np.random.default_rng(0)
    nodes, weights = [], {}
    for index, (shape, how) in enumerate(
        [
            ([8, 4, 3, 3], {"pads": [1, 1, 1, 1]}),
            ([12, 8, 3, 3], {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
            ([6, 6, 3, 3], {"group": 2}),
            ([5, 6, 1, 1], {}),
        ]
    ):
        weights[f"w{index}"] = random.standard_normal(shape).astype("float32")
        nodes.append(helper.make_node("Conv", [f"x{index}", f"w{index}"], [f"x{index + 1}"], **how))
    return model(nodes, {"x0": ("float32", [1, 4, 11, 11])}, {"x4": ("float32", [1, 5, 4, 4])}, weights)


def records(platform: str = "teaclave", kernels: Sequence[Kernel] = tuple(KERNELS)) -> list[Record]:
    return [Record(it, platform, (), KERNELS[it], 1.5) for it in kernels]


def place(top: Path, name: str, *files: str) -> Path:
    """Puts ``layers`` into a workspace under a name; its folder."""
    folder = top / f"models/{name}"
    folder.mkdir()
    onnx.save(layers(), folder / f"{name}.onnx")
    (folder / f"{name}.toml").write_text(MANIFEST.format(name=name, tuning=list(files)))
    return folder


@pytest.fixture(scope="module")
def workspace(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with ``layers``, built without records, as ``plain``."""
    top = copy(built, tmp_path_factory.mktemp("tuning") / "workspace")
    place(top, "plain")
    scons(top, "plain.teaclave.wasm", "plain.wasi.wasm")
    return top


def compiled(top: Path, platform: str, name: str) -> bytes:
    return (top / f"build/{platform}/{name}/{name}.o").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("platform", PLATFORMS)
def test_kernels_are_computed_as_records_of_their_platform_say(platform: str, workspace: Path, tmp_path: Path) -> None:
    top = copy(workspace, tmp_path / "workspace")
    (place(top, "tuned", "kernels.json") / "kernels.json").write_text(tuning.dumps(records(platform)))
    told = scons(top, "tuned.verify").out
    assert len(re.findall(rf"{platform}, sample .*of the largest", told)) == 2
    assert {it for it in PLATFORMS if compiled(top, it, "plain") != compiled(top, it, "tuned")} == {platform}


@pytest.mark.slow
def test_records_are_an_input_like_any_other(workspace: Path, tmp_path: Path) -> None:
    tops = [copy(workspace, tmp_path / name / "workspace") for name in ("here", "there")]
    for top, order in zip(tops, (1, -1), strict=True):
        file = place(top, "tuned", "kernels.json") / "kernels.json"
        file.write_text(tuning.dumps(records()))
        assert "WasmObject" in scons(top, "tuned.wasm").steps
        assert scons(top, "tuned.wasm").steps == []
        fewer = records()[::order][: len(KERNELS) - 1]
        file.write_text(tuning.dumps(fewer))
        assert scons(top, "tuned.wasm").steps == ["WasmObject", "ModelLibrary", "WasmModule"]
        file.write_text(tuning.dumps(records()[::order]))
        scons(top, "tuned.wasm")
    first, second = ((top / "build/teaclave/tuned/tuned.wasm").read_bytes() for top in tops)
    assert first == second


@pytest.mark.slow
def test_what_is_wrong_with_a_file_is_told_with_its_line(workspace: Path, tmp_path: Path) -> None:
    top = copy(workspace, tmp_path / "workspace")
    folder = place(top, "tuned", "kernels.json", "more.json")
    text = tuning.dumps(records())
    for right, wrong in (
        *(("[1, 11, 11, 4]", "[1, 11, 11]"), ("[3, 4]", "[3, 5]")),
        *(('"way": "grouped"', '"way": "direct"'), ('"depth"', '"depths"')),
    ):
        assert text.count(right) == 1
        text = text.replace(right, wrong)
    (folder / "kernels.json").write_text(text)
    (folder / "more.json").write_text('{"schema-version": 1,\n "records": [}')
    told = scons(top, "tuned.wasm", status=2).err
    assert re.findall(r"^models/tuned/(\S+): (.*)$", told, re.MULTILINE) == [
        ("kernels.json:2", "records.picture has 3 elements; it must have 4 to 4"),
        ("kernels.json:3", "records.tile: 3 × 5 is no tile that this kernel can have"),
        ("kernels.json:4", 'records.way: "direct" is none of this kernel: grouped'),
        ("kernels.json:5", "records.depth is missing"),
        ("kernels.json:5", "records.depths is not a key here"),
        ("more.json:2:14", "is not JSON: Expecting value"),
    ]


def test_a_file_that_is_not_there_is_told(workspace: Path, tmp_path: Path) -> None:
    top = copy(workspace, tmp_path / "workspace")
    place(top, "tuned", "kernels.json")
    assert (
        "models/tuned/tuned.toml:9: there is no file models/tuned/kernels.json"
        in scons(top, "tuned.wasm", status=2).err
    )


@pytest.mark.slow
def test_modules_that_share_weights_are_computed_alike(workspace: Path, tmp_path: Path) -> None:
    """Those of a package: the records of the one without features count for both."""
    top = copy(workspace, tmp_path / "workspace")
    folder = place(top, "tuned", "kernels.json")
    wider = replace(KERNELS[POINTS], tile=Tile(1, 12))
    featured = Record(POINTS, "web", ("relaxed-simd",), wider, 1.5)
    (folder / "kernels.json").write_text(tuning.dumps([*records("web"), featured]))
    manifest = MANIFEST.replace('"teaclave", "wasi"]', '"web"]\ntarget-features = ["relaxed-simd"]')
    given = manifest.format(name="tuned", tuning=["kernels.json"])
    sizes = []
    for more in ('\n[params]\nmode = "file"\n', ""):
        (folder / "tuned.toml").write_text(given + more)
        scons(top, "build/web/tuned/tuned.o", "build/web/tuned/tuned.relaxed-simd.o")
        files = (top / f"build/web/tuned/tuned{mark}.params" for mark in ("", ".relaxed-simd"))
        sizes.append([file.stat().st_size for file in files])
    (shared, same), (own, others) = sizes
    assert shared == same == own < others


@pytest.fixture(scope="module")
def tuned(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Build]:
    """The workspace once ``plain`` was tuned for Teaclave, and what was told."""
    top = copy(workspace, tmp_path_factory.mktemp("tuned") / "workspace")
    return top, scons(top, "plain.tune", "budget=600")


@pytest.mark.slow
def test_tune_writes_a_record_for_each_kernel(tuned: tuple[Path, Build]) -> None:
    top, told = tuned
    found = tuning.load(top / "models/plain/plain.tuning.json")
    assert {it.kernel for it in found} == set(KERNELS)
    assert {(it.platform, it.features) for it in found} == {("teaclave", ())}
    assert all(tuning.told(it) in told.out for it in KERNELS)
    assert 'say in models/plain/plain.toml: tuning = ["plain.tuning.json"]' in told.out


def test_what_was_found_runs_fewer_instructions(tuned: tuple[Path, Build]) -> None:
    top, _ = tuned
    folder = place(top, "quick", "plain.tuning.json")
    (folder / "plain.tuning.json").write_bytes((top / "models/plain/plain.tuning.json").read_bytes())
    before, after = (
        float(re.search(r"teaclave: ([\d.]+) M instr", scons(top, f"{name}.profile").out)[1])  # type: ignore[index]
        for name in ("plain", "quick")
    )
    assert after < before


@pytest.mark.slow
def test_tune_goes_on_where_it_was_left(tuned: tuple[Path, Build], tmp_path: Path) -> None:
    top = copy(tuned[0], tmp_path / "workspace")
    file = top / "models/plain/plain.tuning.json"
    whole = file.read_text()
    told = scons(top, "plain.tune").out
    assert " of 4 kernels are quicker with it" in told
    assert "convolution" not in told
    kept = [it for it in tuning.load(file) if it.kernel != POINTS]
    file.write_text(tuning.dumps(kept))
    told = scons(top, "plain.tune").out
    assert told.count("convolution") == 0
    assert told.count("product 16×6×5") == 1
    assert file.read_text() == whole


@pytest.mark.slow
def test_records_of_one_model_serve_another(tuned: tuple[Path, Build], tmp_path: Path) -> None:
    top = copy(tuned[0], tmp_path / "workspace")
    folder = place(top, "other", "shared.json")
    (folder / "shared.json").write_bytes((top / "models/plain/plain.tuning.json").read_bytes())
    told = scons(top, "other.tune").out
    assert "convolution" not in told
    assert "other.tuning.json: 0 of 0 kernels" in told
    assert not (folder / "other.tuning.json").exists()


@pytest.mark.parametrize("word", ["budget=soon", "budget=0", "tiles=2", "again=yes"])
def test_words_that_tune_does_not_have_are_told(word: str, workspace: Path) -> None:
    told = scons(workspace, "plain.tune", word, status=2)
    assert f"{word}: is no word of tune" in told.err
    assert not (workspace / "models/plain/plain.tuning.json").exists()


@pytest.mark.slow
def test_the_budget_is_kept(workspace: Path, tmp_path: Path) -> None:
    """A kernel takes more than this second; it is the largest one."""
    top = copy(workspace, tmp_path / "workspace")
    told = scons(top, "plain.wasi.tune", "budget=1").out
    assert "the time is up, and 3 kernels are left" in told
    (only,) = tuning.load(top / "models/plain/plain.tuning.json")
    assert (only.kernel, only.platform) == (WINDOWS, "wasi")


@pytest.mark.parametrize("kernel", [*KERNELS, Batched(2, 7, 6, 24), INTEGERS])
def test_a_search_finds_the_quickest_of_all_that_a_kernel_can_have(kernel: Kernel) -> None:
    wanted = Choice(kernel.ways[-1], next(it for it in reversed(kernel.tiles(kernel.ways[-1])) if it.columns == 4))

    def race(choices: Sequence[Choice | None]) -> list[float]:
        return [2 if it is None else 1.8 - 0.1 * (it.way == wanted.way) - 0.5 * (it == wanted) for it in choices]

    found, gain = search(kernel, race)
    assert found == wanted
    assert gain == pytest.approx(2 / 1.2)


def test_a_search_leaves_what_is_hardly_slower() -> None:
    assert search(POINTS, lambda choices: [1 if it is None else 0.98 for it in choices]) == (None, 1)


QUANTISED = {
    replace(WINDOWS, dtype="int32"): Choice("gathered", Tile(5, 4)),
    replace(STRIDED, dtype="int32"): Choice("direct", Tile(3, 4)),
    replace(GROUPED, dtype="int32"): Choice("grouped", Tile(2, 4)),
    INTEGERS: Choice("product", Tile(7, 4)),
}
"""Of ``layers`` between QuantizeLinear and DequantizeLinear."""


def quantised_layers() -> onnx.ModelProto:
    """``layers`` of bytes: what each reads, and its weights; of a scale that sums of floats are exact with."""
    its = layers()
    known = {it.name: numpy_helper.to_array(it) for it in its.graph.initializer}
    weights = {"s": np.array(2**-4, "float32"), "z": np.array(3, "uint8"), "n": np.array(0, "int8")}
    nodes = []
    for index, node in enumerate(its.graph.node):
        weights[f"v{index}"] = np.clip(np.rint(known[f"w{index}"] * 30), -127, 127).astype("int8")
        nodes += [
            helper.make_node("QuantizeLinear", [f"x{index}", "s", "z"], [f"q{index}"]),
            helper.make_node("DequantizeLinear", [f"q{index}", "s", "z"], [f"d{index}"]),
            helper.make_node("DequantizeLinear", [f"v{index}", "s", "n"], [f"w{index}"]),
        ]
        node.input[0] = f"d{index}"
        nodes.append(node)
    return model(nodes, {"x0": ("float32", [1, 4, 11, 11])}, {"x4": ("float32", [1, 5, 4, 4])}, weights, 19)


@pytest.mark.slow
def test_kernels_of_integers_are_tuned_as_those_of_floats(workspace: Path, tmp_path: Path) -> None:
    top = copy(workspace, tmp_path / "workspace")
    folder = place(top, "bytes", "kernels.json")
    onnx.save(quantised_layers(), folder / "bytes.onnx")
    file = folder / "kernels.json"
    file.write_text(tuning.dumps(records()))  # of floats: none is about these kernels
    scons(top, "bytes.wasm")
    before = compiled(top, "teaclave", "bytes")
    file.write_text(tuning.dumps(Record(it, "teaclave", (), choice, 1.5) for it, choice in QUANTISED.items()))
    assert re.search("teaclave, sample .*of the largest", scons(top, "bytes.verify").out)
    assert compiled(top, "teaclave", "bytes") != before
    file.write_text(tuning.dumps([]))
    told = scons(top, "bytes.tune", "budget=600").out
    assert {it.kernel for it in tuning.load(folder / "bytes.tuning.json")} == set(QUANTISED)
    assert all(f"{tuning.told(it)}: " in told for it in QUANTISED)
    assert "product 16×6×5 of integers: " in told


def test_records_of_floats_say_what_they_said_before_there_were_those_of_integers(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    path.write_text(tuning.dumps(records(kernels=[POINTS])))
    assert "dtype" not in path.read_text()
    (its,) = tuning.load(path)
    assert its.kernel.dtype == "float32"


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    several = [
        *records(), *records("wasi"), replace(records("web", [POINTS])[0], features=("relaxed-simd",), choice=None),
        *(Record(it, "web", (), choice, 1.5) for it, choice in QUANTISED.items()),
    ]  # fmt: skip
    path.write_text(tuning.dumps(reversed(several)))
    assert set(tuning.load(path)) == set(several)
    assert path.read_text() == tuning.dumps(tuning.load(path))
    assert len(path.read_text().splitlines()) == len(several) + 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", "is not a tuning file"),
        ("{", "is not JSON"),
        ('{"records": []}', "schema-version is missing"),
        ('{"schema-version": 2, "records": []}', "schema-version must be the integer 1"),
        ('{"schema-version": 1, "records": [NaN]}', "is not JSON"),
        ('{"schema-version": 1, "records": [7]}', "must be a table"),
        ('{"schema-version": null, "records": []}', "schema-version must be the integer 1, not null"),
        ("[" * 100_000, "is not JSON"),
        ('{"schema-version": 1, "records": [{"kernel": "sort"}]}', "records.kernel must be"),
    ],
)
def test_what_is_no_tuning_file_is_told(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    path.write_text(text)
    with pytest.raises(BuildError, match=re.escape(expected)):
        tuning.load(path)
