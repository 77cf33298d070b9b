"""The action of the rule WasmOptimize: a module, and what binaryen's wasm-opt makes of it if that is smaller."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from onnx_wasm import wasm
from onnx_wasm.actions.common import main, run_tool, scratch_beside, written_whole
from onnx_wasm.hosts.checks import check
from onnx_wasm.platforms import PLATFORMS, Platform

_FEATURES = {"nontrapping-fptoint": "nontrapping-float-to-int", "simd128": "simd"}
"""What wasm-opt calls a feature, where LLVM calls it otherwise."""


def run(arguments: argparse.Namespace) -> None:
    """Optimises the module and lets it out only if its platform could load it."""
    platform = PLATFORMS[arguments.platform].with_features(arguments.target_feature)
    if arguments.params_in_file:
        platform = platform.with_params_in_file()
    label = str(arguments.manifest)
    with scratch_beside(arguments.optimized) as scratch, written_whole(arguments.optimized) as (optimized,):
        made = scratch / "optimized.wasm"
        run_tool([*arguments.optimizer, *_options(platform), str(arguments.module), "-o", str(made)], label)
        data = wasm.without_custom_sections(made.read_bytes(), label)
        check(data, platform, label)
        optimized.write_bytes(min(arguments.module.read_bytes(), data, key=len))


def _options(platform: Platform) -> list[str]:
    # A module that ships does not say which features it uses: without these, wasm-opt would refuse or lower them.
    features = [f"--enable-{_FEATURES.get(name, name)}" for name in platform.features]
    return ["--mvp-features", *features, "-O3"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("onnx_wasm.actions.wasm_optimize", description=__doc__)
    parser.add_argument("--module", type=Path, required=True, help="the module, without custom sections")
    parser.add_argument("--platform", choices=PLATFORMS, required=True)
    parser.add_argument("--target-feature", action="append", default=[], help="an optional one of the platform's")
    parser.add_argument("--params-in-file", action="store_true", help="the module does not hold its weights")
    parser.add_argument("--optimizer", type=json.loads, required=True, help="the words that start wasm-opt")
    parser.add_argument("--optimized", type=Path, required=True, help="the module to write")
    return parser


if __name__ == "__main__":
    main(_parser(), run)
