"""A suite: a question, its plan, and all that a report has to know of it; found by the names in the rows of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from harness import registry
from harness.errors import UsageError
from harness.trace.manifest import Manifest
from harness.workload import Access, PlanOptions

Part = Literal["read", "write", "size", "readers"]
READ: Part = "read"
WRITE: Part = "write"
SIZE: Part = "size"
READERS: Part = "readers"


def _one(options: PlanOptions) -> int:
    return 1


@dataclass(frozen=True, kw_only=True)
class AccessInfo:
    """What reports say of an access of a suite.

    Attributes
    ----------
    name : str
        The ``access`` column of records.
    label : str
        What it is called in tables and drawings.
    cost : {"read", "write", "size", "readers"} or None
        What it measures of the cost of a use: a read that a mix may have a share of; what writing the trace takes; the
        bytes to keep; how much slower a read becomes beside other readers. None where it plays no part.
    mix : str
        What a mix calls a read; `name` without it.
    several : str
        Many of such a read, in a sentence.
    assumes : str
        A sentence on what a cost takes for granted that counts it.
    per_sample : callable
        Takes the options of a run; returns how many of it one sample has.
    variant_of, variant : str
        The access of this suite that is done in another way, and which way. Times of both are drawn side by side; of
        sizes the caption says how much more it takes.
    note : str
        A sentence for the caption of a drawing that shows it.
    once : bool
        Whether it has one sample by design, and so no verdict.
    one_tensor : bool
        Whether a sample reads one tensor and all of it.
    in_place_of : tuple of str
        The reads of a mix that it stands for where a trace has no tensor for them.
    """

    name: str
    label: str
    cost: Part | None = None
    mix: str = ""
    several: str = ""
    assumes: str = ""
    per_sample: Callable[[PlanOptions], int] = _one
    variant_of: str = ""
    variant: str = ""
    note: str = ""
    once: bool = False
    one_tensor: bool = False
    in_place_of: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plot:
    """The drawing of a suite: its rows of panels are the accesses, or what is no column.

    Attributes
    ----------
    title : str
        What is shown, and what is better.
    columns : {"cache", "access", "workers"}
        What lies side by side.
    name : str
        Of the file, without its ending; the suite's without it.
    note : str
        For the caption.
    """

    title: str
    columns: Literal["cache", "access", "workers"] = "cache"
    name: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """A row of the grades: the mean ratio to the best format over cells of a suite.

    Attributes
    ----------
    name : str
        As in the table.
    cells : str
        Which cells it is made of, in words.
    accesses : tuple of str
        Those that count; all without it.
    short : str
        Its name at the head of a narrow column; `name` without it.
    since : int
        The first version of the report that grades it.
    limits : tuple of float, optional
        The largest ratio that is still Strong, Good, Limited; without it those of all times, or of all sizes.
    """

    name: str
    cells: str
    accesses: tuple[str, ...] = ()
    short: str = ""
    since: int = 0
    limits: tuple[float, float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A question, as a pure function from what a trace holds to what is to be done.

    Attributes
    ----------
    name : str
        Registered name, and the ``suite`` column of records.
    description : str
        One line for ``harness list``.
    order : int
        Place among the suites, in the order of a reader's questions.
    plan : callable
        Takes the manifest, a random generator made from the run's seed, and the options; returns the accesses. Equal
        arguments give equal plans, so that every format executes the same one.
    title : str
        Heading of its table and drawing; made from the name without it.
    unit : {"s", "B"}
        Whether it measures times, or sizes, which are exact.
    accesses : tuple of AccessInfo
        What reports say of its accesses, in the order of rows; one that is not listed is called by its name.
    plot : Plot, optional
        Its drawing; none without it.
    criterion : Criterion, optional
        Its row of the grades; none without it.
    note : str
        Sentences for the end of its table's caption.
    prefix : str
        Goes before its accesses in the terminal.
    archives : str
        The access that records the writing of the archives which are read from; empty for none.
    """

    name: str
    description: str
    order: int
    plan: Callable[[Manifest, np.random.Generator, PlanOptions], list[Access]]
    title: str = ""
    unit: Literal["s", "B"] = "s"
    accesses: tuple[AccessInfo, ...] = ()
    plot: Plot | None = None
    criterion: Criterion | None = None
    note: str = ""
    prefix: str = ""
    archives: str = ""

    @property
    def heading(self) -> str:
        """What stands above its table and drawing."""
        return self.title or plain(self.name).capitalize()


def plain(name: str) -> str:
    """Write a name as words."""
    return name.replace("_", " ")


def suites() -> tuple[Suite, ...]:
    """Return every suite that can be imported here, in their order: registered ones, and those that were typed."""
    return _suites(*registry.names("suites"), *(name for group, name in registry.allowed() if group == "suites"))


@cache
def _suites(*names: str) -> tuple[Suite, ...]:
    found: dict[str, Suite] = {}
    registered = [listed.name for listed in registry.listing("suites") if listed.plugin is not None]
    for suite in map(load_suite, [*registered, *(name for name in names if ":" in name)]):
        found.setdefault(suite.name, suite)
    return tuple(sorted(found.values(), key=lambda suite: suite.order))


def load_suite(name: str) -> Suite:
    """Load a suite by its registered name, or by ``module:attribute`` where that was allowed.

    Raises
    ------
    UsageError
        When there is no such suite, or it is no `Suite`.
    """
    found = registry.load("suites", name)
    if not isinstance(found, Suite):
        raise UsageError(f"{name!r} is not a suite: it has to be a harness.suite.Suite.")
    return found


def _no_plan(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    return []


def suite_named(name: str) -> Suite:
    """Return a suite by its name; of one that cannot be found here, all that its name says."""
    known = {suite.name: suite for suite in suites()}
    return known.get(name) or Suite(name=name, description="", order=1 << 30, plan=_no_plan)


def access_named(name: str, suite: str = "") -> AccessInfo:
    """Return what a suite says of its access, or what the first does that has one of this name; else its name alone."""
    found = (info for known in suites() if suite in ("", known.name) for info in known.accesses if info.name == name)
    return next(found, None) or AccessInfo(name=name, label=plain(name))


def counted_as(part: Part) -> list[tuple[str, AccessInfo]]:
    """Return the accesses that measure a part of a cost, each with the name of its suite, in order."""
    return [(suite.name, info) for suite in suites() for info in suite.accesses if info.cost == part]


def mix_reads() -> dict[str, tuple[str, AccessInfo]]:
    """Return the reads that a mix may have shares of, by what it calls them: suite and access of each."""
    found: dict[str, tuple[str, AccessInfo]] = {}
    for suite, info in counted_as(READ):
        found.setdefault(info.mix or info.name, (suite, info))
    return found
