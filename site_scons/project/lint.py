"""``./sconsw lint``: every linter and formatter of the project, all of them even if the first complains.

rustfmt and clippy run where a Rust toolchain of this machine has them; where none does, a line says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from onnx_wasm import toolchain
from onnx_wasm.actions import rust_wrapper
from onnx_wasm.errors import BuildError
from project import wrapper_tests

_WRAPPER = Path("wrapper")


def main() -> None:
    """Runs the linters on the current folder and ends the process: 0, or 1 if one of them complains."""
    python = [sys.executable, "-P", "-m"]
    linters: dict[str, Callable[[], bool | None]] = {
        "ruff check": lambda: _succeeds([*python, "ruff", "check", "--quiet"]),
        "ruff format": lambda: _succeeds([*python, "ruff", "format", "--check", "--quiet"]),
        "mypy": lambda: _succeeds([*python, "mypy", "--no-error-summary", "-p", "onnx_wasm", "-p", "project"]),
        "rustfmt": _rustfmt,
        "clippy": _clippy,
    }
    verdicts = {True: "ok", False: "FAILED", None: "skipped: no Rust toolchain here has it"}
    results = {}
    for name, check in linters.items():
        results[name] = check()
        sys.stdout.write(f"{name:12} {verdicts[results[name]]}\n")
        sys.stdout.flush()
    sys.exit(1 if False in results.values() else 0)


def _rustfmt() -> bool | None:
    programs = (folder / "rustfmt" for folder in _rust_folders())
    rustfmt = next((program for program in programs if program.exists()), None)
    if rustfmt is None:
        return None
    sources = sorted(str(path) for folder in ("src", "tests") for path in (_WRAPPER / folder).rglob("*.rs"))
    return _succeeds([str(rustfmt), "--check", "--edition", "2021", *sources])


def _clippy() -> bool | None:
    """Runs clippy on the wrapper with the features of both executors, as it is built for this machine's tests."""
    folder = next((folder for folder in _rust_folders() if (folder / "cargo-clippy").exists()), None)
    if folder is None:
        return None
    found = toolchain.survey().found
    crates = found["crates"].path if "crates" in found else rust_wrapper.DEBIAN_CRATES
    with tempfile.TemporaryDirectory(prefix="onnx-wasm-clippy-") as work:
        cargo = rust_wrapper.prepare(folder / "cargo", folder / "rustc", _WRAPPER, Path(work, "cargo"), crates)
        try:
            for features in wrapper_tests.FEATURES:
                cargo.run(["clippy", "--all-targets", f"--features={features}", "--", "-D", "warnings"], label="clippy")
        except BuildError as error:
            sys.stdout.write(f"{error}\n")
            return False
    return True


def _rust_folders() -> Iterator[Path]:
    """The folders of the programs of each Rust toolchain: those on PATH, behind rustup's stand-ins too."""
    for folder in dict.fromkeys([*os.get_exec_path(), "/usr/bin"]):
        rustc = Path(folder, "rustc")
        if rustc.exists():
            done = subprocess.run([rustc, "--print", "sysroot"], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                yield Path(done.stdout.strip(), "bin")


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, check=False).returncode == 0


if __name__ == "__main__":
    main()
