"""What a profile says: as a table, as JSON, and as one page with the graph, its times and a roofline."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from onnx_wasm.columns import table
from onnx_wasm.profile.calls import Call
from onnx_wasm.profile.measure import Measured

_TEMPLATE = Path(__file__).with_name("page.html")
_ROWS = 25
_NOT_SCHEDULED = "not scheduled"
_UNITS = {"seconds": ("ms", 1e3), "instructions": ("M instr", 1e-6)}
_RATES = {"seconds": ("GFLOP/s", "of peak", "GB/s"), "instructions": ("flop/instr",)}


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
        return f"{_NOT_SCHEDULED}: {', '.join(kernels)}" if self.unscheduled else ""


def as_json(profile: Profile) -> dict[str, Any]:
    """A profile for programs."""
    return {
        "model": profile.name,
        "platform": profile.platform,
        "runtime": profile.measured.runtime,
        "unit": profile.measured.unit,
        "peak_flops": profile.measured.peak,
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
    unit, factor = _UNITS[profile.measured.unit]
    timed = profile.measured.unit == "seconds"
    head = (unit, "share", *_RATES[profile.measured.unit], "rule", "kernel")
    lines = [head, *(_cells(profile, index, factor) for index in _by_time(profile)[:_ROWS])]
    more = len(profile.calls) - _ROWS
    rest = [f"… and {more} more"] if more > 0 else []
    peak = f"; peak {profile.measured.peak / 1e9:.1f} GFLOP/s" if timed else ""
    summary = f"{profile.name} on {profile.platform}: {profile.total * factor:.3f} {unit} in all{peak}"
    naive = [profile.told_unscheduled] if profile.unscheduled else []
    told = f"{summary} ({profile.measured.runtime})"
    return table(lines, range(len(head) - 2)) + "\n".join([*rest, told, *naive]) + "\n"


def _by_time(profile: Profile) -> list[int]:
    return sorted(range(len(profile.calls)), key=lambda index: -profile.measured.calls[index])


def _cells(profile: Profile, index: int, factor: float) -> tuple[str, ...]:
    call, taken = profile.calls[index], profile.measured.calls[index]
    if profile.measured.unit == "seconds":
        rates: tuple[str, ...] = (
            f"{profile.rate(index) / 1e9:.1f}" if call.flops else "",
            f"{profile.rate(index) / profile.measured.peak:.0%}" if call.flops else "",
            f"{call.bytes / taken / 1e9:.1f}",
        )
    else:
        rates = (f"{profile.rate(index):.2f}" if call.flops else "",)
    return (
        f"{taken * factor:.3f}",
        f"{profile.share(index):.1%}",
        *rates,
        call.rule if call.scheduled else _NOT_SCHEDULED,
        call.kernel,
    )


_LANES, _LINE, _STEP = 8, 22, 7
_WIDTH, _HEIGHT = 640, 300
_MARGIN = 46


def as_page(profile: Profile) -> str:
    """A profile as one HTML page that asks for nothing else."""
    unit, factor = _UNITS[profile.measured.unit]
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        model=html.escape(profile.name),
        platform=html.escape(profile.platform),
        runtime=html.escape(profile.measured.runtime),
        total=f"{profile.total * factor:.3f} {unit}",
        peak=f"{profile.measured.peak / 1e9:.1f} GFLOP/s" if profile.measured.peak else "not measured",
        calls=len(profile.calls),
        unit=unit,
        heads="".join(f"<th>{it}</th>" for it in _RATES[profile.measured.unit]),
        unscheduled=html.escape(profile.told_unscheduled),
        roofline=_roofline(profile) if profile.measured.peak else "",
        graph=_graph(profile),
        rows="\n".join(_row(profile, index, factor) for index in range(len(profile.calls))),
    )


def _row(profile: Profile, index: int, factor: float) -> str:
    call = profile.calls[index]
    share = profile.share(index)
    cells = _cells(profile, index, factor)
    numbers = "".join(f"<td>{cell}</td>" for cell in cells[:-2])
    most = max(profile.share(it) for it in range(len(profile.calls)))
    bar = f'<i style="width:{share / most * 100:.1f}%;background:{_colour(share / most)}"></i>' if most else ""
    title = html.escape("\n".join(call.shapes))
    name = f'<td class="k" title="{title}">{html.escape(call.kernel)}</td>'
    return f'<tr>{name}<td class="b">{bar}</td>{numbers}<td>{html.escape(cells[-2])}</td></tr>'


def _graph(profile: Profile) -> str:
    """One dot for each call, from top to bottom, and an arc from each to those that read what it wrote."""
    most = max(profile.measured.calls, default=0) or 1
    reach = max((index - it for index, call in enumerate(profile.calls) for it in call.follows), default=1)
    width = _LANES + min(_STEP * math.isqrt(reach) * 2, 220) + _LANES

    def y(index: int) -> float:
        return (index + 0.5) * _LINE

    arcs = []
    for index, call in enumerate(profile.calls):
        for source in call.follows:
            bend = width - _LANES - min(_STEP * math.isqrt(index - source) * 2, width - 2 * _LANES)
            if index - source == 1:
                bend = width - _LANES
            path = f"M{width - _LANES} {y(source)}C{bend} {y(source)} {bend} {y(index)} {width - _LANES} {y(index)}"
            arcs.append(f'<path d="{path}"/>')
    dots = [
        f'<circle cx="{width - _LANES}" cy="{y(index)}" r="5" fill="{_colour(taken / most)}">'
        f"<title>{html.escape(call.kernel)}</title></circle>"
        for index, (call, taken) in enumerate(zip(profile.calls, profile.measured.calls, strict=True))
    ]
    height = len(profile.calls) * _LINE
    return (
        f'<svg class="graph" width="{width}" height="{height}" role="img" aria-label="The graph of kernels">'
        f"{''.join(arcs)}{''.join(dots)}</svg>"
    )


def _roofline(profile: Profile) -> str:
    """Operations a second over operations a byte (Williams, Waterman and Patterson, "Roofline", 2009)."""
    points = [
        (call.flops / call.bytes, profile.rate(index) / 1e9, profile.share(index), call.kernel)
        for index, call in enumerate(profile.calls)
        if call.flops and call.bytes
    ]
    if not points:
        return ""
    peak = profile.measured.peak / 1e9
    lowest, highest = _decades(point[0] for point in points)
    slowest, fastest = _decades([*(point[1] for point in points), peak])

    def x(value: float) -> float:
        return _MARGIN + (math.log10(value) - lowest) / (highest - lowest) * (_WIDTH - _MARGIN - 10)

    def y(value: float) -> float:
        return _HEIGHT - _MARGIN - (math.log10(value) - slowest) / (fastest - slowest) * (_HEIGHT - _MARGIN - 10)

    lines = []
    for power in range(lowest, highest + 1):
        lines.append(_line(x(10.0**power), y(10.0**slowest), x(10.0**power), y(10.0**fastest)))
        lines.append(_label(x(10.0**power), _HEIGHT - _MARGIN + 16, _power(power), "middle"))
    for power in range(slowest, fastest + 1):
        lines.append(_line(x(10.0**lowest), y(10.0**power), x(10.0**highest), y(10.0**power)))
        lines.append(_label(_MARGIN - 6, y(10.0**power) + 4, _power(power), "end"))
    roof = _line(x(10.0**lowest), y(peak), x(10.0**highest), y(peak), "roof")
    dots = "".join(
        f'<circle cx="{x(intensity):.1f}" cy="{y(rate):.1f}" r="{3 + 22 * math.sqrt(share):.1f}">'
        f"<title>{html.escape(kernel)}: {rate:.1f} GFLOP/s, {intensity:.1f} flop/byte, {share:.1%}</title></circle>"
        for intensity, rate, share, kernel in sorted(points, key=lambda point: -point[2])
    )
    captions = _label(_WIDTH / 2, _HEIGHT - 8, "operations a byte", "middle") + _label(_MARGIN, y(peak) - 6, "peak")
    return (
        f'<svg class="roofline" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Roofline">'
        f"{''.join(lines)}{roof}{dots}{captions}</svg>"
    )


def _decades(values: Iterable[float]) -> tuple[int, int]:
    logs = [math.log10(value) for value in values if value > 0]
    low, high = math.floor(min(logs)), math.ceil(max(logs))
    return low, max(high, low + 1)


def _power(power: int) -> str:
    return f"{10.0**power:g}"


def _line(x1: float, y1: float, x2: float, y2: float, kind: str = "grid") -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _label(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _colour(part: float) -> str:
    """From pale to red, by the share of the longest call."""
    return f"hsl({50 - 50 * part:.0f} {60 + 35 * part:.0f}% {72 - 27 * part:.0f}%)"
