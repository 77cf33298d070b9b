"""Actions that import TVM are children of one process that has: isolated, the same bytes, and gone with the build."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import CHAIN, ROOT, artefacts, command, copy, environment, parents, scons

from onnx_wasm.strategies.action import Action
from onnx_wasm.strategies.workers import Workers

PATIENCE = 60.0
ZYGOTE = "onnx_wasm.actions.zygote"


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    monkeypatch.chdir(tmp_path)
    its = Workers()
    yield its
    its.close()
    assert not commands(tmp_path)


def action(name: str, program: str, *, imports_tvm: bool = True) -> Action:
    """An action that runs a Python program."""
    Path(f"{name}.py").write_text(textwrap.dedent(program))
    path = f".:{ROOT / 'site_scons'}"
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "HOME": "/nonexistent"}
    return Action("Act", name, ("a word",), (), (), (), (), (), "", environ, 0, imports_tvm)


def commands(folder: Path) -> dict[int, str]:
    """The command lines of the processes that are at work in a folder, by their numbers."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            here = (process / "cwd").readlink() == folder
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has ended
            continue
        if here and words and process.name != str(os.getpid()):
            found[int(process.name)] = words
    return found


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def start(workers: Workers, its: Action) -> tuple[threading.Thread, list[int]]:
    """Runs an action in a thread, and gives that and the list that its status will be put into."""
    statuses: list[int] = []
    thread = threading.Thread(target=lambda: statuses.append(workers.run(its)))
    thread.start()
    return thread, statuses


@pytest.mark.slow
def test_a_child_is_what_a_process_of_its_own_would_be(workers: Workers, capfd: pytest.CaptureFixture[str]) -> None:
    program = """
        import os, sys
        print(__name__, sys.argv[1:], "tvm" in sys.modules, os.getcwd(), sorted(os.environ), sys.stdin.read())
        print("said", file=sys.stderr)
        sys.exit(3)
    """
    assert workers.run(action("act", program)) == 3
    own = workers.run(action("own", program, imports_tvm=False))
    out, err = capfd.readouterr()
    forked, alone = out.splitlines()
    assert own == 3
    assert forked == alone.replace("False", "True")
    assert err == "said\nsaid\n"


@pytest.mark.slow
def test_children_share_a_process_and_no_state(workers: Workers) -> None:
    program = """
        import os, sys, tvm
        from pathlib import Path
        assert not hasattr(tvm, "mark")
        assert "MARK" not in os.environ
        tvm.mark = os.environ["MARK"] = "x"
        Path(f"parent-{os.getppid()}").touch()
    """
    assert [workers.run(action("act", program)) for _ in range(3)] == [0, 0, 0]
    assert len(list(Path().glob("parent-*"))) == 1


@pytest.mark.slow
def test_the_process_that_forks_has_one_thread(workers: Workers) -> None:
    """OpenBLAS, TVM and LLVM start theirs only in children: a lock that another thread holds would stay locked."""
    program = """
        import os
        from pathlib import Path
        Path("threads").write_text(str(len(os.listdir(f"/proc/{os.getppid()}/task"))))
    """
    assert workers.run(action("act", program)) == 0
    assert Path("threads").read_text() == "1"


@pytest.mark.slow
@pytest.mark.parametrize(
    "end", ["os.abort()", "os.kill(os.getpid(), 9)", "1 / 0", "import nowhere", "sys.exit('text')"]
)
def test_what_ends_badly_ends_alone(end: str, workers: Workers, capfd: pytest.CaptureFixture[str]) -> None:
    other, statuses = start(
        workers, action("patient", "import time, os\nwhile not os.path.exists('go'): time.sleep(0.01)")
    )
    status = workers.run(action("act", f"import os, sys\n{end}"))
    assert status == {"os.abort()": -signal.SIGABRT, "os.kill(os.getpid(), 9)": -signal.SIGKILL}.get(end, 2)
    Path("go").touch()
    other.join(PATIENCE)
    assert statuses == [0]
    assert ("Traceback" in capfd.readouterr().err) == (end in ("1 / 0", "import nowhere"))


def test_when_the_process_is_killed_its_children_start_again(workers: Workers) -> None:
    program = """
        import os, time
        from pathlib import Path
        Path(f"started-{os.getpid()}").write_text(str(os.getppid()))
        while not os.path.exists("go"): time.sleep(0.01)
    """
    thread, statuses = start(workers, action("act", program))
    wait_for(lambda: list(Path().glob("started-*")))
    (first,) = Path().glob("started-*")
    wait_for(first.read_text)
    os.kill(int(first.read_text()), signal.SIGKILL)
    wait_for(lambda: len(list(Path().glob("started-*"))) == 2)
    Path("go").touch()
    thread.join(PATIENCE)
    assert statuses == [0]
    assert int(first.name.removeprefix("started-")) not in commands(Path.cwd())
    assert workers.run(action("another", "")) == 0


def test_killed_before_it_has_read_anything_it_is_done_without(workers: Workers) -> None:
    thread, statuses = start(workers, action("act", ""))
    wait_for(lambda: [words for words in commands(Path.cwd()).values() if ZYGOTE in words])
    (zygote,) = commands(Path.cwd())
    os.kill(zygote, signal.SIGKILL)
    thread.join(PATIENCE)
    assert statuses == [0]


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--workers=0"]], ids=["forked", "alone"])
def test_builds_give_the_same_bytes(options: list[str], built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    expected = artefacts(top / "build")
    for model in ("mnist", "tiny"):
        shutil.rmtree(top / "build/teaclave" / model)
    seen: set[str] = set()
    build = subprocess.Popen(
        command("-Q", "-j2", *options, "mnist.wasm", "tiny.wasm"),
        cwd=top,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    while build.poll() is None:
        seen.update(commands(top).values())
        time.sleep(0.01)
    assert build.returncode == 0
    assert artefacts(top / "build") == expected
    assert any(ZYGOTE in words for words in seen) == (not options)
    assert any("onnx_wasm.actions.tvm_ir" in words for words in seen) == bool(options)
    assert build.stdout is not None
    assert sorted(line.split()[0] for line in build.stdout if line.startswith(tuple(CHAIN))) == sorted(2 * CHAIN)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_nobody_is_left_when_a_build_is(how: str, built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    expected = artefacts(top / "build")
    shutil.rmtree(top / "build/teaclave/mnist")
    build = subprocess.Popen(
        command("-Q", "mnist.wasm"),
        cwd=top,
        env=environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: sum(ZYGOTE in words for words in commands(top).values()) > 1)  # it has a child
    if how == "killed":
        build.kill()
    else:
        os.killpg(build.pid, signal.SIGINT)
    assert build.stderr is not None
    err = build.stderr.read()
    assert build.wait() != 0
    assert "Traceback" not in err
    wait_for(lambda: not commands(top))
    scons(top, "mnist.wasm")
    assert artefacts(top / "build") == expected


@pytest.mark.slow
def test_an_action_that_is_killed_is_told_of_and_is_its_own_failure_alone(built: Path, tmp_path: Path) -> None:
    """As when memory has run out: Linux then kills a process that has much of it."""
    top = copy(built, tmp_path / "checkout")
    for model in ("mnist", "tiny"):
        shutil.rmtree(top / "build/teaclave" / model)
    build = subprocess.Popen(
        command("-Q", "-k", "mnist.wasm", "tiny.wasm"),
        cwd=top,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )

    def at_work() -> list[int]:
        """What an action's process has forked, which does the work: scons, zygote, action, this."""
        known = parents()
        return [it for it in commands(top) if known.get(known.get(known.get(it, 0), 0), 0) == build.pid]

    wait_for(at_work)
    os.kill(at_work()[0], signal.SIGKILL)
    _, err = build.communicate(timeout=PATIENCE)
    assert build.returncode == 2
    assert "models/mnist/mnist.toml: onnx_wasm.actions.tvm_ir broke off: SIGKILL\n    if the system ran out of" in err
    assert not (top / "build/teaclave/mnist/mnist.wasm").exists()
    assert (top / "build/teaclave/tiny/tiny.wasm").read_bytes() == (
        built / "build/teaclave/tiny/tiny.wasm"
    ).read_bytes()
