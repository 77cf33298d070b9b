"""The workspace file says how a checkout builds; what it says wrong is told with its line, before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import WORKSPACE, place_tiny, scons

from onnx_wasm.errors import BuildError
from onnx_wasm.workspace_file import Build, WorkspaceFile, in_bytes, load


def test_there_need_be_none(tmp_path: Path) -> None:
    assert load(tmp_path / "workspace.toml") == WorkspaceFile()


def test_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "workspace.toml"
    file.write_text('[build]\nstrategy = "sandbox"\nworkers = 0\njobs-memory = "1 GB"\n')
    assert load(file).build == Build(strategy="sandbox", workers=0, jobs_memory="1 GB")


@pytest.mark.parametrize(("size", "number"), [("1 MB", 1_000_000), ("800MB", 800_000_000), ("12 GB", 12_000_000_000)])
def test_sizes_have_units(size: str, number: int) -> None:
    assert in_bytes(size) == number


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[build]\nstratgy = "local"', "workspace.toml:2: build.stratgy is not a key here\n    did you mean strategy?"),
        ('[build]\nstrategy = "moon"', 'workspace.toml:2: build.strategy must be "local", "sandbox" or "remote"'),
        ("[build]\nworkers = 2", "workspace.toml:2: build.workers must be an integer from 0 to 1"),
        ("[build]\njobs-memory = 800", "workspace.toml:2: build.jobs-memory must be a size in MB or GB"),
        ('[build]\njobs-memory = "0 GB"', 'such as "800 MB" or "4 GB", not the string "0 GB"'),
        ("[build", "workspace.toml:1:7: is not TOML"),
        ('[build]\nworkers = "0"\n[bulid]', "workspace.toml:3: bulid is not a key here\n    did you mean build?"),
    ],
)
def test_each_mistake_is_told(text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("workspace.toml").write_text(text)
    with pytest.raises(BuildError) as error:
        load(Path("workspace.toml"))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("words", "variables", "message"),
    [
        (("--strategy=locl",), {}, "--strategy: there is no strategy locl\n    did you mean local?\n"),
        ((), {"ONNX_WASM_STRATEGY": "moon"}, "ONNX_WASM_STRATEGY: there is no strategy moon\n"),
        ((), {}, 'workspace.toml:2: build.strategy must be "local", "sandbox" or "remote", not the string "moon"\n'),
    ],
)
def test_a_build_ends_where_the_strategy_is_wrong(
    words: tuple[str, ...], variables: dict[str, str], message: str, tmp_path: Path
) -> None:
    place_tiny(tmp_path)
    if not words and not variables:
        (tmp_path / "workspace.toml").write_text('[build]\nstrategy = "moon"\n')
    site = Path(__file__).parents[1] / "site_scons"
    build = scons(
        tmp_path, f"--site-dir={site}", *words, "tiny.wasm", sconstruct=WORKSPACE, environ=variables, status=2
    )
    assert message in build.err
    assert "Traceback" not in build.err
    assert not build.steps
