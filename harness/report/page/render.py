"""Rendering of the report as one self-contained HTML page, and as Markdown.

Places of the core's sections: 0 is the answer, 5 the attribution of differences, 10 uses, 20 plots, 25 grades,
30 tables, 80 scaling, 90 fairness, 100 noise, 110 limits, 120 reproduce, 130 cite. Those of extensions are between
them. All but the answer and the uses are folded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

import harness
from harness.analysis.findings import Findings
from harness.errors import escaped, escaped_lines
from harness.report.page import sections
from harness.report.page.attribution import attribution
from harness.report.page.conclusions import Said
from harness.report.page.limits import ledger, limits, noise
from harness.report.page.reproduce import cite, reproduce
from harness.report.page.scaling import scaling
from harness.report.page.tables import tables
from harness.report.section import Block, Brought, Items, Part, Picture, Section

_OPEN = ("answer", "uses")
"""Sections that are not folded."""

_Added = list[tuple[Section, list[Block]]]


@dataclass(frozen=True, kw_only=True)
class PageHead:
    """The head of a page."""

    title: str  # Its heading.
    # The kind of subject, such as ``Run``, and its name.
    of: str = "Run"
    name: str
    facts: str  # What was measured where.


class PagePart(NamedTuple):
    """A section of a page: its anchor, its name in the list of sections, its heading, and its blocks."""

    name: str
    listed: str
    title: str
    blocks: Sequence[Block]
    folded: bool = True


_BLANK = re.compile(r"\n{3,}")
_PAINT = re.compile(r"\b(fill|stroke): #([0-9a-f]{6})\b")
_OF_PAGE = {"ffffff": "paper", "000000": "ink", "333333": "soft", "555555": "soft", "6e6e6e": "soft", "e2e2e2": "line"}
"""Colours of drawings that belong to no format, each with the colour of the page that replaces it."""
_DARK = 70  # of 255, the luma below which a colour is invisible on a dark page


def render(findings: Findings, plots: Path, folder: Path, links: str, brought: Brought, said: Said) -> tuple[str, str]:
    """Render the report.

    Parameters
    ----------
    findings : Findings
        The findings of the run.
    plots : Path
        The folder of its plots.
    folder : Path
        The run's folder.
    links : str
        The folder of the plots in links of the Markdown.
    brought : list of (Section, object)
        The sections of extensions, each with what it found.
    said : Said
        The first sentences of the report.

    Returns
    -------
    page : str
        Self-contained HTML.
    markdown : str
        The same as Markdown, for a pull request.
    """
    added = [(section, blocks) for section, found in brought if (blocks := section.blocks(found, findings))]
    alone = " and ".join(section.title for section, _ in added)
    head = PageHead(
        title=alone if findings.without_formats and alone else "Which file format for these inference traces?",
        name=findings.config.run_id,
        facts=sections.facts(findings),
    )
    return write_page(head, _sections(findings, folder, brought, added, said), plots, links)


def write_page(head: PageHead, parts: Iterable[PagePart], plots: Path, links: str = "plots") -> tuple[str, str]:
    """Render sections as HTML and as Markdown, without those that have no blocks. Arguments and returns as `render`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report.page"),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        # The text may be read in terminals, so it is escaped; style, script and drawings are our own `Markup`.
        finalize=lambda value: escaped_lines(value) if type(value) is str else value,
    )
    environment.filters["bar"] = lambda text: escaped(str(text)).replace("|", "\\|")
    samples: list[list[float]] = []

    def numbered(seconds: list[float]) -> int:
        """Store the samples of a cell for the script; return the number by which the cell refers to them."""
        samples.append(seconds)
        return len(samples) - 1

    text = {
        name: Markup((Path(__file__).parent / "templates" / name).read_text()) for name in ("style.css", "script.js")
    }
    view = {
        **asdict(head),
        "name": escaped(head.name),
        "sections": [
            part._asdict() | {"blocks": [shown for block in part.blocks if (shown := _shown(block, plots))]}
            for part in parts
            if part.blocks
        ],
        "footer": f"trace-format-harness {harness.__version__}. Licence of the harness: Apache-2.0.",
        "plots_at": links,
        "style": text["style.css"],
        "script": text["script.js"],
        "numbered": numbered,
        "samples": lambda: Markup(json.dumps(samples, separators=(",", ":"))),
    }
    page, markdown = (environment.get_template(name).render(view) for name in ("page.html", "page.md"))
    return page, _BLANK.sub("\n\n", markdown)


def _sections(findings: Findings, folder: Path, brought: Brought, added: _Added, said: Said) -> Iterable[PagePart]:
    """Yield every section in the order of their places."""
    found: list[tuple[int, str, str, str, list[Block]]] = [
        (0, "answer", "Answer", "The answer", sections.answer_blocks(findings, said)),
        (110, "limits", "Limits", "Limits", [Items(limits(findings, brought))]),
        (120, "reproduce", "Reproduce and check", "How to reproduce and to check", reproduce(findings)),
        (130, "cite", "Cite", "How to cite", cite(findings, folder)),
    ]
    if not findings.without_formats:
        found += [
            (5, "attribution", "What is due to what", "What is due to what", attribution(findings)),
            (10, "uses", "For your use", "For your use", sections.use_blocks(findings, said)),
            (20, "plots", "Plots", "The plots", sections.plots(findings)),
            (25, "grades", "Grades", "The grades", sections.grades(findings)),
            (30, "tables", "Figures", "The figures", tables(findings)),
            (80, "scaling", "Several workers", "Several workers", scaling(findings)),
            (90, "fairness", "Fairness", "The fairness ledger", ledger(findings)),
            (100, "noise", "Noise", "The noise", [Items(noise(findings.noise))]),
        ]
    found += [(one.order, one.name, one.title, one.title, blocks) for one, blocks in added]
    for _, name, listed, title, blocks in sorted(found, key=lambda section: section[:2]):
        yield PagePart(name, listed, title, blocks, name not in _OPEN and not findings.without_formats)


def _shown(block: Block, plots: Path) -> tuple[str, Any] | None:
    """Return the name of the macro that shows a block, and its argument; None for a drawing that was not made."""
    if isinstance(block, Part):
        return block.macro, block.content
    if not isinstance(block, Picture):
        return type(block).__name__, block
    path = plots / f"{block.name}.svg"
    if not path.is_file():
        return None
    svg = inline_svg(path.read_text(encoding="utf-8"), block.name.replace("_", "-"), block.caption)
    return "Picture", {**asdict(block), "svg": Markup(svg)}


def inline_svg(text: str, prefix: str, label: str) -> str:
    """Convert a drawing of matplotlib to an element of a page.

    Parameters
    ----------
    text : str
        The content of the SVG file.
    prefix : str
        Prefix for every identifier in it.
    label : str
        Description of the drawing for screen readers.

    Returns
    -------
    str
        An ``svg`` element that scales with its place and uses the colours of the page: the variables ``--paper``,
        ``--ink``, ``--soft`` and ``--line`` of its style, which differ in dark mode.
    """
    start = text.index("<svg")
    close = text.index(">", start)
    head, body = text[start:close], text[close + 1 : text.rindex("</svg>")]
    # The style rule of a drawing would apply to the complete page; as attributes it applies to the drawing only.
    body = re.sub(r"<metadata>.*?</metadata>|<style\b[^>]*>.*?</style>|<!--.*?-->", "", body, flags=re.S)
    used = set(re.findall(r'#([^")]+)[")]', body))
    body = re.sub(r'\bid="([^"]+)"', lambda m: f'id="{prefix}-{m[1]}"' if m[1] in used else "", body)
    body = re.sub(r'(xlink:)?href="#([^"]+)"', rf'href="#{prefix}-\2"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", body)
    body = _PAINT.sub(_painted, body)
    head = re.sub(r'\s(?:width|height|xmlns:xlink|xmlns|version)="[^"]*"', "", head)
    name = escape(label, quote=True)
    return (
        f'{head} role="img" aria-label="{name}" style="stroke-linejoin:round;stroke-linecap:butt;fill:var(--ink)">'
        f"{body.strip()}</svg>"
    )


def _painted(found: re.Match[str]) -> str:
    """Return a colour of the page, or a format's own, with a lighter one in dark mode if it would be invisible."""
    what, colour = found.groups()
    if colour in _OF_PAGE:
        return f"{what}: var(--{_OF_PAGE[colour]})"
    parts = bytes.fromhex(colour)
    if sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True)) >= _DARK:
        return found[0]
    lighter = bytes(part + 2 * (255 - part) // 5 for part in parts).hex()
    return f"{found[0]}; {what}: light-dark(#{colour}, #{lighter})"  # the first for browsers without light-dark
