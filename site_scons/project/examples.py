"""``./sconsw examples``: builds, tests and verifies the models under ``examples/``, one by one, and prints a table."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER = Path("examples")
REPORT = Path("build", "bench", "examples.json")


@dataclass(frozen=True)
class Outcome:
    """What came of one model.

    Args:
        model: Its name.
        worst: The furthest that an element is from the reference, as a share of its output's largest; None if it was
            not verified.
        megabytes: The largest of its modules.
        peak_megabytes: The most memory that a step of the build had.
        failure: The first thing that is wrong; empty if nothing is.
    """

    model: str
    worst: float | None
    megabytes: float
    peak_megabytes: float
    failure: str

    def __str__(self) -> str:
        worst = "-" if self.worst is None else f"{self.worst:.1e}"
        figures = f"{worst:>8}  {self.megabytes:>7.2f} MB  {self.peak_megabytes:>6.0f} MB"
        return f"{self.model:<28}  {figures}  {self.failure or 'ok'}"


def manifests() -> list[Path]:
    """The manifest of each, from the top of the checkout; it is called as its model is."""
    return sorted(FOLDER.glob("*/*.toml"))


def main() -> None:
    """Builds, tests and verifies the models that the command line names, or all, and prints what came of each."""
    wanted = sys.argv[1:]
    known = [path.stem for path in manifests()]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        sys.exit(f"there is no example {', '.join(unknown)}; there are {', '.join(known)}")
    sys.stdout.write(f"{'model':<28}  {'worst':>8}  {'size':>10}  {'peak':>9}\n")
    outcomes = []
    for name in wanted or known:
        outcomes.append(build(name))
        sys.stdout.write(f"{outcomes[-1]}\n")
        sys.stdout.flush()
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps([asdict(it) for it in outcomes], indent=1) + "\n", encoding="utf-8")
    failed = sum(bool(it.failure) for it in outcomes)
    sys.stdout.write(f"{len(outcomes) - failed} of {len(outcomes)} are right\n")
    sys.exit(1 if failed else 0)


def build(name: str) -> Outcome:
    """Builds, tests and verifies one model for all of its platforms.

    Args:
        name: The model's.
    """
    manifest = next(path for path in manifests() if path.stem == name).read_text(encoding="utf-8")
    platforms = re.findall(r'"(\w+)"', re.findall(r"^platforms = (.*)$", manifest, re.MULTILINE)[0])
    targets = [*(f"{name}.{platform}.wasm" for platform in platforms), f"{name}.verify"]
    targets += [f"{name}.test"] if "[[test]]" in manifest else []
    command = [sys.executable, "-P", "-m", "SCons", "-Q", "-k", *targets]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as running:
        assert running.stderr is not None
        told = running.stderr.read()
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    modules = [path for it in platforms if (path := Path("build", it, name, f"{name}.wasm")).exists()]
    reports = [path for it in platforms if (path := Path("build", it, name, f"{name}.verify.json")).exists()]
    shares = [it["share"] for path in reports for it in json.loads(path.read_text(encoding="utf-8"))["outputs"]]
    failure = next((line for line in told.splitlines() if line), "it failed") if running.returncode else ""
    size = max((path.stat().st_size for path in modules), default=0)
    return Outcome(name, max(shares, default=None), size / 1e6, usage.ru_maxrss / 1024, failure)


if __name__ == "__main__":
    main()
