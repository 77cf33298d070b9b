"""Runs a manifest's tests on the finished module, in its platform's stand-in."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from onnx_wasm.actions import common
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.hosts.loading import load
from onnx_wasm.hosts.result import Host, Result
from onnx_wasm.status import statuses

TOLERANCE = 1e-4
"""How far an element may be from the expected one: this much, and this much of the expected one's size."""

TIMEOUT = 600.0
"""Seconds that one test may take."""


@dataclass(frozen=True)
class Test:
    """One ``[[test]]`` of a manifest.

    Args:
        name: What it is called in reports.
        key: Its place in the manifest.
        inputs: For each input's argument the file to read, and for that of the weights if the module holds none.
        value: What the module must return; None if anything but an error will do.
        outputs: For each output's argument the file that what is written must equal.
    """

    __test__ = False  # pytest takes classes of this name for its own

    name: str
    key: tuple[str | int, ...]
    inputs: dict[str, Path]
    value: int | None
    outputs: dict[str, Path]


def run(arguments: argparse.Namespace) -> None:
    """Runs every test, prints a line for each, and writes the report if none failed.

    Raises:
        BuildError: The module cannot be loaded, or tests failed: all of them, each at its place in the manifest.
    """
    manifest = str(arguments.manifest)
    params = {key: Path(file) for key, file in arguments.params}
    tests = [_test(entry, arguments.directory, params) for entry in json.loads(arguments.tests)]
    host = load(arguments.module)
    report, problems = [], []
    for test in tests:
        start = time.perf_counter()
        result, found = _run(host, test, manifest)
        milliseconds = (time.perf_counter() - start) * 1000
        verdict = "FAILED" if found else "ok"
        sys.stdout.write(f"{manifest}: {test.name}: {result}  {verdict} ({milliseconds:.0f} ms)\n")
        report.append({"name": test.name, "result": str(result)})
        problems += found
    if problems:
        raise BuildError(problems)
    with common.written_whole(arguments.stamp) as (stamp,):
        stamp.write_text(json.dumps({"tests": report}, indent=1) + "\n", encoding="utf-8")


def _test(entry: dict[str, object], directory: Path, params: dict[str, Path]) -> Test:
    inputs, outputs, value, index = entry["inputs"], entry["outputs"], entry["return_"], entry["index"]
    assert isinstance(index, int)
    assert isinstance(inputs, dict)
    assert isinstance(outputs, dict)
    assert value is None or isinstance(value, int)
    return Test(
        name=str(entry.get("name") or " ".join(f"{key}={file}" for key, file in sorted(inputs.items()))),
        key=("test", index),
        inputs={key: directory / file for key, file in inputs.items()} | params,
        value=value,
        outputs={key: directory / file for key, file in outputs.items()},
    )


def _run(host: Host, test: Test, manifest: str) -> tuple[Result, list[Problem]]:
    """Runs one test and gives what came of it and what is wrong with that."""
    with tempfile.TemporaryDirectory(prefix="onnx-wasm-test-") as folder:
        written = {key: Path(folder, key) for key in test.outputs}
        files = {key: str(path) for key, path in (test.inputs | written).items()}
        result = host.run(files, timeout=TIMEOUT)
        messages = [f"{problem.where} {problem.message}" for problem in result.file_errors]
        if result.value is None:
            messages.append(result.trap)
        elif result.value != test.value and (test.value is not None or result.value < 0):
            wanted = "" if test.value is None else f", not {test.value}"
            messages.append(f"returned {_described(result.value)}{wanted}")
        elif result.value >= 0:
            messages += filter(None, (_difference(written[key], path, key) for key, path in test.outputs.items()))
    return result, [Problem(manifest, f"test {test.name}: {message}", key=test.key) for message in messages]


def _described(value: int) -> str:
    status = statuses().get(value) if value < 0 else None
    return f"{value} ({status.name}: {status.text})" if status else str(value)


def _difference(written: Path, expected: Path, key: str) -> str:
    """How an output differs from what it must equal; empty if it does not.

    Files in NumPy's format are compared element by element, within the tolerance; others byte for byte.
    """
    try:
        wanted = expected.read_bytes()
    except OSError as error:
        return f"{expected} cannot be read: {error.strerror}"
    if not written.exists():
        return f"{key} was not written"
    got = written.read_bytes()
    if got == wanted:
        return ""
    if not wanted.startswith(b"\x93NUMPY"):
        return f"{key} differs from {expected}: {len(got)} bytes written, {len(wanted)} expected, not the same"
    return _tensor_difference(written, expected, key)


def _tensor_difference(written: Path, expected: Path, key: str) -> str:
    import numpy as np

    try:
        got, wanted = (np.load(path, allow_pickle=False) for path in (written, expected))
    except (ValueError, EOFError) as error:
        return f"{key} or {expected} is not in NumPy's format: {error}"
    if got.dtype != wanted.dtype or got.shape != wanted.shape:
        return f"{key} is {got.dtype}{list(got.shape)}, but {expected} is {wanted.dtype}{list(wanted.shape)}"
    if wanted.dtype.kind != "f":
        far = np.atleast_1d(got != wanted)
    else:
        far = ~np.atleast_1d(np.isclose(got, wanted, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))
    if not far.any():
        return ""
    first = tuple(int(index) for index in np.argwhere(far)[0])
    values = f"{np.atleast_1d(got)[first]}, not {np.atleast_1d(wanted)[first]}"
    return f"{key} differs from {expected} in {far.sum()} of {far.size} elements, first at {list(first)}: {values}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run_tests", description=__doc__)
    parser.add_argument("--module", type=Path, required=True, help="the module to test")
    parser.add_argument("--tests", required=True, help="JSON: the manifest's tests")
    parser.add_argument("--directory", type=Path, required=True, help="the folder that the tests' paths start from")
    common.add_params(parser)
    parser.add_argument("--stamp", type=Path, required=True, help="the report, written when every test passed")
    return parser


if __name__ == "__main__":
    common.main(_parser(), run)
