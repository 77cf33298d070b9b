"""Steps run on a server of the Remote Execution API, and come out as they would here, however the server behaves."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import reapi_server
from buildgrid.common.protos.build.bazel.remote.execution.v2 import remote_execution_pb2 as reapi
from buildgrid.common.protos.google.longrunning import operations_pb2 as operations
from support import artefacts, command, copy, edit, environment, scons

from onnx_wasm.benchmarks import buildbox
from onnx_wasm.benchmarks.buildbox import Casd
from onnx_wasm.strategies.action import Action
from onnx_wasm.strategies.local import Local
from onnx_wasm.strategies.remote.server import Server
from onnx_wasm.strategies.remote.strategy import Farm
from onnx_wasm.workspace_file import Remote

STEP = """
import os, pathlib, sys, time
_, seconds, text, *outputs = sys.argv
time.sleep(float(seconds))
print("made", text)
if text == "wrong":
    sys.stderr.write("it went wrong\\n")
    sys.exit(3)
for output in outputs:
    pathlib.Path(output).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(output).write_text(f"{text} {pathlib.Path('in/data.txt').read_text()} {sorted(os.listdir('in'))}")
"""


class Here:
    """A farm as a build uses it, and what it says."""

    def __init__(self, address: str, said: Remote | None = None) -> None:
        self.said: list[str] = []
        self.hits = 0
        server = Server(address, "--remote-executor", said or Remote(), {"NETRC": os.devnull})
        self.farm = Farm(server, said or Remote(), Local(), self.hit, self.said.append)

    def hit(self) -> None:
        self.hits += 1


def action(text: str = "it", seconds: float = 0, outputs: tuple[str, ...] = ("out/a.txt",)) -> Action:
    """An action that takes its time, and writes what it was told and what it sees."""
    return Action(
        rule="Step",
        module="step",
        arguments=(str(seconds), text, *outputs),
        inputs=("in/data.txt", "in/step.py"),
        consulted=("in/nothing.toml",),
        tools=(),
        toolchain=("python 3",),
        outputs=outputs,
        folder="",
        environment={"PYTHONPATH": "in", "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        memory=0,
    )


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of an action."""
    folder = tmp_path / "top"
    (folder / "in").mkdir(parents=True)
    (folder / "in/data.txt").write_text("data")
    (folder / "in/step.py").write_text(STEP)
    (folder / "in/undeclared.txt").write_text("secret")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Casd]:
    with buildbox.serving(tmp_path_factory.mktemp("farm") / "casd", *buildbox.executing(jobs=64)) as server:
        yield server


def test_a_worker_gets_what_is_declared_and_its_outputs_come_back(
    farm: Casd, top: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    here = Here(farm.address)
    assert here.farm.run(action("first", outputs=("out/a.txt", "out/deep/b.txt"))) == 0
    expected = "first data ['data.txt', 'step.py']"
    assert [(top / it).read_text() for it in ("out/a.txt", "out/deep/b.txt")] == [expected] * 2
    assert capfd.readouterr().out == "made first\n"
    assert (here.said, here.hits) == ([], 0)


def test_what_was_run_once_is_not_run_again(farm: Casd, top: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert Here(farm.address).farm.run(action("once")) == 0
    (top / "out/a.txt").unlink()
    here = Here(farm.address)
    assert here.farm.run(action("once")) == 0
    assert (top / "out/a.txt").exists()
    assert here.hits == 1
    assert capfd.readouterr().out == "made once\nmade once\n"
    others = (
        replace(action("once"), toolchain=("python 4",)),
        replace(action("once"), environment={**action().environment, "TZ": "UTC"}),
        action("once", outputs=("out/c.txt",)),
    )
    for other in others:
        assert here.farm.run(other) == 0
    (top / "in/data.txt").write_text("other data")
    assert here.farm.run(action("once")) == 0
    assert here.hits == 1


def test_what_goes_wrong_there_is_told_as_if_it_were_here(
    farm: Casd, top: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    here = Here(farm.address)
    for _ in range(2):  # a failure is no result
        assert here.farm.run(action("wrong")) == 3
        assert capfd.readouterr() == ("made wrong\n", "it went wrong\n")
    assert not (top / "out").exists()
    assert here.hits == 0


def test_a_folder_is_replaced_as_a_whole(farm: Casd, top: Path) -> None:
    (top / "out/old").mkdir(parents=True)
    (top / "out/old/b.txt").write_text("old")
    assert Here(farm.address).farm.run(replace(action("folder"), folder="out")) == 0
    assert [it.name for it in (top / "out").rglob("*")] == ["a.txt"]


@pytest.mark.usefixtures("top")
def test_an_output_that_is_not_made_is_told(farm: Casd) -> None:
    here = Here(farm.address)
    assert here.farm.run(replace(action(), outputs=("out/a.txt", "out/b.txt"))) == 2
    assert "it has run Step without making out/b.txt" in here.said[0]


@pytest.mark.slow
def test_this_machine_is_idle_while_64_actions_run(farm: Casd, top: Path) -> None:
    here = Here(farm.address)
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.monotonic()
    with ThreadPoolExecutor(64) as pool:
        actions = [action(f"number {it}", 5, (f"out/{it}.txt",)) for it in range(64)]
        assert set(pool.map(here.farm.run, actions)) == {0}
    took = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert len(list((top / "out").iterdir())) == 64
    assert took < 64 * 5 / 4, "they did not run at once"
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 10


def test_a_casd_before_another_has_its_actions_run_there(farm: Casd, top: Path, tmp_path: Path) -> None:
    proxy = f"--remote={farm.address.replace('grpc', 'http', 1)}"
    with buildbox.serving(tmp_path / "near", proxy) as near:
        assert Here(near.address).farm.run(action("through")) == 0
    assert (top / "out/a.txt").read_text().startswith("through data")
    (top / "out/a.txt").unlink()
    far = Here(farm.address)
    assert far.farm.run(action("through")) == 0
    assert far.hits == 1


# Servers that fail


Answer = Callable[[Any], Iterator[operations.Operation]]


def done(server: reapi_server.State, text: str = "made elsewhere") -> Answer:
    """The run comes to its end: a result whose one output is this text."""

    def answer(_context: object) -> Iterator[operations.Operation]:
        data = text.encode()
        name = hashlib.sha256(data).hexdigest()
        server.blobs[name] = data
        digest = reapi.Digest(hash=name, size_bytes=len(data))
        result = reapi.ActionResult(output_files=[reapi.OutputFile(path="out/a.txt", digest=digest)])
        operation = operations.Operation(name="run/1", done=True)
        operation.response.Pack(reapi.ExecuteResponse(result=result))
        yield operation

    return answer


def going_on(code: grpc.StatusCode | None) -> Answer:
    """The run is told of, then the connection breaks."""

    def answer(context: Any) -> Iterator[operations.Operation]:
        yield operations.Operation(name="run/1")
        if code:
            context.abort(code, "not now")

    return answer


def aborted(code: grpc.StatusCode) -> Answer:
    def answer(context: Any) -> Iterator[operations.Operation]:
        context.abort(code, "not now")
        yield operations.Operation()

    return answer


def ended(code: grpc.StatusCode) -> Answer:
    """The run ends with a status."""

    def answer(_context: object) -> Iterator[operations.Operation]:
        operation = operations.Operation(name="run/1", done=True)
        response = reapi.ExecuteResponse()
        response.status.code, response.status.message = code.value[0], "so it is"
        operation.response.Pack(response)
        yield operation

    return answer


UNAVAILABLE, NOT_FOUND = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("before", "calls"),
    [
        ([], (1, 0)),
        ([aborted(UNAVAILABLE)], (2, 0)),
        ([going_on(UNAVAILABLE)], (1, 1)),
        ([going_on(None), going_on(UNAVAILABLE)], (1, 2)),
        ([going_on(UNAVAILABLE), aborted(NOT_FOUND)], (2, 1)),
        ([ended(UNAVAILABLE)], (2, 0)),
        ([ended(grpc.StatusCode.FAILED_PRECONDITION)], (2, 0)),
        ([aborted(grpc.StatusCode.FAILED_PRECONDITION)], (2, 0)),
    ],
)
def test_a_run_is_taken_up_again(before: list[Answer], calls: tuple[int, int], top: Path) -> None:
    with reapi_server.serving() as server:
        server.script = iter([*before, done(server)])
        here = Here(server.address)
        assert here.farm.run(action()) == 0
        assert (top / "out/a.txt").read_text() == "made elsewhere"
        assert (server.calls["Execute"], server.calls["WaitExecution"]) == calls
        assert here.said == []


@pytest.mark.slow
@pytest.mark.usefixtures("top")
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (aborted(grpc.StatusCode.PERMISSION_DENIED), "PERMISSION_DENIED: not now"),
        (ended(grpc.StatusCode.DEADLINE_EXCEEDED), "DEADLINE_EXCEEDED: so it is"),
        (aborted(UNAVAILABLE), "UNAVAILABLE: not now"),
        (ended(UNAVAILABLE), "UNAVAILABLE: so it is"),
        (ended(grpc.StatusCode.FAILED_PRECONDITION), "it loses what it is given: FAILED_PRECONDITION: so it is"),
    ],
)
def test_a_server_that_does_not_run_an_action_is_told_with_what_to_do(answer: Answer, message: str) -> None:
    with reapi_server.serving() as server:
        server.script = iter([answer] * 30)
        here = Here(server.address)
        assert here.farm.run(action()) == 2
        hint = "with --remote-fallback=local, what the server cannot do is done here"
        assert here.said == [f"Step out/a.txt: {server.address}: {message}\n    {hint}"]


@pytest.mark.slow
@pytest.mark.usefixtures("top")
def test_nobody_waits_for_ever() -> None:
    def silent(context: Any) -> Iterator[operations.Operation]:
        yield operations.Operation(name="run/1")
        while context.is_active():
            time.sleep(0.05)

    with reapi_server.serving() as server:
        server.script = iter([silent])
        here = Here(server.address, Remote(timeout=1))
        assert here.farm.run(action()) == 2
        assert "no result within 2 seconds" in here.said[0]


def test_with_a_fallback_the_build_goes_on_here(top: Path) -> None:
    with reapi_server.serving() as server:
        server.script = iter([aborted(grpc.StatusCode.PERMISSION_DENIED)] * 3)
        here = Here(server.address, Remote(fallback="local"))
        for text in ("first", "second"):
            assert here.farm.run(action(text)) == 0
            assert (top / "out/a.txt").read_text().startswith(f"{text} data")
        assert server.calls["Execute"] == 1
    assert here.said == [
        f"{server.address}: PERMISSION_DENIED: not now\n    the rest of the build runs on this machine"
    ]


@pytest.mark.usefixtures("top")
def test_an_interrupt_ends_runs_here_and_there() -> None:
    def silent(context: Any) -> Iterator[operations.Operation]:
        yield operations.Operation(name="run/7")
        while context.is_active():
            time.sleep(0.05)

    with reapi_server.serving() as server:
        server.script = iter([silent])
        here = Here(server.address)
        statuses: list[int] = []
        thread = threading.Thread(target=lambda: statuses.append(here.farm.run(action())))
        thread.start()
        deadline = time.monotonic() + 10
        while not server.calls["Execute"] and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)
        here.farm.interrupt()
        thread.join(5)
        assert statuses == [2]
        assert server.cancelled == ["run/7"]
        assert here.said == []


def test_what_comes_back_is_not_believed(top: Path) -> None:
    with reapi_server.serving() as server:
        server.script = iter([done(server)])
        server.failures = {}
        here = Here(server.address)
        original = server.blobs

        class Corrupted(dict[str, bytes]):
            def __getitem__(self, name: str) -> bytes:
                return b"something else"

        server.blobs = Corrupted(original)
        server.script = iter([done(server)])
        assert here.farm.run(action()) == 2
        assert "is damaged" in here.said[0]
        assert not (top / "out/a.txt").exists()


# Whole builds


def forget(top: Path) -> None:
    for name in ("tiny", "wrapper"):
        for file in (top / "build/teaclave" / name).iterdir():
            file.unlink()
    (top / ".sconsign.dblite").unlink()


@pytest.mark.slow
def test_a_model_that_is_built_there_has_the_same_bytes(farm: Casd, built: Path, tmp_path: Path) -> None:
    expected = artefacts(built / "build")
    for name, ending in (("first", "5 built, 0 local, 0 remote"), ("second", "0 built, 0 local, 5 remote")):
        top = copy(built, tmp_path / name)
        forget(top)
        executor = f"--remote-executor={farm.address}"
        build = scons(top, "-j8", executor, "tiny.wasm", environ={"XDG_CACHE_HOME": str(tmp_path / f"{name}-cache")})
        assert len(build.steps) == 5
        assert f"\n{ending}\n" in build.out
        assert artefacts(top / "build") == expected


@pytest.mark.slow
def test_a_mistake_in_a_model_is_told_as_here(farm: Casd, built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "top")
    edit(top / "models/tiny/tiny.toml", 'name = "y"', 'name = "z"')
    told = []
    for words in ([], [f"--remote-executor={farm.address}"]):
        build = scons(top, "-Q", *words, "tiny.wasm", environ={"XDG_CACHE_HOME": str(tmp_path)}, status=2)
        told.append(build.err)
    assert "models/tiny/tiny.toml:" in told[0]
    assert told[0] == told[1]


def started(top: Path, *words: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        command("-Q", *words), cwd=top, env=environment({"XDG_CACHE_HOME": str(top.with_name("cache"))}),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()  # the first step has begun
    time.sleep(1)
    return process


@pytest.mark.slow
def test_a_server_that_vanishes_in_mid_build(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "top")
    forget(top)
    with buildbox.serving(tmp_path / "casd", *buildbox.executing()) as server:
        process = started(top, f"--remote-executor={server.address}", "--remote-fallback=local", "tiny.wasm")
        os.killpg(server.process.pid, signal.SIGKILL)
        _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert err.count("the rest of the build runs on this machine") == 1
    assert artefacts(top / "build") == artefacts(built / "build")


@pytest.mark.slow
def test_ctrl_c_ends_a_build_that_runs_elsewhere(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "top")
    forget(top)
    with buildbox.serving(tmp_path / "casd", *buildbox.executing()) as server:
        process = started(top, f"--remote-executor={server.address}", "tiny.wasm")
        process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        _, err = process.communicate(timeout=60)
        assert time.monotonic() - begun < 10
    assert process.returncode == 2
    assert "Traceback" not in err
    assert "Build interrupted." in err


def test_a_strategy_without_a_server_is_told(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "top")
    build = scons(top, "--strategy=remote", "tiny.wasm", status=2)
    assert "--strategy: there is no server that runs actions\n    --remote-executor=grpc://…, or " in build.err
    build = scons(top, "--remote-executor=http://farm", "tiny.wasm", status=2)
    assert "--remote-executor: http://farm is not the address of a server\n" in build.err


def test_a_build_without_a_server_loads_nothing_of_grpc(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    probe = "import atexit, sys; atexit.register(lambda: print('imported:', *sys.modules)); "
    program = f"{probe}sys.argv[0] = 'scons'; import SCons.Script; SCons.Script.main()"
    words = ["-P", "-c", program, "--remote-cache=http://127.0.0.1:9", "tiny.wasm"]
    done = subprocess.run(
        [sys.executable, *words], cwd=top, env=environment(), capture_output=True, text=True, check=True
    )
    (line,) = (it for it in done.stdout.splitlines() if it.startswith("imported: "))
    assert not {"grpc", "google.protobuf", "zstandard"} & set(line.split())
