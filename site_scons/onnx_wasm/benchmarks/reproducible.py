"""``./sconsw verify-reproducible``: builds the models again and again, each time elsewhere, at another time.

Every artefact of every build is held against that of the first, and searched for names of the machine that made it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx_wasm import manifest, toolchain
from onnx_wasm.benchmarks.table import Row, publish
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.manifest import Manifest
from onnx_wasm.release import lock, source, sums
from onnx_wasm.release.difference import Difference, differences
from onnx_wasm.release.perturbation import Perturbation, command, perturbation, perturbations

TARGET = "verify-reproducible"

_UNCOMPARED = (".lock", "cargo", "toolchain.json", "manifests.json")
"""What in a build folder is no artefact: cargo's own files, and what is remembered between builds."""
_NOBODY = ("-c", "user.name=nobody", "-c", "user.email=nobody@localhost")
_LINES_OF_LOG = 20


@dataclass(frozen=True)
class Outcome:
    """What came of a number of builds.

    Args:
        artefacts: The SHA-256 of each file that the first build made, by its path from the top of the checkout.
        differences: What was not as in the first build, build by build.
        named: Files that hold a name of the machine, of its user or of a folder, with that name.
    """

    artefacts: Mapping[str, str]
    differences: tuple[tuple[int, Difference], ...]
    named: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        lines = [f"build {number} differs from the first: {difference}" for number, difference in self.differences]
        lines += [f"{file} holds {name!r}" for file, name in self.named]
        return "".join(f"{line}\n" for line in lines)


def compare(top: Path, targets: Sequence[str], builds: int, seed: int = 0) -> Outcome:
    """Builds under perturbations and compares.

    Args:
        top: The checkout. What is not committed is built too, but for files that git does not know.
        targets: What is built.
        builds: How many times.
        seed: Other circumstances for another number.

    Raises:
        BuildError: A build failed.
    """
    commit = source.git(top, *_NOBODY, "stash", "create").strip() or source.git(top, "rev-parse", "HEAD").strip()
    with tempfile.TemporaryDirectory(prefix="onnx-wasm-reproducible-") as work:
        fresh = Path(work, "fresh")
        source.git(top, "clone", "--quiet", "--no-checkout", str(top.resolve()), str(fresh))
        source.git(fresh, "fetch", "--quiet", "origin", commit)
        source.git(fresh, "checkout", "--quiet", "--detach", commit)
        first: dict[str, Path] = {}
        found: list[tuple[int, Difference]] = []
        named: list[tuple[str, str]] = []
        for its in perturbations(builds, seed):
            made = _build(its, fresh, Path(work), targets)
            first = first or made
            differing = differences(first, made)
            sys.stdout.write(
                f"{its.number}: {_told(its)}: {f'{len(differing)} files differ' if differing else 'same'}\n"
            )
            sys.stdout.flush()
            found += [(its.number, difference) for difference in differing]
            named += _named(made, [*its.names(), work, os.uname().nodename, str(Path.home()), sys.prefix])
            if made is not first:
                shutil.rmtree(Path(work, f"kept-{its.number}"))
        artefacts = {name: sums.digest(first[name]) for name in sorted(first)}
        return Outcome(artefacts, tuple(found), tuple(named))


def targets_of(model: Manifest, pinned: bool) -> list[str]:
    """What is built of a model.

    Args:
        model: Its manifest.
        pinned: Whether the tools in use are those of ``toolchain.lock``. Then it is the model's release, if it has a
            version; else its modules.
    """
    name = model.model.target
    if model.model.version and pinned:
        return [f"{name}.release"]
    return [f"{name}.{platform}.wasm" for platform in model.compile.platforms]


def _build(its: Perturbation, fresh: Path, work: Path, targets: Sequence[str]) -> dict[str, Path]:
    """Builds in a copy of the checkout; what was made is kept, its copy is not."""
    place, kept, scratch = work / f"perturbed-{its.number}", work / f"kept-{its.number}", work / f"etc-{its.number}"
    for folder in (place, kept, scratch):
        folder.mkdir()
    program = [sys.executable, "-P", "-m", "onnx_wasm.benchmarks.reproducible"]
    inside = [*program, "--build", str(its.number), str(fresh), str(work / its.folder), str(kept), *targets]
    mounts = command(its, place, scratch, inside)
    if its.memory:
        at = mounts.index("--chdir")
        mounts[at:at] = ["--tmpfs", str(place)]
    environ = {**its.environment(place / "home"), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(mounts, env=environ, umask=its.umask, capture_output=True, text=True, check=False)
    if done.returncode:
        log = "\n    ".join((done.stdout + done.stderr).strip().splitlines()[-_LINES_OF_LOG:])
        raise BuildError(Problem(f"build {its.number}", f"failed: {_told(its)}", log))
    shutil.rmtree(place)
    return {path.relative_to(kept).as_posix(): path for path in kept.rglob("*") if path.is_file()}


def _build_here(number: int, fresh: Path, checkout: Path, kept: Path, targets: Sequence[str]) -> None:
    """What runs under the perturbation: makes the checkout, file by file in an order of its own, builds, keeps."""
    its = perturbation(number)
    Path(os.environ["HOME"]).mkdir()
    files = sorted(path for path in fresh.rglob("*") if not path.is_dir() or path.is_symlink())
    random.Random(its.order).shuffle(files)
    for file in files:
        copy = checkout / file.relative_to(fresh)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy, follow_symlinks=False)
    for folder in fresh.rglob("*/"):  # git needs its empty ones
        (checkout / folder.relative_to(fresh)).mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-P", "-m", "SCons", "-Q", *its.options(), *targets]
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(words, cwd=checkout, env=environ, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    for path in _artefacts(checkout):
        copy = kept / path.relative_to(checkout)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _artefacts(checkout: Path) -> list[Path]:
    paths = [path for folder in ("build", "dist") for path in (checkout / folder).rglob("*") if path.is_file()]
    return [path for path in paths if not set(path.relative_to(checkout).parts) & set(_UNCOMPARED)]


def _named(made: dict[str, Path], names: Iterable[str]) -> list[tuple[str, str]]:
    """The files that hold one of these names. Short ones would be found by chance."""
    words = {name: name.encode() for name in names if len(name) > 5}
    found = []
    for file, path in sorted(made.items()):
        data = path.read_bytes()
        found += [(file, name) for name, word in words.items() if word in data]
    return found


def _told(its: Perturbation) -> str:
    where = "memory" if its.memory else "disk"
    order = ", random order" if its.shuffled else ""
    who = f"uid {its.uid}, umask {its.umask:03o}, {its.host}"
    return f"{who}, {its.locale}, {its.zone}, {its.days:+d} days, -j{its.jobs}{order}, {its.strategy}, {where}"


def main() -> None:
    """Builds the models that the command line names, or all, and ends the process: 0, or 1 if any two builds differ."""
    if sys.argv[1:2] == ["--build"]:
        number, fresh, checkout, kept, *targets = sys.argv[2:]
        return _build_here(int(number), Path(fresh), Path(checkout), Path(kept), targets)
    parser = argparse.ArgumentParser(f"./sconsw {TARGET}", description=__doc__)
    parser.add_argument("--builds", type=int, default=2, help="how many times each model is built (2)")
    parser.add_argument("--seed", type=int, default=0, help="other circumstances for another number (0)")
    parser.add_argument("models", nargs="*", help="their names (default: every model in models/)")
    arguments = parser.parse_args()
    try:
        models = [model for path in sorted(Path("models").glob("*/*.toml")) for model in manifest.load(path).every()]
        unknown = set(arguments.models) - {model.model.target for model in models}
        if unknown:
            raise BuildError(Problem(TARGET, f"there is no model {', '.join(sorted(unknown))}"))
        wanted = [model for model in models if not arguments.models or model.model.target in arguments.models]
        pinned = not lock.problems(Path(lock.NAME), toolchain.find())
        targets = [target for model in wanted for target in targets_of(model, pinned)]
        sys.stdout.write(f"{TARGET}: {' '.join(targets)}\n")
        outcome = compare(Path(), targets, arguments.builds, arguments.seed)
    except BuildError as error:
        sys.exit(f"{error}")
    digest = hashlib.sha256(sums.text(outcome.artefacts).encode()).hexdigest()
    sys.stdout.write(f"{outcome}all artefacts together: sha256 {digest}\n")
    differing = sum(difference.count or 1 for _, difference in outcome.differences)
    names = ", ".join(it.model.target for it in wanted)
    rows = [
        Row(f"{arguments.builds} builds of {names}: bytes that differ", differing, "", 0),
        Row("artefacts compared in each", len(outcome.artefacts), "", 1, "higher"),
        Row("names of the machine, its user or a folder in them", len(outcome.named), "", 0),
    ]
    details = {"artefacts": outcome.artefacts, "builds": arguments.builds, "sha256": digest}
    sys.exit(0 if publish(TARGET, rows, details=details) else 1)


if __name__ == "__main__":
    main()
