"""Chromium for tests, driven through its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import functools
import http.server
import json
import os
import select
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 20
"""Seconds that anything may take."""

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--remote-debugging-pipe", "--window-size=1280,900"),
)
_KEYS = {
    " ": 32,
    "Delete": 46,
    "Tab": 9,
    "Enter": 13,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
}
"""The number of each key, as Windows has it."""

_BOX = """(() => {
  const it = document.querySelector(%s);
  it.scrollIntoView({ block: "center" });
  const { x, y, width, height } = it.getBoundingClientRect();
  return [x, y, width, height];
})()"""


class Browser:
    """A running Chromium.

    Args:
        folder: Where it keeps what it keeps.
    """

    def __init__(self, folder: Path) -> None:
        program = shutil.which("chromium")
        assert program, "there is no chromium here: ./sconsw setup dev brings it"
        theirs, ours = [], []
        for read_is_theirs in (True, False):
            read, write = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in os.pipe())
            theirs.append(read if read_is_theirs else write)
            ours.append(write if read_is_theirs else read)
        self._process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={folder}"],
            preexec_fn=lambda: [os.dup2(end, number) for number, end in enumerate(theirs, 3)],  # noqa: PLW1509
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(folder)},
        )
        for end in theirs:
            os.close(end)
        self._write, self._read = ours
        self._buffer = b""
        self._count = 0
        self.events: list[dict[str, Any]] = []

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._send("Browser.close", {}, None)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        """Calls a method of the protocol and gives its result."""
        number = self._send(method, parameters, session)
        while True:
            message = self._receive()
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            if "method" in message:
                self.events.append(message)

    def _send(self, method: str, parameters: dict[str, Any], session: str | None) -> int:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        os.write(self._write, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        return self._count

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], PATIENCE)
            assert ready, "Chromium does not answer"
            data = os.read(self._read, 1 << 20)
            assert data, "Chromium has ended"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    @contextlib.contextmanager
    def page(self, url: str, *, width: int = 1280, height: int = 900, scheme: str = "light") -> Iterator[Page]:
        """Opens a page, in a window of its own that is as large as told."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        page.call("Page.navigate", url=url)
        try:
            yield page
        finally:
            self.call("Target.disposeBrowserContext", browserContextId=context)


@dataclass
class Page:
    """A page, as its user has it: with a pointer, a keyboard and eyes."""

    browser: Browser
    session: str

    def call(self, method: str, **parameters: Any) -> Any:
        return self.browser.call(method, self.session, **parameters)

    def events(self, method: str) -> list[dict[str, Any]]:
        """The parameters of the events that came so far."""
        events = (it for it in self.browser.events if it.get("sessionId") == self.session)
        return [it["params"] for it in events if it["method"] == method]

    @property
    def complaints(self) -> list[str]:
        """What stands in the page's console: errors, failed requests, what its policy refused."""
        thrown = [it["exceptionDetails"]["text"] for it in self.events("Runtime.exceptionThrown")]
        return thrown + [f"{it['entry']['text']} {it['entry'].get('url', '')}" for it in self.events("Log.entryAdded")]

    @property
    def requests(self) -> list[str]:
        """The URLs that the page asked for."""
        return [it["request"]["url"] for it in self.events("Network.requestWillBeSent")]

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise's when it has one."""
        told = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def wait(self, expression: str) -> Any:
        """Waits until an expression is true, and gives its value."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            value = self.evaluate(expression)
            if value:
                return value
            time.sleep(0.02)
        raise AssertionError(f"{expression} did not come true: {self.evaluate('document.body?.innerText')}")

    def text(self, selector: str) -> str:
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width and height of an element, which is scrolled into view."""
        x, y, width, height = self.evaluate(_BOX % json.dumps(selector))
        return x, y, width, height

    def click(self, selector: str) -> None:
        left, top, width, height = self.box(selector)
        self.stroke([(left + width / 2, top + height / 2)])

    def stroke(self, points: Sequence[tuple[float, float]]) -> None:
        """Presses the pointer at the first point, moves it through all, and lets go at the last."""
        for kind, (x, y) in (
            ("mousePressed", points[0]), *(("mouseMoved", point) for point in points), ("mouseReleased", points[-1]),
        ):  # fmt: skip
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def press(self, *keys: str) -> None:
        for key in keys:
            code = {"key": key, "windowsVirtualKeyCode": _KEYS.get(key, 0)}
            text = {"text": key} if len(key) == 1 else {}
            self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **code, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def drop(self, selector: str, file: Path) -> None:
        """Drops a file on an element."""
        left, top, width, height = self.box(selector)
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=left + width / 2, y=top + height / 2, data=data)

    def choose(self, selector: str, file: Path) -> None:
        """Chooses a file in an input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def accessibles(self) -> list[dict[str, str]]:
        """What assistive technology finds: the role and name of each node."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            {key: str(node.get(key, {}).get("value", "")) for key in ("role", "name")}
            for node in nodes
            if not node["ignored"]
        ]

    def screenshot(self, path: Path) -> None:
        metrics = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {**{key: metrics[key] for key in ("x", "y", "width", "height")}, "scale": 1}
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
        path.write_bytes(base64.b64decode(data))


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A Chromium that knows nothing yet."""
    with tempfile.TemporaryDirectory(prefix="onnx-wasm-chromium-", ignore_cleanup_errors=True) as folder:
        browser = Browser(Path(folder))
        try:
            yield browser
        finally:
            browser.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """A static server of a folder; gives the URL of its top."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
