"""What ``<model>.tune`` runs: the search for how each kernel of a model is computed quickest; found, it is a record."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from onnx_wasm import tuning
from onnx_wasm.actions.common import add_opt_level, importing, main, run_tool, scratch_beside, written_whole
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.platforms import PLATFORMS, Platform
from onnx_wasm.profile.calls import calls_of
from onnx_wasm.profile.measure import Linked, linking, measure
from onnx_wasm.profile.search import search
from onnx_wasm.tuning import Choice, Kernel, Record

_BUDGET = 120
_MOST_WEIGHTS = 1 << 23
"""More numbers than this in each of many modules would not fit into memory."""

_BAR = 30


@dataclass(frozen=True)
class Words:
    """What the command line says.

    Args:
        budget: Seconds after which no kernel is begun.
        again: Whether what is known is measured again.
    """

    budget: int = _BUDGET
    again: bool = False


def words(given: Sequence[str]) -> Words:
    """Reads ``budget=SECONDS`` and ``again=1``.

    Raises:
        BuildError: There are others.
    """
    kinds = {"budget": "[1-9][0-9]{0,5}", "again": "[01]"}
    pairs = [word.partition("=")[::2] for word in given]
    wrong = [
        Problem(f"{key}={value}", "is no word of tune", "it takes budget=SECONDS and again=1")
        for key, value in pairs
        if not re.fullmatch(kinds.get(key, "(?!)"), value)
    ]
    if wrong:
        raise BuildError(wrong)
    said = dict(pairs)
    return Words(int(said.get("budget", _BUDGET)), said.get("again") == "1")


def run(arguments: argparse.Namespace) -> None:
    """Tunes kernel after kernel, the largest first, and writes the file after each."""
    its = words(arguments.words)
    own = tuning.load(arguments.records) if arguments.records.exists() else []
    others = tuning.load_all(it for it in arguments.tuning if it != arguments.records)
    known = {} if its.again else {it.key: it for it in (*own, *others)}
    records = {it.key: it for it in own}
    with importing():
        from onnx_wasm.compiler import pipeline
    label = str(arguments.manifest)
    platforms = _platforms(PLATFORMS[arguments.platform], arguments.target_feature)
    kernels = [
        (kernel, platform)
        for platform in platforms
        for kernel in pipeline.tunable(arguments.ir, arguments.weights, platform, label)
        if kernel.size[1] <= _MOST_WEIGHTS and (kernel, *tuning.place_of(platform)) not in known
    ]
    kernels.sort(key=lambda it: it[0].size, reverse=True)
    start = time.monotonic()
    done = 0
    with scratch_beside(arguments.ir.with_name("tune")) as scratch:
        for kernel, platform in kernels:
            spent = time.monotonic() - start
            if done and spent > its.budget:
                break
            _show_progress(done, len(kernels), spent, its.budget)
            record = _tuned(kernel, platform, arguments, scratch)
            records[record.key] = record
            with written_whole(arguments.records) as (file,):
                file.write_text(tuning.dumps(records.values()), encoding="utf-8")
            done += 1
            _say(_told(record))
    _say(_summary(arguments, list(records.values()), len(kernels) - done))


def _platforms(its: Platform, features: Sequence[str]) -> list[Platform]:
    """The platform with the features that its modules use: where those are chosen in place, without them too."""
    featured = its.with_features(features)
    return [its, featured] if its.detects_features and featured != its else [featured]


def _tuned(kernel: Kernel, platform: Platform, arguments: argparse.Namespace, scratch: Path) -> Record:
    """Tunes a kernel in a process of its own, whose memory is gone with it."""
    try:
        with ProcessPoolExecutor(1, get_context("fork")) as pool:
            found = pool.submit(_search, kernel, platform, arguments, scratch).result()
    except BrokenProcessPool:
        found = (Problem(str(arguments.manifest), f"the search for {tuning.told(kernel)} broke off"),)
    if isinstance(found[0], Problem):
        raise BuildError(found)
    choice, gain = found
    return Record(kernel, *tuning.place_of(platform), choice, round(gain, 2))


def _search(
    kernel: Kernel, platform: Platform, arguments: argparse.Namespace, scratch: Path
) -> tuple[Choice | None, float] | tuple[Problem, ...]:
    from onnx_wasm.compiler import pipeline

    def linked(index: int, choice: Choice | None) -> Linked:
        files = pipeline.ObjectFiles(*(scratch / f"{index}{it}" for it in (".o", ".graph.json", ".params")))
        pipeline.kernel_to_object(kernel, choice, platform, arguments.opt_level, tuning.told(kernel), files)
        graph = json.loads(files.graph.read_text(encoding="utf-8"))
        calls, module = calls_of(graph), scratch / f"{index}.wasm"
        command = linking(calls, [files.object, arguments.wrapper], module)
        run_tool([*arguments.linker, *command], str(arguments.manifest))
        return Linked(module, files.params, calls, graph["areas"])

    def race(choices: Sequence[Choice | None]) -> list[float]:
        each = [linked(index, choice) for index, choice in enumerate(choices)]
        code = [it.module.read_bytes() for it in each]
        modules = dict(zip(code, each, strict=True))  # each once: what is the same takes the same
        taken = iter(measure(list(modules.values()), platform, scratch).calls)
        totals = {of: sum(next(taken) for _ in it.calls) for of, it in modules.items()}
        return [totals[it] for it in code]

    try:
        return search(kernel, race)
    except BuildError as error:
        return error.problems


def _told(record: Record) -> str:
    place = "+".join((record.platform, *record.features))
    its = record.choice
    how = f"{its.way} {its.tile.rows}×{its.tile.columns}, {record.gain:.2f} times as quick" if its else "as it is"
    return f"{place}  {tuning.told(record.kernel)}: {how}\n"


def _summary(arguments: argparse.Namespace, records: Sequence[Record], left: int) -> str:
    quicker = sum(it.choice is not None for it in records)
    lines = [f"{arguments.records}: {quicker} of {len(records)} kernels are quicker with it"]
    if left:
        lines.append(f"the time is up, and {left} kernels are left: run it again to go on, or with a larger budget")
    if records and arguments.records not in arguments.tuning:
        lines.append(f'for builds to read it, say in {arguments.manifest}: tuning = ["{arguments.records.name}"]')
    return "".join(f"{line}\n" for line in lines)


def _show_progress(done: int, all_: int, spent: float, budget: int) -> None:
    if sys.stderr.isatty():
        full = _BAR * done // all_
        bar = f"[{'=' * full}{' ' * (_BAR - full)}]"
        sys.stderr.write(f"\r{bar} {done} of {all_} kernels, {spent:.0f} of {budget} s ")
        sys.stderr.flush()


def _say(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")  # clears the progress bar
        sys.stderr.flush()
    sys.stdout.write(text)
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("onnx_wasm.actions.tune", description=__doc__)
    parser.add_argument("words", nargs="*", help="budget=SECONDS, again=1")
    parser.add_argument("--ir", type=Path, required=True, help="the Relax module that tvm_ir wrote")
    parser.add_argument("--weights", type=Path, required=True, help="the weights beside it")
    parser.add_argument("--wrapper", type=Path, required=True, help="the wrapper, for what kernels call of it")
    parser.add_argument("--platform", choices=PLATFORMS, required=True)
    parser.add_argument("--target-feature", action="append", default=[], help="an optional one of the platform's")
    add_opt_level(parser)
    parser.add_argument("--linker", type=json.loads, required=True, help="the words that start wasm-ld")
    parser.add_argument("--tuning", type=Path, action="append", default=[], help="a file of records that builds read")
    parser.add_argument("--records", type=Path, required=True, help="the file of records to write")
    return parser


if __name__ == "__main__":
    main(_parser(), run)
