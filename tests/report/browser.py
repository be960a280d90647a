"""Pages in a real headless Chromium, driven by Playwright; what they say and ask for is kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
INSIDE = ("file:", "data:", "blob:", "about:")


def find_chromium() -> str | None:
    """Return the path of a Chromium; None where there is none. A wrong HARNESS_CHROMIUM is an error, never a skip."""
    asked = os.environ.get("HARNESS_CHROMIUM")
    found = next(filter(None, map(shutil.which, [asked] if asked else NAMES)), None)
    if asked and not found:
        raise FileNotFoundError(f"HARNESS_CHROMIUM is {asked}, which is not a program that can be run.")
    return found


@contextmanager
def chromium() -> Iterator[Any]:
    """Start Playwright's browser, or skip with the reason why there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
    if not (path := find_chromium()):
        pytest.skip("No Chromium was found on this machine, so no page can be opened: name one in HARNESS_CHROMIUM.")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Opened:
    """A page with what it wrote to the console, and every address that it asked for beside its own file."""

    def __init__(self, page: Any, path: Path, *, javascript: bool = True) -> None:
        self.page, self.path, self._javascript = page, path, javascript
        self.console: list[str] = []
        self.outside: list[str] = []
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.console.append(f"exception: {error}"))
        page.on("dialog", lambda dialog: (self.console.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: self._ask(request.url))
        page.on("websocket", lambda socket: self._ask(socket.url))
        self.go(path)

    def go(self, path: Path) -> None:
        """Open a file, and wait for what its scripts leave for later."""
        self.path = path
        self.page.goto(path.resolve().as_uri())
        if self._javascript:
            self.page.evaluate("() => new Promise(requestAnimationFrame).then(() => null)")

    def _note(self, message: Any) -> None:
        if message.type in ("warning", "error"):
            self.console.append(f"{message.type}: {message.text}")

    def _ask(self, url: str) -> None:
        if url.partition("#")[0] != self.path.resolve().as_uri() and not url.startswith(INSIDE[1:]):
            self.outside.append(url)


@contextmanager
def opened(browser: Any, path: Path, width: int = 1280, *, javascript: bool = True) -> Iterator[Opened]:
    """Open a file as on a screen, or below 800 pixels on a telephone; nothing outside of the machine is reached."""
    narrow = width < 800
    context = browser.new_context(
        viewport={"width": width, "height": 800}, is_mobile=narrow, has_touch=narrow, java_script_enabled=javascript
    )
    context.route("**/*", lambda route: route.continue_() if route.request.url.startswith(INSIDE) else route.abort())
    try:
        yield Opened(context.new_page(), path, javascript=javascript)
    finally:
        context.close()
