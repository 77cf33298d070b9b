"""Each edit runs exactly the steps that read what was edited."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from support import CHAIN, MNIST, TINY, artefacts, copy, edit, scons, store_outside, tiny

from onnx_wasm import toolchain

MANIFEST = Path("models/mnist/mnist.toml")
ONNX = Path("models/mnist/mnist.onnx")
HASH = 'sha256 = "90de0fc5df8d2f5621ae8956bc3931d22a125be280dc15816e3be68be2568d27"'
Environ = dict[str, str]


def change_weights(top: Path) -> None:
    model = onnx.load(top / ONNX)
    weights = next(it for it in model.graph.initializer if numpy_helper.to_array(it).dtype == np.float32)
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) + np.float32(0.25), weights.name))
    onnx.save(model, top / ONNX)
    edit(top / MANIFEST, f"{HASH} # train.py prints it\n", "")


def in_manifest(old: str, new: str) -> Callable[[Path], None]:
    return lambda top: edit(top / MANIFEST, old, new)


def append(file: str, text: str) -> Callable[[Path], None]:
    def change(top: Path) -> None:
        with (top / file).open("a") as opened:
            opened.write(text)

    return change


def touch_everything(top: Path) -> None:
    """Gives every source another time, some in the past, some in the future."""
    sources = [path for name in ("SConstruct", "models", "site_scons", "wrapper") for path in [top / name]]
    for index, path in enumerate(sorted(each for source in sources for each in [source, *source.rglob("*")])):
        os.utime(path, (1_000_000_000 + index, 1_000_000_000 + index) if index % 2 else (4_000_000_000, 4_000_000_000))


def another_tvm(top: Path) -> Environ:
    """The same Python packages, but TVM's RECORD lists another hash."""
    farm = top / "site-packages"
    farm.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith("apache_tvm-"):
            (farm / entry.name).symlink_to(entry)
            continue
        shutil.copytree(entry, farm / entry.name)
        record = farm / entry.name / "RECORD"
        lines = record.read_text().splitlines()
        index = next(index for index, line in enumerate(lines) if line.startswith("tvm/__init__.py,"))
        lines[index] = "tvm/__init__.py,sha256=another,1"
        record.write_text("\n".join(lines))
    return {"PYTHONPATH": str(farm)}


def another_rustc(top: Path) -> Environ:
    """The same Rust, but its compiler calls itself another build."""
    rustc = toolchain.find().rustc.path
    sysroot = rustc.resolve().parents[1]
    fake = top / "rust"
    (fake / "bin").mkdir(parents=True)
    (fake / "lib").symlink_to(sysroot / "lib")
    program = fake / "bin" / "rustc"
    program.write_text(f"""#!/bin/sh
if [ "$*" = -vV ]; then {rustc} -vV | sed 's/^commit-date: .*/commit-date: 1999-12-31/'; else exec {rustc} "$@"; fi
""")
    program.chmod(0o755)
    return {"ONNX_WASM_RUSTC": str(program), "ONNX_WASM_CARGO": str(toolchain.find().cargo.path)}


def another_user(top: Path) -> Environ:
    """What differs from terminal to terminal, and must not matter."""
    home = top / "home"
    home.mkdir()
    here = os.environ.get("PATH", "/usr/bin:/bin")
    return {"LANG": "C", "TZ": "Asia/Tokyo", "USER": "nobody", "TMPDIR": str(home), "PATH": f"{here}:{home}"}


TABLE: dict[str, tuple[Callable[[Path], Environ | None], list[str]]] = {
    "nothing": (lambda _: None, []),
    "the clock": (touch_everything, []),
    "the user's environment": (another_user, []),
    "a comment in the manifest": (in_manifest("[compile]", "# a comment\n\n[compile]"), []),
    "a key of [[test]]": (in_manifest("return = 9", "return = 9\nname = 'nine'"), []),
    "the licence": (in_manifest('license = "Apache-2.0"', 'license = "MIT"'), []),
    "the weights": (change_weights, CHAIN),
    "no hash any more": (in_manifest(f"{HASH} # train.py prints it\n", ""), ["TvmIr"]),
    "a shape that the model has": (
        in_manifest('format = "image"', 'shape = [1, 1, 28, 28]\nformat = "image"'),
        ["TvmIr"],
    ),
    "opt-level": (in_manifest("opt-level = 3", "opt-level = 1"), CHAIN[1:]),
    "the image's scale": (in_manifest("scale = 0.00392156862745098", "scale = 1.0"), CHAIN[2:]),
    "an argument's name": (in_manifest('argument = "output"', 'argument = "scores"'), CHAIN[2:]),
    "an output's format": (in_manifest('format = "npy"', 'format = "raw"'), CHAIN[2:]),
    "a source of the compiler": (append("site_scons/onnx_wasm/compiler/memory.py", "\n# a comment\n"), CHAIN[:2]),
    "a source of the archiving action": (
        append("site_scons/onnx_wasm/actions/model_library.py", "\n# a comment\n"),
        ["ModelLibrary"],
    ),
    "a source of a rule": (append("site_scons/onnx_wasm/rules/step.py", "\n# a comment\n"), []),
    "another TVM": (another_tvm, CHAIN[:2]),
}
OF_THE_WRAPPER: dict[str, tuple[Callable[[Path], Environ | None], list[str]]] = {
    "a comment in a source of the wrapper": (append("wrapper/src/lib.rs", "// a comment\n"), ["RustWrapper"]),
    "a source of the wrapper": (
        append("wrapper/src/lib.rs", '#[no_mangle]\npub static ANOTHER: [u8; 3] = *b"abc";\n'),
        ["RustWrapper", "WasmModule"],
    ),
    "another rustc": (another_rustc, ["RustWrapper", "WasmModule"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_an_edit_runs_what_reads_it(name: str, built: Path, tmp_path: Path) -> None:
    change, expected = TABLE[name]
    top = copy(built, tmp_path / "checkout")
    environ = change(top) or {}
    assert scons(top, "mnist.wasm", environ=environ).steps == expected
    assert scons(top, "mnist.wasm", environ=environ).steps == []


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_THE_WRAPPER)
def test_an_edit_of_the_wrapper_runs_no_step_of_the_model(name: str, built: Path, tmp_path: Path) -> None:
    """The same, on the small model: its wrapper is compiled in a moment."""
    change, expected = OF_THE_WRAPPER[name]
    top = copy(built, tmp_path / "checkout")
    environ = change(top) or {}
    assert scons(top, "tiny.wasm", environ=environ).steps == expected
    assert scons(top, "tiny.wasm", environ=environ).steps == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["opt-level", "the image's scale", "the weights"])
def test_an_edit_taken_back_gives_the_old_bytes(name: str, built: Path, tmp_path: Path) -> None:
    change, _ = TABLE[name]
    top = copy(built, tmp_path / "checkout")
    sources = copy(top / "models", tmp_path / "models")
    before = artefacts(top / "build")
    change(top)
    scons(top, "mnist.wasm")
    changed = artefacts(top / "build")
    assert changed["teaclave/mnist/mnist.wasm"] != before["teaclave/mnist/mnist.wasm"]
    shutil.rmtree(top / "models")
    copy(sources, top / "models")
    scons(top, "mnist.wasm")
    assert artefacts(top / "build") == before


@pytest.mark.slow
def test_tests_run_again_only_for_the_module_and_their_own_edits(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    report = MNIST / "mnist.test.json"
    assert scons(top, report).steps == ["WasmTest"]
    assert scons(top, report).steps == []
    TABLE["a comment in the manifest"][0](top)
    assert scons(top, report).steps == []
    TABLE["a key of [[test]]"][0](top)
    assert scons(top, report).steps == ["WasmTest"]
    shutil.copy(top / "models/mnist/digits/4.png", top / "models/mnist/digits/7.png")
    build = scons(top, report, status=2)
    assert build.steps == ["WasmTest"]
    assert "models/mnist/mnist.toml:" in build.err
    assert "returned 4, not 7" in build.err


@pytest.mark.slow
def test_a_manifest_s_mistaken_test_does_not_stop_the_module(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    edit(top / MANIFEST, "return = 9", "return = 8")
    assert scons(top, "mnist.wasm").steps == []
    assert "returned 9, not 8" in scons(top, "mnist.test", status=2).err


@pytest.mark.slow
def test_external_data_is_an_input(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    folder = top / "models/outside"
    (folder / "data").mkdir(parents=True)
    model = tiny()
    data = store_outside(model, "w", "data/w.bin")
    onnx.save(model, folder / "outside.onnx")
    (folder / "data/w.bin").write_bytes(data)
    (folder / "outside.toml").write_text(TINY.replace("tiny", "outside"))
    assert scons(top, "outside.wasm").steps == CHAIN
    first = (top / "build/teaclave/outside/outside.wasm").read_bytes()
    os.utime(folder / "data/w.bin", (1, 1))
    assert scons(top, "outside.wasm").steps == []
    (folder / "data/w.bin").write_bytes(bytes(reversed(data)))
    assert scons(top, "outside.wasm").steps == CHAIN
    assert (top / "build/teaclave/outside/outside.wasm").read_bytes() != first
    (folder / "data/w.bin").write_bytes(data)
    assert scons(top, "outside.wasm").steps == CHAIN
    assert (top / "build/teaclave/outside/outside.wasm").read_bytes() == first


@pytest.mark.slow
def test_models_that_need_the_same_wrapper_share_it(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    shutil.copytree(top / "models/mnist", top / "models/second")
    (top / "models/second/mnist.toml").rename(top / "models/second/second.toml")
    edit(top / "models/second/second.toml", 'name = "mnist"', 'name = "second"')
    build = scons(top, "all")
    assert sorted(build.steps) == sorted([*3 * CHAIN, "WebPackage"])  # for each platform
    assert all("second" in target for target in build.targets)


@pytest.mark.slow
def test_an_altered_artefact_is_built_again(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    before = artefacts(top / "build")
    (top / "build/teaclave/mnist/mnist.o").write_bytes(b"not the object")
    (top / "build/teaclave/mnist/mnist.params").unlink()
    assert scons(top, "mnist.wasm").steps == ["WasmObject"]
    assert artefacts(top / "build") == before


def test_the_interpreter_is_an_input_by_its_version_not_its_place(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    assert scons(top, "mnist.wasm", python=python).steps == []
