"""Fixtures that take long to make: made once for a whole run of the tests, also where pytest-xdist spreads it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import checkout, only_one, place_tiny, scons

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

    Copy it to change it.
    """
    folder = shared / "built"
    with only_one(shared / "built.lock"):
        if not (folder / "done").exists():
            place_tiny(checkout(folder) / "models/tiny")
            scons(folder, "-j2", "build", sconstruct=WRAPPERS)
            scons(folder, "-j2", "all")
            (folder / "done").touch()
    return folder
