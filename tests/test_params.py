"""Weights in a file of their own: built, run, refused if they are others, on every platform and with both executors."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import wasmtime
from browser import chromium, served
from support import TINY, copy, scons, tiny
from web import node

from onnx_wasm.hosts import checks
from onnx_wasm.hosts.loading import load
from onnx_wasm.platforms import WEB
from onnx_wasm.status import statuses

EXECUTORS = ("aot", "graph")
CODES = {it.name: it.code for it in statuses().values()}
PARAMS = '\n[params]\nmode = "file"\nargument = "weights"\n'
X = [[1.0, -2.0, 3.0, 0.5]]


def manifest(executor: str) -> str:
    platforms = '["teaclave", "wasi", "web"]' if executor == "aot" else '["wasi", "web"]'
    compile_ = f'\n[compile]\nplatforms = {platforms}\nexecutor = "{executor}"\n'
    test = '\n[[test]]\ninputs = { x = "x.npy" }\noutputs = { y = "y.npy" }\n'
    return TINY.replace('"tiny"', f'"{executor}"') + PARAMS + compile_ + test


@pytest.fixture(scope="module")
def checkout(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``tiny()`` with its weights in a file, built with each executor, tested and verified."""
    folder = copy(built, tmp_path_factory.mktemp("params") / "checkout")
    for executor in EXECUTORS:
        (folder / f"models/tiny/{executor}.toml").write_text(manifest(executor))
    np.save(folder / "models/tiny/x.npy", np.float32(X))
    np.save(folder / "models/tiny/y.npy", expected())
    names = [f"{executor}.{what}" for executor in EXECUTORS for what in ("wasi.wasm", "web", "test", "verify")]
    scons(folder, "aot.wasm", *names)
    return folder


def expected(seed: int = 0) -> np.ndarray:
    """What ``tiny(seed)`` gives for ``X``."""
    weights = {it.name: onnx.numpy_helper.to_array(it) for it in tiny(seed).graph.initializer}
    return np.maximum(np.float32(X) @ weights["w"] + weights["b"], 0)


def module(checkout: Path, platform: str, executor: str) -> Path:
    return checkout / f"build/{platform}/{executor}/{executor}.wasm"


def run(module: Path, weights: Path | None, folder: Path) -> int | None:
    np.save(folder / "x.npy", np.float32(X))
    files = {"x": str(folder / "x.npy"), "y": str(folder / "y.npy")}
    return load(module).run({**files, **({"weights": str(weights)} if weights else {})}).value


@pytest.mark.slow
@pytest.mark.parametrize(("platform", "executor"), [("teaclave", "aot"), ("wasi", "aot"), ("wasi", "graph")])
def test_the_weights_beside_the_module_are_taken(checkout: Path, tmp_path: Path, platform: str, executor: str) -> None:
    built = module(checkout, platform, executor)
    assert run(built, built.with_suffix(".params"), tmp_path) == 0
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected(), rtol=1e-5)


@pytest.mark.parametrize("platform", ["teaclave", "wasi", "web"])
def test_the_module_does_not_hold_the_weights(checkout: Path, platform: str) -> None:
    held = onnx.numpy_helper.to_array(tiny().graph.initializer[0]).tobytes()[:12]
    assert held in module(checkout, platform, "aot").with_suffix(".params").read_bytes()
    assert held not in module(checkout, platform, "aot").read_bytes()


@pytest.mark.parametrize("platform", ["teaclave", "wasi"])
@pytest.mark.parametrize("wrong", ["other", "short", "long", "empty"])
def test_other_weights_are_refused(checkout: Path, tmp_path: Path, platform: str, wrong: str) -> None:
    built = module(checkout, platform, "aot")
    right = built.with_suffix(".params").read_bytes()
    files = {"other": bytes([right[0] ^ 1]) + right[1:], "short": right[:-1], "long": right + b"\0", "empty": b""}
    (tmp_path / "weights").write_bytes(files[wrong])
    assert run(built, tmp_path / "weights", tmp_path) == CODES["WrongParams"]
    assert not (tmp_path / "y.npy").exists()


@pytest.mark.parametrize("platform", ["teaclave", "wasi"])
def test_weights_that_are_not_there_have_their_codes(checkout: Path, tmp_path: Path, platform: str) -> None:
    built = module(checkout, platform, "aot")
    assert run(built, None, tmp_path) == CODES["MissingParams"]
    assert run(built, tmp_path / "absent", tmp_path) == CODES["InputNotOpened"]


def test_run_takes_the_file_that_the_build_wrote_unless_it_is_told_another(checkout: Path, tmp_path: Path) -> None:
    x = f"x={checkout}/models/tiny/x.npy"
    assert scons(checkout, "-Q", "aot.run", x).out == "0\n"
    (tmp_path / "weights").write_bytes(b"other")
    refused = scons(checkout, "-Q", "aot.run", x, f"weights={tmp_path}/weights", status=2)
    assert statuses()[CODES["WrongParams"]].text in refused.err


def test_the_interface_says_where_they_are(checkout: Path) -> None:
    for platform in ("teaclave", "wasi", "web"):
        file = module(checkout, platform, "aot").with_suffix(".params")
        interface = json.loads(file.with_suffix(".interface.json").read_text())
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        assert interface["params_file"] == {"argument": "weights", "file": file.name, "sha256": sha256}
        assert interface["sizes"]["params"] == file.stat().st_size
        assert ("check_params" in interface["exports"]) is (platform == "web")


@pytest.mark.slow
def test_other_weights_build_no_kernel_again(checkout: Path, tmp_path: Path) -> None:
    folder = copy(checkout, tmp_path / "checkout")
    before = module(folder, "teaclave", "aot").with_suffix(".o").read_bytes()
    onnx.save(tiny(1), folder / "models/tiny/tiny.onnx")
    build = scons(folder, "aot.wasm")
    assert build.steps == ["TvmIr", "WasmObject", "ModelLibrary", "WasmModule"]  # the module has the hash
    assert module(folder, "teaclave", "aot").with_suffix(".o").read_bytes() == before
    old = module(checkout, "teaclave", "aot").with_suffix(".params")
    new = module(folder, "teaclave", "aot").with_suffix(".params")
    assert run(module(folder, "teaclave", "aot"), old, tmp_path) == CODES["WrongParams"]
    assert run(module(folder, "teaclave", "aot"), new, tmp_path) == 0
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected(1), rtol=1e-5)


# JavaScript hosts


@pytest.mark.parametrize("executor", EXECUTORS)
def test_in_javascript_they_are_read_beside_the_module(checkout: Path, executor: str) -> None:
    script = f"""
        import {{ load }} from "./{executor}.js";
        tell([...(await load()).run({{ x: new Float32Array({X[0]}) }}).y]);
    """
    found = node(script, module(checkout, "web", executor).with_name(f"{executor}.web"))
    np.testing.assert_allclose([found], expected(), rtol=1e-5)


SOURCES = (
    *("undefined", "bytes", "bytes.buffer", "Promise.resolve(bytes)", "new Response(bytes)", "url + 'aot.params'"),
    *("fetch(url + 'aot.params')", "new URL(url + 'aot.params')"),
)


@pytest.mark.parametrize("source", SOURCES)
def test_in_javascript_they_come_from(checkout: Path, source: str) -> None:
    package = module(checkout, "web", "aot").with_name("aot.web")
    with served(package) as url:
        script = f"""
            import {{ readFileSync }} from "node:fs";
            import {{ load }} from "./aot.js";
            const url = "{url}";
            const bytes = new Uint8Array(readFileSync("aot.params")).slice();
            const model = await load(undefined, {{ params: {source} }});
            tell([...model.run({{ x: new Float32Array({X[0]}) }}).y]);
        """
        np.testing.assert_allclose([node(script, package)], expected(), rtol=1e-5)


REFUSED = {
    "bytes.slice(1)": "WrongParams",
    "Uint8Array.of(...bytes, 0)": "WrongParams",
    "bytes.map((byte) => byte ^ 1)": "WrongParams",
    "new Uint8Array()": "WrongParams",
    "new Response(null)": "WrongParams",
    "url + 'aot.js'": "WrongParams",
    "url + 'absent'": "absent: 404",
    "5": "the params of load() are a URL, a Response or an ArrayBuffer",
}


@pytest.mark.parametrize("source", REFUSED)
def test_in_javascript_others_are_refused(checkout: Path, source: str) -> None:
    package = module(checkout, "web", "aot").with_name("aot.web")
    with served(package) as url:
        script = f"""
            import {{ readFileSync }} from "node:fs";
            import {{ load }} from "./aot.js";
            const url = "{url}";
            const bytes = new Uint8Array(readFileSync("aot.params")).slice();
            tell(await load(undefined, {{ params: {source} }}).catch((error) => [error.code, error.message]));
        """
        code, message = node(script, package)
        name = REFUSED[source]
        assert code == CODES.get(name)
        assert (statuses()[code].text if code else name) in message


def test_a_module_without_its_weights_does_not_run(checkout: Path) -> None:
    engine = wasmtime.Engine(checks.config(WEB))
    store = wasmtime.Store(engine)
    path = module(checkout, "web", "aot")
    exports = wasmtime.Instance(store, wasmtime.Module(engine, path.read_bytes()), []).exports(store)

    def call(name: str) -> int:
        function = exports[name]
        assert isinstance(function, wasmtime.Func)
        return int(function(store))

    memory = exports["memory"]
    assert isinstance(memory, wasmtime.Memory)
    assert call("run") == CODES["MissingParams"]
    assert call("check_params") == CODES["WrongParams"]
    assert call("run") == CODES["MissingParams"]
    address = call("params")
    assert address % 64 == 0
    memory.write(store, path.with_suffix(".params").read_bytes(), address)
    assert call("check_params") == 0
    assert call("run") == 0
    assert call("params") == address  # for others: they have to be checked again
    assert call("run") == CODES["MissingParams"]


def test_the_package_has_them(checkout: Path) -> None:
    package = module(checkout, "web", "aot").with_name("aot.web")
    described = json.loads((package / "package.json").read_text())
    assert "aot.params" in described["files"]
    assert "./aot.params" in described["exports"]
    assert "LoadOptions" in (package / "aot.d.ts").read_text()
    assert "`aot.params`" in (package / "README.md").read_text()
    plain = checkout / "build/web/mnist/mnist.web"
    assert "LoadOptions" not in (plain / "mnist.d.ts").read_text()
    assert ".params" not in (plain / "README.md").read_text()


@pytest.mark.slow
def test_the_page_reads_them(checkout: Path, tmp_path: Path) -> None:
    package = module(checkout, "web", "aot").with_name("aot.web")
    folder = Path(shutil.copytree(package, tmp_path / "aot.web"))
    with chromium() as browser:
        with served(folder) as url, browser.page(url) as page:
            page.wait("document.body?.dataset.ready !== undefined")
            page.click("button.primary")
            page.wait("document.querySelector('#outputs').innerText.includes('y')")
        (folder / "aot.params").write_bytes(b"other")
        with served(folder) as url, browser.page(url) as page:
            page.wait("!(document.querySelector('#error')?.hidden ?? true)")
            assert statuses()[CODES["WrongParams"]].text in page.text("#error")
