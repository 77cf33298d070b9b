"""The action of the rule WasmModule: the model's library and the wrapper, linked and checked."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

from onnx_wasm import symbols, wasm
from onnx_wasm.actions.common import main, run_tool, written_whole
from onnx_wasm.hosts.checks import check
from onnx_wasm.platforms import PLATFORMS, Platform

_STACK_BYTES = 256 * 1024


def run(arguments: argparse.Namespace) -> None:
    """Links the module and lets it out only if its platform could load it."""
    platform = PLATFORMS[arguments.platform].with_features(arguments.target_feature)
    if arguments.params_in_file:
        platform = platform.with_params_in_file()
    label = str(arguments.manifest)
    with written_whole(arguments.module, arguments.symbols) as (module, names):
        _link(arguments.linker, platform, arguments.library, module, label)
        linked = module.read_bytes()
        data = wasm.without_custom_sections(linked, label)
        check(data, platform, label)
        module.write_bytes(data)
        functions = wasm.read(linked, label).functions
        sha256 = hashlib.sha256(data).hexdigest()
        found = symbols.sorted_by_origin(functions, arguments.library[0].read_bytes(), sha256)
        names.write_text(symbols.to_json(found), encoding="utf-8")


def _link(linker: list[str], platform: Platform, libraries: list[Path], module: Path, label: str) -> None:
    model, *others = map(str, libraries)
    functions = [name for name, kind in platform.exports.items() if kind != "memory"]
    command = [
        *linker,
        "--no-entry",
        "--gc-sections",
        "--strip-debug",  # names are taken out later
        "-O2",
        "--compress-relocations",  # numbers in as few bytes as they take
        "--stack-first",  # what overflows the stack traps, instead of writing over data
        "--fatal-warnings",
        *("-z", f"stack-size={_STACK_BYTES}"),
        *(f"--export={name}" for name in functions),
        *("--whole-archive", model, "--no-whole-archive"),  # nobody names the kernels that register themselves
        *others,
        *("-o", str(module)),
    ]
    run_tool(command, label)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("onnx_wasm.actions.wasm_module", description=__doc__)
    parser.add_argument("--library", type=Path, action="append", required=True, help="the model's and the wrapper's")
    parser.add_argument("--platform", choices=PLATFORMS, required=True)
    parser.add_argument("--target-feature", action="append", default=[], help="an optional one of the platform's")
    parser.add_argument("--params-in-file", action="store_true", help="the model's library does not hold its weights")
    parser.add_argument("--linker", type=json.loads, required=True, help="the words that start wasm-ld")
    parser.add_argument("--module", type=Path, required=True, help="the module to write")
    parser.add_argument("--symbols", type=Path, required=True, help="the file of its functions' names to write")
    return parser


if __name__ == "__main__":
    main(_parser(), run)
