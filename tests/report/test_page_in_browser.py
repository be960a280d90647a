"""The report in a real browser: legible, usable by mouse and keyboard, on a telephone, in the dark and on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.report.browser import opened
from tests.report.page_checks import browser_problems

pytestmark = pytest.mark.slow

BUTTON = "td[data-cell] button"


@pytest.fixture
def report(small: Path) -> Path:
    return small / "report.html"


def test_the_page_has_no_problem_in_a_browser(report: Path, browser: Any) -> None:
    assert browser_problems(browser, report) == []


def unfold(page: Any) -> None:
    for folded in ("details.section", "details.section details:has(table[data-samples])"):
        for summary in page.locator(f"{folded} > summary").all():
            summary.click()


def test_samples_show_on_hover_and_by_keyboard(report: Path, browser: Any) -> None:
    with opened(browser, report) as found:
        page, shown = found.page, found.page.locator("#samples-of")
        assert shown.is_hidden()
        unfold(page)
        page.locator(BUTTON).first.hover()
        text = shown.inner_text()
        assert "10 samples from" in text and "In the order of rounds:" in text
        assert shown.locator("circle").count() == 10
        page.mouse.move(1, 1)
        assert shown.is_hidden()
        page.locator(BUTTON).first.focus()
        first = shown.inner_text()
        page.keyboard.press("ArrowRight")
        assert shown.inner_text() != first
        page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement.tagName") == "BUTTON"
        page.keyboard.press("Escape")
        assert shown.is_hidden()


def test_samples_show_on_tap(report: Path, browser: Any) -> None:
    with opened(browser, report, width=360) as found:
        unfold(found.page)
        found.page.locator(BUTTON).first.tap()
        assert "10 samples from" in found.page.locator("#samples-of").inner_text()


def test_without_javascript_everything_essential_is_there(report: Path, browser: Any) -> None:
    with opened(browser, report, javascript=False) as found:
        unfold(found.page)
        said = found.page.locator("body").inner_text()
    for needed in ("The answer", "The grades", "Where the time goes", "The fairness ledger", "Limits", "inconclusive"):
        assert needed in said, needed


def test_the_first_screen_answers(report: Path, browser: Any) -> None:
    with opened(browser, report) as found:
        page = found.page
        height = page.evaluate("window.innerHeight")
        for place in (".answer", "table.standings"):
            box = page.locator(place).bounding_box()
            assert box["y"] + box["height"] <= height, place
        assert page.evaluate("document.documentElement.scrollHeight") < 6 * height


def test_a_cell_of_the_table_tells_more_on_tap(report: Path, browser: Any) -> None:
    with opened(browser, report, width=360) as found:
        found.page.locator("table.standings td").first.tap()
        assert "storage efficiency" in found.page.locator("#samples-of").inner_text()


def test_a_link_opens_what_it_leads_to(report: Path, browser: Any) -> None:
    with opened(browser, report) as found:
        found.page.locator('nav a[href="#noise"]').click()
        assert found.page.locator("details:has(#noise)").get_attribute("open") is not None
