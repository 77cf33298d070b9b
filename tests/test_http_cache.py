"""Machines share what they have built through a server that speaks Bazel's caching protocol over HTTP."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import cache_servers
import pytest
import trustme
from buildgrid.common.protos.build.bazel.remote.execution.v2 import remote_execution_pb2 as reapi
from support import WORKSPACE, Build, artefacts, command, copy, edit, environment, place_tiny, scons

from onnx_wasm.benchmarks import nginx
from onnx_wasm.benchmarks.nginx import Nginx

SEED = 20
TARGETS = ("mnist.wasm", "tiny.wasm", "mnist.web")
SECRET = "s3cr3t-of-the-team"


@dataclass
class Machine:
    """A checkout at a path of its own, and its user.

    Args:
        top: The checkout, in which nothing is built.
        home: The user's folder.
        built: A checkout of the same sources in which everything is built.
    """

    top: Path
    home: Path
    built: Path

    def scons(self, *words: str, status: int = 0, **variables: str) -> Build:
        return scons(self.top, "-j2", *words, environ=self.variables | variables, status=status)

    @property
    def variables(self) -> dict[str, str]:
        return {"HOME": str(self.home), "XDG_CACHE_HOME": str(self.home / "cache"), "NETRC": ""}

    def forget(self) -> None:
        """Takes what was built away."""
        shutil.rmtree(self.top / "build")
        (self.top / ".sconsign.dblite").unlink()

    def equals_what_is_built(self) -> bool:
        there = artefacts(self.built / "build")
        return all(there[name] == data for name, data in artefacts(self.top / "build").items())


def machine(built: Path, folder: Path) -> Machine:
    top = copy(built, folder)
    home = folder.with_name(f"{folder.name}-home")
    home.mkdir()
    its = Machine(top, home, built)
    its.forget()
    return its


@pytest.fixture(scope="module")
def filled(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """A server to which a checkout has given all that it has built."""
    folder = tmp_path_factory.mktemp("filled")
    with nginx.serving(folder / "nginx") as server:
        giver = copy(built, folder / "giver")
        words = (f"--remote-cache={server.address}", "--remote-cache-mode=readwrite", "--cache-force")
        build = scons(giver, *words, *TARGETS, environ={"XDG_CACHE_HOME": str(folder / "cache")})
        assert build.steps == []
        yield server


@pytest.fixture
def other(built: Path, tmp_path: Path) -> Machine:
    """Another machine, whose checkout has a path of another length."""
    return machine(built, tmp_path / "some" / "where else" / "checkout")


@pytest.mark.slow
def test_another_machine_builds_nothing_again(filled: Nginx, other: Machine) -> None:
    first = other.scons(f"--remote-cache={filled.address}", *TARGETS)
    assert first.steps == []
    assert first.err == ""
    retrieved = first.out.count("Retrieved `")
    assert f"\n0 built, 0 local, {retrieved} remote\n" in first.out
    assert other.equals_what_is_built()
    assert (other.top / "build/web/mnist/mnist.web/index.html").exists()
    null = other.scons(f"--remote-cache={filled.address}", *TARGETS)
    assert " built, " not in null.out
    assert "Retrieved" not in null.out
    asked = len(filled.requests())
    other.forget()
    second = other.scons(f"--remote-cache={filled.address}", *TARGETS)
    assert f"\n0 built, {retrieved} local, 0 remote\n" in second.out
    assert other.equals_what_is_built()
    assert len(filled.requests()) == asked


def test_what_an_earlier_build_left_in_a_package_s_folder_goes(filled: Nginx, other: Machine) -> None:
    folder = other.top / "build/web/mnist/mnist.web"
    (folder / "old").mkdir(parents=True)
    for name in ("old/page.html", "mnist.params"):
        (folder / name).write_text("old")
    other.scons(f"--remote-cache={filled.address}", "mnist.web")
    there, expected = ({it.relative_to(top) for it in top.rglob("*")} for top in (
        folder, other.built / "build/web/mnist/mnist.web",
    ))  # fmt: skip
    assert there == expected


@pytest.mark.slow
def test_what_was_edited_is_built_and_the_rest_is_not(filled: Nginx, other: Machine) -> None:
    edit(other.top / "models/mnist/mnist.toml", 'argument = "output"', 'argument = "scores"')
    build = other.scons(f"--remote-cache={filled.address}", "mnist.wasm")
    assert build.steps == ["ModelLibrary", "WasmModule"]
    assert "\n2 built, 0 local, 3 remote\n" in build.out


def test_results_are_such_as_bazel_remote_accepts(filled: Nginx) -> None:
    """It takes what can be parsed as an ActionResult, and gives it if all blobs that it names are there."""
    results = sorted((filled.content / "ac").iterdir())
    assert len(results) > 10
    for entry in results:
        assert len(bytes.fromhex(entry.name)) == 32
        result = reapi.ActionResult.FromString(entry.read_bytes())
        assert result.output_files
        for file in result.output_files:
            data = (filled.content / "cas" / file.digest.hash).read_bytes()
            assert hashlib.sha256(data).hexdigest() == file.digest.hash
            assert len(data) == file.digest.size_bytes
            assert not Path(file.path).is_absolute()
    paths = [[file.path for file in reapi.ActionResult.FromString(it.read_bytes()).output_files] for it in results]
    assert ["build/teaclave/mnist/mnist.symbols.json", "build/teaclave/mnist/mnist.wasm"] in paths


def test_a_dry_run_asks_nobody_and_says_what_would_be_built(filled: Nginx, other: Machine) -> None:
    asked = len(filled.requests())
    build = other.scons("-n", f"--remote-cache={filled.address}", "tiny.wasm")
    assert sorted(build.steps) == sorted(["TvmIr", "WasmObject", "ModelLibrary", "RustWrapper", "WasmModule"])
    assert len(filled.requests()) == asked
    assert not (other.home / "cache").exists()


def test_a_dry_run_gives_nothing_away(built: Path, tmp_path: Path) -> None:
    """Also where targets of an older build are there."""
    its = machine(built, tmp_path / "checkout")
    shutil.copytree(built / "build", its.top / "build")
    with nginx.serving(tmp_path / "nginx") as server:
        its.scons("-n", f"--remote-cache={server.address}", "--remote-cache-mode=readwrite", "tiny.wasm")
        assert server.requests() == []


@pytest.mark.slow
def test_developers_put_nothing_on_the_server(built: Path, tmp_path: Path) -> None:
    its = machine(built, tmp_path / "checkout")
    with nginx.serving(tmp_path / "nginx") as server:
        build = its.scons(f"--remote-cache={server.address}", "build/teaclave/tiny/tiny.ir.json")
        assert build.steps == ["TvmIr"]
        assert {it.partition(" ")[0] for it in server.requests()} == {"GET"}


def test_the_workspace_file_names_the_server(filled: Nginx, other: Machine) -> None:
    (other.top / "workspace.toml").write_text(
        f'[build]\ndisk-cache = "kept"\n[remote]\ncache = "{filled.address}"\ncache-mode = "readwrite"\n'
    )
    assert "0 built, 0 local, 5 remote" in other.scons("tiny.wasm").out
    assert (other.top / "kept/cas").is_dir()
    other.forget()
    assert "0 built, 5 local, 0 remote" in other.scons("tiny.wasm").out


def test_only_steps_that_declare_all_that_they_read_are_kept(tmp_path: Path) -> None:
    place_tiny(tmp_path / "work")
    own = WORKSPACE + 'env.Command("own.txt", "tiny.toml", Copy("$TARGET", "$SOURCE"))\n'
    site = Path(__file__).parents[1] / "site_scons"
    with nginx.serving(tmp_path / "nginx") as server:
        words = (f"--site-dir={site}", f"--remote-cache={server.address}", "--remote-cache-mode=readwrite", "own.txt")
        scons(tmp_path / "work", *words, sconstruct=own, environ={"XDG_CACHE_HOME": str(tmp_path)})
        assert server.requests() == []


def test_a_profile_is_measured_anew(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    words = ("--disk-cache=kept", "tiny.profile")
    for _ in range(2):
        build = scons(top, *words)
        assert "WasmProfile" in build.out
        assert "Retrieved" not in build.out


@pytest.mark.slow
def test_a_server_that_fails_in_mid_build_costs_one_warning(other: Machine) -> None:
    with cache_servers.answering(cache_servers.says("500 Broken")) as server:
        build = other.scons(f"--remote-cache={server.address}", "--remote-cache-mode=readwrite", "tiny.wasm")
    assert sorted(build.steps) == sorted(["TvmIr", "WasmObject", "ModelLibrary", "RustWrapper", "WasmModule"])
    assert build.err.count("it answers 500 Internal Server Error") == 1
    assert build.err.count("this cache is left alone for the rest of the build") == 1
    assert 1 <= len(server.requests) <= 2
    assert "\n5 built, 0 local, 0 remote\n" in build.out
    assert other.equals_what_is_built()


# Credentials and certificates


@pytest.mark.slow
def test_a_login_comes_from_a_netrc_and_a_token_from_the_environment(other: Machine) -> None:
    (other.home / "netrc").write_text(f"machine 127.0.0.1 login ci password {SECRET}\n")
    netrc = {"NETRC": str(other.home / "netrc"), "ONNX_WASM_VERBOSE": "1"}
    login = base64.b64encode(f"ci:{SECRET}".encode()).decode()
    for variables, expected in (
        (netrc, f"Basic {login}"),
        (netrc | {"ONNX_WASM_REMOTE_TOKEN": SECRET}, f"Bearer {SECRET}"),
    ):
        with cache_servers.answering(cache_servers.says("403 Forbidden")) as server:
            words = (f"--remote-cache={server.address}", "--debug=explain", "build/teaclave/tiny/tiny.ir.json")
            build = other.scons(*words, **variables)
            assert f"\r\nAuthorization: {expected}" in server.heads[0]
            assert "it answers 403 Forbidden" in build.err
            for secret in (SECRET, login):
                assert secret not in build.out + build.err
                assert not any(secret.encode() in it.read_bytes() for it in other.top.rglob("*") if it.is_file())
        other.forget()
        shutil.rmtree(other.home / "cache")


@pytest.mark.slow
def test_a_server_of_ones_own_authority(filled: Nginx, other: Machine, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(other.top / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    tls = f"ssl_certificate {tmp_path}/server.pem; ssl_certificate_key {tmp_path}/server.pem;"
    shutil.copytree(filled.content, tmp_path / "nginx/content")
    with nginx.serving(tmp_path / "nginx", scheme="https", more=tls) as server:
        words = (f"--remote-cache={server.address}", "build/teaclave/tiny/tiny.ir.json")
        build = other.scons(*words)
        assert f"{server.address}: its certificate is not trusted: " in build.err
        assert build.steps == ["TvmIr"]
        other.forget()
        shutil.rmtree(other.home / "cache")
        (other.top / "workspace.toml").write_text('[remote]\ntls-certificates = "ca.pem"\n')
        build = other.scons(*words)
        assert build.err == ""
        assert build.steps == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            [f"--remote-cache=http://ci:{SECRET}@cache"],
            "--remote-cache: credentials do not belong into an address\n    put them into ~/.netrc, or a token into $",
        ),
        (["--remote-cache=cache:8080"], "--remote-cache: cache:8080 is not the address of a cache\n"),
        (["--remote-cache=http://cache:port"], "--remote-cache: http://cache:port is not the address of a cache\n"),
        (["--remote-cache=ftp://cache"], "--remote-cache: ftp://cache is not the address of a cache\n"),
        (["--remote-cache=http://cache/?a"], "--remote-cache: http://cache/?a is not the address of a cache\n"),
        (
            ["--remote-cache=http://cache", "--remote-cache-mode=readwriet"],
            "option --remote-cache-mode: invalid choice: 'readwriet'",
        ),
    ],
)
def test_what_is_asked_wrongly_is_told_before_anything_is_built(words: list[str], message: str, other: Machine) -> None:
    build = other.scons(*words, "tiny.wasm", status=2)
    assert message in build.err
    assert SECRET not in build.out + build.err
    assert build.steps == []


def test_a_netrc_or_token_that_cannot_be_used_is_told_without_its_words(other: Machine) -> None:
    netrc = other.home / "netrc"
    netrc.write_text(f"machine cache\nlogin ci\npasswort {SECRET}\n")
    for variables, message in (
        ({"NETRC": str(netrc)}, f"{netrc}:3: it cannot be read as a netrc\n"),
        ({"ONNX_WASM_REMOTE_TOKEN": f"{SECRET}\nX"}, "$ONNX_WASM_REMOTE_TOKEN: a token is a word of printable"),
    ):
        build = other.scons("--remote-cache=http://cache", "tiny.wasm", status=2, **variables)
        assert message in build.err
        assert SECRET not in build.out + build.err


# What it costs


def test_a_build_without_a_cache_loads_nothing_of_caches(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    probe = "import atexit, sys; atexit.register(lambda: print('imported:', *sys.modules)); "
    program = f"{probe}sys.argv[0] = 'scons'; import SCons.Script; SCons.Script.main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, "tiny.wasm"],
        cwd=top, env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    (line,) = (it for it in done.stdout.splitlines() if it.startswith("imported: "))
    assert not [it for it in line.split() if it.startswith(("onnx_wasm.strategies.cache", "http.", "ssl"))]


# Builds that are killed


@pytest.mark.slow
def test_a_build_that_was_killed_while_it_took_from_a_server_leaves_nothing_wrong(
    filled: Nginx, other: Machine
) -> None:
    chance = Random(SEED)
    words = command("-j2", f"--remote-cache={filled.address}", *TARGETS)
    started = time.monotonic()
    other.scons(f"--remote-cache={filled.address}", *TARGETS)
    duration = time.monotonic() - started
    killed = 0
    for moment in range(15):
        other.forget()
        if moment % 3 == 0:
            shutil.rmtree(other.home / "cache")
        process = subprocess.Popen(
            words, cwd=other.top, env=environment(other.variables), stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            process.wait(chance.uniform(0.1, 0.8) * duration)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
        build = other.scons(f"--remote-cache={filled.address}", *TARGETS)
        assert build.err == ""
        assert other.equals_what_is_built()
        assert not list(other.top.glob("build/**/*.partial"))
    assert killed  # how many depends on what else the machine does
