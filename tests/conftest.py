"""Fixtures that take long to make: made once for a whole run of the tests, also where pytest-xdist spreads it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support import ROOT, copy, only_one, place_tiny, scons, update

# A busy machine is no failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

FEATURES: list[list[str]] = [[], ["image"], ["image", "graph"]]
WRAPPERS = f"""
SetOption("hash_format", "sha256")
env = Environment(tools=["onnx_to_wasm"])
for features in {FEATURES}:
    folder = "-".join(["wrapper", *features])
    env.RustWrapper(f"build/teaclave/{{folder}}/libwrapper.a", [], FEATURES=features)
"""


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of one run of the tests share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def built(shared: Path) -> Path:
    """A checkout with ``models/tiny`` too, where all is built, and the wrapper for the executor ``graph``.

    Copy it to change it. From run to run it is kept under ``build/tests``, so that little is to be built.
    """
    folder = shared / "built"
    kept = ROOT / "build/tests"
    kept.mkdir(parents=True, exist_ok=True)
    with only_one(kept / "lock"):
        if not folder.exists():
            update(kept / "checkout")
            place_tiny(kept / "checkout/models/tiny")
            scons(kept / "checkout", "-j2", "build", sconstruct=WRAPPERS)
            scons(kept / "checkout", "-j2", "all")
            copy(kept / "checkout", folder)
    return folder
