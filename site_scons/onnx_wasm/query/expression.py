"""The language of ``query``: a part of that of Bazel's query (https://bazel.build/query/language).

    expression  word, ( expression ), set(word …), function(…), or two expressions with an operator between
    operator    + or union, ^ or intersect, - or except; all bind alike, from left to right
    word        a label, as it is or in quotes; dir/... for every label below a folder, ... for every label

A word that is not in quotes may have ``-`` and ``+`` inside, so operators stand between spaces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.query.graph import Graph
from onnx_wasm.toml_tables import did_you_mean

OPERATORS: dict[str, Callable[[set[str], set[str]], set[str]]] = {
    **dict.fromkeys(("+", "union"), set.union),
    **dict.fromkeys(("^", "intersect"), set.intersection),
    **dict.fromkeys(("-", "except"), set.difference),
}
FUNCTIONS = {
    "deps": "deps(x) or deps(x, depth)",
    "rdeps": "rdeps(x), rdeps(x, depth) or rdeps(universe, x)",
    "kind": "kind(pattern, x)",
    "filter": "filter(pattern, x)",
    "somepath": "somepath(x, y)",
    "actions": "actions(x)",
    "set": "set(a b c)",
}
"""The functions, and how each is called."""

_DEEPEST = 100
_TOKEN = re.compile(r"""\s*(?:("[^"]*"|'[^']*')|([\w./#@$:*~\[\]|?\\][\w./#@$:*~\[\]|?\\+-]*)|(\S))""")


@dataclass(frozen=True)
class Word:
    """A label, a pattern or a number, and where it stands in the text."""

    text: str
    at: int


@dataclass(frozen=True)
class Call:
    """A function or an operator, what it is given, and where it stands in the text."""

    name: str
    arguments: tuple[Expression, ...]
    at: int


Expression = Word | Call


@dataclass(frozen=True)
class Query:
    """An expression that was read.

    Args:
        text: What was read.
        root: The expression, without ``actions`` around it.
        actions: Whether the actions are asked for, not the files.
    """

    text: str
    root: Expression
    actions: bool

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The labels whose nodes, with all that they are made from, hold the answer; None if it may be anywhere."""
        names, words = set[str](), list[str]()
        for each in _walk(self.root):
            if isinstance(each, Word):
                words.append(each.text)
            else:
                names.add(each.name)
        return None if "rdeps" in names or any(word.endswith("...") for word in words) else tuple(words)

    def answer(self, graph: Graph) -> set[str]:
        """The labels that the expression stands for.

        Raises:
            BuildError: It has labels that nothing has, all of which are told.
        """
        found: list[Problem] = []
        answer = _evaluate(self.root, graph, self.text, found)
        if found:
            raise BuildError(found)
        return answer


def parse(text: str) -> Query:
    """Reads an expression.

    Raises:
        BuildError: It is not one; the message shows where.
    """
    text = " ".join(text.split())
    root = _Parser(text).whole()
    if isinstance(root, Call) and root.name == "actions":
        return Query(text, root.arguments[0], actions=True)
    return Query(text, root, actions=False)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [
            (found[1] or found[2] or found[3], found.start(found.lastindex or 0)) for found in _TOKEN.finditer(text)
        ]
        self._tokens.append(("", len(text)))
        self._next = 0
        self._depth = 0

    def whole(self) -> Expression:
        root = self._expression(outermost=True)
        token, at = self._tokens[self._next]
        if token:
            _fail(self._text, at, f"{token} is not expected here", "an operator stands between two expressions: + - ^")
        return root

    def _expression(self, outermost: bool = False) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            _fail(self._text, self._tokens[self._next][1], "this is nested too deeply")
        left = self._term(outermost)
        while self._tokens[self._next][0] in OPERATORS:
            operator, at = self._take()
            left = Call(operator, (left, self._term()), at)
        self._depth -= 1
        return left

    def _term(self, outermost: bool = False) -> Expression:
        token, at = self._take()
        if token == "(":
            inner = self._expression()
            self._expect(")", at)
            return inner
        if not _is_word(token) or token in OPERATORS:
            _fail(self._text, at, f"{token} is not expected here" if token else "an expression is missing")
        if self._tokens[self._next][0] != "(":
            return Word(token.strip("\"'"), at)
        return self._call(token, at, outermost)

    def _call(self, name: str, at: int, outermost: bool) -> Call:
        if name not in FUNCTIONS:
            known = did_you_mean(name, FUNCTIONS) or f"there are {', '.join(FUNCTIONS)}"
            _fail(self._text, at, f"there is no function {name}", known)
        if name == "actions" and not outermost:
            _fail(self._text, at, "actions are not files", "actions(…) stands around the whole expression")
        _, opened = self._take()
        arguments: list[Expression] = []
        if name == "set":
            while _is_word(self._tokens[self._next][0]):
                word, where = self._take()
                arguments.append(Word(word.strip("\"'"), where))
        else:
            arguments.append(self._expression())
            while self._tokens[self._next][0] == ",":
                self._take()
                arguments.append(self._expression())
        self._expect(")", opened)
        words = [it for it in arguments if isinstance(it, Word)]
        if not _fits(name, arguments):
            _fail(self._text, at, f"{name} is not called so", f"say {FUNCTIONS[name]}")
        if name in ("kind", "filter") and not _is_pattern(words[0].text):
            _fail(self._text, words[0].at, f"{words[0].text} is not a regular expression")
        return Call(name, tuple(arguments), at)

    def _take(self) -> tuple[str, int]:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _expect(self, wanted: str, opened: int) -> None:
        token, _ = self._take()
        if token != wanted:
            _fail(self._text, opened, "this bracket is not closed")


def _fits(name: str, arguments: Sequence[Expression]) -> bool:
    words = [it.text for it in arguments if isinstance(it, Word)]
    match name:
        case "deps":
            return len(arguments) == 1 or (len(arguments) == 2 and words[-1:] != [] and words[-1].isdecimal())
        case "rdeps":
            return len(arguments) in (1, 2)
        case "kind" | "filter":
            return len(arguments) == 2 and isinstance(arguments[0], Word)
        case "somepath":
            return len(arguments) == 2
        case "actions":
            return len(arguments) == 1
        case _:
            return True


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def _is_word(token: str) -> bool:
    quoted = len(token) > 1 and token[0] in "\"'"
    return quoted or bool(re.match(r"[\w./#@$:*~\[\]|?\\]", token))


def _walk(expression: Expression) -> Iterator[Expression]:
    """An expression's parts that are about nodes: no patterns, no numbers."""
    yield expression
    if isinstance(expression, Call):
        for each in _about_nodes(expression):
            yield from _walk(each)


def _about_nodes(call: Call) -> tuple[Expression, ...]:
    if call.name in ("kind", "filter"):
        return call.arguments[1:]
    return call.arguments[:1] if _depth(call) is not None else call.arguments


def _depth(call: Call) -> int | None:
    """The depth that ``deps`` or ``rdeps`` is given."""
    last = call.arguments[-1] if call.arguments else None
    numbered = call.name in ("deps", "rdeps") and len(call.arguments) == 2
    return int(last.text) if numbered and isinstance(last, Word) and last.text.isdecimal() else None


def _evaluate(its: Expression, graph: Graph, text: str, found: list[Problem]) -> set[str]:
    if isinstance(its, Word):
        return _labelled(its, graph, text, found)
    given = [_evaluate(each, graph, text, found) for each in _about_nodes(its)]
    match its.name:
        case "deps":
            return graph.deps(given[0], _depth(its))
        case "rdeps" if len(given) == 2:
            return graph.rdeps(given[1]) & graph.deps(given[0])
        case "rdeps":
            return graph.rdeps(given[0], _depth(its))
        case "kind":
            return {label for label in given[0] if re.search(_pattern(its), graph.nodes[label].kind)}
        case "filter":
            return {label for label in given[0] if re.search(_pattern(its), label)}
        case "somepath":
            return graph.path(sorted(given[0]), given[1])
        case "set":
            return set[str]().union(*given)
        case _:
            return OPERATORS[its.name](*given)


def _pattern(call: Call) -> str:
    first = call.arguments[0]
    assert isinstance(first, Word)
    return first.text


def _labelled(word: Word, graph: Graph, text: str, found: list[Problem]) -> set[str]:
    label = word.text.removeprefix("#").removeprefix("./")
    if label in graph.nodes:
        return {label}
    if label.endswith("..."):
        below = {it for it in graph.nodes if it.startswith(label.removesuffix("..."))}
        if below:
            return below
    known = did_you_mean(label, graph.nodes)
    found.append(_problem(text, word.at, f"nothing is called {label}", known))
    return set()


def _fail(text: str, at: int, message: str, hint: str = "") -> NoReturn:
    raise BuildError(_problem(text, at, message, hint))


def _problem(text: str, at: int, message: str, hint: str = "") -> Problem:
    shown = [text, f"{' ' * at}^", *([hint] if hint else [])]
    return Problem("query", message, "\n    ".join(shown))
