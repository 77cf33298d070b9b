"""The action of the rule WasmVerify: the finished module, in its host, against ONNX's own definition of the model."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onnx_wasm.actions.common import add_params, main, written_whole
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.hosts.loading import load
from onnx_wasm.hosts.result import Host
from onnx_wasm.status import statuses
from onnx_wasm.verification import reference, samples, tensors
from onnx_wasm.verification.comparison import worst
from onnx_wasm.verification.samples import Sample


def run(arguments: argparse.Namespace) -> None:
    """Runs every sample in both, prints the worst element of each output, and writes the report if all are close.

    Raises:
        BuildError: An output is too far from the reference, or the module failed.
    """
    label, how = str(arguments.manifest), arguments.how
    interface = json.loads(arguments.interface.read_text(encoding="utf-8"))
    host = load(arguments.module)
    name, evaluate = reference.evaluator(arguments.model, how["reference"], label)
    constants = reference.constants(arguments.model, how["values"], how["shapes"], how["dimensions"])
    report, problems = [], []
    for sample in _samples(interface["inputs"], how, label):
        wanted = _evaluated(evaluate, sample, constants, name, label)
        for output, found in _run(host, sample, dict(arguments.params), interface["outputs"], label).items():
            tolerance = how["tolerances"].get(output, how["tolerance"] if found.dtype.kind == "f" else 0)
            try:
                its = worst(output, found, wanted[output])
            except ValueError as error:
                problems.append(Problem(label, f"{sample.name}: {error}", key=("verify",)))
                continue
            sys.stdout.write(f"{label}: {interface['platform']}, {sample.name}: {its}\n")
            report.append({"sample": sample.name, "output": output, "share": its.share, "tolerance": tolerance})
            if not its.share <= tolerance:
                problems.append(Problem(label, f"{sample.name}: {its}; allowed is {tolerance:g}", key=("verify",)))
    if problems:
        raise BuildError(problems)
    with written_whole(arguments.report) as (path,):
        path.write_text(json.dumps({"reference": name, "outputs": report}, indent=1) + "\n", "utf-8")


def _samples(inputs: list[dict[str, Any]], how: Mapping[str, Any], label: str) -> Iterator[Sample]:
    for number in range(how["samples"]):
        yield samples.drawn(inputs, how["ranges"], number)
    for test in how["tests"]:
        name = test["name"] or " ".join(f"{key}={file}" for key, file in sorted(test["inputs"].items()))
        files = {key: Path(how["directory"], file) for key, file in test["inputs"].items()}
        try:
            sample = samples.of_test(inputs, name, files)
        except (OSError, ValueError) as error:
            raise BuildError(Problem(label, f"test {name}: {error}", key=("test", test["index"]))) from error
        if sample is not None:
            yield sample


def _evaluated(
    evaluate: reference.Evaluate, sample: Sample, constants: Mapping[str, np.ndarray], name: str, label: str
) -> dict[str, np.ndarray]:
    try:
        return evaluate({**sample.tensors, **constants})
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        hint = 'give the inputs that it takes: [[input]] range = […], or choose another: [verify] reference = "…"'
        raise BuildError(Problem(label, f"{sample.name}: {name} failed: {reason}", hint, key=("verify",))) from error


def _run(
    host: Host, sample: Sample, params: Mapping[str, str], outputs: list[dict[str, Any]], label: str
) -> dict[str, np.ndarray]:
    """Runs the module on files and gives every output that it can write."""
    with tempfile.TemporaryDirectory(prefix="onnx-wasm-verify-") as folder:
        arguments = sample.placed(Path(folder), outputs)
        result = host.run({**params, **arguments})
        if result.value is None or result.value < 0:
            status = statuses().get(result.value or 0)
            message = f"returned {result.value}" + (f": {status.text}" if status else "")
            raise BuildError(Problem(label, f"{sample.name}: {result.trap or message}", key=("verify",)))
        written = [it for it in outputs if it["argument"]]
        return {it["name"]: tensors.from_file(Path(arguments[it["argument"]]), it) for it in written}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("onnx_wasm.actions.verify", description=__doc__)
    parser.add_argument("--module", type=Path, required=True, help="the module to verify")
    parser.add_argument("--interface", type=Path, required=True, help="its interface")
    parser.add_argument("--model", type=Path, required=True, help="the ONNX file that it was made from")
    add_params(parser)
    parser.add_argument("--how", type=json.loads, required=True, help="what the manifest says of it")
    parser.add_argument("--report", type=Path, required=True, help="the report to write")
    return parser


if __name__ == "__main__":
    main(_parser(), run)
