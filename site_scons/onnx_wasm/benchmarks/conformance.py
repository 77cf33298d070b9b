"""``./sconsw conformance``: ONNX's tests of its operators, through the whole compiler and run as WebAssembly."""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import functools
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnx_wasm import toolchain
from onnx_wasm.benchmarks import node_tests, table, workers
from onnx_wasm.benchmarks.bare_module import PLATFORM, Laboratory
from onnx_wasm.benchmarks.node_tests import CLASSES, NodeTest, Verdict
from onnx_wasm.benchmarks.table import Row, publish
from onnx_wasm.benchmarks.workers import Broken, Done, Limits

TARGET = "conformance"
WRAPPER = Path("build", PLATFORM.name, "wrapper-image", "libwrapper.a")
"""The wrapper that the functions of C are taken from; any has them."""

_CORE = Path("tests", "conformance", "core.txt")
_LIMITS = Limits(seconds=60, memory=4 * 1000**3)
_CORE_SHARE = 95
_SHARE = 65


def verdicts(tests: Mapping[str, NodeTest], linker: Sequence[str], wrapper: Path, processes: int) -> dict[str, Verdict]:
    """Runs tests.

    Args:
        tests: By name.
        linker: The words that start wasm-ld.
        wrapper: The wrapper's library.
        processes: How many run at a time.

    Returns:
        What came of each, by name, in the order of the names.
    """

    @functools.cache
    def laboratory() -> Laboratory:  # one in each process: an engine does not survive a fork
        return Laboratory(linker, wrapper.absolute())

    def work(name: str) -> Verdict:
        return node_tests.judge(tests[name], laboratory())

    found = {}
    for done in workers.each(list(tests), work, _LIMITS, processes):
        found[done.item] = _verdict(done)
        _progress(len(found), len(tests))
    return dict(sorted(found.items()))


def rows(found: Mapping[str, Verdict], core: Iterable[str]) -> list[Row]:
    """The figures of the table.

    Args:
        found: The verdict on every test, by name.
        core: The tests of core inference.
    """
    core = set(core)
    counts = Counter(verdict.kind for verdict in found.values())
    core_passed = sum(found[name].kind == "passed" for name in core)
    of_core, of_all = f"of {len(core):,} tests of core operators", f"of all {len(found):,} tests of operators"
    return [
        Row(f"passed, {of_core}", 100 * core_passed / len(core), "%", _CORE_SHARE, "higher"),
        Row(f"passed, {of_all}", 100 * counts["passed"] / len(found), "%", _SHARE, "higher"),
        Row(f"a wrong number and no error, {of_all}", counts["wrong"], "", 0),
        Row(f"crashed, {of_all}", counts["crashed"], "", 0),
    ]


def _verdict(done: Done[str, Verdict]) -> Verdict:
    if isinstance(done.result, Broken):
        return Verdict("crashed", f"{done.result.reason}\n{done.result.details}".strip())
    return done.result


def _progress(count: int, total: int) -> None:
    if sys.stdout.isatty():
        sys.stdout.write(f"\r{TARGET}: {count:,} of {total:,}" if count < total else "\r\033[K")
        sys.stdout.flush()


def _list(found: Mapping[str, Verdict], classes: Sequence[str], *, whole: bool) -> None:
    for name, verdict in found.items():
        if verdict.kind in classes:
            lines = verdict.message.splitlines() or [""]
            bound = f" (constant: {', '.join(verdict.bound)})" if verdict.bound else ""
            message = "\n    ".join(lines if whole else lines[:1])
            sys.stdout.write(f"{verdict.kind} {name}{bound}: {message}\n")


def _compare(found: Mapping[str, Verdict], earlier: Path) -> None:
    before: dict[str, dict[str, Any]] = json.loads(earlier.read_text(encoding="utf-8"))["tests"]
    for name, verdict in found.items():
        was = before.get(name, {}).get("kind", "missing")
        if was != verdict.kind:
            first = next(iter(verdict.message.splitlines()), "")
            sys.stdout.write(f"{name}: {was} → {verdict.kind} {first}".rstrip() + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("onnx_wasm.benchmarks.conformance", description=__doc__)
    parser.add_argument("--wrapper", type=Path, default=WRAPPER, help="the wrapper's library")
    parser.add_argument("--only", metavar="PATTERN", nargs="+", default=["*"], help="the tests to run: *resize*")
    parser.add_argument("--core", action="store_true", help="of them, only those of core operators")
    parser.add_argument("--list", nargs="+", choices=CLASSES, default=["wrong", "crashed"], help="the classes to list")
    parser.add_argument("--whole", action="store_true", help="list whole messages")
    parser.add_argument("--against", type=Path, metavar="JSON", help="tell what differs from an earlier run")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    return parser


def main() -> None:
    """Runs the tests and ends the process: 0, or 1 if a limit is missed. A part of the tests has no limits."""
    arguments = _parser().parse_args()
    if not arguments.wrapper.exists():
        sys.exit(f"{TARGET}: there is no {arguments.wrapper}: ./sconsw {TARGET} makes it")
    tests = node_tests.load()
    core = _CORE.read_text(encoding="utf-8").split()
    names = core if arguments.core else list(tests)
    chosen = {name: tests[name] for name in names if any(fnmatch.fnmatch(name, it) for it in arguments.only)}
    found = verdicts(chosen, toolchain.find().linker.command, arguments.wrapper, arguments.processes)
    _list(found, arguments.list, whole=arguments.whole)
    if arguments.against:
        _compare(found, arguments.against)
    if len(chosen) < len(tests):
        counts = Counter(verdict.kind for verdict in found.values())
        sys.stdout.write(", ".join(f"{counts[kind]} {kind}" for kind in CLASSES) + f", of {len(found)}\n")
        sys.exit(0)
    bound = sum(verdict.kind == "passed" and bool(verdict.bound) for verdict in found.values())
    sys.stdout.write(f"Of those that passed, {bound} need the value of an input when they are compiled.\n")
    details = {"tests": {name: dataclasses.asdict(verdict) for name, verdict in found.items()}}
    sys.exit(0 if publish(TARGET, rows(found, core), table.FOLDER, details) else 1)


if __name__ == "__main__":
    main()
