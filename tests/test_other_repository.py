"""Another repository builds its own model with the installed package, and SCons's options do there what they do."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from support import CHAIN, ROOT, Build, copy, environment, only_one, place_tiny, scons

from onnx_wasm.hosts.teaclave import TeaclaveHost

SCONSTRUCT = """\
import onnx_wasm

SetOption("hash_format", "sha256")
env = Environment(tools=["onnx_to_wasm"], toolpath=onnx_wasm.TOOLPATH)
env.WasmModel("nets/tiny/tiny.toml")
"""
MODULE = "build/teaclave/tiny/tiny.wasm"


@pytest.fixture(scope="session")
def wheel(shared: Path) -> Path:
    """The package as a wheel, built from a copy of the sources that it is made of."""
    folder = shared / "wheel"
    with only_one(shared / "wheel.lock"):
        if not list(folder.glob("*.whl")):
            source = folder / "source"
            source.mkdir(parents=True)
            for name in ("site_scons", "wrapper", "docs"):
                copy(ROOT / name, source / name)
            for name in ("pyproject.toml", "README.md", "LICENSE"):
                (source / name).write_bytes((ROOT / name).read_bytes())
            build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
            subprocess.run(build, env=environment(), check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def python(wheel: Path, shared: Path) -> Path:
    """A Python that has the wheel installed, and its dependencies from the environment that runs the tests."""
    folder = shared / "installed"
    program = folder / "bin" / "python"
    with only_one(shared / "installed.lock"):
        if not program.exists():
            venv.create(folder, with_pip=False, symlinks=True)
            packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
            with zipfile.ZipFile(wheel) as archive:  # a wheel of pure Python is installed when it is unpacked
                archive.extractall(packages)
            (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return program


@pytest.fixture(scope="module")
def repository(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another repository, where the model is built. Copy it to change it."""
    folder = tmp_path_factory.mktemp("other") / "repository"
    place_tiny(folder / "nets/tiny")
    (folder / "SConstruct").write_text(SCONSTRUCT)
    build = scons(folder, "tiny.wasm", python=python)
    assert sorted(build.steps) == sorted([*CHAIN, "RustWrapper"])
    return folder


@pytest.fixture
def top(repository: Path, tmp_path: Path) -> Path:
    """A copy of the other repository."""
    return copy(repository, tmp_path / "repository")


def test_the_sconstruct_has_five_lines() -> None:
    assert len([line for line in SCONSTRUCT.splitlines() if line]) <= 5


def test_the_wheel_holds_the_tool_the_package_and_the_wrapper(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for path in ("site_tools/onnx_to_wasm.py", "rules/wasm_model.py", "py.typed"):
        assert f"onnx_wasm/{path}" in names
    crate = {str(path.relative_to(ROOT)) for path in (ROOT / "wrapper").rglob("*.rs") if "target" not in path.parts}
    crate |= {"wrapper/Cargo.toml", "wrapper/Cargo.lock"}
    assert {f"onnx_wasm/{path}" for path in crate} <= set(names)
    package = ROOT / "site_scons/onnx_wasm"
    templates = [path.relative_to(package) for path in (package / "web").rglob("*") if path.is_file()]
    assert {f"onnx_wasm/{path}" for path in templates} <= set(names)
    assert len(templates) > 5
    assert not [name for name in names if "/target/" in name or name.endswith(".pyc") or "tests/bad" in name]


def test_the_package_comes_from_the_wheel(python: Path, tmp_path: Path) -> None:
    program = "import onnx_wasm; print(onnx_wasm.__file__)"
    run = subprocess.check_output([python, "-c", program], cwd=tmp_path, env=environment(), text=True)
    assert Path(run.strip()).is_relative_to(python.parents[1])


@pytest.mark.slow
def test_its_model_runs(repository: Path, python: Path, tmp_path: Path) -> None:
    x = np.array([[1, -2, 3, 0.5]], np.float32)
    np.save(tmp_path / "x.npy", x)
    host = TeaclaveHost.load(repository / MODULE)
    assert host.run({"x": str(tmp_path / "x.npy"), "y": str(tmp_path / "y.npy")}).value == 0
    assert np.load(tmp_path / "y.npy").shape == (1, 3)
    run = [str(python), "-m", "onnx_wasm", "run", str(repository / MODULE), f"x={tmp_path}/x.npy"]
    assert subprocess.run(run, env=environment(), capture_output=True, text=True, check=True).stdout == "0\n"


def test_its_bytes_are_those_of_a_checkout(repository: Path, built: Path) -> None:
    """Nothing of where the rules came from is in what they make."""
    assert (repository / MODULE).read_bytes() == (built / MODULE).read_bytes()


def test_nothing_to_do(top: Path, python: Path) -> None:
    build = scons(top, "tiny.wasm", python=python)
    assert build.steps == []
    assert build.out.splitlines()[-1].startswith(f"{MODULE}  ")


@pytest.mark.slow
def test_the_default_is_everything(top: Path, python: Path) -> None:
    (top / MODULE).unlink()
    assert scons(top, python=python).steps == ["WasmModule", "TeaclaveBundle"]


@pytest.mark.slow
def test_u_finds_the_top_from_below(top: Path, python: Path) -> None:
    (top / MODULE).unlink()
    assert scons(top / "nets/tiny", "-u", "tiny.wasm", python=python).steps == ["WasmModule"]
    assert scons(top / "nets", "-u", "tiny/../../build/teaclave/tiny/tiny.wasm", python=python).steps == []
    run = scons(top / "nets/tiny", "-u", "tiny.run", "x=x.npy", python=python, status=2)
    assert "nets/tiny/x.npy" in run.err  # files are those of the folder that SCons was started in


def test_c_removes_everything_that_was_built(top: Path, python: Path) -> None:
    build = scons(top, "-c", python=python)
    assert f"Removed {MODULE}" in build.out
    assert "sha256" not in build.out
    assert {path.name for path in (top / "build").rglob("*") if path.is_file()} <= {".lock", "toolchain.json"}
    assert (top / "nets/tiny/tiny.onnx").exists()
    assert scons(top, "-c", python=python).status == 0


def test_c_of_one_target_keeps_the_others(top: Path, python: Path) -> None:
    scons(top, "-c", "build/teaclave/tiny/libtiny.a", python=python)
    left = {path.name for path in (top / "build/teaclave/tiny").iterdir()}
    assert left == {"tiny.wasm", "tiny.symbols.json"}


def test_n_tells_what_would_run_and_runs_nothing(top: Path, python: Path) -> None:
    scons(top, "-c", python=python)
    before = sorted(top.rglob("*"))
    build = scons(top, "-n", "tiny.wasm", python=python)
    assert sorted(build.steps) == sorted([*CHAIN, "RustWrapper"])
    assert "sha256" not in build.out
    assert sorted(top.rglob("*")) == before


def test_q_says_whether_there_is_something_to_do(top: Path, python: Path) -> None:
    assert scons(top, "-q", "tiny.wasm", python=python).status == 0
    (top / MODULE).unlink()
    assert scons(top, "-q", "tiny.wasm", python=python, status=1).steps == []


def test_tree_shows_the_chain(top: Path, python: Path) -> None:
    lines = scons(top, "--tree=all", "tiny.wasm", python=python).out.splitlines()
    depths = {}
    for name in ("tiny.wasm", "libtiny.a", "tiny.o", "tiny.ir.json", "tiny.onnx"):
        line = next(line for line in lines if line.startswith((" ", "+")) and line.endswith(f"/{name}"))
        depths[name] = line.index("-")
    assert list(depths.values()) == sorted(set(depths.values()))
    assert any("+-apache-tvm " in line for line in lines)
    assert any("nets/tiny/tiny.onnx" in line for line in lines)


def explained(build: Build) -> list[str]:
    """The reasons that ``--debug=explain`` gives, without the lines of the steps themselves."""
    return [line.strip() for line in build.out.splitlines() if "rebuilding" in line or line.startswith("     ")]


@pytest.mark.slow
def test_explain_names_what_changed_and_nothing_else(top: Path, python: Path) -> None:
    place_tiny(top / "nets/tiny", seed=5)
    reasons = explained(scons(top, "--debug=explain", "tiny.wasm", python=python))
    assert reasons[:2] == [
        "scons: rebuilding `build/teaclave/tiny/tiny.ir.json' because `nets/tiny/tiny.onnx' changed",
        "scons: rebuilding `build/teaclave/tiny/tiny.o' because `build/teaclave/tiny/tiny.weights.safetensors' changed",
    ]
    assert reasons[2].startswith("scons: rebuilding `build/teaclave/tiny/libtiny.a' because")
    assert any(reason.endswith("`build/teaclave/tiny/tiny.params' changed") for reason in reasons[2:])
    assert reasons[-1] == f"scons: rebuilding `{MODULE}' because `build/teaclave/tiny/libtiny.a' changed"
    assert not [reason for reason in reasons if "dependency" in reason]
    assert explained(scons(top, "--debug=explain", "tiny.wasm", python=python)) == []


@pytest.mark.slow
def test_explain_shows_an_option_that_changed(top: Path, python: Path) -> None:
    manifest = top / "nets/tiny/tiny.toml"
    manifest.write_text(f"{manifest.read_text()}\n[compile]\nopt-level = 1\n")
    first, old, new, *_ = explained(scons(top, "--debug=explain", "tiny.wasm", python=python))
    assert first == "scons: rebuilding `build/teaclave/tiny/tiny.o' because the build action changed:"
    assert old.startswith("old: ")
    assert old.replace("old: ", "new: ").replace("--opt-level 3", "--opt-level 1") == new


def test_help_lists_the_models(top: Path, python: Path) -> None:
    build = scons(top, "--help", python=python)
    assert "tiny" in build.out
    assert "nets/tiny/tiny.toml" in build.out
    assert "MODEL.run KEY=FILE" in build.out
    assert build.steps == []


def test_help_keeps_what_the_repository_says_itself(top: Path, python: Path) -> None:
    sconstruct = SCONSTRUCT.replace("env.WasmModel", 'Help("Our own words.\\n")\nenv.WasmModel')
    build = scons(top, "--help", python=python, sconstruct=sconstruct)
    assert "Our own words." in build.out
    assert "nets/tiny/tiny.toml" in build.out


@pytest.mark.slow
def test_j_and_random_order(top: Path, python: Path) -> None:
    before = (top / MODULE).read_bytes()
    scons(top, "-c", "build/teaclave/tiny/tiny.wasm", "build/teaclave/tiny/libtiny.a", python=python)
    scons(top, "-j4", "--random", "tiny.wasm", python=python)
    assert (top / MODULE).read_bytes() == before


def test_a_model_in_a_subdirectory_s_sconscript(top: Path, python: Path) -> None:
    """Paths are relative to the file that says them, and the module comes back as a node."""
    (top / "nets/SConscript").write_text(
        'Import("env")\n(module,) = env.WasmModel("tiny/tiny.toml")\nReturn("module")\n'
    )
    sconstruct = SCONSTRUCT.replace(
        'env.WasmModel("nets/tiny/tiny.toml")',
        'module = SConscript("nets/SConscript", exports="env")\nenv.Install("dist", module)\nprint("node", module)',
    )
    build = scons(top, "dist", python=python, sconstruct=sconstruct)
    assert f"node {MODULE}" in build.out
    assert (top / "dist/tiny.wasm").read_bytes() == (top / MODULE).read_bytes()
    assert build.steps == []


@pytest.mark.slow
def test_the_single_rules_compose(top: Path, python: Path) -> None:
    """Those who compose get the module that ``WasmModel`` makes of a manifest that says no more."""
    sconstruct = """
import onnx_wasm
SetOption("hash_format", "sha256")
env = Environment(tools=["onnx_to_wasm"], toolpath=onnx_wasm.TOOLPATH)
ir = env.TvmIr("out/tiny", "nets/tiny/tiny.onnx")
compiled = env.WasmObject("out/tiny", ir)
library = env.ModelLibrary("out/tiny", compiled, INTERFACE={"outputs": [{"name": "y", "argument": "y"}]})
wrapper = env.RustWrapper("build/teaclave/wrapper/libwrapper.a", [])
env.WasmModule("out/tiny", [library[0], wrapper])
"""
    assert scons(top, "out", python=python, sconstruct=sconstruct).steps == CHAIN
    assert {path.name for path in (top / "out").iterdir()} == {
        *("tiny.ir.json", "tiny.weights.safetensors", "tiny.o", "tiny.graph.json", "tiny.params"),
        *("libtiny.a", "tiny.interface.json", "tiny.wasm", "tiny.symbols.json"),
    }
    assert (top / "out/tiny.wasm").read_bytes() == (top / MODULE).read_bytes()
