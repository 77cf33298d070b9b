"""Find the compilers and fingerprint them.

A fingerprint says which build of a tool this is, wherever it is installed: it is made of the tool's version and
the hash of its program (of ``RECORD`` for a Python package), never of a path, so that two machines with the same
tools can share a cache. What takes a process or the reading of a large file to learn is remembered in a JSON file, by
the program's real path, size and time of change: once that is there, finding the toolchain starts no process.

These environment variables name a tool outright; nothing is then searched for it:

| variable | names |
|---|---|
| ``ONNX_WASM_RUSTC`` | a ``rustc`` that has the target ``wasm32-unknown-unknown`` |
| ``ONNX_WASM_CARGO`` | the ``cargo`` that goes with it |
| ``ONNX_WASM_CC`` | the C compiler with which cargo links build scripts for this machine |
| ``ONNX_WASM_LINKER`` | ``wasm-ld``, ``lld`` or ``rust-lld`` |
| ``ONNX_WASM_ARCHIVER`` | ``llvm-ar`` |
| ``ONNX_WASM_OPTIMIZER`` | binaryen's ``wasm-opt``; only releases need it |
| ``ONNX_WASM_CRATES`` | a folder of unpacked crates, as ``cargo vendor --versioned-dirs`` makes it |

Everything here is standard library: it runs before there is a ``.venv``, and in every build.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx_wasm import WRAPPER, remedies
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.file_facts import FileFacts
from onnx_wasm.remedies import RUST_TARGET

PACKAGES = {
    "tvm": ("apache-tvm", "apache-tvm-ffi"),
    "onnx": ("onnx", "protobuf", "ml-dtypes"),
    "numpy": ("numpy",),
    "safetensors": ("safetensors",),
    "scons": ("scons",),
    "wasmtime": ("wasmtime",),
}
"""The Python distributions that make up each tool; the first gives its version."""

CRATES_FOLDER = "crates"
"""Where in a virtual environment the wrapper's crates are, if the system has no packages of them."""

_DEBIAN_CRATES = Path("/usr/share/cargo/registry")
_LOCKED_CRATE = re.compile(r'^name = "(.+)"\nversion = "(.+)"\nsource = ', re.MULTILINE)
_LLVM_MAJORS = range(11, 40)
_SECONDS_TO_ANSWER = 60


_WRAPPER_LOCK = WRAPPER / "Cargo.lock"


@dataclass(frozen=True)
class Tool:
    """One tool of the toolchain.

    Args:
        name: Its field in ``Toolchain``.
        path: The program; of a Python package, the folder it is in; of ``crates``, the folder that holds them.
        version: For people.
        fingerprint: For build inputs: versions and hashes, on one line.
        arguments: What must follow the program's name to make it this tool (``-flavor wasm``).
    """

    name: str
    path: Path
    version: str
    fingerprint: str
    arguments: tuple[str, ...] = ()

    @property
    def command(self) -> tuple[str, ...]:
        """The words that start this tool."""
        return (str(self.path), *self.arguments)

    def roots(self) -> tuple[Path, ...]:
        """The files and folders that it consists of, so far as they are its own and not the system's."""
        if self.name == "python":
            return (Path(sys.prefix), Path(sys.base_prefix))
        if self.path.is_dir():
            return (self.path,)
        return tuple(map(_root, (self.path, self.path.resolve())))


def _root(program: Path) -> Path:
    """What goes with a program: its installation, if it is in the ``bin`` of one; for Rust's own, the sysroot."""
    if "rustlib" in program.parts:
        return Path(*program.parts[: program.parts.index("rustlib") - 1])
    return program.parents[1] if (program.parents[1] / "lib").is_dir() else program


@dataclass(frozen=True)
class Toolchain:
    """The exact tools in use.

    ``crates`` is None where cargo takes the wrapper's crates from its own registry, ``optimizer`` where there is none.
    """

    python: Tool
    tvm: Tool
    onnx: Tool
    numpy: Tool
    safetensors: Tool
    scons: Tool
    wasmtime: Tool
    rustc: Tool
    cargo: Tool
    cc: Tool
    linker: Tool
    archiver: Tool
    crates: Tool | None = None
    optimizer: Tool | None = None


@dataclass(frozen=True)
class Missing:
    """A tool that was not found.

    Args:
        reason: What was looked for.
        variable: The environment variable that names something wrong; empty if the search was free.
    """

    reason: str
    variable: str = ""


@dataclass(frozen=True)
class Survey:
    """What is there and what is not, by the fields of ``Toolchain``."""

    found: Mapping[str, Tool]
    missing: Mapping[str, Missing]

    def problems(self) -> tuple[Problem, ...]:
        """Everything that is missing, each with what brings it on this system."""
        return tuple(
            Problem(f"toolchain: {name}", missing.reason, hint(name, missing)) for name, missing in self.missing.items()
        )


def find(environ: Mapping[str, str] = os.environ, cache: Path | None = None) -> Toolchain:
    """Finds every tool that a build needs.

    Args:
        environ: The user's environment: ``PATH``, ``HOME``, rustup's variables and the ones of this module.
        cache: The JSON file that remembers what was learnt about the programs found; None to learn it anew.

    Returns:
        The toolchain, complete.

    Raises:
        BuildError: One problem for each tool that is missing, with the command that brings it.
    """
    result = survey(environ, cache)
    if result.missing:
        raise BuildError(result.problems())
    return Toolchain(**result.found)


def survey(environ: Mapping[str, str] = os.environ, cache: Path | None = None, prefix: Path | None = None) -> Survey:
    """Looks for every tool and tells what is there and what is not.

    Args:
        environ: As for ``find``.
        cache: As for ``find``.
        prefix: The virtual environment that holds Python packages, and perhaps crates; None for this process's.
    """
    python_path = sys.path if prefix is None else [str(path) for path in prefix.glob("lib/python3.*/site-packages")]
    facts = FileFacts(cache)
    search = _Search(environ, facts)
    rust = search.rust()
    known = rust if isinstance(rust, _Rust) else None
    results: dict[str, Tool | Missing | None] = {
        "python": _python(),
        **_python_packages(python_path, facts),
        "rustc": rust.rustc if isinstance(rust, _Rust) else rust,
        "cargo": search.cargo(known),
        "cc": search.cc(),
        "linker": search.linker(known),
        "archiver": search.archiver(known),
        "crates": search.crates(prefix or Path(sys.prefix)),
        "optimizer": search.optimizer(),
    }
    facts.save()
    return Survey(
        found={name: result for name, result in results.items() if isinstance(result, Tool)},
        missing={name: result for name, result in results.items() if isinstance(result, Missing)},
    )


def hint(name: str, missing: Missing) -> str:
    """What brings a missing tool on this system."""
    if missing.variable:
        return f"correct {missing.variable}, or unset it to have the tool searched for"
    if name in PACKAGES:
        return f"{sys.executable} -m pip install {' '.join(PACKAGES[name])}"
    return " && ".join(remedies.commands([name]))


def _python() -> Tool:
    version = ".".join(map(str, sys.version_info[:3]))
    return Tool("python", Path(sys.executable), version, f"{sys.implementation.name} {version}")


def _python_packages(python_path: Sequence[str], facts: FileFacts) -> dict[str, Tool | Missing]:
    records = _records(python_path)
    tools: dict[str, Tool | Missing] = {}
    for name, distributions in PACKAGES.items():
        absent = [distribution for distribution in distributions if distribution not in records]
        if absent:
            tools[name] = Missing(f"no Python package {', '.join(absent)}")
            continue
        parts = []
        for distribution in distributions:
            version, record = records[distribution]
            parts.append(f"{distribution} {version} {facts.recall('record', record.resolve(), _record_digest)}")
        version, record = records[distributions[0]]
        tools[name] = Tool(name, record.parent.parent, version, ", ".join(parts))
    return tools


def _records(python_path: Iterable[str]) -> dict[str, tuple[str, Path]]:
    """The version and RECORD of each installed distribution, without importlib.metadata: that is slow to import."""
    records: dict[str, tuple[str, Path]] = {}
    for folder in python_path:
        for entry in _names_in(Path(folder)):
            if entry.endswith(".dist-info"):
                name, _, version = entry.removesuffix(".dist-info").partition("-")
                record = Path(folder, entry, "RECORD")
                if record.exists():
                    records.setdefault(re.sub(r"[-_.]+", "-", name).lower(), (version, record))
    return records


def _record_digest(record: Path) -> str:
    """The hash of what RECORD says of the package's own files.

    Left out is what differs from place to place: byte code, which has no hash there, scripts outside the package,
    whose first line holds a path, and what the installer noted.
    """
    lines = record.read_text("utf-8").splitlines()
    own = sorted(line for line in lines if ",sha256=" in line and ".dist-info/" not in line and line[:3] != "../")
    return _digest("\n".join(own).encode())


@dataclass(frozen=True)
class _Rust:
    """A rustc that has the target, and what the search for its companions needs."""

    rustc: Tool
    sysroot: Path
    host: str
    llvm: int


@dataclass(frozen=True)
class _Search:
    """Where programs are looked for, and what is remembered of them."""

    environ: Mapping[str, str]
    facts: FileFacts

    def rust(self) -> _Rust | Missing:
        """The first rustc that has the target: of those on PATH, then of rustup's."""
        variable = "ONNX_WASM_RUSTC"
        named = self.environ.get(variable)
        for candidate in [Path(named)] if named else self._rustc_candidates():
            rust = self._rust_with_target(candidate)
            if rust:
                return rust
        if named:
            return Missing(f"{variable} names {named}, which is no rustc that has the target {RUST_TARGET}", variable)
        return Missing(f"no Rust compiler that has the target {RUST_TARGET}")

    def cargo(self, rust: _Rust | None) -> Tool | Missing:
        beside = [rust.rustc.path.with_name("cargo"), rust.sysroot / "bin" / "cargo"] if rust else []
        on_path = [program for program in self._on_path("cargo") if not _is_rustup(program)]
        return self._first("cargo", [*beside, *on_path], "no cargo")

    def cc(self) -> Tool | Missing:
        candidates = [program for name in ("cc", "gcc", "clang") for program in self._on_path(name)]
        return self._first("cc", candidates, "no C compiler (cc, gcc or clang)")

    def linker(self, rust: _Rust | None) -> Tool | Missing:
        candidates = self._of_llvm("rust-lld", "wasm-ld", rust)
        return self._first("linker", candidates, "no WebAssembly linker (rust-lld or wasm-ld)")

    def archiver(self, rust: _Rust | None) -> Tool | Missing:
        candidates = self._of_llvm("llvm-ar", "llvm-ar", rust)
        return self._first("archiver", candidates, "no archiver that reads WebAssembly objects (llvm-ar)")

    def optimizer(self) -> Tool | Missing | None:
        """Binaryen's; None if there is none, which only a release minds."""
        found = self._first("optimizer", self._on_path("wasm-opt"), "no wasm-opt")
        return found if isinstance(found, Tool) or found.variable else None

    def crates(self, prefix: Path) -> Tool | Missing | None:
        """The first folder that holds every crate in the wrapper's lock file; None leaves them to cargo's downloads."""
        variable = "ONNX_WASM_CRATES"
        named = self.environ.get(variable)
        locked = _locked_crates()
        for folder in [Path(named)] if named else [_DEBIAN_CRATES, prefix / CRATES_FOLDER]:
            manifests = [folder / crate / name for crate in locked for name in ("Cargo.toml", ".cargo-checksum.json")]
            if all(manifest.is_file() for manifest in manifests):
                digest = _digest(b"".join(manifest.read_bytes() for manifest in manifests))
                return Tool("crates", folder, f"{len(locked)} as locked", f"{' '.join(locked)} {digest}")
        return Missing(f"{variable} names {named}, which lacks crates of {_WRAPPER_LOCK}", variable) if named else None

    def _rustc_candidates(self) -> list[Path]:
        on_path = [program for program in self._on_path("rustc") if not _is_rustup(program)]
        home = Path(self.environ.get("RUSTUP_HOME") or Path(self.environ.get("HOME", "/")) / ".rustup")
        chosen = self.environ.get("RUSTUP_TOOLCHAIN") or _rustup_default(home)
        installed = sorted(
            _names_in(home / "toolchains"), key=lambda name: (name != chosen, name[:6] != "stable", name)
        )
        rustup = [home / "toolchains" / name / "bin" / "rustc" for name in installed]
        return [*on_path, *rustup]

    def _rust_with_target(self, program: Path) -> _Rust | None:
        if not _is_program(program):
            return None
        sysroot = program.resolve().parent.parent
        if not (sysroot / "lib" / "rustlib").is_dir():  # a script, or rustup's stand-in: only it knows
            sysroot = Path(self._run([str(program), "--print", "sysroot"]).strip() or "/nowhere")
            program = sysroot / "bin" / "rustc"
        libraries = sorted(
            name for name in _names_in(sysroot / "lib" / "rustlib" / RUST_TARGET / "lib") if name.endswith(".rlib")
        )
        if not any(name.startswith("libstd-") for name in libraries):
            return None
        text, fingerprint = self._identify(program, "-vV")
        host = re.search(r"^host: (\S+)", text, re.MULTILINE)
        llvm = re.search(r"^LLVM version: (\d+)", text, re.MULTILINE)
        if not host or not llvm:
            return None
        # The libraries' names carry a hash of what they were compiled from.
        digest = _digest("\n".join([text, fingerprint, *libraries]).encode())
        rustc = Tool("rustc", program, _version(text), f"rustc {_version(text)} {digest}")
        return _Rust(rustc, sysroot, host[1], int(llvm[1]))

    def _of_llvm(self, own: str, system: str, rust: _Rust | None) -> list[Path]:
        """A tool of LLVM: the one that came with the Rust compiler, then the system's by nearness to its LLVM.

        An older one comes before a newer: lld 19 and later refuse the libraries of Rust 1.63.
        """
        numbered = [(program, major) for major in _LLVM_MAJORS for program in self._on_path(f"{system}-{major}")]
        plain = [(program, self._llvm_major(program)) for program in self._on_path(system)]
        if not rust:
            return [program for program, _ in [*plain, *numbered]]
        ranked = sorted([*plain, *numbered], key=lambda item: (item[1] > rust.llvm, abs(item[1] - rust.llvm)))
        return [rust.sysroot / "lib" / "rustlib" / rust.host / "bin" / own, *(program for program, _ in ranked)]

    def _llvm_major(self, program: Path) -> int:
        return int((_version(self._identify(program, "--version")[0]) or "0").partition(".")[0])

    def _first(self, name: str, candidates: Iterable[Path], reason: str) -> Tool | Missing:
        """The first candidate that tells its version, or what the environment names instead of them."""
        variable = f"ONNX_WASM_{name.upper()}"
        named = self.environ.get(variable)
        for program in [Path(named)] if named else candidates:
            arguments = ("-flavor", "wasm") if re.match(r"(rust-)?lld\b", program.name) else ()
            text, fingerprint = self._identify(program, *arguments, "--version")
            if _version(text):
                return Tool(name, program, _version(text), f"{name} {_version(text)} {fingerprint}", arguments)
        return Missing(f"{variable} names {named}, which is not that program", variable) if named else Missing(reason)

    def _identify(self, program: Path, *arguments: str) -> tuple[str, str]:
        """What a program says of its version, and the hash of its bytes; both empty if there is no such program."""
        if not _is_program(program):
            return "", ""
        real = program.resolve()
        digest = self.facts.recall("program", real, lambda path: _digest(path.read_bytes()))
        say = f"{program.name} {' '.join(arguments)}"
        return self.facts.recall(say, real, lambda _: self._run([str(program), *arguments])), digest

    def _run(self, command: Sequence[str]) -> str:
        """The standard output of a program that succeeds; empty otherwise."""
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                env={**self.environ, "LC_ALL": "C"},
                check=False,
                timeout=_SECONDS_TO_ANSWER,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return "" if done.returncode else done.stdout.decode("utf-8", "replace")

    def _on_path(self, name: str) -> list[Path]:
        folders = self.environ.get("PATH", os.defpath).split(os.pathsep)
        programs = (Path(folder, name) for folder in dict.fromkeys(folders) if folder.startswith("/"))
        return [program for program in programs if _is_program(program)]


def _locked_crates() -> list[str]:
    """The wrapper's crates as its lock file has them, each as the name of its folder: ``png-0.17.7``."""
    return [f"{name}-{version}" for name, version in _LOCKED_CRATE.findall(_WRAPPER_LOCK.read_text("utf-8"))]


def _rustup_default(home: Path) -> str:
    try:
        settings = (home / "settings.toml").read_text("utf-8")
    except OSError:
        return ""
    default = re.search(r'^default_toolchain\s*=\s*"([^"]*)"', settings, re.MULTILINE)
    return default[1] if default else ""


def _is_rustup(program: Path) -> bool:
    """Whether this is rustup's stand-in for the program: a link to rustup, or the same file under another name."""
    rustup = program.with_name("rustup")
    return program.resolve().name == "rustup" or (rustup.exists() and rustup.samefile(program))


def _is_program(path: Path) -> bool:
    return os.access(path, os.X_OK) and path.is_file()


def _names_in(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:
        return []


def _version(text: str) -> str:
    """The first version number in a program's answer, with what is glued to it."""
    number = re.search(r"\d+\.\d+[^\s,)]*|(?<=version )\d+\b", text)
    return number[0] if number else ""


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()[:32]}"
