"""What stands in the way of a release is told before anything is built, all at once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support import ROOT, WORKSPACE, commit, edit, place_tiny, scons

from onnx_wasm.release import sums

SITE = ("--site-dir", ROOT / "site_scons")
COMPLETE = f"""version = "1.0.0"
license = "CC0-1.0"
sha256 = "{"0" * 64}"
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace of one model, in a repository."""
    top = tmp_path / "workspace"
    place_tiny(top)
    (top / "SConstruct").write_text(WORKSPACE)
    (top / ".gitignore").write_text(".sconsign*\n")
    commit(top)
    return top


def test_all_reasons_are_told_at_once_and_nothing_is_built(workspace: Path) -> None:
    (workspace / "more.txt").touch()
    build = scons(workspace, *SITE, "-Q", "tiny.release", status=2)
    assert build.steps == []
    assert "git: not committed: more.txt\n" in build.err
    for key in ("version", "sha256", "license"):
        assert f"tiny.toml:3: model.{key} is missing: a release needs it\n" in build.err
    assert "toolchain.lock: there is no such lock file: the toolchain is not pinned\n" in build.err
    assert "Traceback" not in build.err
    assert not (workspace / "dist").exists()


def test_other_targets_do_not_mind(workspace: Path) -> None:
    build = scons(workspace, *SITE, "-Q", "-n", "tiny.wasm")
    assert "WasmModule" in build.steps
    assert "WasmRelease" not in build.out


def test_a_folder_without_git_has_no_release(workspace: Path) -> None:
    (workspace / ".git").rename(workspace / "no.git")
    build = scons(workspace, *SITE, "-Q", "tiny.release", status=2)
    assert "a release is made from a commit" in build.err


def test_a_tool_that_is_not_the_one_pinned_is_named(workspace: Path) -> None:
    edit(workspace / "tiny.toml", 'name = "tiny"\n', f'name = "tiny"\n{COMPLETE}')
    scons(workspace, *SITE, "-Q", "toolchain.lock")
    pinned = (workspace / "toolchain.lock").read_text().replace("scons: scons 4", "scons: scons 3")
    (workspace / "toolchain.lock").write_text(f"{pinned}assembler: assembler 1.0\n")
    commit(workspace)
    build = scons(workspace, *SITE, "-Q", "tiny.release", status=2)
    line = [text.partition(":")[0] for text in pinned.splitlines()].index("scons") + 1
    assert f"toolchain.lock:{line}: scons is scons 4" in build.err
    assert "assembler is missing; pinned is assembler 1.0" in build.err
    assert build.err.count("; pinned is ") == 2
    assert build.steps == []


def test_a_release_is_made_in_a_sandbox(workspace: Path, tmp_path: Path) -> None:
    """Where there can be none, that is told, with the target that asks for it."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("git", "python3"):
        (programs / name).symlink_to(str(shutil.which(name)))
    build = scons(workspace, *SITE, "-Q", "tiny.release", environ={"PATH": str(programs)}, status=2)
    assert "tiny.release: the strategy sandbox needs bubblewrap" in build.err
    build = scons(workspace, *SITE, "-Q", "tiny.wasm", "-n", status=0)
    assert "WasmModule" in build.steps


def test_weights_in_a_file_and_variants_are_released_with_their_modules(workspace: Path) -> None:
    sha256 = sums.digest(workspace / "tiny.onnx")
    edit(workspace / "tiny.toml", 'name = "tiny"\n', f'name = "tiny"\n{COMPLETE.replace("0" * 64, sha256)}')
    more = '[params]\nmode = "file"\n[[variant]]\nname = "two"\nshapes = { x = [2, 4] }\n'
    (workspace / "tiny.toml").write_text(f"{(workspace / 'tiny.toml').read_text()}{more}")
    scons(workspace, *SITE, "-Q", "toolchain.lock")
    commit(workspace)
    for name in ("tiny", "tiny-two"):
        build = scons(workspace, *SITE, "-Q", "-n", f"{name}.release", environ={"ONNX_WASM_VERBOSE": "1"})
        _, _, words = build.out.partition(" --release ")
        released, _ = json.JSONDecoder().raw_decode(words.removeprefix('"'))
        (built,) = released["built"]
        assert released["name"] == name
        assert {f"{name}.wasm", f"{name}.interface.json", f"{name}.params"} == set(built["files"])
        assert built["verify"] == f"build/release/teaclave/{name}/{name}.verify.json"
        assert f"--folder dist/{name}-1.0.0 " in build.out
