"""The action of the rule WasmSize: what each byte of a finished module is for, as table and JSON."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from onnx_wasm import sizes, symbols
from onnx_wasm.actions.common import main, written_whole
from onnx_wasm.platforms import PLATFORMS


def run(arguments: argparse.Namespace) -> None:
    """Takes the module apart, prints the table and writes the JSON."""
    where, data = str(arguments.module), arguments.module.read_bytes()
    names = symbols.parse(arguments.symbols.read_text(encoding="utf-8"), str(arguments.symbols))
    weights = arguments.weights.read_bytes() if arguments.weights else b""
    found = sizes.items(data, where, names, weights)
    with written_whole(arguments.report) as (report,):
        name = arguments.module.name.removesuffix(".wasm")
        report.write_text(sizes.to_json(name, arguments.platform, data, found), encoding="utf-8")
    sys.stdout.write(sizes.to_text(where, found))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("onnx_wasm.actions.size", description=__doc__)
    parser.add_argument("--module", type=Path, required=True, help="the module")
    parser.add_argument("--symbols", type=Path, required=True, help="the names of its functions")
    parser.add_argument("--weights", type=Path, help="the weights, if it holds them")
    parser.add_argument("--platform", choices=PLATFORMS, required=True)
    parser.add_argument("--report", type=Path, required=True, help="the JSON to write")
    return parser


if __name__ == "__main__":
    main(_parser(), run)
