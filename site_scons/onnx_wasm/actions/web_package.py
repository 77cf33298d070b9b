"""The action of the rule WebPackage: a module as a folder that JavaScript imports, npm packs, browsers show."""

from __future__ import annotations

import argparse
import html
import json
import math
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onnx_wasm import status
from onnx_wasm.actions.common import main, whole_folder

TEMPLATES = Path(__file__).parents[1] / "web"
DEMO = ("demo.css", "demo.js", "dom.js", "field.js", "pad.js", "scores.js", "tensors.js")
"""The files of the demo page; only demo.js names the model."""

_ARRAYS = {
    "float32": "Float32Array",
    "float64": "Float64Array",
    "float16": "Uint16Array",
    "int8": "Int8Array",
    "int16": "Int16Array",
    "int32": "Int32Array",
    "int64": "BigInt64Array",
    "uint8": "Uint8Array",
    "uint16": "Uint16Array",
    "uint32": "Uint32Array",
    "uint64": "BigUint64Array",
    "bool": "Uint8Array",
}
"""The typed array that holds each dtype in JavaScript."""

_MEANINGS = {"float16": "the bits of each float16", "bool": "0 for false, 1 for true"}
"""What the elements are where the array's name does not tell."""

Tensor = Mapping[str, Any]


def run(arguments: argparse.Namespace) -> None:
    """Writes the folder, whole."""
    interface = json.loads(arguments.interface.read_text(encoding="utf-8"))
    texts = package(arguments.name, interface, arguments.license, relaxed_simd=arguments.relaxed_simd is not None)
    binaries = [arguments.module, *([arguments.params] if interface["params_file"] else [])]
    binaries += [arguments.relaxed_simd] if arguments.relaxed_simd else []
    with whole_folder(arguments.folder) as folder:
        (folder / "demo").mkdir()
        for binary in binaries:
            shutil.copyfile(binary, folder / binary.name)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")


def package(
    name: str, interface: Mapping[str, Any], license_: str = "", *, relaxed_simd: bool = False
) -> dict[str, str]:
    """Makes all of a package but its modules and the file of its weights.

    Args:
        name: The model's, which its files have too.
        interface: What ``interface.json`` holds.
        license_: The model's licence by its name in SPDX; empty if nothing is told of it.
        relaxed_simd: Whether there is a second module, which uses relaxed SIMD.

    Returns:
        The text of each file, by its path in the folder.
    """
    inputs, outputs = ([_described(it) for it in interface[key]] for key in ("inputs", "outputs"))
    statuses = {it.code: it.text for it in status.statuses().values()}
    params = interface["sizes"]["params"] if interface["params_file"] else None
    model = {"name": name, "inputs": inputs, "outputs": outputs, "paramsSize": params, "statuses": statuses}
    words = {"__FILE__": name, "__NAME__": name, "__PACKAGE__": npm_name(name)}
    texts = {
        **{word: text if interface["params_file"] else "" for word, text in _params_texts(name).items()},
        **{word: text if relaxed_simd else "" for word, text in _relaxed_texts(name).items()},
    }
    source = f'new URL("./{name}.wasm", import.meta.url)'
    if relaxed_simd:  # each address in full, as bundlers look for them
        source = f'hasRelaxedSimd() ? new URL("./{name}.relaxed-simd.wasm", import.meta.url) : {source}'
    script = {"__SOURCE__": source, "__MODEL__": json.dumps(model, indent=2)}
    return {
        f"{name}.js": _filled("glue.js", {**words, **texts, **script}),
        f"{name}.d.ts": _filled("glue.d.ts", {**words, **texts, **_types(inputs, outputs, statuses)}),
        "package.json": _manifest(
            name,
            license_,
            [
                "wasm",
                *(["params"] if interface["params_file"] else []),
                *(["relaxed-simd.wasm"] if relaxed_simd else []),
            ],
        ),
        "README.md": _filled("README.md", {**words, **texts, **_tables(name, inputs, outputs)}),
        "index.html": _filled("index.html", {"__NAME__": html.escape(name)}),
        **{f"demo/{file}": _filled(f"demo/{file}", words if file == "demo.js" else {}) for file in DEMO},
    }


def npm_name(name: str) -> str:
    """The nearest name to a model's that npm takes: lower case, and neither ``_`` nor ``.`` at its start."""
    return name.lower().lstrip("_") or "model"


def _described(it: Tensor) -> dict[str, Any]:
    """A tensor as JavaScript knows it."""
    image = it["image"]
    if image:
        height, width = it["shape"][-2:] if image["layout"] == "nchw" else it["shape"][-3:-1]
        options = {key: image[key] for key in ("color", "resize", "mean", "scale")}
        image = {"width": width, "height": height, **options, "maxPixels": image["max_pixels"]}
    return {
        **{key: it[key] for key in ("name", "dtype", "shape")},
        "size": math.prod(it["shape"]),
        "offset": it["offset"],
        "image": image,
    }


def _params_texts(name: str) -> dict[str, str]:
    """What the templates leave open for a model whose weights are in a file; empty for others."""
    return {
        "__LOADHELP__": "\n * @param options Where the weights come from.",
        "__LOADOPTIONS__": ", options?: LoadOptions",
        "__LOADTYPES__": _filled("params.d.ts", {"__FILE__": name}),
        "__LOADNOTE__": _filled("params.md", {"__FILE__": name}),
        "__LOADFILE__": f"\n| `{name}.params` | its weights |",
    }


def _relaxed_texts(name: str) -> dict[str, str]:
    """What the templates leave open for a model with a module that uses relaxed SIMD; empty for others."""
    return {
        "__RELAXEDCHECK__": _filled("relaxed-simd.js", {}),
        "__RELAXEDNOTE__": _filled("relaxed-simd.md", {"__FILE__": name}),
        "__RELAXEDFILE__": f"\n| `{name}.relaxed-simd.wasm` | the module for places that have relaxed SIMD |",
    }


def _manifest(name: str, license_: str, suffixes: Sequence[str]) -> str:
    """The text of package.json; the suffixes are those of the module, its weights and the like."""
    binaries = [f"{name}.{suffix}" for suffix in suffixes]
    content = {
        "name": npm_name(name),
        "version": "0.0.0",
        "description": f"The model {name} as a WebAssembly module, for JavaScript",
        **({"license": license_} if license_ else {}),
        "type": "module",
        "exports": {
            ".": {"types": f"./{name}.d.ts", "default": f"./{name}.js"},
            **{f"./{file}": f"./{file}" for file in (*binaries, "package.json")},
        },
        "types": f"./{name}.d.ts",
        "files": [f"{name}.js", f"{name}.d.ts", *binaries],
        "sideEffects": False,
        "engines": {"node": ">=18"},
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _types(inputs: Sequence[Tensor], outputs: Sequence[Tensor], statuses: Mapping[int, str]) -> dict[str, str]:
    """What the template of the types leaves open."""
    return {
        "__INPUTS__": "\n".join(_property(it, _taken(it)) for it in inputs),
        "__OUTPUTS__": "\n".join(_property(it, _ARRAYS[it["dtype"]]) for it in outputs),
        "__STATUSES__": "\n".join(f"   * - `{code}`: {text}" for code, text in statuses.items()),
    }


def _property(it: Tensor, type_: str) -> str:
    says = f"{it['dtype']} {it['shape']}" + "".join(f"; {it_}" for it_ in _notes(it))
    return f"  /** {says} */\n  readonly {json.dumps(it['name'])}: {type_};"


def _taken(it: Tensor) -> str:
    array = "Float16" if it["dtype"] == "float16" else _ARRAYS[it["dtype"]]
    return f"{array} | Picture" if it["image"] else array


def _notes(it: Tensor) -> list[str]:
    notes = [_MEANINGS[it["dtype"]]] if it["dtype"] in _MEANINGS else []
    if it["image"]:
        image = it["image"]
        resized = f"resized to {image['width']} × {image['height']} ({image['resize']}), {image['color']}"
        mean, scale = (_shortly(image[key]) for key in ("mean", "scale"))
        notes.append(f"a picture is {resized}, each value v becomes (v - {mean}) * {scale}")
    return notes


def _shortly(values: Sequence[float]) -> str:
    """The value of each channel, or the one that all have."""
    return str(values[0]) if len(set(values)) == 1 else str(list(values))


def _tables(name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> dict[str, str]:
    """What the template of the README leaves open."""
    return {
        "__TITLE__": name.replace("_", r"\_"),
        "__INPUTS__": "\n".join(_row(it, _taken(it).replace("Picture", "a picture")) for it in inputs),
        "__OUTPUTS__": "\n".join(_row(it, _ARRAYS[it["dtype"]]) for it in outputs),
        "__CALL__": "\n".join(map(_example, inputs)),
        "__OUTPUT__": json.dumps(outputs[0]["name"]),
    }


def _example(it: Tensor) -> str:
    note = " // or an ImageData or ImageBitmap of any size" if it["image"] else ""
    return f"  {json.dumps(it['name'])}: new {_ARRAYS[it['dtype']]}({it['size']}),{note}"


def _row(it: Tensor, what: str) -> str:
    notes = "".join(f"; {note}" for note in _notes(it))
    cells = (_code(it["name"]), it["dtype"], str(it["shape"]), f"{what.replace(' | ', ' or ')}{notes}")
    return f"| {' | '.join(cells)} |"


def _code(text: str) -> str:
    """A name as code in a cell of a table."""
    return f"<code>{html.escape(text).replace('|', '&#124;')}</code>" if re.search(r"[`|\\\n]", text) else f"`{text}`"


def _filled(template: str, values: Mapping[str, str]) -> str:
    """A template's text, its words ``__LIKE_THIS__`` replaced."""
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    return re.sub("__[A-Z]+__", lambda word: values[word[0]], text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("onnx_wasm.actions.web_package", description=__doc__)
    parser.add_argument("--name", required=True, help="the model's name")
    parser.add_argument("--license", default="", help="the model's licence, by its name in SPDX")
    parser.add_argument("--module", type=Path, required=True, help="the module, for the platform web")
    parser.add_argument("--relaxed-simd", type=Path, help="the module for places that have relaxed SIMD")
    parser.add_argument("--interface", type=Path, required=True, help="its interface, as JSON")
    parser.add_argument("--params", type=Path, help="the file of its weights, if it does not hold them")
    parser.add_argument("--folder", type=Path, required=True, help="the folder to write")
    return parser


if __name__ == "__main__":
    main(_parser(), run)
