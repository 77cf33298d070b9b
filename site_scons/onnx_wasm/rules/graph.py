"""SCons's nodes as the graph that questions are about."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import SCons.Node
from SCons.Environment import Base as Environment
from SCons.Node.Alias import Alias
from SCons.Node.FS import Base, Dir
from SCons.Node.Python import Value

from onnx_wasm.query.graph import ALIAS, COMMAND, SOURCE, Graph, Node
from onnx_wasm.rules import step
from onnx_wasm.strategies.action import Action


def graph(env: Environment, roots: Iterable[SCons.Node.Node]) -> Graph:
    """Makes the graph of some nodes and of all that they are made from.

    It has more edges than SCons's: a manifest is an input of the steps that read parts of it, and the sources of an
    action, and the lock file of Python packages, are what their fingerprints are made from.

    Args:
        env: The environment.
        roots: The nodes; a folder stands for what is built in it.
    """
    nodes: dict[str, Node] = {}
    waiting = [(root, False) for root in roots]
    seen: set[SCons.Node.Node] = set()
    while waiting:
        node, done = waiting.pop()
        if done:
            inputs = tuple(dict.fromkeys(label(it) for it in _inputs(env, node)))
            made = node.has_builder() and not isinstance(node, Alias)
            outdated = any(nodes[it].outdated for it in inputs) or (made and _changed(node))
            nodes[label(node)] = Node(label(node), _kind(env, node), inputs, _step(node), outdated)
        elif node not in seen:
            seen.add(node)
            waiting += [(node, True), *((it, False) for it in _inputs(env, node))]
    return Graph(nodes)


def label(node: SCons.Node.Node) -> str:
    """What a node is called: the path of a file from the top, the name of an alias, the text of a value."""
    return str(node.get_path() if isinstance(node, Base) else node)


def every(env: Environment) -> list[SCons.Node.Node]:
    """All aliases, and so all that the rules declare."""
    return list(env.ans.values())


def _inputs(env: Environment, node: SCons.Node.Node) -> Iterator[SCons.Node.Node]:
    yield from node.children()
    for file in getattr(node.attributes, "files", ()):
        yield env.fs.File(os.path.relpath(file, env.fs.Top.get_abspath()), env.fs.Top)
    if node.has_builder() and isinstance(node, Base):
        manifest = node.get_build_env().get("MANIFEST")
        if manifest:
            yield env.fs.File(str(manifest), env.fs.Top)


def _kind(env: Environment, node: SCons.Node.Node) -> str:
    if isinstance(node, Alias):
        return COMMAND if node.always_build else ALIAS
    if isinstance(node, Value):
        return "sources of an action" if str(node).startswith("onnx_wasm sources of ") else "tool"
    if isinstance(node, Dir):
        return "folder"
    return f"{node.builder.get_name(env)} file" if node.has_builder() else SOURCE


def _step(node: SCons.Node.Node) -> str:
    if not node.has_builder() or not isinstance(node, Base) or isinstance(node, Dir):
        return ""
    return label(node.get_executor().get_all_targets()[0])


def _changed(node: SCons.Node.Node) -> bool:
    return bool(node.always_build or not node.exists() or node.changed())


def actions(env: Environment, labels: Iterable[str]) -> list[Action]:
    """The actions that make some files, each once.

    Args:
        env: The environment.
        labels: What a graph calls the files.
    """
    found: dict[str, Action] = {}
    for each in labels:
        made = step.action_of(env.fs.File(each, env.fs.Top))
        if made is not None:
            found.setdefault(made.outputs[0], made)
    return list(found.values())
