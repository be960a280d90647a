"""A section of a run's report: what an extension found, its tables, its drawings, its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from harness import registry
from harness.analysis.findings import Findings


@dataclass(frozen=True)
class Text:
    """A paragraph; `markdown` where that says it in another way."""

    text: str
    markdown: str = ""


@dataclass(frozen=True)
class Items:
    """A list, perhaps with a sentence before it."""

    texts: Sequence[str]
    lead: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table, whose first column names the rows.

    Attributes
    ----------
    label, caption : str
        Its name for a screen reader, and what stands above it.
    columns, rows : sequence
        Texts.
    figures : bool
        Whether cells are figures, set one below the other.
    folded : str
        The name under which it is shown only when it is asked for; empty for always.
    """

    label: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: bool = False
    folded: str = ""


@dataclass(frozen=True)
class Picture:
    """A drawing by its name without ending, with its title above it if `headed`; left out where it was not drawn."""

    name: str
    title: str
    caption: str
    headed: bool = False


@dataclass(frozen=True)
class Part:
    """What the core shows by a macro of its own in both templates, which has this name."""

    macro: str
    content: Any


Block = Text | Items | Table | Picture | Part


class Section:
    """What an extension adds to the report; an instance is registered in the group ``harness.sections``.

    Attributes
    ----------
    name, title : str
        The anchor on the page, and the heading.
    order : int
        Its place: the core's sections are at the tens, see `harness.report.page.render`.
    measured : mapping of str to str
        Files beside the run's own that it is made from, each with what a bundle can only claim of it.
    published : mapping of str to sequence of str
        Tables that it writes, each with the columns that name a row.
    drawn : tuple of str
        Drawings that it may make, without their endings.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    order: ClassVar[int]
    measured: ClassVar[Mapping[str, str]] = {}
    published: ClassVar[Mapping[str, Sequence[str]]] = {}
    drawn: ClassVar[tuple[str, ...]] = ()

    def find(self, folder: Path, findings: Findings) -> Any:
        """Return what a run's folder holds for this section; None for nothing: then the report has no such section."""
        raise NotImplementedError

    def blocks(self, found: Any, findings: Findings) -> list[Block]:
        """Put into words what `find` returned; without a block the page has no such section."""
        raise NotImplementedError

    def document(self, found: Any) -> dict[str, Any]:
        """Return what ``report.json`` records, as plain values by name."""
        return {}

    def tables(self, found: Any) -> dict[str, pd.DataFrame]:
        """Return the tables that are published, by the names in `published`."""
        return {}

    def cells(self, found: Any) -> pd.DataFrame | None:
        """Return rows for ``summary.csv`` of samples that are none of a format; None for none."""
        return None

    def limits(self, found: Any, findings: Findings) -> list[str]:
        """Say what it does not show, for the section on limits."""
        return []

    def closing(self, found: Any) -> Table | None:
        """Return a table for the terminal, when the run has ended."""
        return None

    def draw(self, found: Any, folder: Path) -> list[Path]:
        """Draw what is in `drawn`; return the files."""
        return []


Brought = list[tuple[Section, Any]]
"""The sections of extensions, each with what it found."""


def brought(folder: Path, findings: Findings) -> Brought:
    """Ask every installed extension for its section of the report."""
    found = [(section, section.find(folder, findings)) for section in installed()]
    return [(section, part) for section, part in found if part is not None]


def installed() -> list[Section]:
    """Return the sections of all installed extensions that can be imported, in the order of the page."""
    found: list[Section] = registry.usable("sections")
    return sorted(found, key=lambda section: (section.order, section.name))
