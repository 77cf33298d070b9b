"""The action of the rule WasmBench: a finished module run again and again; what that took, as table and JSON."""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import sys
from pathlib import Path

from onnx_wasm.actions.common import add_params, main, scratch_beside, written_whole
from onnx_wasm.bench import comparison, figures, report
from onnx_wasm.bench.figures import Bench, Distribution
from onnx_wasm.bench.measure import Measured, Subject, measure
from onnx_wasm.errors import LimitMissedError, Problem
from onnx_wasm.platforms import PLATFORMS
from onnx_wasm.verification import samples


def run(arguments: argparse.Namespace) -> None:
    """Measures the module, prints its figures, writes them, and holds them against earlier ones if it is to.

    Raises:
        BuildError: The earlier figures are not such, or the module failed.
        LimitMissedError: It is slower than it may be.
    """
    old = _earlier(arguments) if arguments.against else None
    interface = json.loads(arguments.interface.read_text(encoding="utf-8"))
    params = next(((key, Path(file)) for key, file in arguments.params), None)
    sample = samples.drawn(interface["inputs"], arguments.ranges, 0)
    with scratch_beside(arguments.report) as scratch:
        measured = measure(Subject(arguments.module, interface, sample, params, arguments.glue), scratch)
    new = _bench(arguments, measured, params[1] if params else None)
    with written_whole(arguments.report) as (file,):
        file.write_text(figures.to_json(new), encoding="utf-8")
    sys.stdout.write(report.as_text(new, measured.seconds[figures.RUN]))
    if old is None:
        return
    changes = comparison.compare(old, new)
    sys.stdout.write(report.compared(changes, old, new, str(arguments.against)))
    sys.stdout.flush()
    if arguments.limit is not None and (why := comparison.excess(changes, arguments.limit)):
        raise LimitMissedError(
            Problem(str(arguments.module), why, "measure again on a quiet machine, or find what changed")
        )


def _earlier(arguments: argparse.Namespace) -> Bench:
    where = str(arguments.against)
    hint = f"keep a copy of {arguments.report}, as an earlier build's bench for {arguments.platform} writes it"
    old = figures.parse(arguments.against.read_text(encoding="utf-8", errors="replace"), where, hint)
    comparison.check_platform(old, arguments.platform, where, hint)
    return old


def _bench(arguments: argparse.Namespace, measured: Measured, params: Path | None) -> Bench:
    data = arguments.module.read_bytes()
    return Bench(
        arguments.module.name.removesuffix(".wasm"),
        arguments.platform,
        PLATFORMS[arguments.platform].with_features(arguments.target_feature).features,
        hashlib.sha256(data).hexdigest(),
        measured.runtime,
        {name: Distribution.of(times) for name, times in measured.seconds.items()},
        {
            "memory": measured.memory,
            "module": len(data),
            "gzip": len(gzip.compress(data, mtime=0)),
            **({"weights": params.stat().st_size} if params else {}),
        },
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("onnx_wasm.actions.bench", description=__doc__)
    parser.add_argument("--module", type=Path, required=True, help="the module to measure")
    parser.add_argument("--interface", type=Path, required=True, help="its interface")
    parser.add_argument("--glue", type=Path, help="the JavaScript of its package, if JavaScript runs it")
    parser.add_argument("--platform", choices=PLATFORMS, required=True)
    parser.add_argument("--target-feature", action="append", default=[], help="an optional one of the platform's")
    add_params(parser)
    parser.add_argument("--ranges", type=json.loads, default={}, help="where inputs are drawn from, by name")
    parser.add_argument("--against", type=Path, help="an earlier report")
    parser.add_argument("--limit", type=float, help="by how many per cent runs may be slower than they were")
    parser.add_argument("--report", type=Path, required=True, help="the JSON to write")
    return parser


if __name__ == "__main__":
    main(_parser(), run)
