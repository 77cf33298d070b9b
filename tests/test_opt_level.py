"""``opt-level = "s"``: code that is small rather than quick, and computes the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import copy, edit, scons


def kernels(checkout: Path, platform: str) -> dict[str, int]:
    """The bytes of each function of mnist's module that the model brings."""
    scons(checkout, f"mnist.{platform}.size")
    items = json.loads((checkout / f"build/{platform}/mnist/mnist.size.json").read_text())["items"]
    return {it["name"]: it["bytes"] for it in items if it["kind"] == "kernels"}


@pytest.fixture(scope="module")
def small(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = copy(built, tmp_path_factory.mktemp("small") / "checkout")
    edit(top / "models/mnist/mnist.toml", "opt-level = 3", 'opt-level = "s"')
    return top


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["wasi", "web"])
def test_it_takes_less_than_two_thirds_of_the_code(built: Path, small: Path, tmp_path: Path, platform: str) -> None:
    quick = kernels(copy(built, tmp_path / "checkout"), platform)
    found = kernels(small, platform)
    assert sum(found.values()) < sum(quick.values()) * 2 / 3
    assert any("winograd" in name for name in quick)
    assert not any("winograd" in name for name in found)


@pytest.mark.slow
def test_it_computes_what_onnx_says(small: Path) -> None:
    told = scons(small, "mnist.verify", "mnist.test")
    assert told.out.count(" ok ") == 13 * 2
