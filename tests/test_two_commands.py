"""What ``.ci/fresh`` proves and what the image is made of is README's two commands, as they stand there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support import ROOT, copy, edit

SCRIPT = ".ci/two-commands"


def place(built: Path, top: Path) -> Path:
    """A checkout that is set up and built, with what the script needs."""
    copy(built, top)
    for name in ("README.md", "sconsw", "requirements.lock"):
        shutil.copy(ROOT / name, top / name)
    (top / ".ci").mkdir()
    shutil.copy(ROOT / SCRIPT, top / SCRIPT)
    (top / ".venv").symlink_to(ROOT / ".venv")
    return top


def run(top: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([top / SCRIPT], cwd="/", capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.slow
def test_the_script_runs_what_readme_shows(built: Path, tmp_path: Path) -> None:
    top = place(built, tmp_path / "checkout")
    done = run(top)
    assert done.returncode == 0, done.stderr
    ran = [line[2:] for line in done.stdout.splitlines() if line.startswith("$ ")]
    assert ran == ["./sconsw mnist.wasm", "./sconsw -Q mnist.run input_img=models/mnist/digits/7.png"]
    assert done.stdout.splitlines()[-1] == "7"
    edit(top / "README.md", "mnist.run input_img=models/mnist/digits/7.png\n", "mnist.run input_img=none.png\n")
    assert run(top).returncode != 0
    (top / "README.md").write_text("## Two commands\n\n    $ ./sconsw mnist.wasm\n")
    assert "does not show two commands" in run(top).stderr


def test_the_image_and_the_fresh_machine_run_the_same_script() -> None:
    (step,) = re.findall(r"^RUN (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert step == f"/onnx-wasm/{SCRIPT}"
    assert f"    /onnx-wasm/{SCRIPT}\n" in (ROOT / ".ci/fresh").read_text()
