"""The figures of a module: how many runs took how long, and bytes. Their file, as ``<model>.bench`` writes it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from onnx_wasm.errors import BuildError, Problem

KIND = "onnx-wasm bench 1"
"""What a file says of itself: its form is the first."""

RUN = "run"
"""The figure that a limit is for: runs after the first."""


@dataclass(frozen=True)
class Distribution:
    """How long something took, time after time; all but ``count`` in seconds.

    Args:
        count: How often it was measured.
        min: The least.
        p25: What a quarter of them did not exceed; ``p75`` and so on alike.
        median: What half of them did not exceed.
        p75: The middle half of all times lies between ``p25`` and this.
        p90: What all but a tenth did not exceed.
        p99: What all but a hundredth did not exceed.
        max: The most.
    """

    count: int
    min: float
    p25: float
    median: float
    p75: float
    p90: float
    p99: float
    max: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Distribution:
        """The distribution of at least one measurement; each share is a value that was measured (nearest rank)."""
        ordered = sorted(seconds)

        def share(per_cent: int) -> float:
            return ordered[max(math.ceil(len(ordered) * per_cent / 100), 1) - 1]

        return cls(len(ordered), ordered[0], share(25), share(50), share(75), share(90), share(99), ordered[-1])


@dataclass(frozen=True)
class Bench:
    """What was measured of a module, and all that says whether another can be held against it.

    Args:
        model: Its name.
        platform: The platform's name.
        features: Of WebAssembly, that the module is built for.
        sha256: The module's.
        runtime: What it ran in, with its version.
        seconds: The distribution of each time: ``compile``, ``instantiate``, ``first run``, ``run``.
        bytes: ``memory`` after a run; ``module`` and ``gzip``; the file of the ``weights``, if there is one.
    """

    model: str
    platform: str
    features: tuple[str, ...]
    sha256: str
    runtime: str
    seconds: Mapping[str, Distribution]
    bytes: Mapping[str, int]


def to_json(bench: Bench) -> str:
    """The file's text."""
    return json.dumps({"kind": KIND, **asdict(bench)}, indent=1) + "\n"


def parse(text: str, where: str, hint: str) -> Bench:
    """Reads a file that nobody vouches for.

    Args:
        text: Its content.
        where: The file, as messages call it.
        hint: What to do if it is not what ``to_json`` writes.

    Raises:
        BuildError: It is not.
    """
    try:
        described = json.loads(text)
        if described["kind"] != KIND:
            raise ValueError
        return Bench(
            model=_text(described["model"]),
            platform=_text(described["platform"]),
            features=tuple(_text(it) for it in described["features"]),
            sha256=_text(described["sha256"]),
            runtime=_text(described["runtime"]),
            seconds={_text(name): _distribution(it) for name, it in described["seconds"].items()},
            bytes={_text(name): _count(it) for name, it in described["bytes"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise BuildError(Problem(where, "does not hold what a bench measured", hint)) from error


def _distribution(described: Mapping[str, Any]) -> Distribution:
    seconds = (_seconds(described[it.name]) for it in fields(Distribution) if it.name != "count")
    return Distribution(_count(described["count"]), *seconds)


def _seconds(value: object) -> float:
    seconds = float(str(value))
    if not 0 < seconds < math.inf:
        raise ValueError(value)
    return seconds


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 1:
        raise ValueError(value)
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
