"""A profile as one page that asks for nothing else: a roofline, and the graph beside its times."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path
from string import Template

from onnx_wasm.profile.ceilings import Ceilings
from onnx_wasm.profile.report import RATES, UNITS, Profile, cells
from onnx_wasm.profile.roofline import Point, roofline

_TEMPLATE = Path(__file__).with_name("page.html")
_EDGE, _LINE, _STEP = 8, 22, 7
_WIDEST = 220


def as_page(profile: Profile) -> str:
    """The page, as HTML."""
    unit, factor = UNITS[profile.measured.unit]
    ceilings = profile.measured.ceilings
    most = max(profile.measured.calls, default=0) or 1
    parts = [taken / most for taken in profile.measured.calls]
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        model=html.escape(profile.name),
        platform=html.escape(profile.platform),
        runtime=html.escape(profile.measured.runtime),
        total=f"{profile.total * factor:.3f} {unit}",
        machine=_told(ceilings) if ceilings else "",
        calls=len(profile.calls),
        unit=unit,
        heads="".join(f"<th>{it}</th>" for it in RATES[profile.measured.unit]),
        unscheduled=f"<p>{html.escape(profile.told_unscheduled)}</p>" if profile.unscheduled else "",
        roofline=roofline(_points(profile), ceilings) if ceilings else "",
        graph=_graph(profile, parts),
        rows="\n".join(_row(profile, index, factor, part) for index, part in enumerate(parts)),
    )


def _told(ceilings: Ceilings) -> str:
    flops, cache, memory = (it / 1e9 for it in (ceilings.flops, ceilings.cache, ceilings.memory))
    return (
        f"This machine multiplies and adds {flops:.1f} GFLOP/s in registers, "
        f"and reads {cache:.1f} GB/s from its nearest cache and {memory:.1f} GB/s from memory."
    )


def _points(profile: Profile) -> list[Point]:
    return [
        Point(call.kernel, call.flops / call.bytes, profile.rate(index), profile.share(index))
        for index, call in enumerate(profile.calls)
        if call.flops and call.bytes and profile.rate(index)
    ]


def _row(profile: Profile, index: int, factor: float, part: float) -> str:
    call = profile.calls[index]
    *numbers, rule, _ = cells(profile, index, factor)
    bar = f'<i style="width:{part * 100:.1f}%;background:{_colour(part)}"></i>'
    title = html.escape("\n".join(call.shapes))
    name = f'<td class="k" title="{title}">{html.escape(call.kernel)}</td>'
    columns = "".join(f"<td>{cell}</td>" for cell in numbers)
    return f'<tr>{name}<td class="b">{bar}</td>{columns}<td>{html.escape(rule)}</td></tr>'


def _graph(profile: Profile, parts: Sequence[float]) -> str:
    """One dot for each call, from top to bottom, and an arc from each to those that read what it wrote."""
    reach = max((index - it for index, call in enumerate(profile.calls) for it in call.follows), default=1)
    width = _EDGE + min(_STEP * math.isqrt(reach) * 2, _WIDEST) + _EDGE

    def y(index: int) -> float:
        return (index + 0.5) * _LINE

    arcs = []
    for index, call in enumerate(profile.calls):
        for source in call.follows:
            bend = width - _EDGE - min(_STEP * math.isqrt(index - source) * 2, width - 2 * _EDGE)
            if index - source == 1:
                bend = width - _EDGE
            path = f"M{width - _EDGE} {y(source)}C{bend} {y(source)} {bend} {y(index)} {width - _EDGE} {y(index)}"
            arcs.append(f'<path d="{path}"/>')
    dots = [
        f'<circle cx="{width - _EDGE}" cy="{y(index)}" r="5" fill="{_colour(part)}">'
        f"<title>{html.escape(call.kernel)}</title></circle>"
        for index, (call, part) in enumerate(zip(profile.calls, parts, strict=True))
    ]
    height = len(profile.calls) * _LINE
    return (
        f'<svg class="graph" width="{width}" height="{height}" role="img" aria-label="The graph of kernels">'
        f"{''.join(arcs)}{''.join(dots)}</svg>"
    )


def _colour(part: float) -> str:
    """From pale to red, by the share of the longest call."""
    return f"hsl({50 - 50 * part:.0f} {60 + 35 * part:.0f}% {72 - 27 * part:.0f}%)"
