"""Bundles for Teaclave: what is in them, and that their client runs the model, with all that the issue's users do."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support import MNIST, ROOT, TINY, copy, environment, scons
from teaclave_local import SDK, Local, running

from onnx_wasm.actions import teaclave_bundle

DIGITS = ROOT / "models/mnist/digits"
PARAMS = '\n[params]\nmode = "file"\nargument = "weights"\n'


@pytest.fixture(scope="module")
def mnist(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of ``mnist``."""
    folder = copy(built, tmp_path_factory.mktemp("bundle") / "checkout")
    scons(folder, "mnist.teaclave")
    return folder / MNIST / "mnist.teaclave"


@pytest.fixture(scope="module")
def apart(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of ``tiny()`` with its weights in a file."""
    folder = copy(built, tmp_path_factory.mktemp("apart") / "checkout")
    (folder / "models/tiny/apart.toml").write_text(TINY.replace('"tiny"', '"apart"') + PARAMS)
    scons(folder, "apart.teaclave")
    return folder / "build/teaclave/apart/apart.teaclave"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with running(tmp_path_factory.mktemp("files")) as started:
        yield started


def invoke(bundle: Path, local: Local, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs a bundle's client, with the tests' SDK in place of Teaclave's."""
    ports = ["--authentication-port", str(local.authentication), "--frontend-port", str(local.frontend)]
    command = [sys.executable, "-P", bundle / "invoke.py", "--folder", local.folder, *ports, *words]
    environ = environment({"PYTHONPATH": str(SDK), "SGX_MODE": "SW"})
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=120)


def test_a_bundle_is_all_that_teaclave_needs(mnist: Path, built: Path) -> None:
    assert sorted(it.name for it in mnist.iterdir()) == ["README.md", "function.json", "invoke.py", "mnist.wasm"]
    assert (mnist / "mnist.wasm").read_bytes() == (built / MNIST / "mnist.wasm").read_bytes()
    function = json.loads((mnist / "function.json").read_text())
    assert {key: function[key] for key in ("name", "executor_type", "payload", "public", "creator", "files")} == {
        "name": "mnist",
        "executor_type": "wamr",
        "payload": "mnist.wasm",
        "public": True,
        "creator": "data_owner",
        "files": {},
    }
    assert [it["key"] for it in function["arguments"]] == ["input_img", "output"]
    described = "a picture, JPEG or PNG, read as float32 [1, 1, 28, 28]"
    owned = {"name": "input_img", "description": described, "optional": False, "owner": "data_owner"}
    assert function["inputs"] == [owned]
    assert [(it["name"], it["optional"]) for it in function["outputs"]] == [("output", True)]
    assert function["statuses"]["-13"] == "an image is neither JPEG nor PNG"


@pytest.mark.slow
def test_its_readme_leaves_nothing_open(mnist: Path, apart: Path) -> None:
    for bundle in (mnist, apart):
        text = (bundle / "README.md").read_text()
        assert "__" not in text
        assert all(f"`{it.name}`" in text for it in bundle.iterdir() if it.name != "README.md")
    assert "input_img=FILE" in (mnist / "README.md").read_text()
    assert "| `weights` | model_owner | the weights, apart.params |" in (apart / "README.md").read_text()


def test_a_payload_that_teaclave_s_messages_cannot_hold_is_told(mnist: Path) -> None:
    described = teaclave_bundle.function("large", json.loads((mnist.parent / "mnist.interface.json").read_text()))
    assert "The payload is large" in teaclave_bundle.readme(described, (4 << 20) + 1)
    assert "The payload is large" not in teaclave_bundle.readme(described, 4 << 20)


@pytest.mark.slow
def test_its_client_gets_the_result_and_leaves_nothing_behind(mnist: Path, local: Local, tmp_path: Path) -> None:
    run = invoke(mnist, local, f"input_img={DIGITS / '7.png'}", f"output={tmp_path / 'scores.npy'}")
    assert (run.returncode, run.stdout) == (0, "7\n"), run.stderr
    readme = (ROOT / "README.md").read_text()
    (shown,) = re.findall(r"^    \$ python3 \S+/invoke\.py .*\n((?:    (?!\$).*\n)+)", readme, re.MULTILINE)
    assert [line.strip() for line in shown.splitlines()] == [*run.stderr.splitlines(), "7"]
    told = local.told.replace(str(local.folder.resolve()), "/…/files").splitlines()
    assert f"    {told[0]}\n" in readme
    assert f"    {told[2]}\n" in readme
    assert np.load(tmp_path / "scores.npy").argmax() == 7
    assert list(local.folder.iterdir()) == []


def test_an_output_that_nobody_asks_for_is_not_made(mnist: Path, local: Local) -> None:
    run = invoke(mnist, local, f"input_img={DIGITS / '3.png'}")
    assert (run.returncode, run.stdout) == (0, "3\n"), run.stderr


@pytest.mark.slow
def test_what_the_function_says_is_told(mnist: Path, local: Local, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("text")
    run = invoke(mnist, local, f"input_img={tmp_path / 'text.png'}")
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == "invoke.py: the function returned -13: an image is neither JPEG nor PNG"
    run = invoke(mnist, local, f"input_img={tmp_path / 'text.png'}", f"output={tmp_path / 'scores.npy'}")
    assert run.returncode == 1
    reason = 'the payload returned -13 and did not write the output "output"'
    assert run.stderr.splitlines()[-1] == f"invoke.py: the task failed: {reason}"
    assert not (tmp_path / "scores.npy").exists()
    assert list(local.folder.iterdir()) == []


@pytest.mark.slow
def test_weights_of_another_owner_are_an_input_of_the_task(apart: Path, local: Local, tmp_path: Path) -> None:
    function = json.loads((apart / "function.json").read_text())
    assert [(it["name"], it["owner"]) for it in function["inputs"]] == [("x", "data_owner"), ("weights", "model_owner")]
    assert function["files"] == {"weights": "apart.params"}
    np.save(tmp_path / "x.npy", np.float32([[1, -2, 3, 0.5]]))
    run = invoke(apart, local, f"x={tmp_path / 'x.npy'}", f"y={tmp_path / 'y.npy'}")
    assert (run.returncode, run.stdout) == (0, "0\n"), run.stderr
    assert "[+] model_owner approving task" in run.stderr.splitlines()
    assert np.load(tmp_path / "y.npy").dtype == np.float32

    other = tmp_path / "other.params"
    other.write_bytes(bytes(len((apart / "apart.params").read_bytes())))
    run = invoke(apart, local, f"x={tmp_path / 'x.npy'}", f"weights={other}")
    assert run.returncode == 1
    assert "returned -26: the file of the weights is not the one that" in run.stderr.splitlines()[-1]


def test_wrong_words_are_told_all_at_once(mnist: Path, local: Local) -> None:
    run = invoke(mnist, local, "image=x.png")
    assert run.returncode == 2
    assert "there is no key image; input_img=FILE is missing" in run.stderr.splitlines()[-1]


def test_a_bundle_is_made_again_only_when_something_of_it_changed(apart: Path) -> None:
    top = apart.parents[3]
    assert scons(top, "apart.teaclave").steps == []
    shutil.rmtree(apart)
    assert scons(top, "apart.teaclave").steps == ["TeaclaveBundle"]
