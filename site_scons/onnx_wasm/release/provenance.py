"""Where a release comes from: an in-toto statement with SLSA's provenance as its predicate.

Formats: https://in-toto.io/Statement/v1 and https://slsa.dev/spec/v1.0/provenance. What would differ from build to
build, such as times and names of machines, is left out: whoever rebuilds a release gets the same statement.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnx_wasm.errors import BuildError, Problem

NAME = "provenance.intoto.json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://slsa.dev/provenance/v1"


@dataclass(frozen=True)
class Material:
    """Something that a release is made from.

    Args:
        name: A file's path from the top of the checkout; or ``source``, or a tool's name.
        algorithm: How the digest was made: ``sha256`` of a file, ``gitCommit`` of the source; ``fingerprint`` of a
            tool, as ``toolchain.lock`` has it.
        digest: In hexadecimal, or a tool's fingerprint.
    """

    name: str
    algorithm: str
    digest: str


@dataclass(frozen=True)
class Build:
    """How a release was made.

    Args:
        target: What was asked of SCons: ``mnist.release``.
        epoch: ``SOURCE_DATE_EPOCH``.
        version: Of onnx-wasm.
        materials: What it was made from; the first is the commit.
    """

    target: str
    epoch: int
    version: str
    materials: tuple[Material, ...]

    @property
    def commit(self) -> str:
        """The commit of the sources."""
        return next(it.digest for it in self.materials if it.algorithm == "gitCommit")

    def files(self) -> dict[str, str]:
        """The SHA-256 of each file that it was made from, by its path from the top of the checkout."""
        return {it.name: it.digest for it in self.materials if it.algorithm == "sha256"}


def statement(subjects: Mapping[str, str], build: Build) -> bytes:
    """Makes the statement.

    Args:
        subjects: The SHA-256 of each file of the release, by its path there.
        build: How they were made.
    """
    identity = f"pkg:generic/onnx-wasm@{build.version}"
    described = {
        "_type": _STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(subjects.items())],
        "predicateType": _PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": f"{identity}#docs/releases.md",
                "externalParameters": {"target": build.target},
                "internalParameters": {"SOURCE_DATE_EPOCH": build.epoch},
                "resolvedDependencies": [
                    {"name": it.name, "digest": {it.algorithm: it.digest}} for it in build.materials
                ],
            },
            "runDetails": {"builder": {"id": identity, "version": {"onnx-wasm": build.version}}},
        },
    }
    return (json.dumps(described, indent=1) + "\n").encode()


def parse(payload: bytes, where: str) -> tuple[dict[str, str], Build]:
    """Reads a statement that nobody vouches for.

    Args:
        payload: Its bytes.
        where: The file, as messages call it.

    Returns:
        The subjects' hashes by their names, and how they were made.

    Raises:
        BuildError: It is not, byte for byte, what ``statement`` writes.
    """
    try:
        described: Any = json.loads(payload)
        predicate = described["predicate"]
        definition = predicate["buildDefinition"]
        materials: Sequence[Any] = definition["resolvedDependencies"]
        build = Build(
            _text(definition["externalParameters"]["target"]),
            int(definition["internalParameters"]["SOURCE_DATE_EPOCH"]),
            _text(predicate["runDetails"]["builder"]["version"]["onnx-wasm"]),
            tuple(Material(_text(it["name"]), *map(_text, _only(it["digest"]))) for it in materials),
        )
        subjects = {_text(it["name"]): _text(it["digest"]["sha256"]) for it in described["subject"]}
        same = statement(subjects, build) == payload and bool(build.commit)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, StopIteration) as error:
        raise BuildError(Problem(where, "holds no statement of a release's provenance")) from error
    if not same:
        raise BuildError(Problem(where, "holds a statement that is not as a release has it"))
    return subjects, build


def _only(digest: Mapping[str, Any]) -> tuple[str, Any]:
    ((algorithm, value),) = digest.items()
    return algorithm, value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
