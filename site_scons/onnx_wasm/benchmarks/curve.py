"""A curve of figures as a picture: SVG, one line for each series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 20, 40, 50
_COLOURS = ("#1f6fb4", "#c8503c", "#3c8c50")
_STYLE = "text{font:12px sans-serif;fill:#222}line{stroke:#ccc}polyline{fill:none;stroke-width:2}"


def svg(title: str, across: str, up: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Draws a curve.

    Args:
        title: What it shows.
        across: What the horizontal axis counts.
        up: The unit of the vertical axis.
        series: The points of each line, by its name.
    """
    points = [point for line in series.values() for point in line]
    most_x, most_y = max(x for x, _ in points), max(y for _, y in points)

    def place(x: float, y: float) -> tuple[float, float]:
        wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return _LEFT + wide * x / most_x, _TOP + high * (1 - y / most_y)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}">',
        f'<style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>',
        _text(_LEFT, 20, title),
        _text(_WIDTH - _RIGHT, _HEIGHT - 10, across, "end"),
    ]
    for fraction in (0, 0.25, 0.5, 0.75, 1):
        y = place(0, fraction * most_y)[1]
        parts += [f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>']
        parts += [_text(_LEFT - 8, y + 4, f"{fraction * most_y:.3g} {up}", "end")]
    for x in sorted({x for x, _ in points}):
        parts += [_text(place(x, 0)[0], _HEIGHT - _BOTTOM + 18, f"{x:,.0f}", "middle")]
    for number, (name, line) in enumerate(series.items()):
        colour, places = _COLOURS[number % len(_COLOURS)], [place(x, y) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts += [f'<polyline points="{path}" stroke="{colour}"/>']
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in places]
        parts += [_text(places[-1][0] - 10, places[-1][1] - 8, name, "end")]
    return "\n".join([*parts, "</svg>\n"])


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
