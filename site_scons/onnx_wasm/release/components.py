"""What a release consists of and what it was built with: crates, Python packages and programs, with their licences."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.release import sums

Kind = Literal["model", "module", "crate", "rust", "package", "program"]

_LICENSE_FILE = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|UNLICENSE|NOTICE)", re.IGNORECASE)
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_RUST_LICENSE = "MIT OR Apache-2.0"
_OF_RUST = "core, alloc and compiler_builtins"
_DEBIAN_TEXTS = "libstd-rust-dev-wasm32"


@dataclass(frozen=True)
class Component:
    """A part of a release, or something that it was built with.

    Args:
        kind: What it is. A model, a module, a crate and Rust's own libraries are in the release; a package of Python's
            and a program only served to build it.
        name: What its makers call it.
        version: Theirs.
        sha256: Of the file that it is: a crate's ``.crate``, a program; empty if there is no such file.
        archives: The SHA-256 of each file that it may have been installed from.
        license: As its makers say it, as an SPDX expression where they do; empty if nothing is known.
        texts: What must go with what is linked in, by file name.
    """

    kind: Kind
    name: str
    version: str
    sha256: str = ""
    archives: tuple[str, ...] = ()
    license: str = ""
    texts: Mapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)


def crates(lock: Path, folder: Path) -> list[Component]:
    """The crates that the wrapper's lock file names.

    Args:
        lock: ``Cargo.lock``.
        folder: The crates, unpacked: ``png-0.17.7`` and so on.

    Raises:
        BuildError: A crate does not say what its licence is, or lacks its text.
    """
    found, problems = [], []
    for entry in tomllib.loads(lock.read_text(encoding="utf-8"))["package"]:
        if "source" not in entry:
            continue  # the wrapper itself
        crate = folder / f"{entry['name']}-{entry['version']}"
        package = tomllib.loads((crate / "Cargo.toml").read_text(encoding="utf-8"))["package"]
        texts = _texts(crate.iterdir())
        if not package.get("license") or not texts:
            problems.append(Problem(str(crate), "the crate comes without its licence", "it cannot be released"))
        license_ = re.sub(r"\s*/\s*", " OR ", package.get("license", ""))
        found.append(
            Component("crate", entry["name"], entry["version"], entry["checksum"], license=license_, texts=texts)
        )
    if problems:
        raise BuildError(problems)
    return found


def rust_libraries(rustc: Path, version: str) -> Component:
    """What Rust itself puts into a module.

    Args:
        rustc: The compiler; its libraries' licences are told beside it.
        version: Its version.

    Raises:
        BuildError: The licences are not there.
    """
    docs = rustc.resolve().parent.parent / "share" / "doc"
    folders = [docs / _DEBIAN_TEXTS, docs / "rust", docs / "rustc"]
    texts = next((found for it in folders if it.is_dir() and (found := _texts(it.iterdir()))), None)
    if texts is None:
        hint = "install the compiler with its documentation's licences, as Debian's packages and rustup do"
        raise BuildError(Problem(str(docs), "there are no licences of Rust's own libraries", hint))
    return Component("rust", _OF_RUST, version, license=_RUST_LICENSE, texts=texts)


def packages(locks: Iterable[Path]) -> list[Component]:
    """The Python packages that lock files name, as far as they are installed.

    Args:
        locks: Files of requirements with hashes.
    """
    found: dict[str, Component] = {}
    for lock in locks:
        for block in re.split(r"\n(?=[A-Za-z0-9])", lock.read_text(encoding="utf-8")):
            requirement = _REQUIREMENT.match(block)
            if requirement is None:
                continue
            name, version = requirement.groups()
            try:
                metadata = importlib.metadata.metadata(name).json
            except importlib.metadata.PackageNotFoundError:
                continue  # for another system
            license_ = metadata.get("license_expression") or _first_line(str(metadata.get("license") or ""))
            archives = tuple(sorted(_HASH.findall(block)))
            found[name] = Component("package", name, version, archives=archives, license=str(license_))
    return [found[name] for name in sorted(found)]


def program(name: str, path: Path, version: str) -> Component:
    """A compiler or another program."""
    return Component("program", name, version, sums.digest(path.resolve()))


def _texts(paths: Iterable[Path]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(paths) if path.is_file() and _LICENSE_FILE.match(path.name)}


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
