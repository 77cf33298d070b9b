"""The action of the rule ModelLibrary: object, graph and parameters to one static library, and the interface."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import mmap
from collections.abc import Iterator
from pathlib import Path

from onnx_wasm import interface, status, wasm
from onnx_wasm.actions.common import main, run_tool, scratch_beside, written_whole
from onnx_wasm.manifest import Image, Input, Output
from onnx_wasm.platforms import PLATFORMS

_ALIGNMENT = 64


def run(arguments: argparse.Namespace) -> None:
    """Describes the model, puts its data beside its code and archives both."""
    graph = arguments.graph.read_bytes()
    inputs, outputs = _declared(arguments.declared)
    graph_data = graph if arguments.executor == "graph" else b""
    platform = PLATFORMS[arguments.platform]
    with (
        written_whole(arguments.library, arguments.interface) as (library, interface_file),
        _mapped(arguments.params) as params,
        scratch_beside(arguments.library) as scratch,
    ):
        params_file = None
        if arguments.params_argument:
            sha256 = hashlib.sha256(params).hexdigest()
            params_file = interface.ParamsFile(arguments.params_argument, arguments.params.name, sha256)
            platform = platform.with_params_in_file()
        described = interface.combine(json.loads(graph), inputs, outputs, str(arguments.manifest), params_file)
        symbols = [
            wasm.DataSymbol("onnx_wasm_descriptor", interface.to_descriptor(described, len(graph_data)), 4),
            *([] if params_file else [wasm.DataSymbol("onnx_wasm_params", params, _ALIGNMENT)]),
            *([wasm.DataSymbol("onnx_wasm_graph", graph_data)] if graph_data else []),
        ]
        data = scratch / "data.o"
        with data.open("wb") as file:
            wasm.write_data_object(symbols, file)
        # D leaves out times, owners and modes.
        archive = [*arguments.archiver, "rcsD", str(library), str(arguments.object), str(data)]
        run_tool(archive, str(arguments.manifest))
        statuses = {
            code: it.text for code, it in status.parse(arguments.statuses.read_text("utf-8"), "status.rs").items()
        }
        json_ = interface.to_json(described, platform, arguments.executor, statuses)
        interface_file.write_text(json_, encoding="utf-8")


def _declared(slice_: dict[str, list[dict[str, object]]]) -> tuple[list[Input], list[Output]]:
    inputs = []
    for entry in slice_["inputs"]:
        picture = entry.pop("image")
        inputs.append(Input(**entry, image=Image(**picture) if picture else None))  # type: ignore[arg-type]
    return inputs, [Output(**entry) for entry in slice_["outputs"]]  # type: ignore[arg-type]


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[memoryview]:
    """The bytes of a file that may be large, without reading it."""
    if path.stat().st_size == 0:
        yield memoryview(b"")
        return
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
    ):
        yield view


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("onnx_wasm.actions.model_library", description=__doc__)
    parser.add_argument("--object", type=Path, required=True)
    parser.add_argument("--graph", type=Path, required=True)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--params-argument", default="", help="names their file in a run; empty: the module holds them")
    parser.add_argument("--executor", choices=("aot", "graph"), required=True)
    parser.add_argument("--platform", choices=PLATFORMS, required=True)
    parser.add_argument("--statuses", type=Path, required=True, help="the wrapper's source of its error codes")
    parser.add_argument("--declared", type=json.loads, required=True, help="the manifest's inputs and outputs")
    parser.add_argument("--archiver", type=json.loads, required=True, help="the words that start llvm-ar")
    parser.add_argument("--library", type=Path, required=True, help="the archive to write")
    parser.add_argument("--interface", type=Path, required=True, help="the interface to write, as JSON")
    return parser


if __name__ == "__main__":
    main(_parser(), run)
