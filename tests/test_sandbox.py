"""The strategy ``sandbox``: the bytes of ``local``, and an action cannot read or write what it does not declare."""

from __future__ import annotations

import shutil
import socket
import sys
import textwrap
from pathlib import Path

import onnx
import pytest
from support import CHAIN, ROOT, artefacts, copy, edit, scons, store_outside, tiny

from onnx_wasm import remedies
from onnx_wasm.errors import BuildError
from onnx_wasm.strategies import sandbox
from onnx_wasm.strategies.action import Action

SANDBOX = "--strategy=sandbox"
BAD = Path(__file__).parent / "bad"


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout of an action that runs a program, ``act.py``, to be in."""
    folder = tmp_path / "check out"
    (folder / "own").mkdir(parents=True)
    (folder / "build").mkdir()
    (folder / "declared.txt").write_text("declared")
    (folder / "secret.txt").write_text("secret")
    monkeypatch.chdir(folder)


def run(
    program: str, inputs: tuple[str, ...] = (), outputs: tuple[str, ...] = ("build/out",), *, folder: str = ""
) -> int:
    """Runs a Python program as an action."""
    Path("own/act.py").write_text(textwrap.dedent(program))
    action = Action(
        rule="Act",
        module="act",
        arguments=(),
        inputs=("own/act.py", *inputs),
        consulted=(),
        tools=(sys.prefix, sys.base_prefix),
        toolchain=(),
        outputs=outputs,
        folder=folder,
        environment={"PATH": "/usr/bin:/bin", "PYTHONPATH": "own", "SEEN": "1"},
        memory=0,
    )
    return sandbox.Sandbox("test").run(action)


def left() -> set[str]:
    """The files of the build folder."""
    return {str(path.relative_to("build")) for path in Path("build").rglob("*")}


def test_what_is_declared_is_read_and_written() -> None:
    program = "from pathlib import Path; Path('build/out').write_text(Path('declared.txt').read_text())"
    assert run(program, ("declared.txt",)) == 0
    assert Path("build/out").read_text() == "declared"
    assert left() == {"out"}


def test_reading_what_is_not_declared_fails_and_names_it(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("open('build/out', 'w').write(open('secret.txt').read())") == 2
    assert "secret.txt: Act reads it, but does not declare it\n    an action sees only" in capfd.readouterr().err
    assert left() == set()


def test_a_file_that_is_nowhere_is_nobody_s_fault(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("open('nowhere.txt')") == 2
    err = capfd.readouterr().err
    assert "nowhere.txt" in err
    assert "declare" not in err


def test_importing_what_is_not_declared_fails_and_names_it(capfd: pytest.CaptureFixture[str]) -> None:
    Path("own/other.py").write_text("")
    assert run("import other") == 2
    assert "own/other.py: Act reads it, but does not declare it" in capfd.readouterr().err


def test_writing_what_is_not_declared_fails_and_names_it(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("open('build/out', 'w'); open('build/more', 'w')") == 2
    assert "build/more: Act wrote it, but does not declare it\n" in capfd.readouterr().err
    assert left() == set()


def test_writing_elsewhere_fails_and_names_it(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("open('build/out', 'w'); open('own/more', 'w')") == 2
    assert "own/more: Act writes it, but does not declare it\n" in capfd.readouterr().err
    assert not Path("own/more").exists()


def test_an_input_cannot_be_changed(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("open('build/out', 'w'); open('declared.txt', 'a').write('x')", ("declared.txt",)) == 2
    assert "Read-only file system: 'declared.txt'" in capfd.readouterr().err
    assert Path("declared.txt").read_text() == "declared"


def test_what_was_not_written_is_named_and_an_old_one_kept(capfd: pytest.CaptureFixture[str]) -> None:
    Path("build/old").write_text("old")
    assert run("open('build/out', 'w')", outputs=("build/out", "build/old")) == 2
    assert "build/old: Act declares it, but did not write it" in capfd.readouterr().err
    assert Path("build/old").read_text() == "old"
    assert left() == {"old"}


def test_an_input_may_stand_beside_an_output() -> None:
    Path("build/in").write_text("x")
    program = "open('build/out', 'w').write('y'); open('build/sub/out', 'w').write(open('build/in').read())"
    assert run(program, ("build/in",), ("build/out", "build/sub/out")) == 0
    assert (Path("build/in").read_text(), Path("build/sub/out").read_text()) == ("x", "x")
    assert left() == {"in", "out", "sub", "sub/out"}


def test_folders_stand_for_all_of_their_files_and_no_others(tmp_path: Path) -> None:
    for name in ("whole/a", "whole/sub/b", "whole/__pycache__/a.pyc", "part/a", "part/more", "out/a"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files = {tmp_path / name for name in ("whole/a", "whole/sub/b", "part/a", "out/a", "nowhere/a")}
    expected = [tmp_path / name for name in ("nowhere/a", "out/a", "part/a", "whole")]
    assert sandbox._gathered(files, [tmp_path / "out"]) == expected


def test_a_folder_is_replaced_as_a_whole() -> None:
    Path("build/whole").mkdir()
    Path("build/whole/old").write_text("old")
    program = (
        "import os; os.mkdir('build/.part'); open('build/.part/new', 'w'); os.rename('build/.part', 'build/whole')"
    )
    assert run(program, outputs=("build/whole/new",), folder="build/whole") == 0
    assert left() == {"whole", "whole/new"}


def test_there_is_nothing_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable, name, home, process or network of it; a file in /tmp is gone afterwards."""
    monkeypatch.setenv("OF_THE_USER", "1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = f"""
            import os, socket
            from pathlib import Path
            Path("/tmp/left-by-a-sandbox").write_text("x")
            try:
                socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), timeout=5)
            except OSError:
                network = False
            else:
                network = True
            processes = sum(name.isdigit() for name in os.listdir("/proc"))
            seen = [sorted(set(os.environ) - {{"LC_CTYPE", "PWD"}}), socket.gethostname(), network, processes < 4]
            paths = ("/etc/passwd", {str(ROOT / "README.md")!r}, {str(Path.home() / ".profile")!r})
            seen += [os.path.exists(path) for path in paths]
            Path("build/out").write_text(repr(seen))
        """
        assert run(program) == 0
    expected = [["PATH", "PYTHONPATH", "SEEN"], "onnx-wasm", False, True, False, False, False]
    assert Path("build/out").read_text() == repr(expected)
    assert not Path("/tmp/left-by-a-sandbox").exists()


def test_without_bubblewrap_it_says_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BuildError) as error:
        sandbox.Sandbox("workspace.toml")
    (problem,) = error.value.problems
    assert str(problem).startswith("workspace.toml: the strategy sandbox needs bubblewrap")
    assert problem.hint == " && ".join(remedies.commands(["bwrap"]))


def test_where_bubblewrap_may_not_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(BuildError, match="cannot make a sandbox here: bwrap: No permissions"):
        sandbox.Sandbox("--strategy")


@pytest.mark.slow
def test_the_chain_gives_the_same_bytes_and_the_strategy_is_no_input(built: Path, tmp_path: Path) -> None:
    """Every step from the ONNX file to the package for the web, the tests' and the verification's too."""
    top = copy(built, tmp_path / "checkout")
    expected = artefacts(top / "build")
    assert scons(top, SANDBOX, "all").steps == []
    for platform in ("teaclave", "wasi", "web"):
        shutil.rmtree(top / "build" / platform / "mnist")
    build = scons(top, SANDBOX, "-j2", "all")
    assert sorted(build.steps) == sorted([*3 * CHAIN, "WebPackage"])
    assert artefacts(top / "build") == expected
    assert scons(top, "all").steps == []
    assert scons(top, SANDBOX, "mnist.test").steps == ["WasmTest", "WasmTest"]


@pytest.mark.slow
def test_what_a_scanner_finds_is_declared(built: Path, tmp_path: Path) -> None:
    """A model's external data, and the manifest's own folder besides."""
    top = copy(built, tmp_path / "checkout")
    model = tiny()
    data = store_outside(model, "w", "data/w.bin")
    (top / "models/tiny/data").mkdir()
    (top / "models/tiny/data/w.bin").write_bytes(data)
    onnx.save(model, top / "models/tiny/tiny.onnx")
    before = (top / "build/teaclave/tiny/tiny.wasm").read_bytes()
    assert scons(top, SANDBOX, "tiny.wasm").steps == ["TvmIr"]  # the same weights, stored elsewhere
    assert (top / "build/teaclave/tiny/tiny.wasm").read_bytes() == before
    (top / "models/tiny/data/w.bin").unlink()
    build = scons(top, SANDBOX, "tiny.wasm", status=2)
    assert "data/w.bin" in build.err
    assert "does not declare" not in build.err


@pytest.mark.slow
def test_the_wrapper_is_compiled_in_it(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    library = top / "build/teaclave/wrapper/libwrapper.a"
    expected = library.read_bytes()
    library.unlink()
    assert scons(top, SANDBOX, library.relative_to(top)).steps == ["RustWrapper"]
    assert library.read_bytes() == expected
    assert sorted(it.name for it in library.parent.iterdir()) == ["libwrapper.a"]


def test_a_step_that_reads_more_than_its_rule_says_fails(built: Path, tmp_path: Path) -> None:
    """A line added to a real action: right in the checkout, refused in the sandbox."""
    top = copy(built, tmp_path / "checkout")
    action = top / "site_scons/onnx_wasm/actions/model_library.py"
    line = "    graph = arguments.graph.read_bytes()\n"
    edit(action, line, f"{line}    Path('SConstruct').read_bytes()\n")
    library = "build/teaclave/tiny/libtiny.a"
    build = scons(top, SANDBOX, library, status=2)
    assert "SConstruct: ModelLibrary reads it, but does not declare it\n" in build.err
    assert "Traceback" not in build.err
    assert scons(top, library).steps == ["ModelLibrary"]


def test_a_mistake_in_a_model_is_told_as_ever(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    edit(top / "models/tiny/tiny.toml", 'name = "y"', 'name = "z"')
    told = [scons(top, strategy, "tiny.wasm", status=2).err for strategy in ("--strategy=local", SANDBOX)]
    assert "models/tiny/tiny.toml:8" in told[0]
    assert told[0] == told[1]


@pytest.mark.slow
def test_a_killed_build_leaves_no_process_and_nothing_in_the_way(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    expected = artefacts(top / "build")
    folder = top / "build/teaclave/tiny"
    (folder / ".tiny.o.sandbox/0").mkdir(parents=True)
    (folder / ".tiny.o.sandbox/0/tiny.o").write_bytes(b"half of it")
    (folder / "tiny.o").unlink()
    assert scons(top, SANDBOX, "tiny.wasm").steps == ["WasmObject"]
    assert artefacts(top / "build") == expected
