"""A workspace's graph: what is built from what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

ALIAS = "alias"
COMMAND = "command"
SOURCE = "source file"


@dataclass(frozen=True)
class Node:
    """A file, an alias, or a tool.

    Args:
        label: What it is called: a file's path from the top, an alias's name, a tool's fingerprint.
        kind: What it is: ``source file``, ``alias``, ``command`` (an alias that runs whenever it is asked for),
            ``tool``, ``sources of an action``, or, for a file that is built, its rule: ``TvmIr file``.
        inputs: The labels of what it is made from.
        step: The first file of those that its action makes at once; empty for what no action makes.
        outdated: Whether the next build that needs it makes it, or something that it is made from, again.
    """

    label: str
    kind: str
    inputs: tuple[str, ...] = ()
    step: str = ""
    outdated: bool = False


@dataclass(frozen=True)
class Graph:
    """Nodes by their labels."""

    nodes: Mapping[str, Node]

    def deps(self, start: Iterable[str], depth: int | None = None) -> set[str]:
        """What some nodes are made from, and those nodes.

        Args:
            start: Their labels.
            depth: How many edges to go at most.
        """
        return _reached(start, {label: node.inputs for label, node in self.nodes.items()}, depth)

    def rdeps(self, start: Iterable[str], depth: int | None = None) -> set[str]:
        """What is made from some nodes, and those nodes.

        Args:
            start: Their labels.
            depth: How many edges to go at most.
        """
        return _reached(start, self._users, depth)

    def path(self, start: Iterable[str], end: Iterable[str]) -> set[str]:
        """The nodes on a shortest way from one of some nodes to one that it is made from; none if there is no way."""
        ends, came_from = set(end), dict.fromkeys(start, "")
        reached = list(came_from)
        for label in reached:
            if label in ends:
                return set(_back(label, came_from))
            for each in self.nodes[label].inputs:
                if each not in came_from:
                    came_from[each] = label
                    reached.append(each)
        return set()

    def ordered(self, labels: Iterable[str]) -> list[Node]:
        """Nodes in the order in which each stands before what it is made from."""
        wanted = set(labels)
        return [self.nodes[label] for label in self._order if label in wanted]

    @cached_property
    def _users(self) -> dict[str, list[str]]:
        users: dict[str, list[str]] = {label: [] for label in self.nodes}
        for label, node in self.nodes.items():
            for each in node.inputs:
                users[each].append(label)
        return users

    @cached_property
    def _order(self) -> list[str]:
        # Depth first, without recursion: a label is put down after all that uses it.
        order: list[str] = []
        seen: set[str] = set()
        for start in sorted(self.nodes):
            waiting = [(start, False)]
            while waiting:
                label, done = waiting.pop()
                if done:
                    order.append(label)
                elif label not in seen:
                    seen.add(label)
                    waiting += [(label, True), *((user, False) for user in sorted(self._users[label], reverse=True))]
        return order


def _reached(start: Iterable[str], edges: Mapping[str, Iterable[str]], depth: int | None) -> set[str]:
    reached = edge = set(start)
    while edge and depth != 0:
        edge = {each for label in edge for each in edges[label]} - reached
        reached = reached | edge
        depth = None if depth is None else depth - 1
    return reached


def _back(label: str, came_from: Mapping[str, str]) -> Iterator[str]:
    while label:
        yield label
        label = came_from[label]
