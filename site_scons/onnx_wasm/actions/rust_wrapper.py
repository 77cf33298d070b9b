"""The action of the rule RustWrapper: the crate ``wrapper/`` to the static library that models are linked with.

The library's bytes depend on the crate, the features, the platform and the compiler, and on nothing else of the
machine: cargo runs in a copy of the crate with an environment of its own, and a wrapper around rustc takes the
machine's paths out of what it writes (``--remap-path-prefix`` in ``RUSTFLAGS`` would put them into cargo's hashes
instead).
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx_wasm.actions.common import main, written_whole
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.platforms import PLATFORMS, Platform

DEBIAN_CRATES = Path("/usr/share/cargo/registry")
_LIBRARY = "libwrapper.a"
_PACKAGE = re.compile(
    r'name = "(?P<name>[^"]+)"\nversion = "(?P<version>[^"]+)"\nsource = .*\nchecksum = "(?P<checksum>\w+)"'
)


@dataclass(frozen=True)
class Cargo:
    """Cargo at work on a copy of the crate, apart from the user's configuration.

    Args:
        cargo: The program.
        rustc: The compiler it starts.
        work: An absolute path; everything that cargo writes is below.
        crates: A folder of unpacked crates to take dependencies from; None for crates.io.
    """

    cargo: Path
    rustc: Path
    work: Path
    crates: Path | None

    def run(self, words: Sequence[str], rust_flags: Sequence[str] = (), label: str = "wrapper") -> str:
        """Runs a cargo command on the crate.

        Args:
            words: The command and its options.
            rust_flags: Options for every call of rustc for the target.
            label: What messages call this step.

        Returns:
            What cargo, and the programs it started, printed on their standard output.

        Raises:
            BuildError: Cargo fails; the message is its own.
        """
        offline = [] if self.crates is None else ["--offline", *_source_replacement(self.crates)]
        manifest = ["--manifest-path", str(self.work / "crate" / "Cargo.toml")]
        command, *options = words
        # Cargo reads configuration from the current folder upwards.
        result = subprocess.run(
            [str(self.cargo), command, "--quiet", "--locked", *offline, *manifest, *options],
            cwd="/",
            env=self._environment(rust_flags),
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            message = f"{self.cargo} {command} failed:\n{(result.stderr + result.stdout).strip()}"
            raise BuildError(
                Problem(label, message, f"the compiler is {self.rustc}; ./sconsw doctor tells what is missing")
            )
        return result.stdout

    def _environment(self, rust_flags: Sequence[str]) -> dict[str, str]:
        return {
            "PATH": f"{self.rustc.parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.work / "home"),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "CARGO_HOME": str(self.work / "home"),
            "CARGO_TARGET_DIR": str(self.work / "target"),
            "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(rust_flags),
            "RUSTC": str(self.rustc),
            "RUSTC_WRAPPER": str(self.work / "rustc-without-paths"),
        }


def prepare(cargo: Path, rustc: Path, source: Path, work: Path, crates: Path = DEBIAN_CRATES) -> Cargo:
    """Copies the crate and sets up cargo around it, afresh.

    Args:
        cargo: The program.
        rustc: The compiler; it has the target.
        source: The crate's folder.
        work: A folder to work in; what is in it is removed.
        crates: A folder of unpacked crates. Used if it holds every crate of the lock file in its version.

    Returns:
        Cargo, ready to run.
    """
    work = work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    crate = work / "crate"
    crate.mkdir(parents=True)
    (work / "home").mkdir()
    shutil.copy(source / "Cargo.toml", crate)
    for folder in ("src", "tests"):
        if (source / folder).is_dir():
            shutil.copytree(source / folder, crate / folder)
    lock = (source / "Cargo.lock").read_text(encoding="utf-8")
    local_lock = _lock_for(lock, crates)
    (crate / "Cargo.lock").write_text(local_lock or lock, encoding="utf-8")
    from_folder = crates if local_lock else None
    downloads = from_folder or work / "home" / "registry" / "src"
    wrapper = work / "rustc-without-paths"
    remap = [f"--remap-path-prefix={downloads}=crates", f"--remap-path-prefix={work}=."]
    wrapper.write_text(f'#!/bin/sh\nexec "$@" {shlex.join(remap)}\n', encoding="utf-8")
    wrapper.chmod(0o755)
    return Cargo(cargo, rustc, work, from_folder)


def _lock_for(lock: str, crates: Path) -> str | None:
    """The lock file as cargo expects it over a folder of crates: with the checksums that the folder declares.

    Debian's packages declare none for some crates; apt has checked them instead.

    Returns:
        The lock file, or None if a crate is missing in the folder.
    """
    for package in _PACKAGE.finditer(lock):
        declared = crates / f"{package['name']}-{package['version']}" / ".cargo-checksum.json"
        if not declared.is_file():
            return None
        checksum = json.loads(declared.read_text(encoding="utf-8"))["package"]
        lock = lock.replace(f'checksum = "{package["checksum"]}"', f'checksum = "{checksum}"')
    return lock


def _source_replacement(crates: Path) -> list[str]:
    return [
        *("--config", 'source.crates-io.replace-with="folder"'),
        *("--config", f"source.folder.directory={json.dumps(str(crates))}"),
    ]


def run(arguments: argparse.Namespace) -> None:
    """Compiles the wrapper."""
    platform = PLATFORMS[arguments.platform]
    cargo = prepare(arguments.cargo, arguments.rustc, arguments.source, arguments.work, arguments.crates)
    features = ",".join([platform.name, *sorted(arguments.feature)])
    # Only as the one type of crate does the library get link-time optimisation.
    build = ["rustc", "--release", "--lib", "--crate-type=staticlib", f"--target={platform.rust_target}"]
    cargo.run([*build, f"--features={features}"], _code_generation(platform))
    with written_whole(arguments.library) as (library,):
        shutil.copyfile(cargo.work / "target" / platform.rust_target / "release" / _LIBRARY, library)
    shutil.rmtree(cargo.work)


def _code_generation(platform: Platform) -> list[str]:
    features = ",".join(f"+{feature}" for feature in platform.features)
    return [
        f"-Ctarget-cpu={platform.cpu}",
        *([f"-Ctarget-feature={features}"] if features else []),
        # LLVM's own thresholds make the module 5 % larger, and decoding takes only a tenth fewer instructions.
        *("-Cllvm-args=-inline-threshold=50", "-Cllvm-args=-unroll-threshold=50", "-Cllvm-args=-unroll-runtime=false"),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("onnx_wasm.actions.rust_wrapper", description=__doc__)
    parser.add_argument("--platform", choices=PLATFORMS, required=True)
    parser.add_argument("--feature", action="append", default=[], help="a feature of the crate: image, pixels, graph")
    parser.add_argument("--rustc", type=Path, required=True)
    parser.add_argument("--cargo", type=Path, required=True)
    parser.add_argument("--crates", type=Path, default=DEBIAN_CRATES, help="a folder of unpacked crates")
    parser.add_argument("--source", type=Path, required=True, help="the crate")
    parser.add_argument("--work", type=Path, required=True, help="a folder for cargo; it is emptied")
    parser.add_argument("--library", type=Path, required=True, help="the library to write")
    return parser


if __name__ == "__main__":
    main(_parser(), run)
