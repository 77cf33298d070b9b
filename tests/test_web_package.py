"""Packages for JavaScript: what they take and give, what they say when something is wrong, and that npm packs them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from browser import served
from PIL import Image
from support import ROOT
from web import SIZES, TRAP, interface, node, place_echo

from onnx_wasm.actions import common, web_package
from onnx_wasm.benchmarks import npm
from onnx_wasm.interface import DTYPES

DIGITS = ROOT / "models/mnist/digits"
ODD_NAMES = ["__proto__", "a b", 'quote"s', "*/ done", "</script><b>", "new\nline", "käse", "`|tick", "__NAME__"]


@pytest.fixture(scope="module")
def mnist(built: Path) -> Path:
    return built / "build/web/mnist/mnist.web"


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that gives its inputs back: a command, and a picture."""
    tensors = {"command": ("int32", [1]), "picture": ("uint8", [1, 1, 4, 4])}
    return place_echo(tmp_path_factory.mktemp("echo"), interface(tensors, "picture"))


GOOD = "{ command: Int32Array.of(5), picture: new Uint8Array(16).fill(9) }"
USABLE = f"tell([...model.run({GOOD})['command again']]);"


# What it takes and gives


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_goes_in_and_comes_out(dtype: str, tmp_path: Path) -> None:
    echo = place_echo(tmp_path, interface({"command": ("int32", [1]), "x": (dtype, [2, 3])}))
    array = web_package._ARRAYS[dtype]
    values = "[0n, 1n, 2n, 3n, 4n, 5n]" if dtype.endswith("int64") else "[0, 1, 2, 3, 4, 5]"
    script = f"""
        import {{ load, inputs }} from "./echo.js";
        const model = await load();
        const found = model.run({{ command: new Int32Array(1), x: new {array}({values}) }})["x again"];
        tell([found.constructor.name, [...found].map(Number), found.byteLength, inputs[1].size]);
    """
    expected = [0, 1, 1, 1, 1, 1] if dtype == "bool" else [0, 1, 2, 3, 4, 5]
    assert node(script, echo) == [array, expected, 6 * SIZES.get(dtype, 4), 6]


def test_float16_is_taken_as_numbers_where_the_engine_has_them(tmp_path: Path) -> None:
    echo = place_echo(tmp_path, interface({"x": ("float16", [2])}))
    stand_in = """
        globalThis.Float16Array = class Float16Array extends Uint16Array {
          get [Symbol.toStringTag]() { return "Float16Array"; }
        };
        const { load } = await import("./echo.js");
        tell([...(await load()).run({ x: new Float16Array([0x3c00, 0x4000]) })["x again"]]);
    """
    assert node(stand_in, echo) == [0x3C00, 0x4000]


def test_outputs_are_copies_unless_views_are_asked_for(echo: Path) -> None:
    script = """
        import { load } from "./echo.js";
        const model = await load();
        const run = (value, options) =>
          model.run({ command: Int32Array.of(value), picture: new Uint8Array(16) }, options)["command again"];
        const copy = run(1);
        const view = run(2, { views: true });
        run(3);
        tell([copy[0], view[0], copy.buffer.byteLength]);
    """
    assert node(script, echo) == [1, 3, 4]


def test_a_picture_is_passed_on_and_its_memory_given_back(echo: Path) -> None:
    script = """
        import { load } from "./echo.js";
        const model = await load();
        const data = new Uint8ClampedArray(5 * 3 * 4).fill(7);
        const run = () => model.run({ command: Int32Array.of(1), picture: { data, width: 5, height: 3 } });
        run();
        const found = run();  // the memory grew: every view is new
        tell([[...new Int32Array(found["picture again"].buffer)], found["command again"][0]]);
    """
    assert node(script, echo) == [[0x07070707, 5, 3, 60], 1]


def test_what_an_output_s_view_holds_can_be_an_input_while_memory_grows(echo: Path) -> None:
    script = """
        import { load } from "./echo.js";
        const model = await load();
        const six = { command: Int32Array.of(6), picture: new Uint8Array(16) };
        const { "command again": view } = model.run(six, { views: true });
        const picture = { data: new Uint8Array(4 * 200 * 4), width: 4, height: 200 };
        tell(model.run({ command: view, picture })["command again"][0]);
    """
    assert node(script, echo) == 6


def test_odd_names_are_kept_as_they_are(tmp_path: Path) -> None:
    echo = place_echo(tmp_path, interface({name: ("int32", [1]) for name in ODD_NAMES}))
    script = """
        import { load, inputs } from "./echo.js";
        const model = await load();
        const given = Object.fromEntries(inputs.map((it, index) => [it.name, Int32Array.of(index)]));
        tell(Object.entries(model.run(given)).map(([name, [value]]) => [name, value]));
    """
    assert node(script, echo) == [[f"{name} again", index] for index, name in enumerate(ODD_NAMES)]


def test_the_example_of_the_project_s_readme(mnist: Path) -> None:
    (example,) = re.findall(r"^```js\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(node(f"{example}tell([...Plus214_Output_0]);", mnist)) == 10


# What it says when something is wrong

WRONG = {
    "{}": r'input "command" is missing; input "picture" is missing',
    "null": "takes an object",
    f"{{ ...{GOOD}, other: 1 }}": r'there is no input "other"\. echo takes \{ "command": int32\[1\], "picture"',
    f"{{ ...{GOOD}, command: new Float32Array(1) }}": r'input "command" is Float32Array, not Int32Array',
    f"{{ ...{GOOD}, command: [1] }}": r'input "command" is object, not Int32Array',
    f"{{ ...{GOOD}, command: null }}": r'input "command" is null, not Int32Array',
    f"{{ ...{GOOD}, command: 1 }}": r'input "command" is number, not Int32Array',
    f"{{ ...{GOOD}, command: new DataView(new ArrayBuffer(4)) }}": r'input "command" is DataView, not',
    f"{{ ...{GOOD}, command: new Int32Array(2) }}": r'input "command" has 2 elements, not 1',
    f"{{ ...{GOOD}, command: {{ width: 1, height: 1, data: new Uint8Array(4) }} }}": r'"command" is not a picture',
    f"{{ ...{GOOD}, picture: {{ width: 2, height: 2, data: new Uint8Array(4) }} }}": r"has 4 bytes, not 2 × 2 × 4",
    f"{{ ...{GOOD}, picture: {{ width: 0, height: 2, data: new Uint8Array(0) }} }}": "a picture without pixels",
    f"{{ ...{GOOD}, picture: {{ width: 1.5, height: 2, data: new Uint8Array(12) }} }}": "a picture without pixels",
    f"{{ ...{GOOD}, picture: {{ width: 1, height: 1, data: new Float32Array(4) }} }}": "other than 8 bits",
    f"{{ ...{GOOD}, picture: {{ width: 1, height: 1 }} }}": "no canvas; give an ImageData",
    "Object.create({ command: Int32Array.of(5), picture: new Uint8Array(16) })": '"command" is missing',
}


@pytest.mark.parametrize("given", WRONG)
def test_wrong_inputs_are_told_and_the_model_stays_usable(echo: Path, given: str) -> None:
    script = f"""
        import {{ load }} from "./echo.js";
        const model = await load();
        let said;
        try {{ model.run({given}); }} catch (error) {{ said = [error.name, error.message]; }}
        tell([said, model.run({GOOD})["command again"][0]]);
    """
    (name, message), after = node(script, echo)
    assert name == "TypeError"
    assert re.search(WRONG[given], message), message
    assert after == 5


LARGE = "picture: { width: 1001, height: 1, data: new Uint8Array(4004) }"
FAILING = {
    "{ command: Int32Array.of(-20), picture: new Uint8Array(16) }": (-20, "echo: the output has no largest element"),
    "{ command: Int32Array.of(-999), picture: new Uint8Array(16) }": (-999, "echo: the module gave a code that"),
    f"{{ command: Int32Array.of({TRAP}), picture: new Uint8Array(16) }}": (-17, "echo: the model failed while it ran"),
    f"{{ command: Int32Array.of(1), {LARGE} }}": (-15, "picture: an image has more pixels than the model accepts"),
    "{ command: Int32Array.of(1), picture: { width: 13, height: 1, data: new Uint8Array(52) } }": (-14, "picture: an"),
}


@pytest.mark.parametrize("given", FAILING)
def test_a_status_is_an_error_with_its_code_and_the_model_stays_usable(echo: Path, given: str) -> None:
    script = f"""
        import {{ load, ModelError }} from "./echo.js";
        const model = await load();
        let said;
        try {{ model.run({given}); }}
        catch (error) {{
          said = [error instanceof ModelError && error instanceof Error, error.name, error.code, error.message];
        }}
        tell([said, model.run({GOOD})["command again"][0]]);
    """
    said, after = node(script, echo)
    code, message = FAILING[given]
    assert said[:3] == [True, "ModelError", code]
    assert said[3].startswith(message)
    assert said[3].endswith(f"({code})")
    assert after == 5


def test_memory_of_a_refused_picture_is_given_back(echo: Path) -> None:
    script = """
        import { load } from "./echo.js";
        const model = await load();
        const picture = (width) => ({ width, height: 2, data: new Uint8Array(width * 8) });
        try { model.run({ command: Int32Array.of(1), picture: picture(13) }); } catch {}
        const found = model.run({ command: Int32Array.of(1), picture: picture(2) });
        tell(new Int32Array(found["picture again"].buffer)[3]);
    """
    assert node(script, echo) == 16


# Where the module comes from

SOURCES = (
    *(
        "",
        'new URL("./echo.wasm", import.meta.url)',
        'new URL("./echo.wasm", import.meta.url).href',
        "url + 'echo.wasm'",
    ),
    *(
        "fetch(url + 'echo.wasm')",
        "await fetch(url + 'echo.wasm')",
        "readFileSync('echo.wasm')",
        "bytes",
        "bytes.buffer",
    ),
    *("new WebAssembly.Module(bytes)", "WebAssembly.compile(bytes)"),
    "new Response(bytes, { headers: { 'Content-Type': 'application/wasm' } })",
    "new Response(bytes, { headers: { 'Content-Type': 'text/plain' } })",
)


def run_file(text: str, folder: Path) -> object:
    """Runs a script that stands in a file of the folder: one that has a URL."""
    (folder / "script.mjs").write_text(text)
    return node('await import("./script.mjs").then((it) => tell(it.default));', folder)


@pytest.mark.parametrize("source", SOURCES)
def test_a_module_is_loaded_from(source: str, echo: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(echo, tmp_path / "echo.web"))
    with served(folder) as url:
        script = f"""
            import {{ readFileSync }} from "node:fs";
            import {{ load }} from "./echo.js";
            const url = "{url}";
            const bytes = new Uint8Array(readFileSync("echo.wasm")).slice();
            export default (await load({source})).run({GOOD})["command again"][0];
        """
        assert run_file(script, folder) == 5


NOT_A_MODULE = {
    "url + 'missing.wasm'": "missing.wasm: 404",
    "url + 'echo.js'": "magic",
    "'somewhere'": "Invalid URL",
    "5": "takes a URL, a Response, an ArrayBuffer or a WebAssembly.Module",
    "Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)": "not the module of echo for the web: it does not export memory",
}


@pytest.mark.parametrize("source", NOT_A_MODULE)
def test_what_is_not_the_module_is_refused(source: str, echo: Path) -> None:
    with served(echo) as url:
        script = f"""
            import {{ load }} from "./echo.js";
            const url = "{url}";
            tell(await load({source}).catch((error) => error.message));
        """
        assert NOT_A_MODULE[source] in node(script, echo)


# The sample model


def test_each_sample_digit_is_read(mnist: Path, tmp_path: Path) -> None:
    pictures = []
    for path in sorted(DIGITS.glob("*.png")):
        image = Image.open(path).convert("RGBA")
        (tmp_path / path.stem).write_bytes(image.tobytes())
        pictures.append([image.width, image.height, str(tmp_path / path.stem)])
    script = f"""
        import {{ readFileSync }} from "node:fs";
        import {{ load }} from "./mnist.js";
        const m = await load();
        tell({json.dumps(pictures)}.map(([width, height, file]) => {{
          const data = new Uint8ClampedArray(readFileSync(file));
          return [...m.run({{ Input3: {{ width, height, data }} }}).Plus214_Output_0];
        }}));
    """
    scores = node(script, mnist)
    assert np.argmax(scores, axis=1).tolist() == list(range(10))


def test_nan_is_taken(mnist: Path) -> None:
    script = """
        import { load } from "./mnist.js";
        const m = await load();
        const run = (value) => m.run({ Input3: new Float32Array(784).fill(value) }).Plus214_Output_0;
        const zeros = run(0);
        run(NaN);
        tell([zeros.length, zeros.every((value, index) => value === run(0)[index])]);
    """
    assert node(script, mnist) == [10, True]


def test_the_folder_is_small(mnist: Path) -> None:
    assert sum(path.stat().st_size for path in mnist.rglob("*") if path.is_file()) < 120_000


# The folder


@pytest.mark.slow
def test_npm_packs_and_installs_it(mnist: Path, tmp_path: Path) -> None:
    program = shutil.which("npm")
    if program is None:
        pytest.skip("there is no npm here")
    package = Path(shutil.copytree(mnist, tmp_path / "mnist.web"))

    def run(*words: str, cwd: Path) -> str:
        done = subprocess.run([program, *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    (packed,) = json.loads(run("pack", "--json", cwd=package))
    names = [it["path"] for it in packed["files"]]
    assert sorted(names) == ["README.md", "mnist.d.ts", "mnist.js", "mnist.wasm", "package.json"]
    user = tmp_path / "user"
    user.mkdir()
    (user / "package.json").write_text('{ "name": "user", "type": "module" }')
    run("install", "--offline", "--no-audit", "--no-fund", str(package / packed["filename"]), cwd=user)
    readme = (package / "README.md").read_text()
    (example,) = re.findall(r"^```js\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert 'from "mnist"' in example
    script = example.replace("console.log(", "tell([...").replace('"]);', '"]]);')
    assert len(node(script, user)) == 10


@pytest.mark.parametrize(
    ("name", "expected"),
    [("mnist", "mnist"), ("Big.Model-2", "big.model-2"), ("__private", "private"), ("_", "model")],
)
def test_npm_takes_the_name(name: str, expected: str) -> None:
    assert web_package.npm_name(name) == expected


def test_a_licence_is_told_if_it_is_known() -> None:
    described = interface({"x": ("float32", [1])})
    files = [web_package.package("x", described, licence)["package.json"] for licence in ("MIT", "")]
    assert [json.loads(text).get("license") for text in files] == ["MIT", None]


def test_a_folder_that_is_there_is_replaced_whole(tmp_path: Path) -> None:
    described = interface({"x": ("float32", [1])})
    folder = place_echo(tmp_path, described)
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (folder / "stale.js").write_text("")
    place_echo(tmp_path, described)
    assert {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_folder_that_fails_to_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/before").write_text("")
    with pytest.raises(FileNotFoundError), common.whole_folder(tmp_path / "x") as folder:
        shutil.copyfile(tmp_path / "missing", folder / "half")
    assert [path.name for path in tmp_path.rglob("*")] == ["x", "before"]


def test_a_file_that_is_missing_is_told_without_a_traceback(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "onnx_wasm.actions.web_package",
        "--name",
        "x",
        "--folder",
        str(tmp_path / "x.web"),
    ]
    command += ["--module", str(tmp_path / "x.wasm"), "--interface", str(tmp_path / "x.json")]
    environ = {"PYTHONPATH": str(ROOT / "site_scons")}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{tmp_path / 'x.json'}: ")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


# The types

USER = """
import { load, inputs, outputs, ModelError, type Inputs, type Outputs, type Model } from "mnist";
import { load as loadKinds, type Inputs as Kinds } from "./kinds/echo.web/echo.js";

const m: Model = await load();
await load(new URL("x:"));
await load(fetch("x"));
await load(new ArrayBuffer(8));
await load(WebAssembly.compile(new Uint8Array()));
const { Plus214_Output_0 } = m.run({ Input3: new Float32Array(784) });
const scores: Float32Array = Plus214_Output_0;
m.run({ Input3: new ImageData(1, 1) });
m.run({ Input3: await createImageBitmap(new Blob()) }, { views: true });
m.run({ Input3: { data: new Uint8Array(4), width: 1, height: 1 } });
const name: "Input3" | undefined = inputs[0]?.name;
const given: Inputs = { Input3: scores };
const found: Outputs = m.run(given);
const width: number | undefined = inputs[0]?.image?.width;
try { m.run(given); } catch (error) { if (error instanceof ModelError) { const code: number = error.code; } }

// @ts-expect-error Another array
m.run({ Input3: new Float64Array(784) });
// @ts-expect-error Another name
m.run({ Input4: new Float32Array(784) });
// @ts-expect-error Nothing
m.run({});
// @ts-expect-error There is no such output
found.other;
// @ts-expect-error It is not for others to make
new ModelError();

const kinds: Kinds = {
  a: new BigInt64Array(1),
  b: new Uint8Array(1),
  c: new Uint16Array(1),
  d: new Float64Array(1),
  "*/e": new BigUint64Array(1),
};
const back: BigInt64Array = (await loadKinds()).run(kinds)["a again"];
// @ts-expect-error Numbers are not of 64 bits
kinds.a = new Int32Array(1);
// @ts-expect-error Not a picture
(await loadKinds()).run({ ...kinds, d: new ImageData(1, 1) });
"""


@pytest.mark.slow
def test_the_types_hold_what_they_say(mnist: Path, tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("there is no npm here")
    compiler = npm.unpacked(npm.TYPESCRIPT, ROOT / npm.FOLDER) / "bin/tsc"
    kinds = {"a": "int64", "b": "bool", "c": "float16", "d": "float64", "*/e": "uint64"}
    place_echo(tmp_path / "kinds", interface({name: (dtype, [1]) for name, dtype in kinds.items()}))
    shutil.copytree(mnist, tmp_path / "node_modules/mnist")
    (tmp_path / "package.json").write_text('{ "type": "module" }')
    (tmp_path / "user.ts").write_text(USER)
    options = ["--noEmit", "--strict", "--noUncheckedIndexedAccess", "--target", "es2022", "--module", "nodenext"]
    words = [shutil.which("node") or "node", str(compiler), *options, "user.ts"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
