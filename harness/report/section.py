"""A section of a report: results of an extension, its tables, plots and text."""

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
    """A paragraph; `markdown` if its Markdown differs."""

    text: str
    markdown: str = ""


@dataclass(frozen=True)
class Items:
    """A list, with an optional sentence before it."""

    texts: Sequence[str]
    lead: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table, whose first column names the rows."""

    # Name for screen readers, and caption.
    label: str
    caption: str
    # Texts.
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: bool = False  # Whether cells are numbers, which are aligned.
    folded: str = ""  # Name under which the table is folded; empty if it is not folded.


@dataclass(frozen=True)
class Picture:
    """A plot by its file name without suffix, with its title if `headed`; left out if it was not drawn."""

    name: str
    title: str
    caption: str
    headed: bool = False


@dataclass(frozen=True)
class Part:
    """A part that the core shows with the macro of this name in both templates."""

    macro: str
    content: Any


Block = Text | Items | Table | Picture | Part


class Section:
    """A part of the report from an extension; an instance is registered in the group ``harness.sections``.

    Attributes
    ----------
    name, title : str
        The anchor on the page, and the heading.
    order : int
        Position on the page, between those of the core's sections, see `harness.report.page.render`.
    measured : mapping of str to str
        Additional files that it is made from, each with what a bundle can only claim of it.
    published : mapping of str to sequence of str
        Tables that it writes, each with its key columns.
    drawn : tuple of str
        Plots that it may draw, without suffix.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    order: ClassVar[int]
    measured: ClassVar[Mapping[str, str]] = {}
    published: ClassVar[Mapping[str, Sequence[str]]] = {}
    drawn: ClassVar[tuple[str, ...]] = ()

    def find(self, folder: Path, findings: Findings) -> Any:
        """Return the data for this section from the folder of a run; None leaves the section out."""
        raise NotImplementedError

    def blocks(self, found: Any, findings: Findings) -> list[Block]:
        """Return the blocks of the section from the result of `find`; an empty list leaves the section out."""
        raise NotImplementedError

    def document(self, found: Any) -> dict[str, Any]:
        """Return plain values for ``report.json``, by name."""
        return {}

    def tables(self, found: Any) -> dict[str, pd.DataFrame]:
        """Return the tables, by the names in `published`."""
        return {}

    def cells(self, found: Any) -> pd.DataFrame | None:
        """Return rows for ``summary.csv`` of samples that do not belong to a format; None for none."""
        return None

    def limits(self, found: Any, findings: Findings) -> list[str]:
        """Return sentences for the section on limits."""
        return []

    def closing(self, found: Any) -> Table | None:
        """Return a table for the terminal at the end of the run."""
        return None

    def draw(self, found: Any, folder: Path) -> list[Path]:
        """Draw the plots in `drawn`; return the files."""
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
