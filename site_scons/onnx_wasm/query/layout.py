"""Where the boxes of a picture stand: in columns, from what nothing is needed for to what needs everything.

The method is Sugiyama's (https://doi.org/10.1109/TSMC.1981.4308636), without its last refinements: each box stands in
the column after its furthest input, the boxes of a column are sorted by where their neighbours stand, and each is then
moved towards them as far as there is room.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from onnx_wasm.query.graph import ALIAS, COMMAND, SOURCE, Node

OUTDATED = "#f7c9bf"
_COLOURS = {**dict.fromkeys((ALIAS, COMMAND), "#d9e4f5"), SOURCE: "#ffffff"}
_BUILT = "#d3ead0"
_GIVEN = "#eeeeee"
_MOST_LINES = 6
_LONGEST_LINE = 44
_SWEEPS = 8

LINE = 15
"""The height of a line of text, in pixels."""
PADDING = 7
_LETTER = 7.3
_COLUMN_GAP = 70
_BOX_GAP = 14


@dataclass(frozen=True)
class Box:
    """What is drawn as one: the files of a step, or files and tools that are needed by the same steps.

    Args:
        key: The label of its first node.
        title: What it is.
        lines: Its labels, shortened.
        colour: Of its area, as CSS has it.
    """

    key: str
    title: str
    lines: tuple[str, ...]
    colour: str

    @property
    def width(self) -> float:
        """In pixels."""
        return max(map(len, (self.title, *self.lines))) * _LETTER + 2 * PADDING

    @property
    def height(self) -> float:
        """In pixels."""
        return (len(self.lines) + 1) * LINE + 2 * PADDING


@dataclass(frozen=True)
class Placed:
    """A box and its upper left corner, in pixels."""

    box: Box
    x: float
    y: float


@dataclass(frozen=True)
class Layout:
    """Boxes, and the edges between them: from the key of an input to that of what needs it."""

    placed: Mapping[str, Placed]
    edges: Sequence[tuple[str, str]]


def colour(node: Node) -> str:
    """The colour of a node: what is out of date stands out."""
    if node.outdated:
        return OUTDATED
    return _COLOURS.get(node.kind, _BUILT if node.step else _GIVEN)


def arrange(nodes: Sequence[Node]) -> Layout:
    """Makes boxes of nodes and places them."""
    groups = _groups(nodes)
    boxes = {key: _box(key, members) for key, members in groups.items()}
    home = {node.label: key for key, members in groups.items() for node in members}
    pairs = ((home[it], home[node.label]) for node in nodes for it in node.inputs if it in home)
    edges = list(dict.fromkeys(pair for pair in pairs if pair[0] != pair[1]))
    return Layout(_place(boxes, edges), edges)


def _groups(nodes: Sequence[Node]) -> dict[str, list[Node]]:
    """The nodes of each box, by the label of the first."""
    users = defaultdict(set)
    for node in nodes:
        for each in node.inputs:
            users[each].add(node.step or node.label)
    groups: dict[object, list[Node]] = defaultdict(list)
    shown = {node.label for node in nodes}
    for node in sorted(nodes, key=lambda node: node.label != node.step):
        given = not node.step and shown.isdisjoint(node.inputs) and users[node.label]
        groups[(node.kind, frozenset(users[node.label])) if given else node.step or node.label].append(node)
    return {members[0].label: members for members in groups.values()}


def _box(key: str, members: Sequence[Node]) -> Box:
    first = members[0]
    title = first.kind.removesuffix(" file") if first.step else first.kind
    if len(members) > 1 and not first.step:
        title = f"{len(members)} {title}s"
    lines = [_shortened(node) for node in members]
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], f"… and {len(lines) - _MOST_LINES + 1} more"]
    return Box(key, title, tuple(lines), OUTDATED if any(node.outdated for node in members) else colour(first))


def _shortened(node: Node) -> str:
    """A label that is not too long: of a path the end tells more, of a tool the beginning."""
    label = node.label
    if len(label) <= _LONGEST_LINE:
        return label
    return f"{label[:12]}…{label[13 - _LONGEST_LINE :]}" if node.kind.endswith("file") else f"{label[:_LONGEST_LINE]}…"


def _place(boxes: Mapping[str, Box], edges: Iterable[tuple[str, str]]) -> dict[str, Placed]:
    inputs, users = defaultdict(list), defaultdict(list)
    for source, target in edges:
        inputs[target].append(source)
        users[source].append(target)
    columns = _columns(boxes, inputs, users)
    middle = dict.fromkeys(boxes, 0.0)
    for sweep in range(_SWEEPS):
        near, order = (inputs, columns) if sweep % 2 else (users, columns[::-1])
        for column in order:
            wanted = {
                key: statistics.mean([middle[it] for it in near[key]]) if near[key] else middle[key] for key in column
            }
            column.sort(key=lambda key, wanted=wanted: wanted[key])  # type: ignore[misc]
            middle.update(_spread([boxes[key] for key in column], [wanted[key] for key in column]))
    placed, x = {}, 0.0
    for column in columns:
        for key in column:
            placed[key] = Placed(boxes[key], x, middle[key] - boxes[key].height / 2)
        x += max(boxes[key].width for key in column) + _COLUMN_GAP
    return placed


def _columns(boxes: Iterable[str], inputs: Mapping[str, list[str]], users: Mapping[str, list[str]]) -> list[list[str]]:
    """The boxes by columns; one without inputs stands just before the first that needs it."""
    rank: dict[str, int] = {}
    waiting = list(boxes)
    while waiting:
        key = waiting[-1]
        missing = [it for it in inputs[key] if it not in rank]
        if missing:
            waiting += missing
        else:
            rank[key] = max((rank[it] + 1 for it in inputs[key]), default=0)
            waiting.pop()
    for key in rank:
        if not inputs[key] and users[key]:
            rank[key] = min(rank[it] for it in users[key]) - 1
    columns = defaultdict(list)
    for key in sorted(rank):
        columns[rank[key]].append(key)
    return [columns[number] for number in sorted(columns)]


def _spread(column: Sequence[Box], wanted: Sequence[float]) -> dict[str, float]:
    """The middles of a column's boxes, each as near as may be to where it is wanted, in this order and apart.

    Boxes that would overlap are joined to a block, which stands where its boxes want to be on average.
    """
    blocks: list[tuple[float, float, list[Box]]] = []  # the sum of where the block's top is wanted, height, boxes
    for box, middle in zip(column, wanted, strict=True):
        top, height, members = middle - box.height / 2, box.height + _BOX_GAP, [box]
        blocks.append((top, height, members))
        while len(blocks) > 1 and _top(blocks[-2]) + blocks[-2][1] > _top(blocks[-1]):
            later, earlier = blocks.pop(), blocks.pop()
            moved = later[0] - earlier[1] * len(later[2])
            blocks.append((earlier[0] + moved, earlier[1] + later[1], [*earlier[2], *later[2]]))
    found = {}
    for block in blocks:
        top = _top(block)
        for box in block[2]:
            found[box.key] = top + box.height / 2
            top += box.height + _BOX_GAP
    return found


def _top(block: tuple[float, float, list[Box]]) -> float:
    return block[0] / len(block[2])
