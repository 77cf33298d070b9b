"""``query`` and ``affected``: questions that SCons answers in place of a build."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from SCons.Action import Action
from SCons.Environment import Base as Environment
from SCons.Script import BUILD_TARGETS, COMMAND_LINE_TARGETS, AddOption, GetOption

from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.rules import graph, workspace

_OUTPUT = "onnx_wasm_output"
_SINCE = "onnx_wasm_since"
_SCONSCRIPT = re.compile(r"(^|/)S[Cc]ons(truct|cript)[^/]*$")


def declare(env: Environment) -> None:
    """Has SCons answer if the command line's first word asks a question; else does nothing.

    Args:
        env: An environment whose workspace is open.
    """
    _add_options()
    if COMMAND_LINE_TARGETS[:1] not in (["query"], ["affected"]):
        return
    question, *words = COMMAND_LINE_TARGETS
    try:
        answer = _query(env, words) if question == "query" else _affected(env, words)
    except BuildError as error:
        workspace.end(env, error)
    if env.ans.lookup(question) is None:
        env.AlwaysBuild(env.Alias(question, [], Action(lambda **_: _told(answer), cmdstr=None)))
    BUILD_TARGETS[:] = [question]


@functools.cache
def _add_options() -> None:
    AddOption("--output", dest=_OUTPUT, metavar="FORMAT", help="how query answers: label, text, json, graph or svg")
    AddOption("--since", dest=_SINCE, metavar="REV", help="the revision that affected compares with")


def _told(answer: Callable[[], str]) -> int:
    try:
        sys.stdout.write(answer())
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _query(env: Environment, words: list[str]) -> Callable[[], str]:
    from onnx_wasm.query import expression, output  # here, because a build has no use for it

    if not words:
        raise BuildError(Problem("query", "what is the question?", "for example ./sconsw query 'deps(mnist.wasm)'"))
    asked = expression.parse(" ".join(words))
    outputs = output.ACTION_OUTPUTS if asked.actions else output.OUTPUTS
    chosen = GetOption(_OUTPUT) or next(iter(outputs))
    if chosen not in outputs:
        raise BuildError(Problem("--output", f"there is no {chosen} of this answer", f"say {' or '.join(outputs)}"))
    workspace.of(env).targets = asked.labels

    def answer() -> str:
        roots = [*graph.every(env), *(node for each in asked.labels or () for node in _built(env, each))]
        whole = graph.graph(env, roots)
        nodes = whole.ordered(asked.answer(whole))
        if asked.actions:
            return output.ACTION_OUTPUTS[chosen](graph.actions(env, [it.label for it in nodes if it.step]))
        return output.OUTPUTS[chosen](nodes)

    return answer


def _built(env: Environment, label: str) -> list[object]:
    """The node of a file that a rule makes, whether an alias leads to it or not."""
    node = env.fs.Entry(label, env.fs.Top)
    return [node.disambiguate()] if node.has_builder() else []


def _affected(env: Environment, words: list[str]) -> Callable[[], str]:
    from onnx_wasm.query import affected

    revision = GetOption(_SINCE)
    if not revision or words:
        hint = "for example ./sconsw affected --since origin/main"
        raise BuildError(Problem("affected", "what is it to be compared with?", hint))
    top = Path(env.fs.Top.get_abspath())
    files = affected.changed(top, revision)
    workspace.of(env).targets = None

    def answer() -> str:
        whole = graph.graph(env, graph.every(env))
        decisive = {file for file in files if _SCONSCRIPT.search(file)} | _loaded(top)
        return "".join(f"{target}\n" for target in affected.targets(whole, files, decisive))

    return answer


def _loaded(top: Path) -> set[str]:
    """The Python files that this process has read to know what the graph is, from the top."""
    modules = {name: getattr(it, "__file__", None) for name, it in sys.modules.items()}
    return {
        os.path.relpath(file, top) for name, file in modules.items() if file and not name.startswith("onnx_wasm.query")
    }
