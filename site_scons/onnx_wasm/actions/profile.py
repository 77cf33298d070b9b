"""The action of the rule WasmProfile: every kernel of a model run alone, and what it took as table, JSON and page."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from onnx_wasm.actions.common import main, run_tool, scratch_beside, written_whole
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.platforms import PLATFORMS
from onnx_wasm.profile import report
from onnx_wasm.profile.calls import calls_of
from onnx_wasm.profile.measure import Linked, linking, measure
from onnx_wasm.profile.page import as_page


def run(arguments: argparse.Namespace) -> None:
    """Links the kernels, measures them, prints the table and writes the two files."""
    graph = json.loads(arguments.graph.read_text(encoding="utf-8"))
    calls = calls_of(graph)
    if not calls:
        raise BuildError(Problem(str(arguments.manifest), "the model computes nothing: there is nothing to profile"))
    with scratch_beside(arguments.report) as scratch:
        module = scratch / "kernels.wasm"
        command = linking(calls, [arguments.object, arguments.wrapper], module)
        run_tool([*arguments.linker, *command], str(arguments.manifest))
        platform = PLATFORMS[arguments.platform].with_features(arguments.target_feature)
        linked = Linked(module, arguments.params, calls, graph["areas"])
        measured = measure([linked], platform, scratch, with_ceilings=True)
    name = arguments.object.name.removesuffix(".o")
    profile = report.Profile(name, arguments.platform, tuple(calls), measured)
    with written_whole(arguments.report, arguments.page) as (report_file, page):
        report_file.write_text(json.dumps(report.as_json(profile), indent=1) + "\n", encoding="utf-8")
        page.write_text(as_page(profile), encoding="utf-8")
    sys.stdout.write(f"{report.as_text(profile)}{arguments.page}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("onnx_wasm.actions.profile", description=__doc__)
    parser.add_argument("--object", type=Path, required=True, help="the kernels")
    parser.add_argument("--graph", type=Path, required=True, help="the graph JSON that calls them")
    parser.add_argument("--params", type=Path, required=True, help="the weights")
    parser.add_argument("--wrapper", type=Path, required=True, help="the wrapper, for what kernels call of it")
    parser.add_argument("--platform", choices=PLATFORMS, required=True)
    parser.add_argument("--target-feature", action="append", default=[], help="an optional one of the platform's")
    parser.add_argument("--linker", type=json.loads, required=True, help="the words that start wasm-ld")
    parser.add_argument("--report", type=Path, required=True, help="the JSON to write")
    parser.add_argument("--page", type=Path, required=True, help="the page to write")
    return parser


if __name__ == "__main__":
    main(_parser(), run)
