"""Classifiers of scikit-learn, trained here, say in a module of every test digit what they say in scikit-learn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import ROOT, copy, scons

from onnx_wasm.hosts.loading import load

CLASSIFIERS = ["logistic", "perceptron", "forest", "vectors", "boosting"]


@pytest.mark.slow
def test_a_module_says_what_scikit_learn_says(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    folder = top / "models/digits"
    script = ROOT / "examples/scikit-learn/digits.py"
    subprocess.run([sys.executable, script, folder], check=True, capture_output=True)
    scons(top, "-j2", *(f"digits-{name}.{what}" for name in CLASSIFIERS for what in ("test", "verify")))
    truth = np.load(folder / "truth.npy")
    for name in CLASSIFIERS:
        module = top / f"build/wasi/digits-{name}/digits-{name}.wasm"
        load(module).run({"images": str(folder / "images.npy"), "digits": str(tmp_path / "said.npy")})
        said, theirs = np.load(tmp_path / "said.npy"), np.load(folder / f"{name}.npy")
        np.testing.assert_array_equal(said, theirs, name)
        assert (said == truth).mean() == (theirs == truth).mean() > 0.95, name
