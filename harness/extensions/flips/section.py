"""Report section that draws the flips; the core's section on uses shows the picture."""

from __future__ import annotations

from pathlib import Path

from harness.analysis.choice.decision import Decision
from harness.analysis.findings import Findings
from harness.extensions.flips.drawing import draw_flips
from harness.report.page.answer import preferring
from harness.report.section import Block, Section


class FlipsSection(Section):
    """Drawing of where the choice for the first use flips; it has no section of its own on the page."""

    name, title = "flips", "Where the choice flips"
    order = 9
    drawn = ("decision",)

    def find(self, folder: Path, findings: Findings) -> Decision | None:
        """Return the first decision on the page that prefers a format, or None."""
        return next(iter(preferring(findings)), None)

    def blocks(self, found: Decision, findings: Findings) -> list[Block]:
        """Return no blocks: the section on uses shows the picture."""
        return []

    def draw(self, found: Decision, folder: Path) -> list[Path]:
        """Draw every weight whose flip is known."""
        return draw_flips(found, folder)


section = FlipsSection()
