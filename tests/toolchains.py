"""Toolchains made of shell scripts, for tests of what finds them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOST = "x86_64-unknown-linux-gnu"
TARGET = "wasm32-unknown-unknown"


def program(path: Path, answer: str, *, log: Path | None = None) -> Path:
    """Writes a program that prints an answer, whatever it is asked, and notes in a log that it ran."""
    path.parent.mkdir(parents=True, exist_ok=True)
    note = f"echo {path.name} >> {log}\n" if log else ""
    path.write_text(f"#!/bin/sh\n{note}printf '%s\\n' '{answer}'\n")
    path.chmod(0o755)
    return path


def rust(root: Path, version: str = "1.63.0", llvm: int = 14, *, target: bool = True, log: Path | None = None) -> Path:
    """A Rust toolchain below a folder, with the WebAssembly target or without; gives its ``bin``."""
    program(
        root / "bin" / "rustc", f"rustc {version}\nhost: {HOST}\nrelease: {version}\nLLVM version: {llvm}.0.6", log=log
    )
    program(root / "bin" / "cargo", f"cargo {version}", log=log)
    for triple in [HOST, *([TARGET] if target else [])]:
        libraries = root / "lib" / "rustlib" / triple / "lib"
        libraries.mkdir(parents=True)
        (libraries / "libstd-0123456789abcdef.rlib").touch()
    return root / "bin"


def tools(folder: Path, llvm: int = 14, log: Path | None = None) -> Path:
    """The programs around Rust: C compiler, linker, archiver."""
    program(folder / "cc", "cc (Debian 12.2.0-14) 12.2.0", log=log)
    program(folder / f"wasm-ld-{llvm}", f"LLD {llvm}.0.6", log=log)
    program(folder / f"llvm-ar-{llvm}", f"LLVM (http://llvm.org/):\n  LLVM version {llvm}.0.6", log=log)
    return folder


def crates(folder: Path) -> Path:
    """A folder of the wrapper's crates, empty but for what a folder of crates must hold."""
    lock = (ROOT / "wrapper" / "Cargo.lock").read_text()
    for name, version in re.findall(r'name = "(.+)"\nversion = "(.+)"\nsource', lock):
        crate = folder / f"{name}-{version}"
        crate.mkdir(parents=True)
        (crate / "Cargo.toml").write_text(f'[package]\nname = "{name}"\nversion = "{version}"\n')
        (crate / ".cargo-checksum.json").write_text(json.dumps({"package": None, "files": {}}))
    return folder


def distribution(site_packages: Path, name: str, version: str, record: str) -> Path:
    """An installed Python package: as much of it as is looked at."""
    info = site_packages / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "RECORD").write_text(record)
    return info / "RECORD"


def wheel(folder: Path, name: str, version: str) -> str:
    """A wheel of one module that holds its version; gives the line that a lock file has for it."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    hashes = {file: hashlib.sha256(text.encode()).digest() for file, text in files.items()}
    rows = [f"{file},sha256={base64.urlsafe_b64encode(hashes[file]).decode().rstrip('=')}," for file in files]
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**files, f"{info}/RECORD": "\n".join([*rows, f"{info}/RECORD,,"])}.items():
            archive.writestr(zipfile.ZipInfo(file), text)  # of a fixed time: made twice, it is the same
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"
