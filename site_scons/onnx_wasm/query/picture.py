"""A graph as a picture: SVG, without scripts or anything from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from onnx_wasm.query.graph import Node
from onnx_wasm.query.layout import LINE, OUTDATED, PADDING, Layout, Placed, arrange

_MARGIN = 24
_STYLE = (
    "text{font:12px ui-monospace,monospace;fill:#222}.title{font-weight:bold}"
    "rect{stroke:#777}path{fill:none;stroke:#999;stroke-opacity:.6}"
)


def svg(nodes: Sequence[Node]) -> str:
    """Draws nodes and what they are made from, from left to right; what is out of date is red.

    Args:
        nodes: Those to draw.
    """
    layout = arrange(nodes)
    placed = layout.placed.values()
    left, top = min((it.x for it in placed), default=0), min((it.y for it in placed), default=0)
    right = max((it.x + it.box.width for it in placed), default=0)
    bottom = max((it.y + it.box.height for it in placed), default=0)
    view = (left - _MARGIN, top - 2 * _MARGIN, right - left + 2 * _MARGIN, bottom - top + 3 * _MARGIN)
    size = " ".join(f"{number:.0f}" for number in view)
    count = sum(node.outdated for node in nodes)
    legend = f"{count} of {len(nodes)} out of date" if count else f"{len(nodes)}, all up to date"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" width="{view[2]:.0f}" height="{view[3]:.0f}">',
            f"<style>{_STYLE}</style>",
            f'<rect x="{view[0]:.0f}" y="{view[1]:.0f}" width="100%" height="100%" style="fill:#fff;stroke:none"/>',
            f'<rect x="{left:.0f}" y="{top - 30:.0f}" width="12" height="12" fill="{OUTDATED}"/>',
            f'<text x="{left + 20:.0f}" y="{top - 20:.0f}">{escape(legend)}</text>',
            *_edges(layout),
            *(line for it in placed for line in _box(it)),
            "</svg>\n",
        ]
    )


def _edges(layout: Layout) -> list[str]:
    lines = []
    for source, target in layout.edges:
        start, end = layout.placed[source], layout.placed[target]
        x, y = start.x + start.box.width, start.y + start.box.height / 2
        right, to = end.x, end.y + end.box.height / 2
        bend = max((right - x) / 2, 30)
        lines.append(
            f'<path d="M{x:.0f} {y:.0f}C{x + bend:.0f} {y:.0f} {right - bend:.0f} {to:.0f} {right:.0f} {to:.0f}"/>'
        )
    return lines


def _box(its: Placed) -> list[str]:
    box, x = its.box, its.x + PADDING
    size = f'width="{box.width:.0f}" height="{box.height:.0f}" rx="4" fill="{box.colour}"'
    lines = [f'<rect x="{its.x:.0f}" y="{its.y:.0f}" {size}/>']
    for number, text in enumerate((box.title, *box.lines)):
        y = its.y + PADDING + LINE * number + 11
        kind = ' class="title"' if number == 0 else ""
        lines.append(f'<text x="{x:.0f}" y="{y:.0f}"{kind}>{escape(text)}</text>')
    return lines
