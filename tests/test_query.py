"""``query``: Bazel's questions about what is built from what, their answers, and how mistakes in them are told."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Build, copy, scons

from onnx_wasm.errors import BuildError
from onnx_wasm.query import expression, layout, output
from onnx_wasm.query.graph import Graph, Node

MODULE = "build/teaclave/mnist/mnist.wasm"
OBJECT = "build/teaclave/mnist/mnist.o"
ONNX = "models/mnist/mnist.onnx"
SMALL = Graph(
    {
        node.label: node
        for node in (
            Node("app", "alias", ("out/app",)),
            Node("out/app", "Link file", ("out/a.o", "out/b.o"), "out/app"),
            Node("out/a.o", "Compile file", ("a.c", "shared.h"), "out/a.o", outdated=True),
            Node("out/b.o", "Compile file", ("b.c", "shared.h"), "out/b.o"),
            *(Node(name, "source file") for name in ("a.c", "b.c", "shared.h")),
        )
    }
)
ALL = set(SMALL.nodes)


@pytest.mark.parametrize(
    ("text", "answer"),
    {
        "app": {"app"},
        '"app"': {"app"},
        "deps(app)": ALL,
        "deps(app, 1)": {"app", "out/app"},
        "deps(out/a.o)": {"out/a.o", "a.c", "shared.h"},
        "rdeps(b.c)": {"b.c", "out/b.o", "out/app", "app"},
        "rdeps(shared.h, 1)": {"shared.h", "out/a.o", "out/b.o"},
        "rdeps(out/a.o, shared.h)": {"shared.h", "out/a.o"},
        "kind(Compile, deps(app))": {"out/a.o", "out/b.o"},
        "kind('source file', out/... + a.c)": {"a.c"},
        'filter("[.]c$", ...)': {"a.c", "b.c"},
        "somepath(app, shared.h)": {"app", "out/app", "out/a.o", "shared.h"},
        "somepath(a.c, b.c)": set(),
        "set(a.c b.c)": {"a.c", "b.c"},
        "deps(out/a.o) ^ deps(out/b.o)": {"shared.h"},
        "deps(out/a.o) intersect deps(out/b.o) union app": {"shared.h", "app"},
        "deps(out/a.o) - shared.h - a.c": {"out/a.o"},
        "deps(out/a.o) except (shared.h + a.c)": {"out/a.o"},
    }.items(),
)
def test_an_expression_stands_for_labels(text: str, answer: set[str]) -> None:
    assert expression.parse(text).answer(SMALL) == answer


@pytest.mark.parametrize(
    ("text", "caret", "message"),
    [
        ("dep(app)", "^", "there is no function dep\n    did you mean deps?"),
        ("deps(app", "    ^", "this bracket is not closed"),
        ("deps(app))", "         ^", ") is not expected here"),
        ("app b.c", "    ^", "b.c is not expected here"),
        ("app +", "     ^", "an expression is missing"),
        ("deps()", "     ^", ") is not expected here"),
        ("deps(app, b.c)", "^", "say deps(x) or deps(x, depth)"),
        ("kind(app)", "^", "say kind(pattern, x)"),
        ('kind("(", app)', "     ^", "( is not a regular expression"),
        ("deps(actions(app))", "     ^", "actions are not files"),
        ("'app", "^", "' is not expected here"),
        ("(" * 200, " " * 100 + "^", "this is nested too deeply"),
        ("deps(ap) + out/app", "     ^", "nothing is called ap\n    did you mean app?"),
    ],
)
def test_a_mistake_is_shown_where_it_is(text: str, caret: str, message: str) -> None:
    with pytest.raises(BuildError) as caught:
        expression.parse(text).answer(SMALL)
    (problem,) = caught.value.problems
    shown, below, *hint = problem.hint.split("\n    ")
    assert (shown, below) == (text, caret)
    said = "\n    ".join([problem.message, *hint])
    assert all(part in said for part in message.split("\n    "))


def test_all_unknown_labels_are_told() -> None:
    with pytest.raises(BuildError) as caught:
        expression.parse("deps(x) + y").answer(SMALL)
    assert [problem.message for problem in caught.value.problems] == ["nothing is called x", "nothing is called y"]


@given(st.lists(st.sampled_from([*expression.FUNCTIONS, *expression.OPERATORS, *"(),'\"3 ", "app", "...", "é"])))
def test_any_text_is_read_or_refused(words: list[str]) -> None:
    with contextlib.suppress(BuildError):
        assert expression.parse("".join(words)).answer(SMALL) <= ALL


def test_a_question_needs_only_the_models_that_it_names() -> None:
    assert expression.parse("deps(a.wasm) - b.wasm").labels == ("a.wasm", "b.wasm")
    assert expression.parse("kind('x', deps(a.wasm, 1))").labels == ("a.wasm",)
    assert expression.parse("rdeps(a.onnx)").labels is None
    assert expression.parse("deps(build/...)").labels is None


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Any graph without a circle, with steps of several files."""
    count = draw(st.integers(0, 25))
    nodes = {}
    for number in range(count):
        inputs = draw(st.lists(st.integers(0, number - 1), unique=True, max_size=4)) if number else []
        step = f"n{number - number % draw(st.integers(1, 3))}" if inputs else ""
        step = step if step in nodes and nodes[step].inputs == tuple(f"n{it}" for it in inputs) else f"n{number}"
        label = f"n{number}"
        nodes[label] = Node(
            label, "A file", tuple(f"n{it}" for it in inputs), step if inputs else "", draw(st.booleans())
        )
    return Graph(nodes)


@given(graphs())
def test_a_picture_has_every_box_in_a_place_of_its_own(graph: Graph) -> None:
    nodes = graph.ordered(graph.nodes)
    placed = list(layout.arrange(nodes).placed.values())
    for number, one in enumerate(placed):
        for other in placed[:number]:
            beside = one.x + one.box.width <= other.x or other.x + other.box.width <= one.x
            above = one.y + one.box.height <= other.y + 0.01 or other.y + other.box.height <= one.y + 0.01
            assert beside or above
    ET.fromstring(output.OUTPUTS["svg"](nodes))


@given(graphs())
def test_answers_are_in_the_order_of_use(graph: Graph) -> None:
    order = [node.label for node in graph.ordered(graph.nodes)]
    assert sorted(order) == sorted(graph.nodes)
    place = {label: at for at, label in enumerate(order)}
    assert all(place[label] < place[it] for label, node in graph.nodes.items() for it in node.inputs)


def query(top: Path, *words: str, status: int = 0) -> Build:
    return scons(top, "-Q", "query", *words, status=status)


def test_a_chain_from_the_onnx_file_to_the_module(built: Path) -> None:
    assert query(built, f"somepath({MODULE}, {ONNX})").out.splitlines() == [
        *(MODULE, "build/teaclave/mnist/libmnist.a", OBJECT, "build/teaclave/mnist/mnist.ir.json", ONNX),
    ]


def test_what_is_made_from_a_model_file(built: Path) -> None:
    said = query(built, f"kind(alias, rdeps({ONNX}))").out.splitlines()
    assert {"mnist.wasm", "mnist.web.wasm", "mnist.test", "mnist.verify", "all", "test"} <= set(said)
    assert "tiny.wasm" not in said


def test_a_manifest_and_the_sources_of_an_action_are_inputs(built: Path) -> None:
    files = query(built, "kind('source file', deps(mnist.wasm))").out.splitlines()
    assert {"models/mnist/mnist.toml", "site_scons/onnx_wasm/compiler/memory.py", "wrapper/src/lib.rs"} <= set(files)
    assert query(built, "kind(tool, deps(mnist.wasm))").out.count("rustc ") == 1


@pytest.mark.slow
def test_what_is_out_of_date_is_told(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    assert "out of date" not in query(top, "deps(mnist.wasm)", "--output=text").out
    (top / OBJECT).unlink()
    nodes = {it["label"]: it for it in json.loads(query(top, "deps(mnist.wasm)", "--output=json").out)}
    assert nodes[OBJECT]["kind"] == "WasmObject file"
    assert {label for label, it in nodes.items() if it["outdated"]} >= {OBJECT, MODULE, "mnist.wasm"}
    assert not nodes["build/teaclave/mnist/mnist.ir.json"]["outdated"]
    drawn = query(top, "deps(mnist.wasm)", "--output", "svg").out
    assert layout.OUTDATED in drawn
    assert query(top, "deps(mnist.wasm)", "--output=graph").out.startswith("digraph {")
    assert scons(top, "mnist.wasm").steps == ["WasmObject"], "a question changes nothing"


def test_actions_have_commands_inputs_and_outputs(built: Path) -> None:
    (action,) = json.loads(query(built, f"actions({OBJECT})", "--output=json").out)
    assert action["rule"] == "WasmObject"
    assert action["outputs"] == [OBJECT, "build/teaclave/mnist/mnist.graph.json", "build/teaclave/mnist/mnist.params"]
    assert "build/teaclave/mnist/mnist.ir.json" in action["inputs"]
    assert "command: " in query(built, f"actions({OBJECT})").out


@pytest.mark.slow
def test_mistakes_end_with_status_2(built: Path) -> None:
    assert (
        "query: there is no function dep\n    dep(mnist.wasm)\n    ^\n" in query(built, "dep(mnist.wasm)", status=2).err
    )
    assert "query: nothing is called mnits.wasm\n" in query(built, "deps(mnits.wasm)", status=2).err
    assert "query: what is the question?" in query(built, status=2).err
    assert "--output: there is no png" in query(built, "mnist.wasm", "--output=png", status=2).err
