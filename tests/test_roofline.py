"""The roofline of a profile's page: points and roofs lie where their numbers say."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from onnx_wasm.profile import ceilings
from onnx_wasm.profile.ceilings import Ceilings
from onnx_wasm.profile.roofline import Point, roofline

MACHINE = Ceilings(flops=50e9, cache=100e9, memory=10e9)
NUMBERS = st.floats(1e-3, 1e5)


def test_without_points_there_is_no_picture() -> None:
    assert roofline([], MACHINE) == ""


def test_a_kernel_on_a_roof_is_drawn_on_it() -> None:
    picture = parsed([Point("bound", 2.0, 2 * MACHINE.memory, 0.5), Point("free", 50.0, MACHINE.flops, 0.5)])
    (bound, free), (_, memory, registers) = picture.findall("circle"), roofs(picture)
    assert math.isclose(float(free.attrib["cy"]), float(registers["y1"]), abs_tol=0.1)
    x1, y1, x2, y2 = (float(memory[it]) for it in ("x1", "y1", "x2", "y2"))
    x, y = float(bound.attrib["cx"]), float(bound.attrib["cy"])
    assert x1 < x < x2
    assert math.isclose(y, y1 + (y2 - y1) * (x - x1) / (x2 - x1), abs_tol=0.2)


def test_a_name_cannot_bring_markup() -> None:
    picture = parsed([Point("<script>&", 1.0, 1e9, 1.0)])
    assert "<script>&" in [it.text for it in picture.findall("text")]


@given(st.lists(st.builds(Point, st.just("k"), NUMBERS, NUMBERS.map(lambda it: it * 1e9), st.floats(0, 1)), min_size=1))
def test_everything_is_inside_the_picture(points: list[Point]) -> None:
    picture = parsed(points)
    _, _, width, height = (float(it) for it in picture.attrib["viewBox"].split())
    for name in ("cx", "x1", "x2"):
        assert all(0 <= float(it.attrib[name]) <= width for it in picture if name in it.attrib)
    for name in ("cy", "y1", "y2"):
        assert all(0 <= float(it.attrib[name]) <= height for it in picture if name in it.attrib)


def test_the_machine_s_functions_do_what_they_are_counted_as() -> None:
    """Instructions that wasmtime counts grow with the turns."""
    configuration = wasmtime.Config()
    configuration.consume_fuel = True
    engine = wasmtime.Engine(configuration)
    store = wasmtime.Store(engine)
    store.set_fuel(1 << 60)
    exports = wasmtime.Instance(store, wasmtime.Module(engine, ceilings.module()), []).exports(store)
    spent = {}
    for name, turns in (("flops", 1000), ("cache", 1000), ("memory", 1)):
        before = store.get_fuel()
        exports[name](store, turns)
        spent[name] = (before - store.get_fuel()) / turns
    vectors = {"flops": ceilings.FUNCTIONS["flops"] / 4, "cache": ceilings.FUNCTIONS["cache"] / 16}
    assert vectors["flops"] < spent["flops"] < 5 * vectors["flops"]
    assert math.isclose(
        spent["memory"] / spent["cache"], ceilings.FUNCTIONS["memory"] / ceilings.FUNCTIONS["cache"], rel_tol=0.01
    )
    assert vectors["cache"] < spent["cache"] < 10 * vectors["cache"]


def parsed(points: list[Point]) -> ET.Element:
    picture = roofline(points, MACHINE)
    assert not re.search(r"nan|inf", picture)
    return ET.fromstring(picture)


def roofs(picture: ET.Element) -> list[dict[str, str]]:
    return [it.attrib for it in picture.findall("line") if "roof" in it.attrib["class"].split()]
