"""Modules for the platform ``wasi``: the command, in wasmtime and in Node.js."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import ROOT, environment

from onnx_wasm.errors import BuildError
from onnx_wasm.hosts import checks
from onnx_wasm.hosts.teaclave import TeaclaveHost
from onnx_wasm.hosts.wasi import WasiHost
from onnx_wasm.platforms import WASI
from onnx_wasm.status import statuses

DIGITS = ROOT / "models/mnist/digits"
CODES = {it.name: it.code for it in statuses().values()}
NODE = """
import { readFileSync } from "node:fs";
import { WASI } from "node:wasi";
const [file, folder, ...words] = process.argv.slice(1);
const preopens = folder ? { [folder]: folder } : {};
const wasi = new WASI({ version: "preview1", args: [file, ...words], preopens, returnOnExit: true });
const { instance } = await WebAssembly.instantiate(readFileSync(file), wasi.getImportObject());
process.exitCode = wasi.start(instance);
"""


@pytest.fixture(scope="module")
def mnist(built: Path) -> Path:
    return built / "build/wasi/mnist/mnist.wasm"


@pytest.fixture(scope="module")
def host(mnist: Path) -> WasiHost:
    return WasiHost(mnist.read_bytes(), str(mnist))


def node(module: Path, folder: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("node")
    assert program, "there is no Node.js here: ./sconsw setup dev brings it"
    command = [program, "--no-warnings", "--input-type=module", "-e", NODE, "--", str(module), str(folder), *words]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=60)


def test_it_is_a_command_of_wasi(mnist: Path) -> None:
    module = checks.check(mnist.read_bytes(), WASI, str(mnist))
    assert {it.name: it.type for it in module.imports} == WASI.imports
    assert {it.name: it.type for it in module.exports} == WASI.exports


@pytest.mark.parametrize("path", sorted(DIGITS.glob("*.[jp][pn]g")), ids=lambda path: path.name)
def test_a_digit_has_the_scores_that_it_has_in_teaclave(
    built: Path, host: WasiHost, tmp_path: Path, path: Path
) -> None:
    teaclave = TeaclaveHost.load(built / "build/teaclave/mnist/mnist.wasm")
    assert teaclave.run({"input_img": str(path), "output": str(tmp_path / "teaclave.npy")}).value == int(path.stem)
    result = host.run({"input_img": str(path), "output": str(tmp_path / "wasi.npy")})
    assert (result.value, result.printed) == (int(path.stem), f'{{"return": {path.stem}}}\n')
    expected, written = np.load(tmp_path / "teaclave.npy"), np.load(tmp_path / "wasi.npy")
    np.testing.assert_allclose(written, expected, rtol=1e-5, atol=1e-5)


def test_in_node_it_gives_the_same(mnist: Path, host: WasiHost, tmp_path: Path) -> None:
    shutil.copy(DIGITS / "7.jpg", tmp_path)
    done = node(mnist, tmp_path, f"input_img={tmp_path}/7.jpg", f"output={tmp_path}/scores.npy")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"return": 7})
    host.run({"input_img": str(DIGITS / "7.jpg"), "output": str(tmp_path / "wasmtime.npy")})
    assert (tmp_path / "scores.npy").read_bytes() == (tmp_path / "wasmtime.npy").read_bytes()


def test_the_only_input_is_read_from_the_standard_input(mnist: Path, host: WasiHost, tmp_path: Path) -> None:
    result = host.run({"output": "-"}, standard_input=DIGITS / "3.png")
    host.run({"input_img": "-", "output": str(tmp_path / "scores.npy")}, standard_input=DIGITS / "3.png")
    told = json.loads(result.printed)
    assert told["return"] == 3
    np.testing.assert_array_equal(np.float32(told["outputs"]["Plus214_Output_0"]), np.load(tmp_path / "scores.npy"))
    done = node(mnist, Path(), "output=-", stdin=(DIGITS / "3.png").read_bytes())
    assert json.loads(done.stdout) == told


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["input_img"], "OddArguments"),
        (["nonsense=x"], "UnknownArgument"),
        (["input_img=3.png", "input_img=3.png"], "RepeatedArgument"),
        (["input_img=absent.png"], "InputNotOpened"),
        (["input_img="], "InputNotOpened"),
        (["input_img=text"], "UnknownImage"),
        (["input_img=broken.png"], "BrokenImage"),
        (["input_img=3.png", "output=absent/scores.npy"], "OutputNotCreated"),
        (["input_img=../outside.png"], "InputNotOpened"),
    ],
    ids=str,
)
def test_a_failure_is_an_exit_status_and_a_message(mnist: Path, tmp_path: Path, words: list[str], name: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(DIGITS / "3.png", folder)
    shutil.copy(DIGITS / "3.png", tmp_path / "outside.png")
    (folder / "text").write_text("not an image")
    (folder / "broken.png").write_bytes((DIGITS / "3.png").read_bytes()[:100])
    placed = [word.replace("=", f"={folder}/", 1) if not word.endswith("=") else word for word in words]
    done = node(mnist, folder, *placed)
    code = CODES[name]
    assert (done.returncode, done.stdout) == (-code, b"")
    assert done.stderr.decode() == f"{statuses()[code].text}\n"


def test_the_host_gives_only_what_is_named_and_writes_only_what_succeeds(host: WasiHost, tmp_path: Path) -> None:
    output = tmp_path / "scores.npy"
    output.write_bytes(b"as it was")
    absent = str(tmp_path / "absent.png")
    result = host.run({"input_img": absent, "output": str(output)})
    assert result.value == CODES["InputNotOpened"]
    assert absent in [problem.where for problem in result.file_errors]
    assert output.read_bytes() == b"as it was"
    picture = tmp_path / "3.png"
    shutil.copy(DIGITS / "3.png", picture)
    before = picture.stat()
    assert host.run({"input_img": str(picture), "output": str(output)}).value == 3
    assert np.load(output).shape == (1, 10)
    assert picture.stat() == before or picture.stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(BuildError, match="cannot be written"):
        host.run({"input_img": str(picture), "output": str(tmp_path / "absent/scores.npy")})


def test_without_memory_the_answer_is_a_status(mnist: Path, host: WasiHost) -> None:
    pages = checks.check(mnist.read_bytes(), WASI, str(mnist)).memories[0].minimum
    result = host.run({"input_img": str(DIGITS / "3.png")}, memory_limit=pages << 16)
    assert result.value == CODES["OutOfMemory"]


def test_run_knows_the_platform(mnist: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "onnx_wasm", "run", str(mnist), *words]
        path = {"PYTHONPATH": str(ROOT / "site_scons")}
        return subprocess.run(command, env=environment(path), capture_output=True, text=True, check=False, timeout=60)

    done = run(f"input_img={DIGITS}/5.png")
    assert (done.returncode, done.stdout) == (0, '{"return": 5}\n')
    done = run("nonsense=x")
    assert done.returncode == 1
    assert statuses()[CODES["UnknownArgument"]].text in done.stderr
