"""A real browser, where there is one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.report.browser import Browser, find_chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium; the tests that need it have others beside them that do not."""
    if not find_chromium():
        pytest.skip("No Chromium was found on this machine, so no page can be opened: name one in HARNESS_CHROMIUM.")
    with Browser() as browser:
        yield browser
