"""``affected --since REV``: the targets that a change touches, as git knows the change."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support import ROOT, TINY, checkout, edit, place_tiny, scons

TESTS = '\n[[test]]\ninputs = { x = "x.npy" }\nreturn = 0\n'
A = ["a.teaclave", "a.teaclave.wasm", "a.test", "a.verify", "a.wasm"]
B = ["b.teaclave", "b.teaclave.wasm", "b.verify", "b.wasm"]


def git(top: Path, *words: str) -> None:
    ours = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *ours, *words], cwd=top, check=True, capture_output=True)


def place(top: Path, name: str, more: str = "") -> None:
    manifest = place_tiny(top / "models" / name)
    manifest.write_text(TINY.replace('"tiny"', f'"{name}"', 1) + more)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A workspace in a folder of a git checkout: two models, one of which has a test."""
    top = checkout(tmp_path / "repository/ml")
    shutil.rmtree(top / "models/mnist")
    shutil.rmtree(top / "examples")
    shutil.copy(ROOT / ".gitignore", top)
    shutil.copy(ROOT / "requirements.lock", top)
    place(top, "a", TESTS)
    (top / "models/a/x.npy").write_bytes(b"")
    place(top, "b")
    (top.parent / "unrelated").mkdir()
    (top.parent / "unrelated/file").write_text("")
    git(top.parent, "init", "-q", "-b", "main")
    git(top.parent, "add", "-A")
    git(top.parent, "commit", "-q", "-m", "the first")
    return top


def affected(top: Path, since: str = "main") -> list[str]:
    return scons(top, "-Q", "affected", "--since", since).out.splitlines()


def append(file: str) -> Callable[[Path], object]:
    def change(top: Path) -> None:
        with (top / file).open("a") as opened:
            opened.write("# a change\n")

    return change


def rename(old: str, new: str) -> Callable[[Path], object]:
    return lambda top: (top / old).rename(top / new)


def other_weights(top: Path) -> None:
    place_tiny(top / "build/other", 1).with_name("tiny.onnx").rename(top / "models/b/tiny.onnx")


CHANGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "nothing": (lambda _: None, []),
    "a manifest": (append("models/a/tiny.toml"), A),
    "an ONNX file": (other_weights, B),
    "what a test reads": (lambda top: (top / "models/a/x.npy").write_bytes(b"1"), ["a.test", "a.verify"]),
    "a file that nobody reads": (lambda top: (top / "models/a/notes.txt").write_text(""), []),
    "a file outside of the workspace": (append("../unrelated/file"), []),
    "a new model": (lambda top: place(top, "c"), ["c.teaclave", "c.teaclave.wasm", "c.verify", "c.wasm"]),
    "a model less": (lambda top: shutil.rmtree(top / "models/a"), []),
    "a folder of another name": (rename("models/a", "models/z"), A),
    "a manifest of another name": (rename("models/b/tiny.toml", "models/b/other.toml"), B),
    "a source of the wrapper": (append("wrapper/src/lib.rs"), A + B),
    "a source of the wrapper less": (lambda top: (top / "wrapper/src/math.rs").unlink(), A + B),
    "a source of the compiler": (append("site_scons/onnx_wasm/compiler/memory.py"), A + B),
    "a source of the tests' hosts": (append("site_scons/onnx_wasm/actions/run_tests.py"), ["a.test"]),
    "a rule": (append("site_scons/onnx_wasm/rules/wasm_object.py"), A + B),
    "the SConstruct": (append("SConstruct"), A + B),
    "the versions of Python packages": (append("requirements.lock"), A + B),
    "what only answers questions": (append("site_scons/onnx_wasm/query/picture.py"), []),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_touches_what_is_made_from_it(name: str, top: Path) -> None:
    change, expected = CHANGES[name]
    change(top)
    assert [it for it in affected(top) if it.partition(".")[0] in "abc"] == sorted(expected)


@pytest.mark.slow
def test_committed_changes_count(top: Path) -> None:
    append("models/a/tiny.toml")(top)
    git(top, "commit", "-q", "-a", "-m", "the second")
    assert affected(top) == []
    assert affected(top, "main~1") == A


@pytest.mark.slow
def test_a_change_that_was_taken_back_touches_nothing(top: Path) -> None:
    append("models/a/tiny.toml")(top)
    edit(top / "models/a/tiny.toml", "# a change\n", "")
    assert affected(top) == []


@pytest.mark.slow
def test_mistakes_are_told(top: Path) -> None:
    def told(folder: Path, *words: str) -> str:
        return scons(folder, "-Q", "affected", *words, status=2).err

    assert "--since: git knows no revision nowhere" in told(top, "--since", "nowhere")
    assert "--since: git knows no revision --help" in told(top, "--since=--help")
    assert "affected: what is it to be compared with?" in told(top)
    shutil.rmtree(top.parent / ".git")
    assert "affected: git: fatal: not a git repository" in told(top, "--since", "main")
