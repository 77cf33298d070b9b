"""Modules for the platform ``web``: what JavaScript hosts call, in wasmtime and in Node.js."""

from __future__ import annotations

import ctypes
import json
import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import wasmtime
from onnx import helper
from PIL import Image
from support import ROOT, TINY, copy, model, scons

from onnx_wasm.hosts import checks
from onnx_wasm.hosts.teaclave import TeaclaveHost
from onnx_wasm.platforms import WEB

DIGITS = ROOT / "models/mnist/digits"
IMAGES = (
    '{ color = "gray", resize = "nearest", scale = 0.5, mean = 3 }',
    '{ color = "gray", resize = "bilinear" }',
    '{ color = "rgb", resize = "bilinear", scale = [0.1, 0.2, 0.3], mean = [1, 2, 3] }',
    '{ color = "bgr", resize = "nearest", layout = "nhwc" }',
)
SHAPES = ([1, 1, 28, 28], [1, 1, 10, 5], [1, 3, 8, 8], [5, 6, 3])
UNKNOWN_INPUT, BAD_ADDRESS, BROKEN_IMAGE, IMAGE_TOO_LARGE, OUT_OF_MEMORY = -23, -24, -14, -15, -16


@dataclass
class Instance:
    """An instance of a module for ``web``, with its interface."""

    path: Path
    memory_limit: int = -1

    def __post_init__(self) -> None:
        engine = wasmtime.Engine(checks.config(WEB))
        self.store = wasmtime.Store(engine)
        self.store.set_limits(memory_size=self.memory_limit)
        module = wasmtime.Module(engine, self.path.read_bytes())
        self.exports = wasmtime.Instance(self.store, module, []).exports(self.store)
        self.interface = json.loads(self.path.with_suffix(".interface.json").read_text())

    def call(self, name: str, *arguments: int) -> int:
        function = self.exports[name]
        assert isinstance(function, wasmtime.Func)
        result = function(self.store, *(ctypes.c_int32(it).value for it in arguments))
        assert isinstance(result, int)
        return result

    def address(self, name: str, *arguments: int) -> int:
        """What a function gives that answers with an address: above 2 GiB it looks like a negative number."""
        return self.call(name, *arguments) & 0xFFFF_FFFF

    @property
    def memory(self) -> wasmtime.Memory:
        memory = self.exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        return memory

    def tensor(self, kind: str, index: int = 0) -> np.ndarray:
        """An input or output, as it is now."""
        it = self.interface[kind][index]
        size = int(np.prod(it["shape"])) * np.dtype(it["dtype"]).itemsize
        start = self.address(kind) + it["offset"]
        data = bytes(self.memory.read(self.store, start, start + size))
        return np.frombuffer(data, it["dtype"]).reshape(it["shape"])

    def put(self, data: bytes) -> int:
        address = self.address("allocate", len(data))
        assert address
        self.memory.write(self.store, data, address)
        return address

    def picture(self, image: Image.Image, index: int = 0) -> int:
        """Puts an image into an input and gives the status."""
        data = image.convert("RGBA").tobytes()
        address = self.put(data)
        status = self.call("picture", index, address, *image.size)
        assert self.call("release", address, len(data)) == 0
        return status


@pytest.fixture(scope="module")
def mnist(built: Path) -> Path:
    return built / "build/web/mnist/mnist.wasm"


def scores(module: Path, image: Path, folder: Path) -> np.ndarray:
    """What the module for Teaclave writes."""
    host = TeaclaveHost.load(module)
    result = host.run({"input_img": str(image), "output": str(folder / "scores.npy")})
    assert result.value is not None
    assert result.value >= 0
    return np.load(folder / "scores.npy")


def test_it_imports_nothing_and_exports_its_functions(mnist: Path) -> None:
    module = checks.check(mnist.read_bytes(), WEB, str(mnist))
    assert module.imports == ()
    assert {it.name: it.type for it in module.exports} == WEB.exports


def test_its_kernels_use_simd(mnist: Path) -> None:
    settings = checks.config(WEB)
    settings.wasm_simd = False
    with pytest.raises(wasmtime.WasmtimeError, match="SIMD"):
        wasmtime.Module.validate(wasmtime.Engine(settings), mnist.read_bytes())


def test_what_is_around_the_model_is_small(mnist: Path) -> None:
    model = mnist.with_name("mnist.params").stat().st_size + mnist.with_name("mnist.o").stat().st_size
    assert mnist.stat().st_size < model + (16 << 10)


@pytest.mark.parametrize("name", [path.name for path in sorted(DIGITS.glob("*.png"))])
def test_a_digit_has_the_scores_that_it_has_in_teaclave(built: Path, mnist: Path, tmp_path: Path, name: str) -> None:
    instance = Instance(mnist)
    assert instance.picture(Image.open(DIGITS / name)) == 0
    assert instance.call("run") == 0
    output = instance.tensor("outputs")
    assert output.argmax() == int(name[0])
    expected = scores(built / "build/teaclave/mnist/mnist.wasm", DIGITS / name, tmp_path)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)


def negatives(name: str, executor: str, platforms: str) -> str:
    """The manifest of a model that gives the negative of each of its pictures."""
    inputs = [f'[[input]]\nname = "x{index}"\nformat = "image"\nimage = {image}' for index, image in enumerate(IMAGES)]
    outputs = [f'[[output]]\nname = "y{index}"\nargument = "y{index}"' for index in range(len(IMAGES))]
    return "\n".join(
        [
            *("schema-version = 1", "[model]", f'name = "{name}"', 'path = "negatives.onnx"', *inputs, *outputs),
            *("[compile]", f"platforms = {platforms}", f'executor = "{executor}"'),
        ]
    )


@pytest.fixture(scope="module")
def pictures(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build folder of a model with every kind of picture, for Teaclave and, with each executor, for web."""
    folder = copy(built, tmp_path_factory.mktemp("pictures") / "checkout")
    (folder / "models/negatives").mkdir()
    nodes = [helper.make_node("Neg", [f"x{index}"], [f"y{index}"]) for index in range(len(SHAPES))]
    inputs = {f"x{index}": ("float32", list(shape)) for index, shape in enumerate(SHAPES)}
    outputs = {f"y{index}": ("float32", list(shape)) for index, shape in enumerate(SHAPES)}
    onnx.save(model(nodes, inputs, outputs), folder / "models/negatives/negatives.onnx")
    for name, executor, platforms in (("aot", "aot", '["teaclave", "web"]'), ("graph", "graph", '["web"]')):
        (folder / f"models/negatives/{name}.toml").write_text(negatives(name, executor, platforms))
    plain = TINY.replace('"tiny"', '"plain"') + '[compile]\nplatforms = ["web"]\n'
    (folder / "models/tiny/plain.toml").write_text(plain)
    scons(folder, "aot.wasm", "aot.web.wasm", "graph.wasm", "plain.wasm")
    return folder / "build"


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["aot", "graph"])
@pytest.mark.parametrize("size", [(9, 7), (1, 1), (64, 3), (5, 50)], ids=str)
def test_pixels_become_what_they_become_in_teaclave(
    pictures: Path, tmp_path: Path, executor: str, size: tuple[int, int]
) -> None:
    width, height = size
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 4), np.uint8), "RGBA")
    pixels.save(tmp_path / "picture.png")
    files = {f"x{index}": str(tmp_path / "picture.png") for index in range(len(IMAGES))}
    files |= {f"y{index}": str(tmp_path / f"{index}.npy") for index in range(len(IMAGES))}
    assert TeaclaveHost.load(pictures / "teaclave/aot/aot.wasm").run(files).value == 0
    instance = Instance(pictures / f"web/{executor}/{executor}.wasm")
    for index in range(len(IMAGES)):
        assert instance.picture(pixels, index) == 0
    assert instance.call("run") == 0
    for index in range(len(IMAGES)):
        np.testing.assert_array_equal(instance.tensor("outputs", index), np.load(tmp_path / f"{index}.npy"))


def test_inputs_stay_and_results_do_not_depend_on_earlier_ones(mnist: Path) -> None:
    instance, digits = Instance(mnist), [Image.open(DIGITS / f"{digit}.png") for digit in (3, 7)]
    seen = []
    for digit in (0, 1, 0):
        assert instance.picture(digits[digit]) == 0
        results = []
        for _ in range(2):
            assert instance.call("run") == 0
            results.append(instance.tensor("outputs"))
        np.testing.assert_array_equal(*results)
        seen.append(results[0])
    np.testing.assert_array_equal(seen[0], seen[2])


def test_a_model_without_pictures_takes_none(pictures: Path) -> None:
    instance = Instance(pictures / "web/plain/plain.wasm")
    assert instance.call("picture", 0, 0, 1, 1) == UNKNOWN_INPUT
    assert instance.call("run") == 0


BAD = {
    "an input that is not there": (UNKNOWN_INPUT, lambda a: (1, a, 4, 4)),
    "a negative input": (UNKNOWN_INPUT, lambda a: (-1, a, 4, 4)),
    "no pixels": (BROKEN_IMAGE, lambda a: (0, a, 0, 4)),
    "a row too many": (BAD_ADDRESS, lambda a: (0, a, 4, 5)),
    "an address before the block": (BAD_ADDRESS, lambda a: (0, a - 4, 4, 4)),
    "an address at the block's end": (BAD_ADDRESS, lambda a: (0, a + 64, 1, 1)),
    "the address of nothing": (BAD_ADDRESS, lambda _: (0, 0, 1, 1)),
    "an address behind the memory": (BAD_ADDRESS, lambda _: (0, -64, 1, 1)),
    "too many pixels": (IMAGE_TOO_LARGE, lambda a: (0, a, 4097, 4096)),
    "pixels beyond 32 bits": (IMAGE_TOO_LARGE, lambda a: (0, a, 0x10000, 0x10000)),
    "negative sizes": (IMAGE_TOO_LARGE, lambda a: (0, a, -1, -1)),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_picture_has_its_status(mnist: Path, case: str) -> None:
    status, arguments = BAD[case]
    instance = Instance(mnist)
    address = instance.call("allocate", 64)
    assert instance.call("picture", *arguments(address)) == status
    assert instance.picture(Image.open(DIGITS / "3.png")) == 0
    assert instance.call("run") == 0
    assert instance.tensor("outputs").argmax() == 3


def test_what_was_not_allocated_is_not_released(mnist: Path) -> None:
    instance = Instance(mnist)
    address = instance.call("allocate", 100)
    for arguments in ((0, 0), (address, 99), (address + 1, 100), (instance.call("inputs"), 3136), (-1, -1)):
        assert instance.call("release", *arguments) == BAD_ADDRESS
    assert instance.call("release", address, 100) == 0
    assert instance.call("release", address, 100) == BAD_ADDRESS


def test_released_memory_is_used_again(mnist: Path) -> None:
    instance, picture = Instance(mnist), Image.new("RGBA", (1000, 1000), "white")
    assert [instance.picture(picture) for _ in range(2)] == [0, 0]
    size = instance.memory.data_len(instance.store)
    assert [instance.picture(picture) for _ in range(50)] == [0] * 50
    assert instance.memory.data_len(instance.store) == size


def test_without_memory_the_answer_is_a_status(mnist: Path) -> None:
    fresh = Instance(mnist)
    size = fresh.memory.data_len(fresh.store)
    instance = Instance(mnist, memory_limit=size)
    assert [instance.call(name) for name in ("inputs", "outputs", "run")] == [0, 0, OUT_OF_MEMORY]
    assert instance.call("allocate", 64) == 0
    roomy = Instance(mnist, memory_limit=size + (1 << 20))
    assert roomy.call("allocate", 1 << 20) == 0
    assert [roomy.call("allocate", it) for it in (-1, -(2**31), 2**31 - 1)] == [0, 0, 0]
    assert roomy.picture(Image.open(DIGITS / "7.png")) == 0
    assert roomy.call("run") == 0
    assert roomy.tensor("outputs").argmax() == 7


def fuzz(module: Path, rounds: int, seed: int) -> None:
    """Calls at random, with arguments of every kind and any bytes in the inputs; then the module still works."""
    choose = random.Random(seed)
    instance = Instance(module)
    tensor = instance.interface["inputs"][0]
    size = int(np.prod(tensor["shape"])) * np.dtype(tensor["dtype"]).itemsize
    held: list[tuple[int, int]] = []

    def number() -> int:
        near = [0, 1, -1, 28, 2**31 - 1, -(2**31), *(it for block in held for it in block)]
        return choose.choice(
            [choose.choice(near), choose.choice(near) + choose.randint(-65, 65), choose.getrandbits(32)]
        )

    for _ in range(rounds):
        match choose.randrange(5):
            case 0:
                wanted = choose.choice([number(), choose.randrange(1 << 16)])
                address = instance.call("allocate", wanted)
                if address:
                    held.append((address, wanted))
            case 1 if held:
                block = held.pop(choose.randrange(len(held)))
                assert instance.call("release", *block) == 0
            case 2:
                assert instance.call("picture", number(), number(), number(), number()) <= 0
            case 3 if held:
                address, _ = choose.choice(held)
                instance.call("picture", 0, address, choose.randrange(80), choose.randrange(80))
            case _:
                instance.memory.write(
                    instance.store, choose.randbytes(size), instance.call("inputs") + tensor["offset"]
                )
                assert instance.call("run") == 0
    for block in held:
        assert instance.call("release", *block) == 0
    assert instance.picture(Image.open(DIGITS / "7.png")) == 0
    assert instance.call("run") == 0
    assert instance.tensor("outputs").argmax() == 7


@pytest.mark.parametrize("seed", range(3))
def test_calls_at_random_never_trap(mnist: Path, seed: int) -> None:
    fuzz(mnist, 1000, seed)


NODE = """
import { readFileSync } from "node:fs";
const [file, width, height, pixels, offset] = process.argv.slice(1);
const { instance } = await WebAssembly.instantiate(readFileSync(file), {});
const { memory, inputs, outputs, run, allocate, release, picture } = instance.exports;
const data = readFileSync(pixels);
const address = allocate(data.length) >>> 0;
new Uint8Array(memory.buffer, address, data.length).set(data);
const statuses = [picture(0, address, width, height), release(address, data.length), run()];
const result = new Float32Array(memory.buffer, (outputs() >>> 0) + Number(offset), 10);
console.log(JSON.stringify({ statuses, inputs: inputs() % 64, result: [...result] }));
"""


def test_it_runs_in_node(mnist: Path, tmp_path: Path) -> None:
    node = shutil.which("node")
    assert node, "there is no Node.js here: ./sconsw setup dev brings it"
    image = Image.open(DIGITS / "4.png").convert("RGBA")
    (tmp_path / "pixels").write_bytes(image.tobytes())
    instance = Instance(mnist)
    arguments = [mnist, image.width, image.height, tmp_path / "pixels", instance.interface["outputs"][0]["offset"]]
    words = [node, "--input-type=module", "-e", NODE, "--", *map(str, arguments)]
    told = json.loads(subprocess.run(words, capture_output=True, check=True, timeout=60).stdout)
    assert told["statuses"] == [0, 0, 0]
    assert told["inputs"] == 0
    assert instance.picture(image) == 0
    assert instance.call("run") == 0
    np.testing.assert_array_equal(np.float32(told["result"]), instance.tensor("outputs")[0])
