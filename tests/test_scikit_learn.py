"""Classifiers of scikit-learn, trained here, say in a module of every test digit what they say in scikit-learn."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import ROOT, copy, scons

from onnx_wasm.hosts.loading import load

CLASSIFIERS = ["logistic", "perceptron", "forest", "vectors", "boosting"]


@pytest.fixture(scope="module")
def digits(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which all are trained, built, tested and verified."""
    top = copy(built, tmp_path_factory.mktemp("scikit-learn") / "checkout")
    script = ROOT / "examples/scikit-learn/digits.py"
    subprocess.run([sys.executable, script, "models/digits"], cwd=top, check=True, capture_output=True)
    scons(top, "-j2", *(f"digits-{name}.{what}" for name in CLASSIFIERS for what in ("test", "verify")))
    return top


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_module_says_what_scikit_learn_says(name: str, digits: Path, tmp_path: Path) -> None:
    folder = digits / "models/digits"
    module = digits / f"build/wasi/digits-{name}/digits-{name}.wasm"
    load(module).run({"images": str(folder / "images.npy"), "digits": str(tmp_path / "said.npy")})
    said, theirs, truth = np.load(tmp_path / "said.npy"), np.load(folder / f"{name}.npy"), np.load(folder / "truth.npy")
    np.testing.assert_array_equal(said, theirs)
    assert (said == truth).mean() == (theirs == truth).mean() > 0.95
    report = json.loads((module.with_suffix(".verify.json")).read_text())
    assert all(it["share"] <= it["tolerance"] for it in report["outputs"])
