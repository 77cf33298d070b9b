"""A release as a folder: collected from what a build made, described, signed and summed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx_wasm.release import components, provenance, sbom, signing, sums
from onnx_wasm.release.components import Component
from onnx_wasm.release.provenance import Build, UsedTool

MANIFEST_FOLDER = "manifest"
RESULTS = "results.json"
LICENSES = "licenses"


@dataclass(frozen=True)
class Built:
    """What a build made for one platform.

    Args:
        platform: Its name.
        files: The module, its interface and what else goes with it, by their paths in the platform's folder.
        test: The report of the manifest's tests; None if there are none, or no host here runs the module.
        verify: The report of the verification; None if no host here runs the module.
    """

    platform: str
    files: Mapping[str, Path]
    test: Path | None
    verify: Path | None


@dataclass(frozen=True)
class Tool:
    """A tool that the build used; ``program`` is None if it is no program."""

    name: str
    version: str
    fingerprint: str
    program: Path | None


@dataclass(frozen=True)
class Release:
    """What is released.

    Args:
        name: The model's.
        version: The release's.
        license: The model's, an SPDX expression.
        commit: The source's.
        epoch: The time that all of it carries, in seconds since 1970.
        onnx_wasm: The version of this package.
        manifest: The model's manifest.
        vectors: The files that its tests read, by their paths from the manifest.
        model: The ONNX file, then those that its weights are in.
        built: What was made, platform by platform.
        materials: What else it is made from, by the names that provenance has for them.
        lock: ``toolchain.lock``.
        requirements: The lock files of Python packages.
        cargo_lock: The wrapper's lock file.
        crates: The folder of its crates.
        license_text: The licence of the wrapper's own code.
        tools: All that the build used.
    """

    name: str
    version: str
    license: str
    commit: str
    epoch: int
    onnx_wasm: str
    manifest: Path
    vectors: Mapping[str, Path]
    model: Sequence[Path]
    built: Sequence[Built]
    materials: Mapping[str, Path]
    lock: Path
    requirements: Sequence[Path]
    cargo_lock: Path
    crates: Path
    license_text: Path
    tools: Sequence[Tool]


def assemble(release: Release, folder: Path, key: Path | None) -> None:
    """Fills an empty folder with a release.

    Args:
        release: What it consists of.
        folder: Where.
        key: The private key that signs it; None for a release without a signature.

    Raises:
        BuildError: The key cannot be used, or something that is linked in comes without its licence.
    """
    signed_by = signing.signer(key) if key else None
    for built in release.built:
        _copy(built.files, folder / built.platform)
    _copy({release.manifest.name: release.manifest, **release.vectors}, folder / MANIFEST_FOLDER)
    _copy({release.lock.name: release.lock}, folder)
    (folder / RESULTS).write_text(_results(release.built), encoding="utf-8")
    linked = [
        _wrapper(release),
        *components.crates(release.cargo_lock, release.crates),
        components.rust_libraries(*_rustc(release.tools)),
    ]
    _write_licenses(linked, folder / LICENSES)
    described = [*_model(release), *_modules(release, folder), *linked, *_built_with(release)]
    document = sbom.text(release.name, release.version, release.license, described, release.epoch)
    (folder / sbom.NAME).write_text(document, encoding="utf-8")
    statement = provenance.statement(sums.digests(folder), build(release))
    (folder / provenance.NAME).write_bytes(signing.seal(statement, signed_by))
    (folder / sums.NAME).write_text(sums.text(sums.digests(folder)), encoding="utf-8")
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def build(release: Release) -> Build:
    """How a release was made, as its provenance tells it."""
    files = {path.as_posix(): path for path in (*release.model, release.manifest, *release.requirements)}
    files |= {release.lock.name: release.lock, **release.materials}
    return Build(
        target=f"{release.name}.release",
        epoch=release.epoch,
        onnx_wasm=release.onnx_wasm,
        commit=release.commit,
        files={name: sums.digest(path) for name, path in files.items()},
        tools=tuple(
            UsedTool(it.name, it.version, it.fingerprint, sums.digest(it.program.resolve()) if it.program else "")
            for it in release.tools
        ),
    )


def _copy(files: Mapping[str, Path], folder: Path) -> None:
    for name, file in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / name)


def _results(built: Sequence[Built]) -> str:
    """What came of tests and verification. How close an output came is left out: machines differ in the last digits."""
    results: dict[str, Any] = {}
    for its in built:
        results[its.platform] = {"tests": None, "verification": None}
        if its.test:
            results[its.platform]["tests"] = json.loads(its.test.read_text(encoding="utf-8"))["tests"]
        if its.verify:
            report = json.loads(its.verify.read_text(encoding="utf-8"))
            outputs = [{key: it[key] for key in ("sample", "output", "tolerance")} for it in report["outputs"]]
            results[its.platform]["verification"] = {"reference": report["reference"], "outputs": outputs}
    return json.dumps(results, indent=1) + "\n"


def _wrapper(release: Release) -> Component:
    text = {"LICENSE": release.license_text.read_bytes()}
    return Component("crate", "onnx-wasm-wrapper", release.onnx_wasm, license="Apache-2.0", texts=text)


def _rustc(tools: Iterable[Tool]) -> tuple[Path, str]:
    return next((tool.program, tool.version) for tool in tools if tool.name == "rustc" and tool.program)


def _write_licenses(linked: Iterable[Component], folder: Path) -> None:
    for component in linked:
        place = folder / f"{component.name}-{component.version}".replace(" ", "-").replace(",", "")
        place.mkdir(parents=True)
        for name, text in component.texts.items():
            (place / name).write_bytes(text)


def _model(release: Release) -> list[Component]:
    return [
        Component("model", path.name, release.version, sums.digest(path), license=release.license)
        for path in release.model
    ]


def _modules(release: Release, folder: Path) -> list[Component]:
    places = [(built.platform, name) for built in release.built for name in built.files if name.endswith(".wasm")]
    return [
        Component("module", f"{platform}/{name}", release.version, sums.digest(folder / platform / name))
        for platform, name in places
    ]


def _built_with(release: Release) -> list[Component]:
    programs = [components.program(it.name, it.program, it.version) for it in release.tools if it.program]
    return [*components.packages(release.requirements), *programs]
