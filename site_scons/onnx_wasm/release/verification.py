"""Holds a release against what it says of itself, offline: sums, signature, SBOM and provenance."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from securesystemslib.signer import SSlibKey

from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.release import ARCHIVE_SUFFIX, archive, lock, provenance, sbom, signing, sums
from onnx_wasm.release.assembly import MANIFEST_FOLDER
from onnx_wasm.release.provenance import Build


@dataclass(frozen=True)
class Verdict:
    """What a release is worth.

    Args:
        problems: Everything that is wrong with it.
        build: How it says it was made; None if it does not say so in a way that can be read.
        signers: The ids of the keys that it says have signed it.
    """

    problems: tuple[Problem, ...]
    build: Build | None
    signers: tuple[str, ...]


def verify(folder: Path, key: SSlibKey | None) -> Verdict:
    """Checks a release that nobody vouches for.

    Args:
        folder: The release.
        key: The public key of whoever must have signed it; None to take it without a signature.

    Raises:
        BuildError: There is no such folder, or it is no release.
    """
    listed_in = folder / sums.NAME
    if not listed_in.is_file():
        raise BuildError(Problem(str(folder), f"is no release: there is no {sums.NAME} in it"))
    actual, written = sums.digests(folder), listed_in.read_bytes().decode(errors="replace")
    subjects, build, signers, problems = _statement(folder / provenance.NAME, key)
    listed = sums.parse(written)
    told = _told(actual, listed, subjects, signed=key is not None)
    problems += _files(folder, actual, listed, told, signed=key is not None)
    if not problems and written != sums.text(actual):
        problems.append(Problem(str(listed_in), "is not as sha256sum writes it"))
    if build is not None and not problems:
        problems = [*_sbom(folder / sbom.NAME, actual, build), *_materials(folder, actual, build)]
    if build is not None and not problems:
        problems = _archive(folder, build)
    return Verdict(tuple(dict.fromkeys(problems)), build, signers)


def _statement(
    path: Path, key: SSlibKey | None
) -> tuple[dict[str, str] | None, Build | None, tuple[str, ...], list[Problem]]:
    """The subjects, how they were made, who signed that, and what is wrong with it; no subjects if it was changed."""
    try:
        envelope = signing.open_envelope(path.read_bytes(), str(path))
        problems = signing.check(envelope, key, str(path)) if key else []
        subjects, build = provenance.parse(envelope.payload, str(path))
    except FileNotFoundError:
        return None, None, (), [Problem(str(path), "is missing")]
    except BuildError as error:
        return None, None, (), list(error.problems)
    return None if problems else subjects, build, tuple(envelope.signatures), problems


def _told(
    actual: dict[str, str], listed: dict[str, str], subjects: dict[str, str] | None, signed: bool
) -> dict[str, str]:
    """The hash that each file must have, by the provenance; by the list, if the provenance itself was changed."""
    if subjects is None:
        return listed
    fits = all(actual.get(name) == subjects[name] for name in subjects)
    changed = actual[provenance.NAME] != listed.get(provenance.NAME)
    if changed and not fits and not signed:
        return listed
    return {**subjects, provenance.NAME: actual[provenance.NAME]}


def _files(
    folder: Path, actual: dict[str, str], listed: dict[str, str], told: dict[str, str], signed: bool
) -> list[Problem]:
    """What is wrong with single files.

    A file, its line in the list and what is told of it are three witnesses: the one that stands alone is wrong.
    """
    problems: list[Problem] = []
    wrong_lines: list[str] = []
    for name in sorted({*actual, *listed, *told}):
        where, is_, line, must = str(folder / name), actual.get(name), listed.get(name), told.get(name)
        if is_ == line == must:
            continue
        if is_ == must:
            wrong_lines.append(name)
        elif is_ is None:
            problems.append(Problem(where, "is missing"))
        elif must is None:
            problems.append(Problem(where, "does not belong to the release", "remove it"))
        elif is_ == line:
            problems.append(
                Problem(where, "is not the file that the provenance tells of", f"that has the sha256 {must}")
            )
        else:
            problems.append(Problem(where, "was changed", f"its sha256 is {is_}, and must be {must}"))
    if wrong_lines == [provenance.NAME] and not signed:
        message = f"does not fit its line in {sums.NAME}: one of the two was changed"
        return [*problems, Problem(str(folder / provenance.NAME), message, "a key would tell which: --key")]
    if wrong_lines:
        message = f"was changed: it does not tell the truth of {', '.join(wrong_lines)}"
        problems.append(Problem(str(folder / sums.NAME), message))
    return problems


def _sbom(path: Path, actual: dict[str, str], build: Build) -> list[Problem]:
    """Holds the SBOM against CycloneDX's schema, its modules against the files, and its model against the materials."""
    if not path.is_file():
        return [Problem(str(path), "is missing")]
    written = path.read_bytes().decode(errors="replace")
    problems = sbom.problems(written, str(path))
    if problems:
        return problems
    described: dict[str, Any] = json.loads(written)
    materials = set(build.files.values())
    for component in described.get("components", ()):
        digests = {it["content"] for it in component.get("hashes", ())}
        if component["type"] == "file" and digests != {actual.get(component["name"])}:
            problems.append(Problem(str(path), f"tells another hash of {component['name']}"))
        if component["type"] == "machine-learning-model" and not digests <= materials:
            problems.append(Problem(str(path), f"tells another hash of {component['name']} than the provenance"))
    return problems


def _materials(folder: Path, actual: dict[str, str], build: Build) -> list[Problem]:
    """Holds what is in the release and among its materials too against these."""
    known = set(build.files.values())
    also = [name for name in actual if re.fullmatch(rf"{MANIFEST_FOLDER}/[^/]+\.toml", name)]
    return [
        Problem(str(folder / provenance.NAME), f"{name} is not among what the release was made from")
        for name in (*also, lock.NAME)
        if actual.get(name) not in known
    ]


def _archive(folder: Path, build: Build) -> list[Problem]:
    """Holds the archive beside the folder, if there is one, against the folder."""
    path = folder.with_name(folder.name + ARCHIVE_SUFFIX)
    if not path.is_file():
        return []
    made = io.BytesIO()
    archive.pack(folder, folder.name, build.epoch, made)
    same = made.getvalue() == path.read_bytes()
    return [] if same else [Problem(str(path), "is not this folder as a release packs it")]
