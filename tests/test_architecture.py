"""Who may know whom: ARCHITECTURE.md's rules, held against the imports that are really there."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from support import ROOT, command, copy, environment

PACKAGE = ROOT / "site_scons/onnx_wasm"
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
HEAVY = {
    *("tvm", "tvm_ffi", "onnx", "numpy", "safetensors", "wasmtime", "google", "grpc"),
    *("cryptography", "cyclonedx", "securesystemslib", "zstandard"),
}
TOML = {"toml_lines", "toml_tables"}

ALLOWED = {
    "errors": set[str](),
    "platforms": {"errors"},
    "columns": set[str](),
    "wasm": {"errors"},
    "manifest": {"errors", *TOML},
    "toml_tables": {"errors", *TOML},
    "toml_lines": {"errors", *TOML},
    "interface": {"errors", "manifest", "platforms"},
    "remedies": set[str](),
    "file_facts": set[str](),
    "toolchain": {"errors", "file_facts", "remedies"},
    "bootstrap": {"errors", "remedies", "toolchain"},
    "external_data": set[str](),
    "user_folder": set[str](),
    "first_manifest": {
        *("errors", "manifest", "actions.common", "compiler.pipeline"),
        *("verification.reference", "verification.samples", "verification.tensors"),
    },
    "symbols": {"errors", "wasm"},
    "sizes": {"columns", "symbols", "wasm"},
    "tuning": {"errors", "platforms", "toml_tables"},
    "workspace_file": {"errors", *TOML},
}
"""What of ours each module may import. Folders have tests of their own."""


@cache
def imports(path: Path, *, lazy: bool = True) -> frozenset[str]:
    """The full names of the modules that a file imports.

    Args:
        path: The file.
        lazy: Whether imports inside of functions count. Those only for type checking never do.
    """

    def statements(node: ast.AST) -> Iterator[ast.stmt]:
        for child in ast.iter_child_nodes(node):
            guarded = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            if guarded or (function and not lazy):
                continue
            if isinstance(child, ast.Import | ast.ImportFrom):
                yield child
            yield from statements(child)

    found: set[str] = set()
    for statement in statements(ast.parse(path.read_text())):
        if isinstance(statement, ast.Import):
            found.update(alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, f"{path} imports relatively"
            for alias in statement.names:
                whole = f"{statement.module}.{alias.name}"
                found.add(whole if whole in MODULES else str(statement.module))
    return frozenset(found)


def ours(path: Path, *, lazy: bool = True) -> set[str]:
    """The modules of ours that a file imports, without the package's name."""
    found = imports(path, lazy=lazy)
    return {name.partition(".")[2] for name in found if name.split(".")[0] == "onnx_wasm"} - {""}


def others(path: Path, *, lazy: bool = True) -> set[str]:
    """The packages of others that a file imports."""
    tops = {name.split(".")[0] for name in imports(path, lazy=lazy)}
    return tops - set(sys.stdlib_module_names) - {"onnx_wasm"}


def files(folder: str) -> list[Path]:
    return sorted((PACKAGE / folder).rglob("*.py"))


@pytest.mark.parametrize("module", ALLOWED)
def test_a_module_imports_only_what_it_may_know(module: str) -> None:
    assert ours(PACKAGE / f"{module}.py") <= ALLOWED[module]


def test_every_module_at_the_top_has_its_rule() -> None:
    """A new one is added here, or to the mains below."""
    mains = {"__init__", "__main__", "schema", "status"}
    assert {path.stem for path in PACKAGE.glob("*.py")} == set(ALLOWED) | mains


@pytest.mark.parametrize("path", files("rules"), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rules_declare(path: Path) -> None:
    assert others(path) <= {"SCons"}
    known = {"errors", "external_data", "file_facts", "manifest", "platforms", "toolchain", "workspace_file"}
    known |= {"remedies", "release", "release.lock", "release.source"}
    assert all(name in known or name.split(".")[0] in ("query", "rules", "strategies") for name in ours(path))


@pytest.mark.parametrize("path", files("query"), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_questions_are_about_a_graph_and_know_no_scons(path: Path) -> None:
    known = {"errors", "toml_tables", "strategies.action"}
    assert all(name in known or name.split(".")[0] == "query" for name in ours(path))
    assert not others(path)


@pytest.mark.parametrize("path", files("strategies"), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_strategies_know_what_is_chosen_and_nothing_of_what_they_run(path: Path) -> None:
    known = {"errors", "remedies", "toml_tables", "user_folder", "workspace_file"}
    assert all(name in known or name.split(".")[0] == "strategies" for name in ours(path))


@pytest.mark.parametrize("path", files("compiler"), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_compiler_knows_only_itself(path: Path) -> None:
    known = {"errors", "platforms", "tuning"}
    assert all(name in known or name.split(".")[0] == "compiler" for name in ours(path))
    assert "SCons" not in others(path)


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("onnx_wasm.compiler.")])
def test_only_the_compiler_imports_tvm(name: str) -> None:
    """And what measures TVM itself."""
    measured = {"tvm"} if name == "onnx_wasm.benchmarks.others" else set()
    assert others(MODULES[name]) & {"tvm", "tvm_ffi"} == measured


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("onnx_wasm.rules.")])
def test_only_the_rules_import_scons(name: str) -> None:
    assert "SCons" not in others(MODULES[name])
    assert not any(it.split(".")[0] == "rules" for it in ours(MODULES[name]))


@pytest.mark.parametrize(
    "name",
    ["errors", "toolchain", "remedies", "bootstrap", "external_data", "file_facts", "manifest", "workspace_file"],
)
def test_what_runs_before_the_venv_or_in_every_build_is_standard_library(name: str) -> None:
    assert not others(PACKAGE / f"{name}.py")


@pytest.mark.parametrize("path", files("hosts"), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_hosts_know_only_modules_and_platforms(path: Path) -> None:
    known = {"columns", "errors", "platforms", "status", "symbols", "wasm"}
    assert all(name in known or name.split(".")[0] == "hosts" for name in ours(path))


@pytest.mark.parametrize("path", files("verification"), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_verification_knows_only_itself(path: Path) -> None:
    assert all(name == "errors" or name.split(".")[0] == "verification" for name in ours(path))


@pytest.mark.parametrize("path", files("fetch"), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_fetches_knows_only_itself_and_the_standard_library(path: Path) -> None:
    assert all(name == "errors" or name.split(".")[0] == "fetch" for name in ours(path))
    assert not others(path)


@pytest.mark.parametrize("path", files("profile"), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_profile_knows_hosts_modules_and_platforms(path: Path) -> None:
    known = {"columns", "errors", "platforms", "tuning", "wasm"}
    assert all(name in known or name.split(".")[0] in ("hosts", "profile") for name in ours(path))


@pytest.mark.parametrize("path", files("bench"), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_bench_knows_hosts_and_what_modules_are_verified_on(path: Path) -> None:
    known = {"columns", "errors", "verification.samples"}
    assert all(name in known or name.split(".")[0] in ("bench", "hosts") for name in ours(path))


@pytest.mark.parametrize("path", files("release"), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_release_knows_itself_tools_and_modules(path: Path) -> None:
    known = {"errors", "toolchain", "wasm"}
    assert all(name in known or name.split(".")[0] == "release" for name in ours(path))
    if path.stem in ("lock", "source"):  # which rules import
        assert not others(path)


@pytest.mark.parametrize("path", files("teaclave"), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_teaclave_s_stand_in_knows_itself_and_its_host(path: Path) -> None:
    assert all(name in {"errors", "hosts.teaclave"} or name.split(".")[0] == "teaclave" for name in ours(path))
    assert others(path) <= {"cryptography", "google", "grpc", "grpc_tools"}


@pytest.mark.parametrize("path", files("actions"), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_actions_do_not_know_each_other(path: Path) -> None:
    assert not {name for name in ours(path) if name.split(".")[0] in ("actions", "rules")} - {"actions.common"}


def test_no_import_runs_in_a_circle() -> None:
    graph = {name: {f"onnx_wasm.{it}" for it in ours(path)} - {name} for name, path in MODULES.items()}
    assert list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.slow
def test_a_build_with_nothing_to_do_imports_nothing_heavy(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    probe = "import atexit, sys; atexit.register(lambda: print('imported:', *sys.modules)); "
    program = f"{probe}sys.argv[0] = 'scons'; import SCons.Script; SCons.Script.main()"
    arguments = [sys.executable, "-P", "-c", program, "mnist.wasm"]
    run = subprocess.run(arguments, cwd=top, env=environment(), capture_output=True, text=True, check=True)
    (line,) = (line for line in run.stdout.splitlines() if line.startswith("imported: "))
    imported = {name.split(".")[0] for name in line.split()[1:]}
    assert "onnx_wasm" in imported
    assert not imported & HEAVY


# The inputs of a step: its action's own sources and tools

STEPS = sorted(path.stem for path in files("rules") if "_STEP = " in path.read_text())


@cache
def declared(rule: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The action, sources and tools that a rule declares; read from another process, as rules import SCons."""
    program = f"from onnx_wasm.rules.{rule} import _STEP as s; print(repr((s.action, s.sources, s.tools)))"
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment() | {"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    value = ast.literal_eval(run.stdout)
    assert isinstance(value, tuple)
    return value  # type: ignore[return-value]


@cache
def loaded(action: str) -> tuple[set[str], set[str]]:
    """What an action's process imports: the files of ours, relative to the package, and the packages of others.

    The imports inside of the action's own functions count; those inside of what it imports only serve messages.
    """
    wanted = sorted(f"onnx_wasm.{it}" for it in ours(PACKAGE / f"actions/{action}.py") | {f"actions.{action}"})
    program = f"import sys, importlib\nfor it in {wanted}: importlib.import_module(it)\nprint(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-P", "-c", program], env=environment() | {"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = run.stdout.split()
    own = {str(MODULES[name].relative_to(PACKAGE)) for name in names if name in MODULES}
    return own, {name.split(".")[0] for name in names}


@pytest.mark.slow
@pytest.mark.parametrize("rule", STEPS)
def test_a_step_declares_the_sources_that_its_action_imports(rule: str) -> None:
    action, sources, _ = declared(rule)
    imported = {name for name in loaded(action)[0] if not name.endswith("__init__.py")}
    folders = {name for name in sources if (PACKAGE / name).is_dir()}
    covered = {name for name in imported if name.split("/")[0] in folders}
    templates = {name for name in sources if name.startswith("bundle/")}
    written = {name for name in sources if name.endswith(".py") and not name.endswith("__init__.py")} - templates
    assert imported - covered == written, "declared and imported differ"
    assert folders <= {name.split("/")[0] for name in covered}, "a folder of which nothing is imported"


@pytest.mark.parametrize(("rule", "folder"), [("web_package", "web"), ("teaclave_bundle", "bundle")])
def test_what_is_put_around_a_module_declares_its_templates(rule: str, folder: str) -> None:
    templates = {path.relative_to(PACKAGE).as_posix() for path in (PACKAGE / folder).rglob("*") if path.is_file()}
    _, sources, _ = declared(rule)
    assert {name for name in sources if name.startswith(f"{folder}/")} == templates


@pytest.mark.parametrize("rule", STEPS)
def test_a_step_declares_the_packages_that_its_action_imports(rule: str) -> None:
    action, _, tools = declared(rule)
    packages = loaded(action)[1] & {"tvm", "numpy", "safetensors", "wasmtime"}
    assert packages <= set(tools)


def test_every_rule_has_a_step() -> None:
    chain = {"model_fetch", "tvm_ir", "wasm_object", "model_library", "rust_wrapper", "wasm_module"}
    assert set(STEPS) == chain | {
        *("wasm_bench", "wasm_profile", "wasm_size", "wasm_test", "wasm_verify", "web_package"),
        *("wasm_optimize", "wasm_release", "teaclave_bundle"),
    }


def test_the_null_build_s_command_is_that_of_sconsw() -> None:
    """``support.command`` and ``sconsw`` start SCons alike."""
    assert '/bin/python" -P -m SCons "$@"' in (ROOT / "sconsw").read_text()
    assert command("x")[1:] == ["-P", "-m", "SCons", "x"]
