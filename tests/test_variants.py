"""``[[variant]]``: one manifest, the model in several sizes, each with targets of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from support import copy, model, scons

from onnx_wasm.errors import BuildError
from onnx_wasm.manifest import load

MANIFEST = """\
schema-version = 1

[model]
name = "add"
path = "add.onnx"

[dimensions]
n = 1
m = 3

[[output]]
name = "z"
argument = "z"

[[variant]]
name = "batch4"
dimensions = { n = 4 }

[[variant]]
name = "fixed"
shapes = { x = [2, 5], y = [1, 5] }

[[test]]
inputs = { x = "1.npy", y = "1.npy" }
outputs = { z = "2.npy" }

[[test]]
variant = "batch4"
inputs = { x = "4.npy", y = "4.npy" }
outputs = { z = "8.npy" }
"""


def place_add(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    its: tuple[str, list[int | str]] = ("float32", ["n", "m"])
    other: tuple[str, list[int | str]] = ("float32", ["n", "m"])
    nodes = [helper.make_node("Add", ["x", "y"], ["z"])]
    onnx.save(model(nodes, {"x": its, "y": other}, {"z": ("float32", ["n", "m"])}), folder / "add.onnx")
    for name, shape, value in (("1", (1, 3), 1), ("2", (1, 3), 2), ("4", (4, 3), 4), ("8", (4, 3), 8)):
        np.save(folder / f"{name}.npy", np.full(shape, value, "float32"))
    (folder / "add.toml").write_text(MANIFEST)
    return folder / "add.toml"


@pytest.mark.slow
def test_each_variant_has_targets_of_its_own(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    manifest = place_add(top / "models/add")
    told = scons(top, "add.test", "add-batch4.test", "add-batch4.verify")
    assert "models/add/add.toml: x=1.npy y=1.npy: 0  ok" in told.out
    assert "models/add/add.toml: x=4.npy y=4.npy: 0  ok" in told.out
    assert (top / "build/teaclave/add-batch4/add-batch4.wasm").exists()
    shown = scons(top, "--help").out
    assert "  add-fixed  " in shown
    np.save(top / "models/add/8.npy", np.full((4, 3), 9, "float32"))
    line = manifest.read_text().splitlines().index('variant = "batch4"')
    failed = scons(top, "add-batch4.test", status=2).err
    assert f"models/add/add.toml:{line}: test x=4.npy y=4.npy: z differs" in failed


def test_a_variant_is_the_model_with_other_sizes(tmp_path: Path) -> None:
    its, batch, fixed = load(place_add(tmp_path)).every()
    assert [each.model.target for each in (its, batch, fixed)] == ["add", "add-batch4", "add-fixed"]
    assert batch.dimensions == {"n": 4, "m": 3}
    assert [each.shape for each in fixed.inputs] == [(2, 5), (1, 5)]
    assert [at for at, _ in its.own_tests] == [0]
    assert [at for at, _ in batch.own_tests] == [1]


def test_the_name_of_a_variant_s_targets_is_taken_once(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    place_add(top / "models/add")
    other = place_add(top / "models/other")
    other.write_text(MANIFEST.replace('name = "add"', 'name = "add-batch4"'))
    told = scons(top, "add-batch4.wasm", status=2)
    assert '"add-batch4" is the name of another model too: models/add/add.toml:4' in told.err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dimensions = { n = 4 }\n", "", "15: a variant must say in what it differs"),
        ('name = "fixed"', 'name = "batch4"', '20: variant.name "batch4" is taken'),
        ('variant = "batch4"', 'variant = "batch5"', '28: test.variant: there is no [[variant]] "batch5"\n    did you'),
    ],
)
def test_a_variant_that_cannot_be_is_told(tmp_path: Path, old: str, new: str, message: str) -> None:
    manifest = place_add(tmp_path)
    manifest.write_text(MANIFEST.replace(old, new, 1))
    with pytest.raises(BuildError) as error:
        load(manifest)
    assert message in str(error.value)
