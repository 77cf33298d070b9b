"""Operations a second over operations a byte, under what the machine can do.

Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance Model for Multicore Architectures", 2009.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from onnx_wasm.profile.ceilings import Ceilings

_WIDTH, _HEIGHT = 720, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 12, 46
_NAMED = 0.1
"""Calls that take this share of the time have their names beside them."""


@dataclass(frozen=True)
class Point:
    """A call.

    Args:
        name: What it is called.
        intensity: Operations a byte.
        rate: Operations a second.
        share: Its share of the time.
    """

    name: str
    intensity: float
    rate: float
    share: float


@dataclass(frozen=True)
class _Axes:
    """Where things are; both axes are logarithmic and begin and end with a power of ten.

    Args:
        intensities: The exponents at the ends of the horizontal axis.
        rates: Those of the vertical axis.
    """

    intensities: tuple[int, int]
    rates: tuple[int, int]

    def x(self, intensity: float) -> float:
        low, high = self.intensities
        return _LEFT + (math.log10(intensity) - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, rate: float) -> float:
        low, high = self.rates
        return _HEIGHT - _BOTTOM - (math.log10(rate) - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)


def roofline(points: Sequence[Point], ceilings: Ceilings) -> str:
    """The picture, as SVG; empty if there is no point.

    Args:
        points: The calls.
        ceilings: What the machine can do.
    """
    if not points:
        return ""
    ridges = [ceilings.flops / ceilings.cache, ceilings.flops / ceilings.memory]
    axes = _Axes(
        _decades([*(it.intensity for it in points), *ridges]), _decades([*(it.rate for it in points), ceilings.flops])
    )
    drawn = "".join([*_grid(axes), *_roofs(axes, ceilings), *_dots(axes, points)])
    return f'<svg class="roofline" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Roofline">{drawn}</svg>'


def _decades(values: Iterable[float]) -> tuple[int, int]:
    logs = [math.log10(value) for value in values]
    low, high = math.floor(min(logs)), math.ceil(max(logs))
    return low, max(high, low + 1)


def _grid(axes: _Axes) -> list[str]:
    (left, right), (low, high) = axes.intensities, axes.rates
    drawn = []
    for power in range(left, right + 1):
        at = axes.x(10.0**power)
        drawn.append(_line((at, axes.y(10.0**low)), (at, axes.y(10.0**high))))
        drawn.append(_text(at, _HEIGHT - _BOTTOM + 16, f"{10.0**power:g}", "middle"))
    for power in range(low, high + 1):
        at = axes.y(10.0**power)
        drawn.append(_line((axes.x(10.0**left), at), (axes.x(10.0**right), at)))
        drawn.append(_text(_LEFT - 6, at + 4, f"{10.0 ** (power - 9):g}", "end"))
    drawn.append(_text((_LEFT + _WIDTH) / 2, _HEIGHT - 8, "operations a byte", "middle"))
    drawn.append(_text(14, _HEIGHT / 2, "GFLOP/s", "middle", f' transform="rotate(-90 14 {_HEIGHT / 2})"'))
    return drawn


def _roofs(axes: _Axes, ceilings: Ceilings) -> list[str]:
    right = 10.0 ** axes.intensities[1]
    drawn = []
    for name, bandwidth in (("cache", ceilings.cache), ("memory", ceilings.memory)):
        ridge = min(ceilings.flops / bandwidth, right)
        foot = max(10.0 ** axes.intensities[0], 10.0 ** axes.rates[0] / bandwidth)
        start, end = (axes.x(foot), axes.y(foot * bandwidth)), (axes.x(ridge), axes.y(ridge * bandwidth))
        drawn.append(_line(start, end, f"roof {name}"))
        middle, angle = _between(start, end)
        turned = f' transform="rotate({angle:.1f} {middle[0]:.1f} {middle[1]:.1f})"'
        drawn.append(_text(middle[0], middle[1] - 5, name, "middle", turned))
    top = axes.y(ceilings.flops)
    drawn.append(_line((axes.x(ceilings.flops / ceilings.cache), top), (axes.x(right), top), "roof"))
    drawn.append(_text(axes.x(right) - 4, top - 6, "registers", "end"))
    return drawn


def _between(start: tuple[float, float], end: tuple[float, float]) -> tuple[tuple[float, float], float]:
    """The middle of a line, and its slope in degrees."""
    across, down = end[0] - start[0], end[1] - start[1]
    return ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2), math.degrees(math.atan2(down, across))


def _dots(axes: _Axes, points: Sequence[Point]) -> list[str]:
    drawn = []
    for it in sorted(points, key=lambda it: -it.share):
        x, y, radius = axes.x(it.intensity), axes.y(it.rate), 3 + 22 * math.sqrt(it.share)
        name = html.escape(it.name)
        told = f"{name}: {it.rate / 1e9:.1f} GFLOP/s, {it.intensity:.1f} operations a byte, {it.share:.1%} of the time"
        drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{told}</title></circle>')
        if it.share >= _NAMED:
            drawn.append(_text(x, y + radius + 13, name, "middle"))
    return drawn


def _line(start: tuple[float, float], end: tuple[float, float], kind: str = "grid") -> str:
    return f'<line class="{kind}" x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{text}</text>'
