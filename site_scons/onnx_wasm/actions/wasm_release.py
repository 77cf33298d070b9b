"""The action of the rule WasmRelease: what a build made, as the folder and the archive that are handed out."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from onnx_wasm.actions.common import main, whole_folder, written_whole
from onnx_wasm.release import archive
from onnx_wasm.release.assembly import Built, Release, Tool, assemble
from onnx_wasm.release.signing import KEY_VARIABLE

_REPORTS = ("test", "verify")


def run(arguments: argparse.Namespace) -> None:
    """Assembles the release, packs it, and says whether it is signed."""
    release = _release(arguments.release, arguments.tools)
    key = os.environ.get(KEY_VARIABLE)
    with written_whole(arguments.archive) as (packed,), whole_folder(arguments.folder) as folder:
        assemble(release, folder, Path(key) if key else None)
        with packed.open("wb") as file:
            archive.pack(folder, arguments.folder.name, release.epoch, file)
    signed = f"signed with {key}" if key else f"NOT SIGNED: {KEY_VARIABLE} names no key"
    sys.stdout.write(f"{arguments.folder}: {release.name} {release.version}, {signed}\n")


def _release(described: dict[str, Any], tools: list[list[str]]) -> Release:
    built = [
        Built(
            it["platform"],
            {name: Path(file) for name, file in it["files"].items()},
            *(Path(it[key]) if it[key] else None for key in _REPORTS),
        )
        for it in described["built"]
    ]
    files = {key: Path(described[key]) for key in ("manifest", "lock", "cargo_lock", "crates", "license_text")}
    lists = {key: tuple(map(Path, described[key])) for key in ("model", "requirements")}
    named = {key: {name: Path(path) for name, path in described[key].items()} for key in ("vectors", "materials")}
    used = [Tool(name, version, mark, Path(path) if path else None) for name, version, mark, path in tools]
    return Release(**{**described, **files, **lists, **named, "built": built, "tools": used})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("onnx_wasm.actions.wasm_release", description=__doc__)
    parser.add_argument("--release", type=json.loads, required=True, help="JSON: what is released")
    parser.add_argument(
        "--tools", type=json.loads, required=True, help="JSON: name, version, fingerprint, path of each"
    )
    parser.add_argument("--folder", type=Path, required=True, help="the folder to write")
    parser.add_argument("--archive", type=Path, required=True, help="the archive to write")
    return parser


if __name__ == "__main__":
    main(_parser(), run)
