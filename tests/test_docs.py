"""The documentation: the reference is that of this code, links lead somewhere, and what README shows is so."""

from __future__ import annotations

import difflib
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support import ROOT, Build, copy, scons

from onnx_wasm import workspace_file
from onnx_wasm.manifest import load
from project import reference

README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PAGES = sorted(path for pattern in ("*.md", "docs/*.md", "models/*/*.md") for path in ROOT.glob(pattern))
LINK = re.compile(r"\[[^\]]*\]\((?!https?://)([^)\s]+)\)")
TIME = re.compile(r"\d+ ms")


def sessions(*command: str) -> list[list[str]]:
    """What README shows of each run of a command: the lines below it, without those that leave something out."""
    pattern = rf"^    \$ {re.escape(shlex.join(command))}\n((?:    (?!\$ ).*\n)*)"
    shown = [found[1] for found in re.finditer(pattern, README, re.MULTILINE)]
    assert shown, f"README does not show {shlex.join(command)}"
    return [[line[4:] for line in text.splitlines() if line.strip() != "…"] for text in shown]


def code(language: str) -> list[str]:
    """README's blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def assert_shown(build: Build, lines: list[str]) -> None:
    """Holds the output of a build against the lines that README shows of it; times differ."""
    output = TIME.sub("N ms", build.out + build.err).splitlines()
    assert [line for line in lines if TIME.sub("N ms", line) not in output] == [], build.out + build.err


def place_iris(folder: Path) -> Path:
    """Makes the model of README's example, without a manifest, and gives the path that its manifest has."""
    folder.mkdir(parents=True)
    weights = np.array([[0.4, 0.4, -1.7], [1.4, -1.6, -1.5], [-2.2, 0.5, 2.4], [-1.0, -1.4, 2.5]], np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["measurements", "weights"], ["scores"])],
        "iris",
        [helper.make_tensor_value_info("measurements", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(weights, "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "iris.onnx")
    np.save(folder / "flower.npy", np.array([[6.3, 3.3, 6.0, 2.5]], np.float32))
    return folder / "iris.toml"


@pytest.mark.parametrize("name", reference.pages())
def test_the_reference_is_that_of_this_code(name: str) -> None:
    path = reference.FOLDER / name
    written = (ROOT / path).read_text(encoding="utf-8").splitlines()
    made = reference.pages()[name].splitlines()
    difference = "\n".join(difflib.unified_diff(written, made, str(path), "made from the code", lineterm=""))
    assert not difference, f"run ./sconsw docs:\n{difference}"


def test_the_reference_has_every_rule() -> None:
    tool = (ROOT / "site_scons/site_tools/onnx_to_wasm.py").read_text(encoding="utf-8")
    rules = re.findall(r'env\["BUILDERS"\]\["(\w+)"\]', tool) + re.findall(r'env\.AddMethod\(\S+, "(\w+)"\)', tool)
    assert len(rules) > 1
    assert set(re.findall(r"^## (.+)$", reference.pages()["rules.md"], re.MULTILINE)) == set(rules)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    targets = [page.parent / link.partition("#")[0] for link in LINK.findall(page.read_text(encoding="utf-8"))]
    assert [target for target in targets if not target.exists()] == []


def test_readme_links_every_page_of_the_reference() -> None:
    linked = set(LINK.findall(README))
    assert {f"docs/{name}" for name in reference.pages() if name.endswith(".md")} <= linked


def test_the_variables_that_readme_names_are_read() -> None:
    package = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "site_scons/onnx_wasm").rglob("*.py"))
    named = set(re.findall(r"ONNX_WASM_[A-Z]+", README))
    assert named
    assert {name for name in named if name not in package} == set()


@pytest.mark.slow
def test_the_two_commands(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    command = ["-Q", "mnist.run", "input_img=models/mnist/digits/7.png"]
    assert sessions("./sconsw", *command) == [[scons(top, *command).out.strip()]]
    (shown,) = sessions("./sconsw", "mnist.wasm")
    assert len(shown) == 5
    shutil.rmtree(top / "build")
    assert_shown(scons(top, "-n", "mnist.wasm"), shown)


@pytest.mark.slow
def test_the_manifest_of_one_s_own_model(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    manifest = place_iris(top / "models/iris")
    first, second, *_ = code("toml")
    open_dimension, misspelt = sessions("./sconsw", "-Q", "iris.wasm")
    manifest.write_text(first)
    assert_shown(scons(top, "-Q", "iris.wasm", status=2), open_dimension)
    manifest.write_text(f"{first}\n{second}")
    assert_shown(scons(top, "-Q", "iris.test"), *sessions("./sconsw", "-Q", "iris.test"))
    manifest.write_text(f"{first}\n{second}".replace('name = "measurements"', 'nme = "measurements"'))
    assert_shown(scons(top, "-Q", "iris.wasm", status=2), misspelt)


def test_the_manifest_of_a_model_from_elsewhere(tmp_path: Path) -> None:
    words = ("[[variant]]", "\nurl = ", "package = ", "[params]")
    variant, address, package, params = (next(it for it in code("toml") if word in it) for word in words)
    (tmp_path / "its.toml").write_text("\n".join([code("toml")[0], variant]))
    assert [it.model.target for it in load(tmp_path / "its.toml").every()] == ["iris", "iris-batch8"]
    for text in (address, f'[model]\nname = "magika"\n{package}', f"{address}\n{params}"):
        (tmp_path / "its.toml").write_text(f"schema-version = 1\n{text.replace('…', '0' * 64)}")
        load(tmp_path / "its.toml")


def test_the_workspace_file(tmp_path: Path) -> None:
    file, said = tmp_path / "workspace.toml", []
    for text in (it for it in code("toml") if re.match(r"\[(build|remote)\]", it)):
        file.write_text(text)
        said.append(workspace_file.load(file))
    assert {it.remote.cache for it in said} == {"https://cache.example.org", None}
    assert {it.remote.executor for it in said} == {"grpcs://farm.example.org", None}
    assert {it.build.strategy for it in said} == {"sandbox", None}


def test_another_repository(tmp_path: Path) -> None:
    first, second, *_ = code("toml")
    place_iris(tmp_path / "other").write_text(f"{first}\n{second}")
    (sconstruct,) = (text for text in code("python") if "import onnx_wasm" in text)
    assert len(sconstruct.split("\n")) <= 6
    (tmp_path / "other/SConstruct").write_text(sconstruct)
    build = scons(tmp_path / "other", "-Q", "-n", "iris.wasm", environ={"PYTHONPATH": str(ROOT / "site_scons")})
    assert build.steps == ["TvmIr", "WasmObject", "ModelLibrary", "RustWrapper", "WasmModule"]


def test_the_targets_that_the_pages_name_are_there(built: Path) -> None:
    named = re.findall(r"\./sconsw(?: -[\w=:/.-]+)* (\w[\w.-]*)", README + CONTRIBUTING)
    named += re.findall(r"`([\w.<>-]+)", "".join(re.findall(r"^\| (`.*?) \|", README, re.MULTILINE)))
    targets = {name.replace("<model>", "mnist").replace("<platform>", "teaclave") for name in named}
    targets -= {"doctor", "setup", *(name for name in targets if name.startswith(("iris.", "detector.")))}
    targets -= {"query", "affected"}  # they are asked alone
    targets -= {"mnist.release"}  # refused here, where there is no git
    assert {"mnist.wasm", "mnist.teaclave.wasm", "mnist.test", "mnist.run", "all", "test", "lint", "docs"} <= targets
    scons(built, "-n", *sorted(targets))
