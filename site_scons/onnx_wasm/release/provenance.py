"""Where a release comes from: an in-toto statement with SLSA's provenance as its predicate.

Formats: https://in-toto.io/Statement/v1 and https://slsa.dev/spec/v1.0/provenance. What would differ from build to
build, such as times and names of machines, is left out: whoever rebuilds a release gets the same statement.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from onnx_wasm.errors import BuildError, Problem

NAME = "provenance.intoto.json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://slsa.dev/provenance/v1"


@dataclass(frozen=True)
class UsedTool:
    """A tool that a release was built with.

    Args:
        name: As ``toolchain.lock`` has it.
        version: For people.
        fingerprint: As ``toolchain.lock`` has it.
        sha256: Of the program, in hexadecimal; empty if it is none.
    """

    name: str
    version: str
    fingerprint: str
    sha256: str


@dataclass(frozen=True)
class Build:
    """How a release was made.

    Args:
        target: What was asked of SCons: ``mnist.release``.
        epoch: ``SOURCE_DATE_EPOCH``.
        onnx_wasm: The version of this package.
        commit: The source's.
        files: The SHA-256 of each file that it was made from, by its path from the top of the checkout.
        tools: What it was built with.
    """

    target: str
    epoch: int
    onnx_wasm: str
    commit: str
    files: Mapping[str, str]
    tools: tuple[UsedTool, ...]


def statement(subjects: Mapping[str, str], build: Build) -> bytes:
    """Makes the statement.

    Args:
        subjects: The SHA-256 of each file of the release, by its path there.
        build: How they were made.
    """
    identity = f"pkg:generic/onnx-wasm@{build.onnx_wasm}"
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
                    {"name": "source", "digest": {"gitCommit": build.commit}},
                    *({"name": name, "digest": {"sha256": digest}} for name, digest in sorted(build.files.items())),
                    *map(_described, build.tools),
                ],
            },
            "runDetails": {"builder": {"id": identity, "version": {"onnx-wasm": build.onnx_wasm}}},
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
        source, *others = definition["resolvedDependencies"]
        build = Build(
            target=_text(definition["externalParameters"]["target"]),
            epoch=int(definition["internalParameters"]["SOURCE_DATE_EPOCH"]),
            onnx_wasm=_text(predicate["runDetails"]["builder"]["version"]["onnx-wasm"]),
            commit=_text(source["digest"]["gitCommit"]),
            files={_text(it["name"]): _text(it["digest"]["sha256"]) for it in others if "annotations" not in it},
            tools=tuple(map(_used_tool, (it for it in others if "annotations" in it))),
        )
        subjects = {_text(it["name"]): _text(it["digest"]["sha256"]) for it in described["subject"]}
        same = statement(subjects, build) == payload
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BuildError(Problem(where, "holds no statement of a release's provenance")) from error
    if not same:
        raise BuildError(Problem(where, "holds a statement that is not as a release has it"))
    return subjects, build


def _described(tool: UsedTool) -> dict[str, Any]:
    digest = {"digest": {"sha256": tool.sha256}} if tool.sha256 else {}
    uri = f"pkg:generic/{tool.name}@{quote(tool.version)}"
    annotations = {"version": tool.version, "fingerprint": tool.fingerprint}
    return {"name": tool.name, "uri": uri, **digest, "annotations": annotations}


def _used_tool(it: Mapping[str, Any]) -> UsedTool:
    sha256 = it.get("digest", {}).get("sha256", "")
    notes = it["annotations"]
    return UsedTool(_text(it["name"]), _text(notes["version"]), _text(notes["fingerprint"]), _text(sha256))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
