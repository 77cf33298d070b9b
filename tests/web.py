"""Packages for the web around a module of a few lines, and Node.js to import them."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import wasmtime

from onnx_wasm.actions import web_package

SIZES = {"float64": 8, "int64": 8, "uint64": 8, "float16": 2, "int16": 2, "uint16": 2, "int8": 1, "uint8": 1, "bool": 1}

ECHO = """
(module
  (memory (export "memory") 1)
  (global $held (mut i32) (i32.const 0))
  (func (export "inputs") (result i32) (i32.const {inputs}))
  (func (export "outputs") (result i32) (i32.const {outputs}))
  (func (export "run") (result i32)
    (if (i32.eq (i32.load (i32.const {inputs})) (i32.const 0x7EAB7EAB)) (then unreachable))
    (if (i32.lt_s (i32.load (i32.const {inputs})) (i32.const 0)) (then (return (i32.load (i32.const {inputs})))))
    (memory.copy (i32.const {outputs}) (i32.const {inputs}) (i32.const {size}))
    (i32.const 0))
  (func (export "allocate") (param i32) (result i32)
    (if (i32.gt_u (local.get 0) (i32.const 0x1000000)) (then (return (i32.const 0))))
    (global.set $held (i32.add (global.get $held) (local.get 0)))
    (i32.shl (memory.grow (i32.add (i32.shr_u (local.get 0) (i32.const 16)) (i32.const 1))) (i32.const 16)))
  (func (export "release") (param i32 i32) (result i32)
    (global.set $held (i32.sub (global.get $held) (local.get 1)))
    (i32.const 0))
  (func (export "picture") (param i32 i32 i32 i32) (result i32)
    (if (i32.eq (local.get 2) (i32.const 13)) (then (return (i32.const -14))))
    (i32.store (i32.const {picture}) (i32.load (local.get 1)))
    (i32.store (i32.add (i32.const {picture}) (i32.const 4)) (local.get 2))
    (i32.store (i32.add (i32.const {picture}) (i32.const 8)) (local.get 3))
    (i32.store (i32.add (i32.const {picture}) (i32.const 12)) (global.get $held))
    (i32.const 0)))
"""
"""A module that gives its inputs back. Its first input is a command: a status below 0, or the number that traps.

A picture becomes its first pixel, its width, its height, and how many bytes of pixels are held.
"""

TRAP = 0x7EAB7EAB


def tensor(name: str, dtype: str, shape: list[int], offset: int, image: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": shape, "offset": offset, "image": image}


def interface(tensors: dict[str, tuple[str, list[int]]], picture: str = "") -> dict[str, Any]:
    """The interface of a model that gives its inputs back; one of them may be a picture."""
    inputs, offset = [], 0
    for name, (dtype, shape) in tensors.items():
        image = None
        if name == picture:
            layout = {"layout": "nchw", "color": "gray", "resize": "nearest", "scale": [1.0], "mean": [0.0]}
            image = {**layout, "max_pixels": 1000}
        inputs.append(tensor(name, dtype, shape, offset, image))
        offset += (math.prod(shape) * SIZES.get(dtype, 4) + 63) // 64 * 64
    outputs = [{**it, "name": f"{it['name']} again", "image": None} for it in inputs]
    return {"inputs": inputs, "outputs": outputs, "params_file": None, "sizes": {"params": 0}}


def place_echo(folder: Path, described: dict[str, Any], name: str = "echo") -> Path:
    """Writes the package of a module that gives its inputs back, as the rule's action would, and gives its folder."""
    size = max(it["offset"] + (math.prod(it["shape"]) * 8 + 63) // 64 * 64 for it in described["inputs"])
    picture = next((it["offset"] for it in described["inputs"] if it["image"]), 0)
    text = ECHO.format(inputs=64, outputs=64 + size, size=size, picture=64 + picture)
    assert 64 + 2 * size <= 1 << 16
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.wasm").write_bytes(wasmtime.wat2wasm(text))
    (folder / f"{name}.interface.json").write_text(json.dumps(described))
    arguments = web_package._parser().parse_args(
        [
            *("--name", name, "--module", str(folder / f"{name}.wasm")),
            *("--interface", str(folder / f"{name}.interface.json"), "--folder", str(folder / f"{name}.web")),
        ]
    )
    web_package.run(arguments)
    return folder / f"{name}.web"


def node(script: str, folder: Path) -> Any:
    """Runs an ES module in Node.js, in a folder, and gives what it told with ``tell()``; null if nothing."""
    program = shutil.which("node")
    assert program, "there is no Node.js here: ./sconsw setup dev brings it"
    tell = "const tell = (value) => process.stdout.write(JSON.stringify(value ?? null));\n"
    words = [program, "--input-type=module", "-e", tell + script]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout or "null")
