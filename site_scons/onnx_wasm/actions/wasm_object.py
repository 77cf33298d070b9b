"""The action of the rule WasmObject: TVM IR to one wasm32 object, its graph and its parameters."""

from __future__ import annotations

import argparse
from pathlib import Path

from onnx_wasm import tuning
from onnx_wasm.actions.common import add_opt_level, importing, main, written_whole
from onnx_wasm.platforms import PLATFORMS


def run(arguments: argparse.Namespace) -> None:
    """Compiles the model and writes the three files."""
    with importing():
        from onnx_wasm.compiler import pipeline

    its = PLATFORMS[arguments.platform]
    platform = its.with_features(arguments.target_feature)
    records = tuning.load_all(arguments.tuning)
    with written_whole(arguments.object, arguments.graph, arguments.params) as outputs:
        pipeline.to_object(
            arguments.ir,
            arguments.weights,
            platform,
            arguments.opt_level,
            arguments.executor,
            str(arguments.manifest),
            pipeline.ObjectFiles(*outputs),
            tuning.chooser(records, its if arguments.shared_weights else platform),
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("onnx_wasm.actions.wasm_object", description=__doc__)
    parser.add_argument("--ir", type=Path, required=True, help="the Relax module that tvm_ir wrote")
    parser.add_argument("--weights", type=Path, required=True, help="the weights beside it")
    parser.add_argument("--platform", choices=PLATFORMS, required=True)
    parser.add_argument("--target-feature", action="append", default=[], help="an optional one of the platform's")
    add_opt_level(parser)
    parser.add_argument("--executor", choices=("aot", "graph"), required=True)
    parser.add_argument("--tuning", type=Path, action="append", default=[], help="a file of records about kernels")
    shared = "take the records of the platform without its features, whose module reads the same weights"
    parser.add_argument("--shared-weights", action="store_true", help=shared)
    parser.add_argument("--object", type=Path, required=True, help="the object to write")
    parser.add_argument("--graph", type=Path, required=True, help="the graph JSON to write")
    parser.add_argument("--params", type=Path, required=True, help="the parameters to write")
    return parser


if __name__ == "__main__":
    main(_parser(), run)
