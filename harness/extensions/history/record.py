"""A run as one line of a history: time, commit, machine, measured data, and every tracked figure."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

from harness.documents import Count, DocumentError, Figure, Positive, convert, decode
from harness.errors import HarnessError
from harness.records import CellKey

HISTORY_VERSION = 1

EXACT = ("size_bytes", "files", "files_opened", "requests")
"""Figures without timing noise: every change is a step."""

_GIB_CLASSES = tuple(gib for power in range(16) for gib in (2**power, 3 * 2**power))


class CorruptLine(ValueError):
    """A line of a history is damaged."""


class CellFigures(TypedDict, total=False):
    """Figures of one cell of a run; figures that do not apply are absent.

    Times are of reads from an open archive, as in every version. ``requests`` is present only for reads in one thread,
    if all samples agree.
    """

    samples: Count
    median_seconds: Figure
    ci_low: Figure
    ci_high: Figure
    size_bytes: Count
    files: Count
    files_opened: Count
    requests: Count


FIGURES = tuple(CellFigures.__annotations__)


@dataclass(frozen=True, kw_only=True)
class MachineKind:
    """Properties that must be equal for times of two runs to be comparable; all runs of one history share them."""

    cpu: str  # Model of the processor.
    cores: int  # Cores that the run could use.
    # Memory class: rounded up to 1, 2, 3, 4, 6, 8, 12, 16, 24 ... GiB, because a system reports less than installed.
    memory_gib: int
    filesystem: str  # File system of the archives.
    kernel: str  # Name and major version of the system.
    # Implementation with major and minor version, followed by ``t`` if there is no interpreter lock.
    python: str
    virtual: bool  # Whether the machine ran under a hypervisor.

    @property
    def name(self) -> str:
        """A file name with all properties, such as ``amd-epyc-2c-24g-ext4-linux6-cpython3.11-vm``."""
        parts = [self.cpu, f"{self.cores}c", f"{self.memory_gib}g", self.filesystem, self.kernel, self.python]
        text = "-".join([*parts, "vm" if self.virtual else "bare"])
        return re.sub(r"[^a-z0-9.]+", "-", text.lower().replace("(r)", "").replace("(tm)", "")).strip("-")

    def difference(self, other: MachineKind) -> str:
        """Return the differences from another kind in words, such as ``cores (2, then 4)``; empty if there are none."""
        return ", ".join(
            f"{name.replace('_', ' ')} ({value}, then {getattr(other, name)})"
            for name, value in vars(self).items()
            if value != getattr(other, name)
        )


class Followed(TypedDict):
    """Fields that a history needs from a machine description."""

    started: str
    commit: str | None
    cpu: str | None
    cores: Positive | None
    cores_usable: Positive | None
    machine: str
    memory_bytes: int | None
    filesystem: str
    system: str
    kernel: str
    implementation: str
    python: str
    interpreter_lock: NotRequired[bool | None]
    virtual_machine: bool | None
    load_average: Figure | None
    load_average_at_end: NotRequired[Figure | None]
    libraries: dict[str, str | None]


def kind_of(session: Followed) -> MachineKind:
    """Return the kind of machine of a session, from the description by `harness.run.machine.describe`.

    ``environment.json`` stores this description.
    """
    memory = session.get("memory_limit_bytes") or session["memory_bytes"]
    free = "t" if session.get("interpreter_lock") is False else ""
    return MachineKind(
        cpu=session["cpu"] or session["machine"],
        cores=session["cores_usable"] or session["cores"] or 0,
        memory_gib=0 if memory is None else min(gib for gib in _GIB_CLASSES if gib << 30 >= memory),
        filesystem=session["filesystem"],
        kernel=f"{session['system']} {session['kernel'].partition('.')[0]}",
        python=f"{session['implementation']} {'.'.join(session['python'].split('.')[:2])}{free}",
        virtual=bool(session["virtual_machine"]),
    )


@dataclass(frozen=True, kw_only=True)
class Definition:
    """Definition of what a run measured; figures of two runs are comparable only if their definitions are equal."""

    # Settings of the run.
    seed: Count
    rounds: Positive
    # For each trace and length: a digest of the accesses (`plans`), and of the tensors with their values (`data`).
    plans: dict[str, str]
    data: dict[str, str]

    def differences(self, later: Definition) -> str:
        """Return the differences of a later run in words, such as ``seed (0, then 1)``; empty if there are none."""
        texts = [
            f"{name} ({getattr(self, name)}, then {getattr(later, name)})"
            for name in ("seed", "rounds")
            if getattr(self, name) != getattr(later, name)
        ]
        texts += [f"no {subject} any more" for subject in sorted(self.data.keys() - later.data.keys())]
        texts += [f"{subject} besides" for subject in sorted(later.data.keys() - self.data.keys())]
        for word, one, other in (("data", self.data, later.data), ("plan", self.plans, later.plans)):
            both = sorted(self.data.keys() & later.data.keys())
            texts += [f"{word} of {subject}" for subject in both if one.get(subject) != other.get(subject)]
        return ", ".join(texts)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One line of a history."""

    run_id: str  # Name of the run.
    started: str  # ``YYYY-MM-DD HH:MM UTC``.
    commit: str | None  # Commit of the checkout that the library ran from; None for an installed package.
    dirty: bool  # Whether the checkout had uncommitted changes.
    machine: MachineKind  # Kind of machine; times are comparable within a kind.
    load_average: Figure | None  # Of the machine, mean of before and after the run.
    libraries: dict[str, str | None]  # Versions that can affect a result, including the harness's own.
    definition: Definition  # What was measured.
    samples_sha256: str  # Of ``samples.csv``, from which all figures are computed.
    cells: dict[CellKey, CellFigures]  # Every cell with a figure.

    @property
    def label(self) -> str:
        """The abbreviated commit, with ``+changes`` if any were uncommitted; without a commit, the run's name."""
        if self.commit is None:
            return self.run_id
        return self.commit[:7] + ("+changes" if self.dirty else "")

    def to_line(self) -> str:
        """Return the record as one line of JSON with its own digest, so that damage is detected."""
        document: dict[str, Any] = {"history_version": HISTORY_VERSION, "kind": self.machine.name}
        document |= dataclasses.asdict(dataclasses.replace(self, cells={}))
        rows = [[*key, *map(figures.get, FIGURES)] for key, figures in self.cells.items()]
        document["cells"] = {"columns": [*CellKey._fields, *FIGURES], "rows": rows}
        return json.dumps({**document, "digest": _digest(document)}) + "\n"

    @classmethod
    def from_line(cls, line: str) -> RunRecord:
        """Parse a line that `to_line` wrote.

        Raises
        ------
        CorruptLine
            If the line is cut, changed or not a record.
        HarnessError
            If the record has a version that this reader does not know.
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
            rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
            keys = [[row.get(name) for name in CellKey._fields] for row in rows]
            figures = [{name: row[name] for name in FIGURES if row.get(name) is not None} for row in rows]
            cells = [{"key": key, "figures": known} for key, known in zip(keys, figures, strict=True)]
            found = {cell.key: cell.figures for cell in convert(cells, list[_Cell], "the line")}
            return dataclasses.replace(convert({**document, "cells": {}}, cls, "the line"), cells=found)
        except (DocumentError, ValueError) as error:
            raise CorruptLine(str(error)) from error


@dataclass(frozen=True)
class _Table:
    """Cells as stored in a line; earlier lines have further figures, which are no longer read."""

    columns: list[str]
    rows: list[list[int | float | str | None]]


@dataclass(frozen=True)
class _Cell:
    key: CellKey
    figures: CellFigures


def _digest(document: dict[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
