"""The page to try a model, in Chromium: with a pointer, with keys, with files, on a phone, light and dark."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, Page, chromium, served
from PIL import Image
from support import ROOT, copy
from web import interface, place_echo

sys.path.insert(0, str(ROOT / "models/mnist/digits"))
from draw import DRAWINGS, GRID, smooth

DIGITS = ROOT / "models/mnist/digits"
FIELDS = {
    "command": ("int32", [1]),
    "few": ("float32", [1, 3]),
    "whole": ("int8", [2]),
    "large": ("int64", [1]),
    "half": ("float16", [3]),
    "flags": ("bool", [2]),
    "many": ("float32", [5, 8]),
}
FEWEST_CONTRAST = 4.5
"""Of text to what is behind it: WCAG 2.2, 1.4.3."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as it:
        yield it


@pytest.fixture(scope="module")
def mnist(built: Path) -> Iterator[str]:
    """The URL of the page of the sample model."""
    with served(built / "build/web/mnist/mnist.web") as url:
        yield url


@pytest.fixture(scope="module")
def form(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the page of a model that gives back tensors of several dtypes."""
    with served(place_echo(tmp_path_factory.mktemp("form"), interface(FIELDS))) as url:
        yield url


def ready(page: Page) -> Page:
    page.wait("document.body?.dataset.ready !== undefined")
    return page


def best(page: Page) -> str:
    return str(page.wait("document.querySelector('#status strong')?.innerText"))


def scores(page: Page) -> list[str]:
    found: list[str] = page.evaluate("[...document.querySelectorAll('.bars .value')].map((it) => it.innerText)")
    return found


def draw(page: Page, digit: int) -> None:
    """Draws a sample digit's strokes with the pointer."""
    left, top, width, height = page.box("canvas")
    for stroke in DRAWINGS[digit].strokes.split(";"):
        points = smooth(stroke, 6) / GRID * (width, height) + (left, top)
        page.stroke([(float(x), float(y)) for x, y in points])


# A picture


@pytest.mark.slow
@pytest.mark.parametrize("size", [{}, {"width": 320, "height": 640}], ids=["desktop", "phone"])
def test_a_digit_that_is_drawn_is_read(browser: Browser, mnist: str, size: dict[str, int]) -> None:
    with browser.page(mnist, **size) as page:
        ready(page)
        for digit in range(10):
            draw(page, digit)
            assert best(page) == str(digit)
            assert page.text(".bars .best th") == str(digit)
            assert max(scores(page), key=lambda it: float(it.replace("−", "-"))) == scores(page)[digit]
            assert re.search(r"\d ms$", page.text("#status"))
            page.click(".pad .buttons button")
            assert page.text("#status") == "Draw or choose a picture."
        assert page.complaints == []


def test_bars_answer_while_a_line_is_drawn(browser: Browser, mnist: str) -> None:
    with browser.page(mnist) as page:
        ready(page)
        left, top, width, height = page.box("canvas")
        page.call("Input.dispatchMouseEvent", type="mousePressed", x=left + 9, y=top + 9, button="left", buttons=1)
        middle = {"x": left + width / 2, "y": top + height / 2}
        page.call("Input.dispatchMouseEvent", type="mouseMoved", **middle, button="left", buttons=1)
        page.wait("document.querySelector('.best') !== null")
        assert page.evaluate("document.querySelector('#status .time') === null")


@pytest.mark.parametrize("name", ["7.png", "4.png", "8.jpg"])
def test_a_file_is_dropped(browser: Browser, mnist: str, name: str) -> None:
    with browser.page(mnist) as page:
        ready(page).drop("canvas", DIGITS / name)
        assert best(page) == name[0]
        assert page.complaints == []


def test_a_file_beside_the_picture_does_not_replace_the_page(browser: Browser, mnist: str) -> None:
    with browser.page(mnist) as page:
        ready(page).drop("h1", DIGITS / "7.png")
        page.drop("canvas", DIGITS / "3.png")
        assert best(page) == "3"
        assert page.evaluate("location.href") == mnist


def test_a_file_is_chosen_and_drawn_on(browser: Browser, mnist: str) -> None:
    with browser.page(mnist) as page:
        ready(page).choose(".pad input[type=file]", DIGITS / "1.png")
        assert best(page) == "1"
        left, top, width, height = page.box("canvas")
        line = [(left + x / GRID * width, top + 5.8 / GRID * height) for x in (7, 10, 14)]
        page.stroke(line)
        assert best(page) == "7"


def test_black_on_white(browser: Browser, mnist: str) -> None:
    with browser.page(mnist) as page:
        ready(page).click(".inks label:nth-of-type(2)")
        page.stroke([(page.box("canvas")[0] + 50, page.box("canvas")[1] + 50)])
        corner = "document.querySelector('canvas').getContext('2d').getImageData(270, 270, 1, 1).data[0]"
        assert page.evaluate(corner) == 255


@pytest.mark.slow
def test_probabilities_add_up(browser: Browser, mnist: str) -> None:
    with browser.page(mnist) as page:
        draw(ready(page), 5)
        assert best(page) == "5"
        page.click(".option")
        page.wait("document.querySelector('.value').innerText.endsWith('%')")
        assert sum(float(it.rstrip(" %")) for it in scores(page)) == pytest.approx(100, abs=0.5)
        assert "%" in page.text("#status")


# The keyboard


def test_everything_is_done_with_keys(browser: Browser, mnist: str) -> None:
    with browser.page(mnist) as page:
        ready(page)
        page.press("Tab")
        assert page.evaluate("document.activeElement.tagName") == "CANVAS"
        page.press(*["ArrowUp"] * 9, " ", *["ArrowDown"] * 18, " ")
        assert best(page) == "1"
        page.press(*["ArrowRight"] * 3)  # the pen is up: this draws nothing
        assert best(page) == "1"
        page.press("Delete")
        assert page.text("#status") == "Draw or choose a picture."
        focused = []
        for _ in range(4):
            page.press("Tab")
            focused.append(page.evaluate("document.activeElement.type"))
        assert focused == ["file", "button", "radio", "checkbox"]


def test_what_has_the_focus_can_be_seen(browser: Browser, mnist: str) -> None:
    with browser.page(mnist) as page:
        ready(page)
        shown = (
            "(() => { const it = document.activeElement; const style = getComputedStyle(it.closest('.button') ?? it);"
        )
        shown += "return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2; })()"
        for _ in range(5):
            page.press("Tab")
            assert page.evaluate(shown), page.evaluate("document.activeElement.outerHTML")


# What is wrong


@pytest.mark.slow
def test_a_file_that_is_no_picture_is_told(browser: Browser, mnist: str, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes((DIGITS / "7.png").read_bytes()[:60])
    with browser.page(mnist) as page:
        draw(ready(page), 3)
        assert best(page) == "3"
        page.drop("canvas", tmp_path / "broken.png")
        page.wait("!document.querySelector('#error').hidden")
        assert page.text("#error") == "broken.png is not a picture that this browser can read."
        assert page.text("#status") == ""
        assert scores(page) == [""] * 10
        page.drop("canvas", DIGITS / "7.png")
        assert best(page) == "7"
        assert page.evaluate("document.querySelector('#error').hidden")


def test_a_picture_that_is_too_large_is_told(browser: Browser, mnist: str, tmp_path: Path) -> None:
    Image.new("L", (5000, 4000)).save(tmp_path / "large.png")
    with browser.page(mnist) as page:
        ready(page).drop("canvas", tmp_path / "large.png")
        page.wait("!document.querySelector('#error').hidden")
        assert page.text("#error") == "Input3: an image has more pixels than the model accepts (-15)"


def test_a_module_that_cannot_be_loaded_is_told(browser: Browser, tmp_path: Path) -> None:
    package = place_echo(tmp_path, interface({"x": ("float32", [1])}))
    (package / "echo.wasm").unlink()
    with served(package) as url, browser.page(url) as page:
        page.wait("!(document.querySelector('#error')?.hidden ?? true)")
        assert "echo.wasm: 404" in page.text("#error")
        assert page.text("#status") == "The model could not be loaded."


# A form


def field(page: Page, index: int, selector: str, value: str) -> None:
    page.evaluate(
        f"(() => {{ const it = document.querySelectorAll('.field')[{index}].querySelector({json.dumps(selector)});"
        f"it.value = {json.dumps(value)}; it.dispatchEvent(new Event('input', {{ bubbles: true }})); }})()"
    )


def elements(page: Page) -> dict[str, str]:
    """What is shown of each output: bars or elements."""
    found: dict[str, str] = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.output')].map((it) =>"
        "[it.querySelector('caption, h3').innerText.split(' ')[0],"
        " [...it.querySelectorAll('.value, .elements')].map((each) => each.innerText).join(' ')]))"
    )
    return found


def test_a_form_takes_every_dtype(browser: Browser, form: str) -> None:
    with browser.page(form) as page:
        ready(page)
        for index, text in enumerate(("1.5", "-128", "-9007199254740993", "0.1"), 1):
            field(page, index, "input[type=text]", text)
        page.click(".field:nth-of-type(6) label:nth-of-type(2)")
        field(page, 6, "textarea", ", ".join(map(str, range(40))))
        page.click(".primary")
        page.wait("document.querySelector('#status .time') !== null")
        found = elements(page)
        assert found["few"] == "1.50 0 0"
        assert found["whole"] == "−128 0"
        assert found["large"] == "−9007199254740992"
        assert found["half"] == "0.10 0 0"
        assert found["flags"] == "0, 1"
        assert found["many"].startswith("0, 1, 2, 3, ")
        assert page.complaints == []


BAD_FIELDS = [
    (1, "input[type=text]", "one", "few [0, 0]: “one” is not a number."),
    (1, "input[type=text]", "", "few [0, 0]: “” is not a number."),
    (2, "input[type=text]", "128", "whole [0]: 128 is not between -128 and 127."),
    (2, "input[type=text]", "1.5", "whole [0]: “1.5” is not a whole number."),
    (3, "input[type=text]", "9223372036854775808", "large [0]: 9223372036854775808 is not between"),
    (6, "textarea", "1 2 3", "many has 40 elements, and 3 are given."),
]


@pytest.mark.parametrize(("index", "selector", "text", "message"), BAD_FIELDS)
def test_what_does_not_fit_a_field_is_told(
    browser: Browser, form: str, index: int, selector: str, text: str, message: str
) -> None:
    with browser.page(form) as page:
        field(ready(page), index, selector, text)
        page.click(".primary")
        page.wait("!document.querySelector('#error').hidden")
        assert page.text("#error").startswith(message)
        assert page.evaluate("document.querySelectorAll('[aria-invalid=true]').length") == 1
        field(page, index, selector, "0 " * 40 if selector == "textarea" else "0")
        page.click(".primary")
        page.wait("document.querySelector('#error').hidden")
        assert page.evaluate("document.querySelectorAll('[aria-invalid=true]').length") == 0


def test_numbers_that_are_none_are_taken(browser: Browser, form: str) -> None:
    with browser.page(form) as page:
        for text, shown in (("nan", "NaN"), ("-inf", "−Infinity"), ("1e-7", "1.00e−7")):
            field(ready(page), 1, "input[type=text]", text)
            page.click(".primary")
            page.wait(f"document.querySelector('.value').innerText === '{shown}'")


def test_a_tensor_comes_from_a_file(browser: Browser, form: str, tmp_path: Path) -> None:
    np.save(tmp_path / "few.npy", np.array([[1, 2, 3.5]], np.float32))
    np.arange(40, dtype="<f4").tofile(tmp_path / "many.bin")
    np.save(tmp_path / "double.npy", np.array([[1, 2, 3]], np.float64))
    np.save(tmp_path / "flat.npy", np.array([1, 2, 3], np.float32))
    with browser.page(form) as page:
        ready(page).choose(".field:nth-of-type(2) input[type=file]", tmp_path / "few.npy")
        page.choose(".field:nth-of-type(7) input[type=file]", tmp_path / "many.bin")
        page.wait("document.querySelector('#field-6-note').innerText === 'many.bin: 40 elements.'")
        page.click(".primary")
        page.wait("document.querySelector('#status .time') !== null")
        assert elements(page)["few"] == "1 2 3.50"
        assert elements(page)["many"].startswith("0, 1, 2")
        for name, message in (
            ("double.npy", "double.npy does not hold float32, which few is."),
            ("flat.npy", "flat.npy has the shape [3], and few [1, 3]."),
            ("many.bin", "many.bin has 160 bytes of elements, and few 12."),
        ):
            page.choose(".field:nth-of-type(2) input[type=file]", tmp_path / name)
            page.wait(f"document.querySelector('#error').innerText === {json.dumps(message)}")


# For everybody, everywhere

CONTRASTS = """
(() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([red, green, blue]) => [red, green, blue]
    .map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (it) => {
    for (; it; it = it.parentElement) {
      const colour = numbers(getComputedStyle(it).backgroundColor);
      if (colour[3] !== 0) return colour;
    }
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const it = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !it.checkVisibility() || it.closest(".hidden, script, noscript")) continue;
    const [low, high] = [light(numbers(getComputedStyle(it).color)), light(behind(it))].sort((a, b) => a - b);
    found.push([(high + 0.05) / (low + 0.05), texts.currentNode.data.trim()]);
  }
  return found;
})()
"""
UNNAMED = """
[...document.querySelectorAll("input, textarea, button, canvas, select")]
  .filter((it) => !it.getAttribute("aria-label") && !it.textContent.trim())
  .filter((it) => ![...(it.labels ?? [])].some((label) => label.innerText.trim()))
  .map((it) => it.outerHTML)
"""
TWICE = "(() => { const ids = [...document.querySelectorAll('[id]')].map((it) => it.id);"
TWICE += "return ids.filter((id, index) => ids.indexOf(id) !== index); })()"
DANGLING = "[...document.querySelectorAll('[aria-describedby]')].map((it) => it.getAttribute('aria-describedby'))"
DANGLING += ".filter((id) => !document.getElementById(id))"


@pytest.fixture(params=["mnist", "form"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(browser: Browser, url: str, scheme: str, tmp_path: Path) -> None:
    with browser.page(url, scheme=scheme) as page:
        ready(page)
        (tmp_path / "nothing.png").write_bytes(b"")
        page.choose("input[type=file]", tmp_path / "nothing.png")
        page.wait("!document.querySelector('#error').hidden")
        found = page.evaluate(CONTRASTS)
        assert len(found) > 10
        assert [it for it in found if it[0] < FEWEST_CONTRAST] == []
        back = [int(it) for it in re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))]
        assert (sum(back) > 3 * 128) == (scheme == "light")


def test_everything_has_a_name(browser: Browser, url: str) -> None:
    with browser.page(url) as page:
        ready(page)
        assert page.evaluate(UNNAMED) == []
        assert page.evaluate(TWICE) == []
        assert page.evaluate(DANGLING) == []
        assert page.evaluate("[document.documentElement.lang, document.title.length > 0]") == ["en", True]
        controls = {"button", "checkbox", "textbox", "radio", "application", "form", "region", "table", "group"}
        told = [it for it in page.accessibles() if it["role"] in controls]
        assert len(told) > 5
        assert [it for it in told if not it["name"]] == []
        assert {"status", "heading", "main", "banner"} <= {it["role"] for it in page.accessibles()}


@pytest.mark.parametrize("width", [320, 375])
def test_a_phone_need_not_scroll_sideways(browser: Browser, url: str, width: int) -> None:
    with browser.page(url, width=width, height=640) as page:
        ready(page)
        if url.count("mnist"):
            draw(page, 8)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        small = page.evaluate(
            "[...document.querySelectorAll('button, .button, input[type=text], label:has([type=radio])')]"
            ".map((it) => it.getBoundingClientRect()).filter((it) => it.height < 24 || it.width < 24).length"
        )
        assert small == 0  # WCAG 2.2, 2.5.8


def test_a_finger_draws_and_does_not_scroll(browser: Browser, mnist: str) -> None:
    with browser.page(mnist, width=375, height=640) as page:
        page.call("Emulation.setTouchEmulationEnabled", enabled=True)
        left, top, width, height = ready(page).box("canvas")
        before = page.evaluate("scrollY")
        points = [{"x": left + width / 2, "y": top + height * part} for part in np.linspace(0.2, 0.8, 9)]
        page.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=points[:1])
        for point in points:
            page.call("Input.dispatchTouchEvent", type="touchMove", touchPoints=[point])
        page.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        assert best(page) == "1"
        assert page.evaluate("scrollY") == before


def test_nothing_is_asked_of_anybody_else(browser: Browser, url: str) -> None:
    with browser.page(url) as page:
        ready(page)
        assert len(page.requests) > 5
        assert [it for it in page.requests if not it.startswith((url, "data:"))] == []
        assert page.complaints == []


def test_odd_names_are_shown_as_they_are(browser: Browser, tmp_path: Path) -> None:
    names = ["</script><b>bold</b>", 'a "quoted" & <i>', "x" * 80]
    package = place_echo(tmp_path, interface({name: ("float32", [2]) for name in names}))
    with served(package) as url, browser.page(url, width=320, height=640) as page:
        legends = ready(page).evaluate(
            "[...document.querySelectorAll('.field > legend')].map((it) => it.firstChild.data)"
        )
        assert legends == names
        assert page.evaluate("document.querySelector('b, i')") is None
        assert page.evaluate("document.documentElement.scrollWidth") <= 320


# Pictures in a browser


def test_each_kind_of_picture_is_taken(browser: Browser, mnist: str) -> None:
    data = (DIGITS / "7.png").read_bytes()
    script = f"""
      (async () => {{
        const {{ load }} = await import("./mnist.js");
        const m = await load();
        const bitmap = await createImageBitmap(new Blob([Uint8Array.from({list(data)})]));
        const canvas = Object.assign(document.createElement("canvas"), {{ width: 28, height: 28 }});
        canvas.getContext("2d").drawImage(bitmap, 0, 0);
        const offscreen = new OffscreenCanvas(28, 28);
        offscreen.getContext("2d").drawImage(bitmap, 0, 0);
        const pictures = [bitmap, canvas, offscreen, canvas.getContext("2d").getImageData(0, 0, 28, 28)];
        const all = pictures.map((picture) => [...m.run({{ Input3: picture }}).Plus214_Output_0].join());
        return [all[0].split(",").length, new Set(all).size];
      }})()
    """
    with browser.page(mnist) as page:
        assert ready(page).evaluate(script) == [10, 1]


@pytest.mark.slow
def test_it_runs_in_a_worker(browser: Browser, built: Path, tmp_path: Path) -> None:
    package = copy(built / "build/web/mnist/mnist.web", tmp_path / "mnist.web")
    (package / "worker.js").write_text("""
      import { load } from "./mnist.js";
      const m = await load();
      const canvas = new OffscreenCanvas(28, 28);
      canvas.getContext("2d");
      postMessage(m.run({ Input3: canvas.transferToImageBitmap() }).Plus214_Output_0.length);
    """)
    script = """
      new Promise((done, failed) => {
        const worker = new Worker("./worker.js", { type: "module" });
        worker.onmessage = (event) => done(event.data);
        worker.onerror = (event) => failed(new Error(event.message));
      })
    """
    with served(package) as url, browser.page(url) as page:
        assert ready(page).evaluate(script) == 10
