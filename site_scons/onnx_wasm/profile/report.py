"""What a profile says: as a table, and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from onnx_wasm.columns import table
from onnx_wasm.profile.calls import Call
from onnx_wasm.profile.measure import Measured

_ROWS = 25
NOT_SCHEDULED = "not scheduled"
UNITS = {"seconds": ("ms", 1e3), "instructions": ("M instr", 1e-6)}
RATES = {"seconds": ("GFLOP/s", "of peak", "GB/s"), "instructions": ("flop/instr",)}


@dataclass(frozen=True)
class Profile:
    """A model's calls and what each of them took.

    Args:
        name: The model's.
        platform: The platform's name.
        calls: What it runs, in order.
        measured: What was measured of each.
    """

    name: str
    platform: str
    calls: tuple[Call, ...]
    measured: Measured

    @property
    def total(self) -> float:
        """What all calls took together, in ``measured.unit``."""
        return sum(self.measured.calls)

    def share(self, index: int) -> float:
        """The share of a call in the total."""
        return self.measured.calls[index] / self.total if self.total else 0.0

    def rate(self, index: int) -> float:
        """Operations a second of a call; a unit of ``instructions`` gives them per instruction."""
        taken = self.measured.calls[index]
        return self.calls[index].flops / taken if taken else 0.0

    @property
    def unscheduled(self) -> dict[str, tuple[str, ...]]:
        """The kernels that no rule of the compiler scheduled, or not as a whole: then with the parts that it left."""
        return {it.kernel: it.left for it in sorted(self.calls, key=lambda it: it.kernel) if not it.scheduled}

    @property
    def told_unscheduled(self) -> str:
        """Those, for people; empty if there are none."""
        kernels = (f"{it} ({', '.join(left)})" if left else it for it, left in self.unscheduled.items())
        return f"{NOT_SCHEDULED}: {', '.join(kernels)}" if self.unscheduled else ""


def as_json(profile: Profile) -> dict[str, Any]:
    """A profile for programs."""
    return {
        "model": profile.name,
        "platform": profile.platform,
        "runtime": profile.measured.runtime,
        "unit": profile.measured.unit,
        "ceilings": asdict(profile.measured.ceilings) if profile.measured.ceilings else None,
        "total": profile.total,
        "unscheduled": list(profile.unscheduled),
        "calls": [
            {
                "node": call.node,
                "kernel": call.kernel,
                "rule": call.rule,
                "left": call.left,
                "arguments": call.shapes,
                "flops": call.flops,
                "bytes": call.bytes,
                "taken": taken,
            }
            for call, taken in zip(profile.calls, profile.measured.calls, strict=True)
        ],
    }


def as_text(profile: Profile) -> str:
    """A profile for people: the calls that take most, those that take more first."""
    unit, factor = UNITS[profile.measured.unit]
    head = (unit, "share", *RATES[profile.measured.unit], "rule", "kernel")
    lines = [head, *(cells(profile, index, factor) for index in _by_time(profile)[:_ROWS])]
    more = len(profile.calls) - _ROWS
    rest = [f"… and {more} more"] if more > 0 else []
    its = profile.measured.ceilings
    peak = f"; peak {its.flops / 1e9:.1f} GFLOP/s" if its else ""
    summary = f"{profile.name} on {profile.platform}: {profile.total * factor:.3f} {unit} in all{peak}"
    naive = [profile.told_unscheduled] if profile.unscheduled else []
    told = f"{summary} ({profile.measured.runtime})"
    return table(lines, range(len(head) - 2)) + "\n".join([*rest, told, *naive]) + "\n"


def _by_time(profile: Profile) -> list[int]:
    return sorted(range(len(profile.calls)), key=lambda index: -profile.measured.calls[index])


def cells(profile: Profile, index: int, factor: float) -> tuple[str, ...]:
    """A call's row: what it took, its share, its rates, the rule that scheduled it, and its name."""
    call, taken = profile.calls[index], profile.measured.calls[index]
    its = profile.measured.ceilings
    if its:
        rates: tuple[str, ...] = (
            f"{profile.rate(index) / 1e9:.1f}" if call.flops else "",
            f"{profile.rate(index) / its.flops:.0%}" if call.flops else "",
            f"{call.bytes / taken / 1e9:.1f}",
        )
    else:
        rates = (f"{profile.rate(index):.2f}" if call.flops else "",)
    return (
        f"{taken * factor:.3f}",
        f"{profile.share(index):.1%}",
        *rates,
        call.rule if call.scheduled else NOT_SCHEDULED,
        call.kernel,
    )
