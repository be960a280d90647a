"""A real headless Chromium, driven with the standard library alone: the DevTools protocol over two pipes.

`--remote-debugging-pipe` makes Chromium read commands from file descriptor 3 and write answers to descriptor 4, each a
JSON text that ends with a null byte. No port is opened, and Chromium ends by itself when this process dies.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from urllib.parse import urldefrag

Json = dict[str, Any]
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = [
    *("--remote-debugging-pipe", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-breakpad"),
    *("--disable-dev-shm-usage", "--disable-extensions", "--no-proxy-server"),
]
NOWHERE = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"  # a page that asks for the network gets none
# Moves the two pipes to 3 and 4, then becomes Chromium: no code runs between a fork and an exec in this process.
BECOME = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "End": 35, "Home": 36} | {
    f"Arrow{side}": 37 + i for i, side in enumerate(("Left", "Up", "Right", "Down"))
}
TYPED = {"Enter": "\r", " ": " "}
PAPER, MARGIN = (8.27, 11.69), 0.4  # A4, in inches
PRINT_WIDTH = int((PAPER[0] - 2 * MARGIN) * 96)  # CSS pixels between the margins


class BrowserError(Exception):
    """Chromium could not be started, refused a command, or gave no answer in time."""


def find_chromium() -> str | None:
    """Return the path of a Chromium; None where there is none. A wrong HARNESS_CHROMIUM is an error, never a skip."""
    asked = os.environ.get("HARNESS_CHROMIUM")
    found = next(filter(None, map(shutil.which, [asked] if asked else NAMES)), None)
    if asked and not found:
        raise BrowserError(f"HARNESS_CHROMIUM is {asked}, which is not a program that can be run.")
    return found


class Browser:
    """One Chromium with a profile of its own; `open` gives a page. Leaving it ends Chromium and removes the profile."""

    def __init__(self, executable: str | None = None, timeout: float = 30) -> None:
        self._executable, self.timeout = executable or find_chromium(), timeout
        self._last, self._unread = 0, bytearray()
        self._replies: dict[int, Json] = {}
        self._pages: dict[str, Page] = {}

    def __enter__(self) -> Self:
        if not self._executable:
            raise BrowserError("No Chromium was found: install one, or name it in HARNESS_CHROMIUM.")
        with contextlib.ExitStack() as undo:
            folder = tempfile.TemporaryDirectory(prefix="harness-chromium-", ignore_cleanup_errors=True)
            self._folder = Path(undo.enter_context(folder))
            low = (*os.pipe(), *os.pipe())  # copied above 9, so that moving one to 3 or 4 cannot overwrite the other
            theirs_in, self._out, self._in, theirs_out = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in low)
            for end in low:
                os.close(end)
            undo.callback(os.close, self._out)
            undo.callback(os.close, self._in)
            os.set_blocking(self._out, False)
            become = [sys.executable, "-SEc", BECOME, str(theirs_in), str(theirs_out), self._executable]
            log = undo.enter_context((self._folder / "stderr").open("wb"))
            try:
                self._process = subprocess.Popen(
                    [*become, *FLAGS, NOWHERE, f"--user-data-dir={self._folder}/profile", "about:blank"],
                    pass_fds=(theirs_in, theirs_out),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    start_new_session=True,  # so that its children can be ended with it
                    env={**os.environ, "TMPDIR": str(self._folder)},  # its sockets go when the folder goes
                )
            finally:
                os.close(theirs_in)
                os.close(theirs_out)
            undo.callback(self._end)
            self.version: str = self.call("Browser.getVersion", timeout=2 * self.timeout)["product"]
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _end(self) -> None:
        with contextlib.suppress(BrowserError, subprocess.TimeoutExpired):
            self.call("Browser.close", timeout=5)
            self._process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    def open(
        self, path: Path, *, width: int = 1280, mobile: bool = False, scheme: str = "light", javascript: bool = True
    ) -> Page:
        """Open a file in a page that shares nothing with other pages, and wait until it is loaded and painted."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", {"url": "about:blank", "browserContextId": context})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = self._pages[session] = Page(self, session, context)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.call("Emulation.setFocusEmulationEnabled", {"enabled": True})  # only one page of a window has the focus
        page.call("Emulation.setScriptExecutionDisabled", {"value": not javascript})
        page.viewport(width, mobile=mobile)
        page.media(scheme)
        page.go(path)
        return page

    def call(self, method: str, params: Json | None = None, session: str = "", timeout: float = 0) -> Json:
        """Send one command of the DevTools protocol and wait for its result."""
        number = self._send(method, params or {}, session)
        self.wait(lambda: number in self._replies, timeout or self.timeout, method)
        reply = self._replies.pop(number)
        if "error" in reply:
            raise BrowserError(f"{method}: {reply['error']['message']}")
        return reply["result"]

    def _send(self, method: str, params: Json, session: str) -> int:
        self._last += 1
        command = {"id": self._last, "method": method, "params": params} | ({"sessionId": session} if session else {})
        data, deadline = json.dumps(command).encode() + b"\0", time.monotonic() + self.timeout
        while data:
            if not select.select([], [self._out], [], max(0, deadline - time.monotonic()))[1]:
                raise BrowserError(f"Chromium did not take {method} within {self.timeout:g} s. {self._said()}")
            try:
                data = data[os.write(self._out, data) :]
            except BrokenPipeError:
                raise BrowserError(f"Chromium ended before {method}. {self._said()}") from None
        return self._last

    def wait(self, until: Callable[[], object], timeout: float, what: str) -> None:
        """Take in what Chromium says until a condition holds."""
        deadline = time.monotonic() + timeout
        while not until():
            if not select.select([self._in], [], [], max(0, deadline - time.monotonic()))[0]:
                raise BrowserError(f"Chromium gave no answer to {what} within {timeout:g} s. {self._said()}")
            if not (data := os.read(self._in, 1 << 20)):
                raise BrowserError(f"Chromium ended during {what}. {self._said()}")
            self._unread += data
            if b"\0" in data:
                *texts, self._unread = self._unread.split(b"\0")
                for message in map(json.loads, texts):
                    if "id" in message:
                        self._replies[message["id"]] = message
                    elif page := self._pages.get(message.get("sessionId", "")):
                        page.take(message["method"], message["params"])

    def _said(self) -> str:
        return "It wrote: " + (self._folder / "stderr").read_text(errors="replace")[-500:].strip()


class Page:
    """A page of a `Browser`: `console` holds (level, text) pairs, `requests` every address it asked for."""

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        self.browser, self._session, self._context = browser, session, context
        self.console: list[tuple[str, str]] = []
        self.requests: list[str] = []
        self.width, self._loaded = 0, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.browser.call("Target.disposeBrowserContext", {"browserContextId": self._context})

    def call(self, method: str, params: Json | None = None) -> Json:
        """Send one command of the DevTools protocol to this page."""
        return self.browser.call(method, params, self._session)

    def take(self, event: str, params: Json) -> None:
        """Note one event of the page."""
        match event:
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Network.webSocketCreated":
                self.requests.append(params["url"])
            case "Page.javascriptDialogOpening":  # it would stop the page
                self.console.append(("dialog", params["message"]))
                self.browser._send("Page.handleJavaScriptDialog", {"accept": True}, self._session)
            case "Log.entryAdded":
                entry = params["entry"]
                self.console.append((entry["level"], f"{entry['text']} {entry.get('url', '')}".strip()))
            case "Runtime.exceptionThrown":
                self.console.append(("exception", _exception(params["exceptionDetails"])))
            case "Runtime.consoleAPICalled":
                said = [str(a.get("value", a.get("description", a["type"]))) for a in params["args"]]
                self.console.append((params["type"], " ".join(said)))

    def go(self, path: Path) -> None:
        """Open a file in this page, with the viewport and the media it has, and wait until it is painted."""
        self.console, self.requests, self._loaded = [], [], False
        if error := self.call("Page.navigate", {"url": path.resolve().as_uri()}).get("errorText"):
            raise BrowserError(f"{path} cannot be opened: {error}")
        self.browser.wait(lambda: self._loaded, self.browser.timeout, f"loading {path}")
        self.call("Page.captureScreenshot", {"clip": {"x": 0, "y": 0, "width": 1, "height": 1, "scale": 1}})

    def viewport(self, width: int, height: int = 800, mobile: bool = False, bars: bool = True) -> None:
        """Set the size of the window in CSS pixels, as a telephone where `mobile`, with scroll bars where `bars`."""
        self.call("Emulation.setScrollbarsHidden", {"hidden": not bars})  # is heard when the size changes
        size = {"width": width, "height": height, "deviceScaleFactor": 0, "mobile": mobile}
        self.call("Emulation.setDeviceMetricsOverride", size)
        self.call("Emulation.setTouchEmulationEnabled", {"enabled": mobile})
        self.width = width

    def media(self, scheme: str = "light", media: str = "") -> None:
        """Prefer a light or a dark colour scheme; `media` is print, screen or, where empty, as it is."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", {"media": media, "features": features})

    def evaluate(self, expression: str) -> Any:
        """Return the JSON value of a JavaScript expression, or of what it promises (never kept without JavaScript)."""
        got = self.call("Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True})
        if "exceptionDetails" in got:
            raise BrowserError(_exception(got["exceptionDetails"]))
        return got["result"].get("value")

    def outside(self) -> list[str]:
        """Return the addresses it asked for beside its own file and what is inside it."""
        inside = ("data:", "blob:", "about:")
        own = urldefrag(self.requests[0]).url
        return [url for url in self.requests if urldefrag(url).url != own and not url.startswith(inside)]

    def press(self, key: str, shift: bool = False) -> None:
        """Press and release one of `KEYS`."""
        stroke = {"key": key, "code": key.replace(" ", "Space"), "windowsVirtualKeyCode": KEYS[key]}
        for kind in ("keyDown" if key in TYPED else "rawKeyDown", "keyUp"):
            text = {"text": TYPED[key]} if kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", stroke | text | {"type": kind, "modifiers": 8 * shift})

    def where(self, selector: str) -> tuple[float, float]:
        """Scroll an element into view and return its middle, for `move`, `click` and `tap`."""
        scroll = "e.scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'})"
        middle = "(r => [r.x + r.width / 2, r.y + r.height / 2])(e.getBoundingClientRect())"
        x, y = self.evaluate(f"(e => {{{scroll}; return {middle}}})(document.querySelector({json.dumps(selector)}))")
        return x, y

    def move(self, x: float, y: float, kind: str = "mouseMoved", **more: Any) -> None:
        """Move the mouse to a point of the window."""
        self.call("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y} | more)

    def click(self, x: float, y: float) -> None:
        """Click with the left button of the mouse."""
        self.move(x, y)
        self.move(x, y, "mousePressed", button="left", clickCount=1)
        self.move(x, y, "mouseReleased", button="left", clickCount=1)

    def tap(self, x: float, y: float) -> None:
        """Touch with one finger; the viewport has to be `mobile`."""
        self.call("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        self.call("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def screenshot(self, path: Path | None = None) -> bytes:
        """Return a PNG of the whole page, and write it where a path is given."""
        clip = self.call("Page.getLayoutMetrics")["cssContentSize"] | {"scale": 1}
        png = base64.b64decode(
            self.call("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})["data"]
        )
        if path:
            path.write_bytes(png)
        return png

    def pdf(self) -> bytes:
        """Print on A4 as a person would."""
        margins = {f"margin{side}": MARGIN for side in ("Top", "Bottom", "Left", "Right")}
        paper = {"paperWidth": PAPER[0], "paperHeight": PAPER[1], "printBackground": True}
        return base64.b64decode(self.call("Page.printToPDF", paper | margins)["data"])

    def tree(self) -> list[Json]:
        """Return the accessibility tree that a screen reader is given, as a list of nodes."""
        return self.call("Accessibility.getFullAXTree")["nodes"]


def _exception(details: Json) -> str:
    return details.get("exception", {}).get("description") or details["text"]
