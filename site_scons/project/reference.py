"""``./sconsw docs``: the reference in ``docs/``, made from the docstrings and tables of the code that it describes."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

from onnx_wasm import manifest, platforms, status, workspace_file
from onnx_wasm.compiler import catalogue
from onnx_wasm.rules import (
    model_fetch,
    model_library,
    rust_wrapper,
    teaclave_bundle,
    tvm_ir,
    wasm_bench,
    wasm_model,
    wasm_module,
    wasm_object,
    wasm_optimize,
    wasm_profile,
    wasm_release,
    wasm_size,
    wasm_test,
    wasm_verify,
    wasm_workspace,
    web_package,
)
from onnx_wasm.schema import documented, schema
from onnx_wasm.toml_tables import keys_of

FOLDER = Path("docs")
CHAIN = (
    model_fetch,
    tvm_ir,
    wasm_object,
    model_library,
    rust_wrapper,
    wasm_module,
    wasm_test,
    wasm_profile,
    wasm_bench,
    wasm_size,
    wasm_verify,
    web_package,
    teaclave_bundle,
    wasm_optimize,
    wasm_release,
)
"""The modules of the rules, in the order in which a model goes through them."""


def pages() -> dict[str, str]:
    """Makes the reference.

    Returns:
        The text of each page, by the name of its file in ``docs/``.
    """
    return {
        "rules.md": _page("Rules", "site_scons/onnx_wasm/rules/", _rules()),
        "manifest.md": _page("The manifest", "site_scons/onnx_wasm/manifest.py", _manifest()),
        "workspace.md": _page("The workspace file", "site_scons/onnx_wasm/workspace_file.py", _workspace_file()),
        "platforms.md": _page("Platforms", "site_scons/onnx_wasm/platforms.py", _platforms()),
        "operators.md": _page("Operators", "the tables of site_scons/onnx_wasm/compiler/", _operators()),
        "error-codes.md": _page("Error codes", "wrapper/src/status.rs", _error_codes()),
        "manifest.schema.json": json.dumps(schema(), indent=2, ensure_ascii=False) + "\n",
    }


def main() -> None:
    """Writes the reference into the current folder's ``docs/`` and names the files that changed."""
    for name, text in pages().items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{path}\n")


_QUANTISED = (
    """\
Products of bytes (uint8 or int8) with known weights of bytes are summed as integers, in int32: MatMulInteger,
ConvInteger, QLinearMatMul and QLinearConv; and MatMul, Gemm and Conv (of two dimensions) whose operands
DequantizeLinear makes, where the activations have one scale and zero point and the weights one for all or one for
each output channel. With SIMD it is done by `i32x4.dot_i16x8_s`, two products of each lane at a time. The weights
take a byte each in the file; two where they, less their zero points, span more than a byte does, or, without
SIMD, do not fit int8. What follows - the scale, a bias, Relu, QuantizeLinear - is part of the kernel.""",
    """\
The first four give the integers that ONNX defines. Between DequantizeLinear and QuantizeLinear ONNX defines a sum
of floats; the sum of integers is exact, and one multiplication by both scales rounds it. So where the float sum
lies at a half between two steps, the quantised result may be the other one of the two. A sum that might not fit
int32 stays one of floats.""",
)


def _operators() -> Iterable[str]:
    yield (
        "What can be compiled of the operators that ONNX defines. The numbers are the versions of the operator set "
        "that defined an operator anew; a model may be of any of them, or of one between. Besides, a node is computed "
        "while the model is built if all that it reads is known then. A model that needs another operator, or one of "
        "these in a form that cannot be compiled, is refused with the node's place, as `python -m onnx_wasm new` tells "
        "at once. `./sconsw conformance` runs ONNX's own tests of them."
    )
    yield "\n".join(f"- {way}: {meaning}" for way, meaning in catalogue.WAYS.items())
    yield "## Quantised models"
    yield from _QUANTISED
    known = catalogue.operators()
    for domain in dict.fromkeys(it.domain for it in known):
        rows = [
            (it.name, ", ".join(map(str, it.since)), ", else ".join(it.ways)) for it in known if it.domain == domain
        ]
        yield f"## {domain}"
        yield _table(("operator", "defined in", "compiled by"), rows)


def _page(title: str, source: str, blocks: Iterable[str]) -> str:
    note = f"<!-- ./sconsw docs makes this page from {source}. -->"
    return "\n\n".join([note, f"# {title}", *blocks]) + "\n"


def _rules() -> list[str]:
    return [
        _line("""
            What the SCons tool `onnx_to_wasm` adds to an environment. `WasmModel` is all that most projects need; the
            rules that it is made of are there for those who compose their own chain.
        """),
        *_function("WasmModel", wasm_model.wasm_model, ("env",)),
        *_function("WasmWorkspace", wasm_workspace.wasm_workspace, ("env",)),
        *(block for module in CHAIN for block in _function(_rule_name(module), module.rule)),
    ]


def _rule_name(module: ModuleType) -> str:
    return "".join(word.capitalize() for word in module.__name__.rpartition(".")[2].split("_"))


def _function(name: str, function: object, without: Sequence[str] = ()) -> list[str]:
    text, args, returns = _docstring(function)
    rows = [(f"`{key}`", meaning) for key, meaning in args.items() if key not in without]
    result = [f"Returns: {returns}"] if returns else []
    return [f"## {name}", text, _table(("argument", "what it is"), rows), *result]


def _manifest() -> list[str]:
    tables = [getattr(manifest, name) for name in schema()["$defs"]]
    blocks = [
        _line("""
            The TOML file of a model. Keys that are not listed here are refused. An example is
            [models/mnist/mnist.toml](../models/mnist/mnist.toml); editors complete and check the keys with
            [manifest.schema.json](manifest.schema.json).
        """),
        "## At the top",
        _keys(manifest.Manifest),
    ]
    return [*blocks, *_tables(tables)]


def _workspace_file() -> list[str]:
    its = workspace_file.WorkspaceFile
    return [
        _line("""
            `workspace.toml`, beside the SConstruct, says how a checkout builds; nothing in it changes what is built.
            Keys that are not listed here are refused. All may be left out, and so may the file.
        """),
        *_tables([table.metadata["kind"].shape for table in keys_of(its).values()]),
    ]


def _tables(tables: Iterable[type]) -> list[str]:
    """A section for each table, whose docstring begins with its name."""
    blocks = []
    for table in tables:
        text, _, _ = _docstring(table)
        title, _, meaning = text.partition(": ")
        blocks += [f"## {title}", meaning[0].upper() + meaning[1:], _keys(table)]
    return blocks


def _keys(table: type) -> str:
    rows = [
        (f"`{key}`", said.type, said.default.removeprefix("default "), _markdown(said.meaning))
        for key, said in documented(table).items()
    ]
    return _table(("key", "type", "default", "what it is"), rows)


def _platforms() -> list[str]:
    _, said, _ = _docstring(platforms.Platform)
    blocks = ["Where a module can run. The key `platforms` of a [manifest](manifest.md) names them."]
    for platform in platforms.PLATFORMS.values():
        values = dataclasses.asdict(platform)
        rows = [(name.replace("_", " "), _value(value), said[name]) for name, value in values.items()]
        blocks += [f"## {platform.name}", _table(("", "value", "what it is"), rows)]
    return blocks


def _value(value: object) -> str:
    """A platform's value in a cell of a table: a word, several, or functions with their types."""
    match value:
        case dict():
            return "<br>".join(f"`{name}`: `{kind}`" for name, kind in value.items()) or "none"
        case tuple():
            return ", ".join(f"`{word}`" for word in value) or "none"
        case _:
            return f"`{value}`"


def _error_codes() -> list[str]:
    rows = [(str(it.code), it.name, it.text) for it in status.statuses().values()]
    return [
        "What a module's entry point returns when it could not do its work. Results of models are 0 or above.",
        _table(("code", "name", "what is wrong"), rows),
    ]


def _docstring(documented: object) -> tuple[str, dict[str, str], str]:
    """Takes a docstring in Google's style apart: its text, what it says of each argument, and of what is returned."""
    head, *sections = re.split(r"^(Args|Returns|Raises):\n", inspect.getdoc(documented) or "", flags=re.MULTILINE)
    said = {}
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        said[title], _, rest = body.partition("\n\n")
        head += rest
    args = re.findall(r"^    (\w+): (.+(?:\n {5,}.+)*)", said.get("Args", ""), flags=re.MULTILINE)
    returns = _markdown(_line(said.get("Returns", "")))
    return _markdown(head.strip()), {name: _markdown(_line(meaning)) for name, meaning in args}, returns


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _line(text: str) -> str:
    return " ".join(text.split())


def _markdown(text: str) -> str:
    return text.replace("``", "`")


if __name__ == "__main__":
    main()
