"""The figures of a module against those of an earlier one.

Times differ from run to run. One counts as slower, or faster, only beyond their spread: if the middle halves of the
old and the new times - from the quarter to the three quarters mark - have nothing in common. Bytes are exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from onnx_wasm.bench.figures import RUN, Bench, Distribution
from onnx_wasm.errors import BuildError, Problem

_T = TypeVar("_T")
SAME = "within the spread of runs"


@dataclass(frozen=True)
class Change:
    """One figure, old and new.

    Args:
        figure: Its name.
        unit: ``seconds``, of which these are the medians, or ``bytes``.
        old: What it was.
        new: What it is.
        verdict: ``slower``, ``faster`` or that it is within the spread; ``larger``, ``smaller`` or empty.
    """

    figure: str
    unit: str
    old: float
    new: float
    verdict: str

    @property
    def ratio(self) -> float:
        """New over old."""
        return self.new / self.old


def compare(old: Bench, new: Bench) -> list[Change]:
    """Holds every figure that both have against the earlier one."""
    times = [
        Change(name, "seconds", before.median, after.median, _by_spread(before, after))
        for name, before, after in _both(old.seconds, new.seconds)
    ]
    sizes = [
        Change(name, "bytes", before, after, "larger" if after > before else "smaller" if after < before else "")
        for name, before, after in _both(old.bytes, new.bytes)
    ]
    return [*times, *sizes]


def check_platform(old: Bench, platform: str, where: str, hint: str) -> None:
    """Refuses the figures of another platform.

    Args:
        old: The earlier figures.
        platform: The platform that the new ones will be of.
        where: The file of the old, as messages call it.
        hint: What to do.

    Raises:
        BuildError: They are of another platform.
    """
    if old.platform != platform:
        raise BuildError(Problem(where, f"was measured on {old.platform}, not on {platform}", hint))


def differences(old: Bench, new: Bench) -> list[str]:
    """What else is another than it was, for people to judge."""
    kinds = (("model", old.model, new.model), ("runtime", old.runtime, new.runtime))
    told = [f"{kind}: {before} before, {after} now" for kind, before, after in kinds if before != after]
    before, after = (", ".join(it.features) or "none" for it in (old, new))
    told += [f"features: {before} before, {after} now"] if before != after else []
    return [*told, *(["the module is the same, byte for byte"] if old.sha256 == new.sha256 else [])]


def excess(changes: list[Change], limit: float) -> str:
    """Why the new figures are not good enough; empty if they are.

    Args:
        changes: What ``compare`` found.
        limit: By how many per cent runs may be slower.
    """
    run = next((it for it in changes if it.figure == RUN), None)
    if run is None or run.verdict != "slower" or (run.ratio - 1) * 100 <= limit:
        return ""
    return f"a run is slower by {(run.ratio - 1) * 100:.1f} %, beyond the spread of runs; the limit is {limit:g} %"


def _by_spread(old: Distribution, new: Distribution) -> str:
    if new.p25 > old.p75:
        return "slower"
    return "faster" if new.p75 < old.p25 else SAME


def _both(old: Mapping[str, _T], new: Mapping[str, _T]) -> list[tuple[str, _T, _T]]:
    return [(name, old[name], new[name]) for name in new if name in old]
