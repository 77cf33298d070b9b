"""The toolchain is found wherever it is, fingerprinted whatever its path, and remembered from run to run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from toolchains import HOST, ROOT, crates, distribution, program, rust, tools

from onnx_wasm import bootstrap, remedies, toolchain
from onnx_wasm.errors import BuildError

DISTRIBUTIONS = [name for names in toolchain.PACKAGES.values() for name in names]


def environ(*folders: Path, **more: str) -> dict[str, str]:
    return {"PATH": os.pathsep.join(map(str, folders)), "HOME": "/nowhere", **more}


def found(environ: dict[str, str], cache: Path | None = None) -> dict[str, toolchain.Tool]:
    return dict(toolchain.survey(environ, cache, Path("/nowhere")).found)


def fake_home(tmp_path: Path, default: str) -> Path:
    home = tmp_path / "home"
    (home / ".rustup" / "toolchains").mkdir(parents=True)
    (home / ".rustup" / "settings.toml").write_text(f'version = "12"\ndefault_toolchain = "{default}"\n')
    return home


def test_a_compiler_without_the_target_is_passed_over(tmp_path: Path) -> None:
    without = rust(tmp_path / "without", target=False)
    with_target = rust(tmp_path / "with")
    tool = found(environ(without, with_target))["rustc"]
    assert tool.path == with_target / "rustc"
    assert tool.version == "1.63.0"


def test_cargo_is_the_one_beside_the_compiler(tmp_path: Path) -> None:
    without = rust(tmp_path / "without", target=False)
    with_target = rust(tmp_path / "with")
    assert found(environ(without, with_target))["cargo"].path == with_target / "cargo"


@pytest.mark.parametrize("chosen", ["stable-a", "nightly-b"])
def test_rustups_default_toolchain_comes_before_its_others(tmp_path: Path, chosen: str) -> None:
    home = fake_home(tmp_path, chosen)
    for name in ("stable-a", "nightly-b"):
        rust(home / ".rustup" / "toolchains" / name)
    tool = found({"PATH": "/nowhere", "HOME": str(home)})["rustc"]
    assert tool.path == home / ".rustup" / "toolchains" / chosen / "bin" / "rustc"


def test_another_of_rustups_toolchains_serves_if_the_default_lacks_the_target(tmp_path: Path) -> None:
    home = fake_home(tmp_path, "stable-a")
    rust(home / ".rustup" / "toolchains" / "stable-a", target=False)
    with_target = rust(home / ".rustup" / "toolchains" / "beta-c")
    assert found({"PATH": "/nowhere", "HOME": str(home)})["rustc"].path == with_target / "rustc"


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_rustups_stand_ins_are_not_taken_for_compilers(tmp_path: Path, link: str) -> None:
    home = fake_home(tmp_path, "stable-a")
    real = rust(home / ".rustup" / "toolchains" / "stable-a")
    rustup = program(home / ".cargo" / "bin" / "rustup", "rustup 1.28.0")
    for name in ("rustc", "cargo"):
        getattr(rustup.with_name(name), link)(rustup)
    tools_found = found({"PATH": str(rustup.parent), "HOME": str(home)})
    assert tools_found["rustc"].path == real / "rustc"
    assert tools_found["cargo"].path == real / "cargo"


def test_a_compiler_that_is_a_script_is_asked_where_it_lives(tmp_path: Path) -> None:
    real = rust(tmp_path / "real")
    script = program(tmp_path / "shims" / "rustc", str(real.parent))
    assert found(environ(script.parent))["rustc"].path == real / "rustc"


def test_the_compilers_own_linker_comes_first(tmp_path: Path) -> None:
    path = rust(tmp_path / "rust", "1.95.0", 22)
    own = program(path.parent / "lib" / "rustlib" / HOST / "bin" / "rust-lld", "LLD 22.1.2")
    tool = found(environ(path, tools(tmp_path / "tools", 22)))["linker"]
    assert tool.path == own
    assert tool.command == (str(own), "-flavor", "wasm")


@pytest.mark.parametrize(("present", "expected"), [((19, 14, 13), 14), ((19, 13, 11), 13), ((22, 19), 19)])
def test_the_linker_nearest_to_the_compilers_llvm_is_taken_and_an_older_before_a_newer(
    tmp_path: Path, present: tuple[int, ...], expected: int
) -> None:
    folders = [tools(tmp_path / str(major), major) for major in present]
    tool = found({"PATH": os.pathsep.join(map(str, [rust(tmp_path / "rust"), *folders]))})["linker"]
    assert tool.path.name == f"wasm-ld-{expected}"
    assert tool.arguments == ()


def test_a_linker_without_a_number_is_asked_for_it(tmp_path: Path) -> None:
    program(tmp_path / "old" / "wasm-ld", "LLD 14.0.6")
    path = [rust(tmp_path / "rust"), tools(tmp_path / "new", 19), tmp_path / "old"]
    assert found({"PATH": os.pathsep.join(map(str, path))})["linker"].path.name == "wasm-ld"


def test_fingerprints_do_not_depend_on_where_the_tools_are(tmp_path: Path) -> None:
    fingerprints = []
    for place in ("here", "there"):
        path = environ(rust(tmp_path / place / "rust"), tools(tmp_path / place / "tools"))
        path["ONNX_WASM_CRATES"] = str(crates(tmp_path / place / "crates"))
        fingerprints.append([tool.fingerprint for tool in found(path).values()])
    assert fingerprints[0] == fingerprints[1]
    assert not any(str(tmp_path) in fingerprint for fingerprint in fingerprints[0])


def test_another_program_or_another_standard_library_is_another_fingerprint(tmp_path: Path) -> None:
    path = rust(tmp_path / "rust")
    seen = {found(environ(path))["rustc"].fingerprint}
    with (path / "rustc").open("a") as rustc:
        rustc.write("# patched\n")
    seen.add(found(environ(path))["rustc"].fingerprint)
    library = path.parent / "lib" / "rustlib" / toolchain.RUST_TARGET / "lib" / "libstd-0123456789abcdef.rlib"
    library.rename(library.with_name("libstd-fedcba9876543210.rlib"))
    seen.add(found(environ(path))["rustc"].fingerprint)
    assert len(seen) == 3


def test_a_python_packages_fingerprint_is_of_its_own_files(tmp_path: Path) -> None:
    own = "numpy/core.so,sha256=AAA,1\nnumpy/core.py,sha256=BBB,2\n"
    records = {
        "plain": own,
        "script": f"../../../bin/f2py,sha256=CCC,3\n{own}",
        "byte code": f"{own}numpy/__pycache__/core.cpython-311.pyc,,\n",
        "installer": f"{own}numpy-2.4.6.dist-info/INSTALLER,sha256=DDD,4\n",
        "other": own.replace("BBB", "EEE"),
    }
    fingerprints = {}
    for name, record in records.items():
        prefix = tmp_path / name
        distribution(prefix / "lib" / "python3.11" / "site-packages", "numpy", "2.4.6", record)
        fingerprints[name] = toolchain.survey(environ(), None, prefix).found["numpy"].fingerprint
    assert fingerprints["plain"].startswith("numpy 2.4.6 sha256:")
    assert fingerprints["plain"] == fingerprints["script"] == fingerprints["byte code"] == fingerprints["installer"]
    assert fingerprints["plain"] != fingerprints["other"]


def test_every_missing_tool_is_told_at_once_with_what_brings_it(tmp_path: Path) -> None:
    nothing = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    with pytest.raises(BuildError) as raised:
        toolchain.find(nothing)
    problems = {problem.where: problem for problem in raised.value.problems}
    expected = {f"toolchain: {name}" for name in ("rustc", "cargo", "cc", "linker", "archiver")}
    assert expected == set(problems)
    assert all(problem.hint for problem in problems.values())
    assert toolchain.RUST_TARGET in problems["toolchain: rustc"].message


@pytest.mark.parametrize("name", ["rustc", "cargo", "cc", "linker", "archiver", "crates"])
def test_a_variable_that_names_nothing_is_told_by_its_name(tmp_path: Path, name: str) -> None:
    variable = f"ONNX_WASM_{name.upper()}"
    path = environ(rust(tmp_path / "rust"), tools(tmp_path / "tools"), **{variable: "/no/such/thing"})
    with pytest.raises(BuildError) as raised:
        toolchain.find(path)
    (problem,) = raised.value.problems
    assert f"{variable} names /no/such/thing" in problem.message
    assert variable in problem.hint


def test_a_variable_comes_before_every_search(tmp_path: Path) -> None:
    on_path = rust(tmp_path / "on-path")
    named = rust(tmp_path / "named", "1.70.0")
    tool = found(environ(on_path, ONNX_WASM_RUSTC=str(named / "rustc")))["rustc"]
    assert (tool.path, tool.version) == (named / "rustc", "1.70.0")


def test_a_tool_s_roots_are_its_own_installation(tmp_path: Path) -> None:
    """What a sandbox has to hold of it: never the whole home that a lone program is in."""
    sysroot = tmp_path / "sysroot"
    lld = sysroot / "lib/rustlib/host/bin/rust-lld"
    alone = tmp_path / "home/bin/llvm-ar"
    for path in (lld, alone, sysroot / "bin/rustc"):
        program(path, "")
    roots = {path: set(toolchain.Tool("", path, "", "").roots()) for path in (lld, alone, sysroot / "bin/rustc")}
    assert roots == {lld: {sysroot}, alone: {alone}, sysroot / "bin/rustc": {sysroot}}


def test_crates_must_be_those_of_the_lock_file(tmp_path: Path) -> None:
    folder = crates(tmp_path / "crates")
    assert found(environ(ONNX_WASM_CRATES=str(folder)))["crates"].path == folder
    shutil.rmtree(next(folder.glob("png-*")))
    assert "crates" not in found(environ(ONNX_WASM_CRATES=str(folder)))


def test_nothing_is_run_twice_until_it_changes(tmp_path: Path) -> None:
    log = tmp_path / "log"
    path = environ(rust(tmp_path / "rust", log=log), tools(tmp_path / "tools", log=log))
    cache = tmp_path / "build" / "toolchain.json"
    first = found(path, cache)
    assert set(log.read_text().split()) == {"rustc", "cargo", "cc", "wasm-ld-14", "llvm-ar-14"}
    log.unlink()
    assert found(path, cache) == first
    assert not log.exists()
    program(tmp_path / "tools" / "cc", "cc 13.0.0", log=log)
    assert found(path, cache)["cc"].version == "13.0.0"
    assert log.read_text().split() == ["cc"]


@pytest.mark.parametrize("content", ["", "[1]", '{"cut', "\x00"])
def test_a_broken_memory_is_made_anew(tmp_path: Path, content: str) -> None:
    cache = tmp_path / "toolchain.json"
    cache.write_text(content)
    path = environ(rust(tmp_path / "rust"))
    assert found(path, cache) == found(path)
    assert found(path, cache) == found(path)


def test_a_build_folder_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    (tmp_path / "build").write_text("a file")
    assert "rustc" in found(environ(rust(tmp_path / "rust")), tmp_path / "build" / "toolchain.json")


def test_the_machines_own_toolchain_is_found_without_a_process_the_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "toolchain.json"
    first = toolchain.find(cache=cache)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a process was started"))
    assert toolchain.find(cache=cache) == first


def test_nothing_but_the_standard_library_is_imported() -> None:
    script = "import sys; sys.path.insert(0, sys.argv[1]); from onnx_wasm import bootstrap; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", script, str(ROOT / "site_scons")]
    modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    foreign = {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names) - {"__main__", "onnx_wasm"}
    assert not foreign


def test_apt_is_asked_for_the_crates_that_the_wrapper_names() -> None:
    manifest = tomllib.loads((ROOT / "wrapper" / "Cargo.toml").read_text())
    assert sorted(manifest["dependencies"]) == sorted(remedies.CRATES)


@pytest.mark.parametrize(
    ("programs", "root", "expected"),
    [
        (
            ["apt-get"],
            False,
            ["sudo apt-get update", "sudo apt-get install -y --no-install-recommends lld gcc libc6-dev"],
        ),
        (["apt-get"], True, ["apt-get update", "apt-get install -y --no-install-recommends lld gcc libc6-dev"]),
        (["dnf", "rustup"], False, ["sudo dnf install -y gcc", "rustup target add", "rustup component add llvm-tools"]),
        (["xcode-select"], False, ["xcode-select --install", "https://sh.rustup.rs | sh -s -- -y"]),
    ],
)
def test_the_commands_are_those_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: list[str], root: bool, expected: list[str]
) -> None:
    for name in programs:
        program(tmp_path / name, "")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    commands = remedies.commands(["linker", "cc"])
    assert len(commands) == len(expected)
    for part, command in zip(expected, commands, strict=True):
        assert part in command


def test_the_lock_files_hold_every_pin_with_hashes_and_each_holds_the_smaller_ones() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pins = {}
    for profile, file in bootstrap.LOCK_FILES.items():
        text = (ROOT / file).read_text()
        assert "://" not in text
        entries = re.findall(
            r"^([a-z][^\s;]*)[^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}[ \\]*\n)+)", text, re.MULTILINE
        )
        pins[profile] = {pin for pin, _ in entries}
        assert len(entries) == len(re.findall(r"^[a-z]", text, re.MULTILINE))
    extras = [
        re.sub(r"\[.*\]", "", pin) for extra in project["project"]["optional-dependencies"].values() for pin in extra
    ]
    assert set(project["project"]["dependencies"]) <= pins["build"] <= pins["full"] <= pins["dev"]
    assert set(extras) <= pins["full"]
    assert set(project["dependency-groups"]["dev"]) <= pins["dev"]
