"""Question to both sides: the same tensors as plain files, and the same accesses with their expected results."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness import registry
from harness.errors import UsageError
from harness.extensions.compare.probe import array_digest
from harness.extensions.compare.side import NotComparable, Side
from harness.files import write_text
from harness.formats.base import load_format
from harness.run.config import RunConfig
from harness.run.planning import open_subjects
from harness.run.subject import Subject
from harness.suite import READ, SIZE, WRITE, counted_as, suites
from harness.trace.sources import open_trace
from harness.trace.stream import read_whole
from harness.workload import PlanOptions, ReadAccess

OPENING = "open"


class Cell(NamedTuple):
    """One comparison of times: a case of a suite, in one format, of one trace."""

    suite: str
    access: str
    format: str
    trace: str
    n_res: int | None

    def __str__(self) -> str:
        """Return a readable name."""
        return f"{self.format} {self.suite}/{self.access} of {self.subject}"

    @property
    def subject(self) -> str:
        """Its trace, with the length if it has one."""
        return f"{self.trace}{f', {self.n_res} residues' if self.n_res else ''}"

    def among(self, cells: Iterable[Cell]) -> str:
        """Return a readable name, with the trace only if there are several."""
        several = len({cell.subject for cell in cells}) > 1
        return str(self) if several else f"{self.format} {self.suite}/{self.access}"


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """Settings of a comparison."""

    traces: tuple[str, ...] = ("synthetic:layers=2",)  # ``NAME[:key=value,...]``.
    sizes: tuple[int, ...] = (64,)  # Sequence lengths, for traces that are made in any length.
    # Registered names; if empty, the formats that a run includes by default, if base has them.
    formats: tuple[str, ...] = ()
    # Registered names; if empty, the suites that measure a part of a cost by itself, if both sides have them.
    suites: tuple[str, ...] = ()
    profile: str = "tuned"  # Profile of every format.
    seed: int = 0  # Seed of plans and of the order within rounds.
    # Fresh processes of each side, before any confirmation. About one round in ten is disturbed on a shared machine;
    # two of 12 do not widen a cell's interval. More blocks in fewer rounds help less for the same time.
    rounds: int = 12
    blocks: int = 2  # Blocks of each cell and side within a round; more if something else disturbs it.
    seconds: float = 0.02  # Minimum length of a block in seconds.
    timeout: float = 120.0  # Seconds after which a task counts as hung.

    def chosen(self, *sides: Side) -> CompareSettings:
        """Return the settings with every name; missing ones are the defaults that these sides have.

        Raises
        ------
        NotComparable
            If a side lacks a given suite, or base a given format; a format that only head lacks is a regression.
        """
        parts = (READ, WRITE, SIZE)
        measured = {suite for part in parts for suite, _ in counted_as(part)}
        default = {
            "suites": [suite.name for suite in suites() if suite.name in measured],
            "formats": [
                listed.name
                for listed in registry.listing("formats")
                if listed.plugin is not None and not listed.missing and listed.plugin.standing == "default"
            ],
        }
        names: dict[str, list[str]] = {}
        for kind, found in default.items():
            names[kind] = list(getattr(self, kind)) or found
            for side in sides:
                if kind == "formats" and side.name == "head":
                    continue
                lost = [name for name in names[kind] if ":" not in name and name not in side.facts[kind]]
                if lost and (getattr(self, kind) or lost == names[kind]):
                    raise NotComparable(
                        f"{side} has no {kind[:-1]} {lost[0]!r}: choose others with --{kind} "
                        f"(it has {', '.join(side.facts[kind])})."
                    )
                names[kind] = [name for name in names[kind] if name not in lost]
        return dataclasses.replace(self, formats=tuple(names["formats"]), suites=tuple(names["suites"]))


def sized() -> tuple[str, str]:
    """Return the suite and the access of an archive's size."""
    (suite, info), *_ = counted_as(SIZE)
    return suite, info.name


def written() -> tuple[str, str]:
    """Return the suite and the access that record the writing of archives which are read from."""
    return next((suite.name, suite.archives) for suite in suites() if suite.archives)


@dataclass(frozen=True, kw_only=True)
class Question:
    """One trace, prepared for both sides."""

    trace: str  # Its label.
    n_res: int | None  # Its length.
    data: Path  # A folder with a manifest and one ``.npy`` file per tensor.
    digests: dict[str, str]  # Digests that the tensors must have.
    cases: tuple[tuple[str, str, tuple[Any, ...]], ...]  # Suite, access, and reads as plain values.
    expected: dict[tuple[str, str], list[str]]  # Digests that the reads of each (suite, access) must have.
    suffixes: dict[str, str]  # Suffix of archives of each format.

    def cell(self, suite: str, access: str, name: str) -> Cell:
        """Return a cell of this trace."""
        return Cell(suite, access, name, self.trace, self.n_res)


def ask(settings: CompareSettings, folder: Path) -> list[Question]:
    """Make every trace once, with this version, and draw the plans of all suites on it.

    Both sides get the tensors as files. So a change of a trace's source between two commits does not change what is
    measured.

    Parameters
    ----------
    settings : CompareSettings
        Traces, formats, suites, seed.
    folder : Path
        An empty folder.

    Raises
    ------
    UsageError
        If a trace, a format or a suite does not exist, or nothing is left to measure.
    """
    config = RunConfig(
        run_id="compare", preset="compare", traces=settings.traces, sizes=settings.sizes, formats=settings.formats,
        profiles=(settings.profile,), suites=settings.suites, caches=("warm",), rounds=settings.rounds,
        seed=settings.seed, options=PlanOptions(attention_windows=8, pair_windows=4, workers=()),
    )  # fmt: skip
    suffixes = {name: load_format(name).suffix for name in settings.formats}
    found = [_question(subject, folder / str(k), suffixes) for k, subject in enumerate(open_subjects(config))]
    if not any(question.cases for question in found) and not {sized()[0], written()[0]} & set(settings.suites):
        raise UsageError(f"The suites {', '.join(settings.suites)} have nothing to compare on these traces.")
    return found


def _question(subject: Subject, folder: Path, suffixes: dict[str, str]) -> Question:
    folder.mkdir(parents=True)
    trace = subject.held or open_trace(subject.text, subject.requested)
    write_text(folder / "manifest.json", subject.manifest.to_json())
    arrays: dict[str, np.ndarray] = {}
    for number, spec in enumerate(subject.manifest.tensors):
        arrays[spec.path] = read_whole(trace, spec.path)
        np.save(folder / f"{number}.npy", arrays[spec.path])
    cases, expected = [], {}
    for suite, access in subject.plans:
        # Only reads by one thread of what it requests: the time of several threads or processes depends on the machine.
        if isinstance(access, ReadAccess) and access.executor == "main" and not access.load_once:
            cases.append((suite, access.name, tuple((read.path, _plain(read.selection)) for read in access.reads)))
            parts = [arrays[r.path] if r.selection is None else arrays[r.path][r.selection] for r in access.reads]
            expected[suite, access.name] = [array_digest(part) for part in parts]
    return Question(
        trace=subject.label,
        n_res=subject.n_res,
        data=folder,
        digests={path: array_digest(array) for path, array in arrays.items()},
        cases=tuple(cases),
        expected=expected,
        suffixes=suffixes,
    )


def _plain(selection: Sequence[slice] | None) -> list[list[int]] | None:
    return None if selection is None else [[part.start, part.stop] for part in selection]
