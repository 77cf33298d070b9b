"""The wrapper's own tests, run by cargo on this machine."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

from onnx_wasm.actions import common, rust_wrapper
from onnx_wasm.errors import BuildError, Problem

FEATURES = ("image", "image,graph", "params")
"""The sets of the crate's features that are tested: those of both executors, and of weights in a file."""

_LABEL = "wrapper tests"


def run(arguments: argparse.Namespace) -> None:
    """Runs the tests, and writes the report if every one passed.

    Raises:
        BuildError: A test failed, or there was none.
    """
    cargo = rust_wrapper.prepare(arguments.cargo, arguments.rustc, arguments.source, arguments.work, arguments.crates)
    printed = "".join(cargo.run(["test", f"--features={features}"], label=_LABEL) for features in FEATURES)
    passed = sum(int(count) for count in re.findall(r"^test result: ok\. (\d+) passed", printed, re.MULTILINE))
    if not passed:
        raise BuildError(Problem(_LABEL, "cargo ran no test"))
    with common.written_whole(arguments.report) as (report,):
        report.write_text(printed, encoding="utf-8")
    shutil.rmtree(cargo.work)
    sys.stdout.write(f"wrapper: {passed} passed\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("project.wrapper_tests", description=__doc__)
    parser.add_argument("--rustc", type=Path, required=True)
    parser.add_argument("--cargo", type=Path, required=True)
    parser.add_argument("--crates", type=Path, default=rust_wrapper.DEBIAN_CRATES, help="a folder of unpacked crates")
    parser.add_argument("--source", type=Path, required=True, help="the crate")
    parser.add_argument("--work", type=Path, required=True, help="a folder for cargo; it is emptied")
    parser.add_argument("--report", type=Path, required=True, help="what cargo printed, written when every test passed")
    return parser


if __name__ == "__main__":
    common.main(_parser(), run)
