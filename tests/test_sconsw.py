"""sconsw sets up what is missing or changes nothing, and costs next to nothing once that is done.

The set-ups here are real but small: a checkout of sconsw alone, lock files that name a wheel of one module, and a
toolchain of shell scripts on a PATH that has nothing else of the machine but what sconsw itself runs.
"""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from toolchains import ROOT, crates, distribution, program, rust, tools, wheel

from onnx_wasm import bootstrap, toolchain

UTILITIES = ("sh", "cat", "cmp", "env", "id", "readlink", "sleep", "touch")
MOST_MILLISECONDS = 50


@dataclass(frozen=True)
class Machine:
    """A machine of its own: programs, and a checkout."""

    programs: Path
    checkout: Path
    environ: dict[str, str]

    def start(self, *words: str, cwd: Path | None = None, sconsw: str = "./sconsw") -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sconsw, *words],
            cwd=cwd or self.checkout,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, cwd: Path | None = None, sconsw: str = "./sconsw") -> subprocess.CompletedProcess[str]:
        process = self.start(*words, cwd=cwd, sconsw=sconsw)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def files(self) -> set[Path]:
        return set(self.checkout.rglob("*"))

    def lock(self, profile: str, lines: Sequence[str]) -> None:
        (self.checkout / bootstrap.LOCK_FILES[profile]).write_text("".join(lines))

    def module_version(self, name: str) -> str:
        python = self.checkout / ".venv" / "bin" / "python"
        command = [python, "-c", f"import {name}; print({name}.VERSION)"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    """A machine with Python, and neither apt nor any tool of the toolchain."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in UTILITIES:
        (programs / name).symlink_to(shutil.which(name) or pytest.skip(f"no {name}"))
    (programs / "python3").symlink_to(Path(sys.executable).resolve())
    checkout = tmp_path / "check out"
    checkout.mkdir()
    for name in ("sconsw", *bootstrap.LOCK_FILES.values(), "wrapper/Cargo.toml", "wrapper/Cargo.lock"):
        (checkout / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    package = checkout / "site_scons" / "onnx_wasm"
    package.mkdir(parents=True)
    for name in ("__init__.py", "errors.py", "file_facts.py", "remedies.py", "toolchain.py", "bootstrap.py"):
        shutil.copy(ROOT / "site_scons" / "onnx_wasm" / name, package)
    wheels = tmp_path / "wheels"
    environ = {
        "PATH": str(programs),
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    machine = Machine(programs, checkout, environ)
    machine.lock("build", [wheel(wheels, "spam", "1.0")])
    machine.lock("full", [wheel(wheels, "spam", "1.0"), wheel(wheels, "bacon", "3.0")])
    machine.lock(
        "dev", [wheel(wheels, name, version) for name, version in (("spam", "1.0"), ("bacon", "3.0"), ("eggs", "2.0"))]
    )
    return machine


@pytest.fixture
def equipped(bare: Machine, tmp_path: Path) -> Machine:
    """A machine that has the toolchain, and nothing set up yet."""
    path = os.pathsep.join([str(rust(tmp_path / "rust")), str(tools(tmp_path / "tools")), str(bare.programs)])
    more = {"PATH": path, "ONNX_WASM_CRATES": str(crates(tmp_path / "crates"))}
    return Machine(bare.programs, bare.checkout, {**bare.environ, **more})


@pytest.fixture
def ready(bare: Machine) -> Machine:
    """A machine that is set up, where Python only tells how it was started."""
    program(bare.checkout / ".venv" / "bin" / "python", "")
    python = bare.checkout / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\npwd\nprintf "%s\\n" "$0" "$@"\n')
    shutil.copy(bare.checkout / "requirements.lock", bare.checkout / ".venv")
    return bare


def python_of(machine: Machine) -> str:
    return str(machine.checkout.resolve() / ".venv" / "bin" / "python")


def test_scons_runs_in_the_current_directory_with_the_arguments_as_they_are(ready: Machine) -> None:
    words = ["mnist.run", "a b", "--debug=explain", "KEY=$x*", ""]
    result = ready.run(*words)
    assert result.returncode == 0
    assert result.stdout.split("\n")[:-1] == [str(ready.checkout), python_of(ready), "-P", "-m", "SCons", *words]
    assert result.stderr == ""


@pytest.mark.parametrize("how", ["relative", "absolute", "link", "link to a link", "through PATH", "with sh"])
def test_it_is_found_from_anywhere(ready: Machine, tmp_path: Path, how: str) -> None:
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    (elsewhere / "absolute-link").symlink_to(ready.checkout / "sconsw")
    (elsewhere / "second-link").symlink_to("absolute-link")
    command = {
        "relative": "../check out/sconsw",
        "absolute": str(ready.checkout / "sconsw"),
        "link": "./absolute-link",
        "link to a link": "./second-link",
        "through PATH": "sconsw",
        "with sh": "sh",
    }[how]
    cwd = ready.checkout if how == "with sh" else elsewhere
    if how == "through PATH":
        (ready.programs / "sconsw").symlink_to(ready.checkout / "sconsw")
        result = ready.run("sconsw", "-u", cwd=cwd, sconsw=str(ready.programs / "env"))
    else:
        result = ready.run(*(["sconsw"] if how == "with sh" else []), "-u", cwd=cwd, sconsw=command)
    assert result.stdout.splitlines() == [str(cwd), python_of(ready), "-P", "-m", "SCons", "-u"]


def test_it_adds_next_to_nothing_once_set_up(ready: Machine) -> None:
    milliseconds = []
    for _ in range(15):
        started = time.perf_counter()
        assert ready.run("mnist.wasm").returncode == 0
        milliseconds.append((time.perf_counter() - started) * 1000)
    assert statistics.median(milliseconds) < MOST_MILLISECONDS


@pytest.mark.parametrize("target", ["test", "lint", "docs", "bench-build"])
def test_some_targets_ask_for_the_profile_dev(ready: Machine, target: str) -> None:
    assert ready.run("mnist.wasm").returncode == 0
    assert ready.run("-j2", target).returncode == 2  # nothing there to set it up with
    shutil.copy(ready.checkout / "requirements-dev.lock", ready.checkout / ".venv")
    assert ready.run("-j2", target).returncode == 0


def test_without_apt_it_prints_the_commands_and_changes_nothing(bare: Machine) -> None:
    before = bare.files()
    result = bare.run("mnist.wasm")
    assert (result.returncode, result.stdout) == (2, "")
    for text in ("toolchain: rustc", "toolchain: cargo", "toolchain: cc", "toolchain: linker", "toolchain: archiver"):
        assert text in result.stderr
    assert f"https://sh.rustup.rs | sh -s -- -y --profile minimal --target {toolchain.RUST_TARGET}" in result.stderr
    assert "Traceback" not in result.stderr
    assert bare.files() == before


def test_with_rustup_it_says_what_to_add_to_it(bare: Machine) -> None:
    program(bare.programs / "rustup", "rustup 1.28.0")
    result = bare.run("mnist.wasm")
    assert result.returncode == 2
    assert f"    rustup target add {toolchain.RUST_TARGET}\n    rustup component add llvm-tools\n" in result.stderr


def test_without_python_it_says_so(bare: Machine) -> None:
    (bare.programs / "python3").unlink()
    for words in (["mnist.wasm"], ["doctor"], ["setup"]):
        result = bare.run(*words)
        assert result.returncode == 2
        assert "Python of version 3.11 or later" in result.stderr


def test_a_python_that_is_too_old_is_passed_over(bare: Machine) -> None:
    (bare.programs / "python3").rename(bare.programs / "python3.13")
    (bare.programs / "python3").symlink_to("/bin/false")
    assert "toolchain: rustc" in bare.run("mnist.wasm").stderr


def test_a_wrong_variable_is_named(equipped: Machine) -> None:
    equipped.environ["ONNX_WASM_LINKER"] = "/no/such/linker"
    result = equipped.run("setup")
    assert result.returncode == 2
    assert "ONNX_WASM_LINKER names /no/such/linker" in result.stderr
    assert not (equipped.checkout / ".venv").exists()


def test_an_unknown_profile_is_refused(equipped: Machine) -> None:
    result = equipped.run("setup", "prod")
    assert result.returncode == 2
    assert "one of: build, full, dev" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may have apt install")
@pytest.mark.parametrize(("half", "packages"), [("", "lld llvm"), ("cargo", "cargo lld llvm")])
def test_as_root_apt_brings_what_is_missing_or_half_installed_and_nothing_else(
    ready: Machine, tmp_path: Path, half: str, packages: str
) -> None:
    rust(tmp_path / "rust")
    ready.environ["ONNX_WASM_CRATES"] = str(crates(tmp_path / "crates"))
    program(tmp_path / "tools" / "cc", "cc 12.2.0")
    program(tmp_path / "tools" / "bwrap", "bubblewrap 0.8.0")
    ready.environ["PATH"] += f":{tmp_path / 'rust' / 'bin'}:{tmp_path / 'tools'}"
    log = tmp_path / "log"
    program(ready.programs / "apt-cache", "known")
    states = tmp_path / "states"
    states.write_text(f"un  lld\nii  gcc\niU  {half}\n" if half else "un  lld\n")
    program(ready.programs / "dpkg-query", "").write_text(f"#!/bin/sh\ncat {states}\n")
    apt = ready.programs / "apt-get"
    apt.write_text(
        f'#!/bin/sh\necho "$@" >> {log}\n: > {states}\n'
        f"printf '#!/bin/sh\\necho LLD 14.0.6\\n' > {ready.programs}/wasm-ld\n"
        f"printf '#!/bin/sh\\necho LLVM version 14.0.6\\n' > {ready.programs}/llvm-ar\n"
        f"{shutil.which('chmod')} +x {ready.programs}/wasm-ld {ready.programs}/llvm-ar\n"
    )
    apt.chmod(0o755)
    result = ready.run("setup")
    assert result.returncode == 0, result.stderr
    assert f"sconsw: installing with apt: {packages}\n" in result.stderr
    (command,) = log.read_text().splitlines()
    assert command.endswith(f"--no-install-recommends install {packages}")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may have apt install")
@pytest.mark.parametrize("refused", ["", "chromium"])
def test_as_root_apt_brings_what_builds_can_do_without_and_may_fail_to(
    equipped: Machine, tmp_path: Path, refused: str
) -> None:
    log = tmp_path / "log"
    log.touch()
    program(equipped.programs / "apt-cache", "known")
    for name in ("dpkg", "dpkg-query"):
        program(equipped.programs / name, "")
    program(equipped.programs / "apt-get", "").write_text(
        f'#!/bin/sh\necho "$@" >> {log}\ncase "$*" in *" install ${{REFUSED:-none}}") exit 100;; esac\n'
    )
    equipped.environ["REFUSED"] = refused
    full = {"bubblewrap", "binaryen", "faketime"}
    for profile, packages in (
        ("build", {"bubblewrap"}),
        ("full", full),
        ("dev", {*full, "chromium", "nginx", "nodejs"}),
    ):
        log.write_text("")
        result = equipped.run("setup", profile)
        assert result.returncode == 0, result.stderr
        installed = [line.split(" install ")[1] for line in log.read_text().splitlines() if " install " in line]
        assert set(installed) == packages
        assert ("sconsw: what runs chromium will fail" in result.stderr) == (refused in packages)


def test_doctor_tells_what_is_there_and_what_is_missing_and_how_to_get_it(equipped: Machine) -> None:
    result = equipped.run("doctor")
    assert result.returncode == 2
    rows = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert rows["rustc"].split()[1:] == ["1.63.0", str(Path(equipped.environ["PATH"].split(":")[0], "rustc"))]
    assert rows["tvm"].split(maxsplit=2)[1:] == ["missing", "./sconsw setup"]
    assert rows[".venv"].split(maxsplit=2)[1:] == ["missing", "./sconsw setup"]
    starts = {line.index(line.split(maxsplit=1)[1]) for line in result.stdout.splitlines()}
    assert len(starts) == 1  # one column
    equipped.environ["PATH"] = str(equipped.programs)
    assert "rustup" in next(line for line in equipped.run("doctor").stdout.splitlines() if line.startswith("rustc"))


def test_doctor_is_content_with_a_complete_machine(equipped: Machine) -> None:
    venv = equipped.checkout / ".venv"
    for names in toolchain.PACKAGES.values():
        for name in names:
            distribution(venv / "lib" / "python3.11" / "site-packages", name.replace("-", "_"), "1.0", "")
    program(venv / "bin" / "python", "")
    assert equipped.run("doctor").returncode == 2
    shutil.copy(equipped.checkout / "requirements.lock", venv)
    result = equipped.run("doctor")
    assert result.returncode == 0
    assert "missing" not in result.stdout
    needed = set(toolchain.Toolchain.__dataclass_fields__) - {"optimizer"}  # which only releases need
    assert needed <= {line.split()[0] for line in result.stdout.splitlines()}


@pytest.mark.slow
def test_a_set_up_is_complete_and_said_only_once(equipped: Machine) -> None:
    first = equipped.run("--version")
    assert "installing Python packages into .venv from requirements.lock" in first.stderr
    assert "No module named SCons" in first.stderr  # that is what runs in the end; the wheel here is none of it
    assert equipped.module_version("spam") == "1.0"
    assert equipped.module_version("eggs") == ""
    assert "sconsw:" not in equipped.run("--version").stderr


@pytest.mark.slow
def test_dev_is_added_to_what_is_there_and_serves_builds_too(equipped: Machine) -> None:
    assert equipped.run("setup").returncode == 0
    marker = equipped.checkout / ".venv" / "marker"
    marker.touch()
    assert equipped.run("setup", "dev").returncode == 0
    assert marker.exists()
    assert equipped.module_version("eggs") == "2.0"
    assert "sconsw:" not in equipped.run("mnist.wasm").stderr
    assert "sconsw:" not in equipped.run("test").stderr


@pytest.mark.slow
def test_a_profile_is_set_up_when_a_word_asks_for_it(equipped: Machine) -> None:
    assert "from requirements.lock" in equipped.run("mnist.wasm").stderr
    assert "from requirements-full.lock" in equipped.run("mnist.release").stderr
    assert equipped.module_version("bacon") == "3.0"
    assert equipped.module_version("eggs") == ""
    assert "sconsw:" not in equipped.run("--remote-cache=http://localhost", "mnist.wasm").stderr
    assert "from requirements-dev.lock" in equipped.run("mnist.release", "test").stderr
    assert "sconsw:" not in equipped.run("mnist.release").stderr


@pytest.mark.slow
def test_a_changed_lock_file_is_installed_from_the_start(equipped: Machine, tmp_path: Path) -> None:
    assert equipped.run("setup", "dev").returncode == 0
    equipped.lock("build", [wheel(tmp_path / "wheels", "spam", "1.1")])
    assert "from requirements.lock" in equipped.run("mnist.wasm").stderr
    assert equipped.module_version("spam") == "1.1"
    assert equipped.module_version("eggs") == ""


@pytest.mark.slow
def test_a_failed_set_up_leaves_nothing_half_made(equipped: Machine, tmp_path: Path) -> None:
    equipped.lock("build", [wheel(tmp_path / "wheels", "spam", "1.0").replace("sha256:", "sha256:0")[:-2] + "\n"])
    result = equipped.run("mnist.wasm")
    assert result.returncode == 2
    assert "pip: " in result.stderr
    assert "Traceback" not in result.stderr
    assert not (equipped.checkout / ".venv").exists()


@pytest.mark.slow
def test_builds_go_on_if_dev_cannot_be_had(equipped: Machine) -> None:
    assert equipped.run("setup").returncode == 0
    equipped.environ["PIP_FIND_LINKS"] = "/nowhere"
    assert equipped.run("test").returncode == 2
    assert "sconsw:" not in equipped.run("mnist.wasm").stderr
    assert equipped.module_version("spam") == "1.0"


@pytest.mark.slow
def test_two_at_once_on_a_fresh_checkout_make_one_set_up(equipped: Machine) -> None:
    both = [equipped.start("setup"), equipped.start("setup")]
    messages = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted("installing" in message for message in messages) == [False, True]
    assert sum("waiting" in message for message in messages) == 1
    assert equipped.module_version("spam") == "1.0"


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.0, 3.0])
def test_a_set_up_that_was_killed_is_done_again(equipped: Machine, seconds: float) -> None:
    process = equipped.start("setup")
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert equipped.run("setup").returncode == 0
    assert equipped.module_version("spam") == "1.0"
