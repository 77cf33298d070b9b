"""The action of the rule TeaclaveBundle: a module as a function for Teaclave, with a client that runs it."""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onnx_wasm.actions.common import main, whole_folder

BUNDLE = Path(__file__).parents[1] / "bundle"
DATA_OWNER = "data_owner"
MODEL_OWNER = "model_owner"

LARGEST_MESSAGE = 4 << 20
"""Bytes of the largest request that Teaclave takes, unless it was built otherwise: ``config/build.config.toml``."""

_READS = {"image": "a picture, JPEG or PNG, read as", "npy": "in NumPy's npy format,", "raw": "the bare elements of"}

Interface = Mapping[str, Any]


def run(arguments: argparse.Namespace) -> None:
    """Writes the folder, whole."""
    interface = json.loads(arguments.interface.read_text(encoding="utf-8"))
    binaries = [arguments.module, *([arguments.params] if interface["params_file"] else [])]
    described = function(arguments.name, interface)
    with whole_folder(arguments.folder) as folder:
        for binary in binaries:
            shutil.copyfile(binary, folder / f"{arguments.name}{binary.suffix}")
        script = shutil.copyfile(BUNDLE / "invoke.py", folder / "invoke.py")
        script.chmod(0o755)
        (folder / "function.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        text = readme(described, arguments.module.stat().st_size)
        (folder / "README.md").write_text(text, encoding="utf-8")


def function(name: str, interface: Interface) -> dict[str, Any]:
    """Describes a module as a function of Teaclave.

    Args:
        name: The model's.
        interface: What ``interface.json`` holds.

    Returns:
        What ``function.json`` holds: what the SDK's ``register_function`` takes, who creates the task and owns its
        files, which file of the bundle an input has if it is given no other, and what the function's codes mean.
    """
    params = interface["params_file"]
    inputs = [_data(it, DATA_OWNER) for it in interface["inputs"]]
    if params:
        weights = {"name": params["argument"], "description": f"the weights, {params['file']}", "optional": False}
        inputs.append({**weights, "owner": MODEL_OWNER})
    outputs = [_data(it, DATA_OWNER) | {"optional": True} for it in interface["outputs"] if it["argument"]]
    return {
        "name": name,
        "description": f"the model {name}, returns {_returns(interface)}",
        "executor_type": "wamr",
        "public": True,
        "payload": f"{name}.wasm",
        "arguments": [{"key": it["name"], "default_value": "", "allow_overwrite": True} for it in (*inputs, *outputs)],
        "inputs": inputs,
        "outputs": outputs,
        "creator": DATA_OWNER,
        "files": {params["argument"]: params["file"]} if params else {},
        "statuses": interface["statuses"],
    }


def readme(described: Mapping[str, Any], size: int) -> str:
    """Makes the bundle's README.

    Args:
        described: What ``function`` gives.
        size: Bytes of the payload.
    """
    name, files = described["name"], described["files"]
    given = [f"{it['name']}=FILE" for it in described["inputs"] if it["name"] not in files]
    words = {
        "TITLE": name.replace("_", r"\_"),
        "FILE": name,
        "CALL": " ".join(given),
        "SIZE": f"{size:,}",
        "INPUTS": _rows(described["inputs"]),
        "OUTPUTS": _outputs(described["outputs"]),
        "PARAMS": "".join(f"| `{file}` | the weights, which {MODEL_OWNER} owns |\n" for file in files.values()),
        "NOTE": _NOTE.format(largest=f"{LARGEST_MESSAGE:,}") if size > LARGEST_MESSAGE else "",
    }
    text = (BUNDLE / "README.md").read_text(encoding="utf-8")
    return re.sub("__([A-Z]+)__", lambda word: words[word[1]], text).rstrip() + "\n"


_NOTE = """
## The payload is large

Teaclave takes requests of {largest} bytes, unless `max_decoding_message_size` in its `config/build.config.toml` says
otherwise. A payload without its weights is smaller: `[params] mode = "file"` in the model's manifest.
"""


def _data(it: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """An input or output as Teaclave knows it."""
    description = f"{_READS[it['format']]} {it['dtype']} {it['shape']}"
    return {"name": it["argument"], "description": description, "optional": False, "owner": owner}


def _returns(interface: Interface) -> str:
    if interface["returns"] == "argmax":
        return f"the index of the largest element of {interface['outputs'][interface['return_output']]['name']}"
    return "0"


def _rows(data: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(f"| `{it['name']}` | {it['owner']} | {it['description']} |" for it in data)


def _outputs(data: Sequence[Mapping[str, Any]]) -> str:
    if not data:
        return ""
    return f"\n| output, if it is asked for | whose it is | what it is |\n|---|---|---|\n{_rows(data)}\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("onnx_wasm.actions.teaclave_bundle", description=__doc__)
    parser.add_argument("--name", required=True, help="the model's name")
    parser.add_argument("--module", type=Path, required=True, help="the module, for the platform teaclave")
    parser.add_argument("--interface", type=Path, required=True, help="its interface, as JSON")
    parser.add_argument("--params", type=Path, help="the file of its weights, if it does not hold them")
    parser.add_argument("--folder", type=Path, required=True, help="the folder to write")
    return parser


if __name__ == "__main__":
    main(_parser(), run)
