"""A run as one line of a history: when, of what commit, where, of what data, and every figure that is followed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness.documents import Count, DocumentError, Figure, Positive, convert, decode
from harness.errors import HarnessError
from harness.extensions.history.machine_kind import MachineKind
from harness.records import CellKey

HISTORY_VERSION = 1

EXACT = ("size_bytes", "files", "files_opened", "requests")
"""Figures that do not depend on time: every change is a step."""


class CorruptLine(ValueError):
    """A line of a history that is not what was written."""


@dataclass(frozen=True, kw_only=True)
class CellFigures:
    """One cell of a run; None where a figure does not apply.

    Attributes
    ----------
    key : CellKey
        The key columns of ``summary.csv``, without the run.
    samples : int
        Those that count.
    median_seconds, ci_low, ci_high : float or None
        As in ``summary.csv``.
    raw_ratio, raw_low, raw_high : float or None
        Time divided by that of the raw ceiling, paired by round, with its 95 % interval.
    twin_ratio : float or None
        Of the A/A arm: time divided by that of the arm whose twin it is.
    size_bytes, files, files_opened, requests : int or None
        Exact figures; ``requests`` only of reads in one thread, where all samples agree.
    """

    key: CellKey
    samples: Count
    median_seconds: Figure | None = None
    ci_low: Figure | None = None
    ci_high: Figure | None = None
    raw_ratio: Figure | None = None
    raw_low: Figure | None = None
    raw_high: Figure | None = None
    twin_ratio: Figure | None = None
    size_bytes: Count | None = None
    files: Count | None = None
    files_opened: Count | None = None
    requests: Count | None = None


@dataclass(frozen=True, kw_only=True)
class Definition:
    """What must be equal for the figures of two runs to be of the same thing.

    Attributes
    ----------
    seed, rounds : int
        Of the run.
    plans, data : dict of str to str
        For each trace and length, a digest of what is read and written, and of the tensors with their values.
    """

    seed: Count
    rounds: Positive
    plans: dict[str, str]
    data: dict[str, str]

    def differences(self, later: Definition) -> str:
        """Say what differs in a later run, such as ``seed (0, then 1)``; empty when nothing does."""
        return ", ".join(self._differences(later))

    def _differences(self, later: Definition) -> Iterator[str]:
        for name in ("seed", "rounds"):
            if getattr(self, name) != getattr(later, name):
                yield f"{name} ({getattr(self, name)}, then {getattr(later, name)})"
        mine, theirs = set(self.data), set(later.data)
        for subject in sorted(mine - theirs):
            yield f"no {subject} any more"
        for subject in sorted(theirs - mine):
            yield f"{subject} besides"
        for word, one, other in (("data of", self.data, later.data), ("plan of", self.plans, later.plans)):
            for subject in sorted(mine & theirs):
                if one.get(subject) != other.get(subject):
                    yield f"{word} {subject}"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One line of a history.

    Attributes
    ----------
    run_id : str
        Name of the run.
    started : str
        ``YYYY-MM-DD HH:MM UTC``.
    commit : str or None
        Of the checkout that the library ran from; None for an installed package.
    dirty : bool
        Whether that had uncommitted changes.
    machine : MachineKind
        What makes times comparable.
    load_average : float or None
        Of the machine, mean of before and after the run.
    libraries : dict of str to str or None
        Versions that can bear on a result, the harness's own included.
    definition : Definition
        What was measured.
    samples_sha256 : str
        Of ``samples.csv``, which all figures follow from.
    cells : tuple of CellFigures
        One for each cell with a figure.
    """

    run_id: str
    started: str
    commit: str | None
    dirty: bool
    machine: MachineKind
    load_average: Figure | None
    libraries: dict[str, str | None]
    definition: Definition
    samples_sha256: str
    cells: tuple[CellFigures, ...]

    @property
    def label(self) -> str:
        """The commit in short, with ``+changes`` where it had any; the run's name without a commit."""
        if self.commit is None:
            return self.run_id
        return self.commit[:7] + ("+changes" if self.dirty else "")

    def to_line(self) -> str:
        """Return it as one line of JSON with a digest of its own, so that damage is noticed."""
        document = {"history_version": HISTORY_VERSION, "kind": self.machine.name, **dataclasses.asdict(self)}
        document["cells"] = {"columns": list(_COLUMNS), "rows": [_row(cell) for cell in self.cells]}
        return json.dumps({**document, "digest": _digest(document)}) + "\n"

    @classmethod
    def from_line(cls, line: str) -> RunRecord:
        """Read what `to_line` wrote.

        Raises
        ------
        CorruptLine
            When it is cut, changed or no record at all.
        HarnessError
            When it is whole, but of a version this reader does not know.
        """
        try:
            document = decode(line, dict[str, Any], "the line")
            if document.pop("digest", None) != _digest(document):
                raise CorruptLine("its digest does not match")
            if (version := document.get("history_version")) != HISTORY_VERSION:
                raise HarnessError(
                    f"A line of the history has version {version!r}; this reader knows version {HISTORY_VERSION}."
                )
            table = convert(document.pop("cells", None), _Table, "the line")
            document["cells"] = [_cell(table.columns, row) for row in table.rows]
            return convert(document, cls, "the line")
        except (DocumentError, ValueError) as error:
            raise CorruptLine(str(error)) from error


@dataclass(frozen=True)
class _Table:
    """Cells as a line holds them."""

    columns: list[str]
    rows: list[list[int | float | str | None]]


_FIGURES = tuple(field.name for field in dataclasses.fields(CellFigures) if field.name != "key")
_COLUMNS = (*CellKey._fields, *_FIGURES)


def _row(cell: CellFigures) -> list[Any]:
    return [*cell.key, *(getattr(cell, name) for name in _FIGURES)]


def _cell(columns: list[str], row: list[Any]) -> dict[str, Any]:
    values = dict(zip(columns, row, strict=True))
    if unknown := set(values) - set(_COLUMNS):
        raise ValueError(f"there is no figure named {min(unknown)!r}")
    return values | {"key": [values.get(name) for name in CellKey._fields]}


def _digest(document: dict[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
