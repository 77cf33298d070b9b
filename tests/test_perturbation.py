"""What a build sees under a perturbation, also where its actions see a fixed environment."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

from onnx_wasm.release.perturbation import Perturbation, command, perturbations

SEES = """
import datetime, json, os, pathlib
top = pathlib.Path.cwd()
(top / "made").touch()
mode = (top / "made").stat().st_mode & 0o777
days = datetime.datetime.now(datetime.UTC).timestamp() / 86400
print(json.dumps([os.getuid(), os.uname().nodename, mode, days, sorted(os.environ)]))
"""


def seen(its: Perturbation, place: Path) -> list[object]:
    """What a Python sees that is started, as an action is, in an environment without any of this."""
    top, scratch = place / f"top-{its.number}", place / f"scratch-{its.number}"
    top.mkdir()
    scratch.mkdir()
    words = command(its, top, scratch, ["env", "--ignore-environment", "A=1", sys.executable, "-I", "-c", SEES])
    environ = its.environment(top / "home")
    done = subprocess.run(words, env=environ, umask=its.umask, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


def test_every_process_sees_another_user_host_umask_and_date(tmp_path: Path) -> None:
    today = dt.datetime.now(dt.UTC).timestamp() / 86400
    for its in perturbations(3):
        uid, host, mode, days, variables = seen(its, tmp_path)
        assert (uid, host, mode) == (its.uid, its.host, 0o666 & ~its.umask)
        assert isinstance(days, float)
        assert abs(days - today - its.days) < 0.1
        assert isinstance(variables, list)
        assert {"A"} <= set(variables) <= {"A", "LC_CTYPE", "FAKETIME_SHARED"}
    assert not Path("/etc/faketimerc").exists()


def test_no_two_builds_have_the_same_circumstances() -> None:
    every = perturbations(20)
    assert len({(it.uid, it.host, it.user, it.order) for it in every}) == 20
    assert len({it.folder for it in every}) == 20
    assert len({it.days for it in every}) > 15
    for circumstance in ("umask", "locale", "zone", "jobs", "shuffled", "memory", "strategy"):
        assert len({getattr(it, circumstance) for it in every}) > 1
    assert perturbations(20) == every
