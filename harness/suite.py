"""Suites: a workload, its plan, and the facts that a report needs, selected by the names in the rows of a run."""

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
    """Facts about an access for reports."""

    name: str  # Value of the ``access`` column of records.
    label: str  # Name in tables and plots.
    # Part of the cost of a use: a read that can have a share in a mix ("read"), writing the trace ("write"), stored
    # bytes ("size"), or the slowdown of a read by other readers ("readers"). None for no part.
    cost: Part | None = None
    mix: str = ""  # Name of a read in a mix; by default `name`.
    several: str = ""  # Plural of such a read, in sentences.
    assumes: str = ""  # A sentence with an assumption of costs that include it.
    # Takes the options of a run; returns the number of such reads in one sample.
    per_sample: Callable[[PlanOptions], int] = _one
    # The access of this suite of which this is a variant, and the name of the variant. Times of both are drawn side by
    # side; for sizes the caption states the difference.
    variant_of: str = ""
    variant: str = ""
    note: str = ""  # A sentence for the caption of its plot.
    once: bool = False  # Whether it has one sample by design, and therefore no verdict.
    one_tensor: bool = False  # Whether a sample reads one complete tensor.
    in_place_of: tuple[str, ...] = ()  # Reads of a mix that it replaces if a trace has no tensor for them.


@dataclass(frozen=True, kw_only=True)
class Plot:
    """The plot of a suite, with a row of panels for each value that is not a column."""

    title: str  # Title: the quantity, and which direction is better.
    # The quantity whose values have panels side by side: "cache", "access", "workers".
    columns: Literal["cache", "access", "workers"] = "cache"
    name: str = ""  # File name without suffix; by default that of the suite.
    note: str = ""  # Note for the caption.


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """A row of the grades: the mean ratio to the best format over cells of a suite."""

    name: str  # Name in the table.
    cells: str  # Description of its cells.
    accesses: tuple[str, ...] = ()  # Accesses that count; by default all.
    short: str = ""  # Name at the head of a narrow column; by default `name`.
    # Largest ratios for Strong, Good and Limited; by default those of times, or of sizes.
    limits: tuple[float, float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A workload: a pure function from the manifest of a trace to accesses, and facts for reports."""

    name: str  # Registered name, and the ``suite`` column of records.
    description: str  # One line for ``harness list``.
    order: int  # Position among the suites in reports.
    # Takes the manifest, a random generator seeded by the run, and the options; returns the accesses. Equal arguments
    # must give equal plans, because every format executes the same plan.
    plan: Callable[[Manifest, np.random.Generator, PlanOptions], list[Access]]
    title: str = ""  # Heading of its table and plot; by default its name.
    unit: Literal["s", "B"] = "s"  # Whether it measures times, or sizes, which are exact: "s", "B".
    accesses: tuple[AccessInfo, ...] = ()  # Facts about its accesses, in the order of rows; others are shown by name.
    plot: Plot | None = None  # Its plot; by default none.
    criterion: Criterion | None = None  # Its row in the grades; by default none.
    note: str = ""  # Sentences at the end of the caption of its table.
    prefix: str = ""  # Prefix of its accesses in the terminal.
    archives: str = ""  # The access that records the writing of the archives that are read; empty for none.
    optional: bool = False  # Whether a run includes it only if named, because it reads traces of one kind.

    @property
    def heading(self) -> str:
        """Heading of its table and plot."""
        return self.title or plain(self.name).capitalize()


def plain(name: str) -> str:
    """Return a name as words."""
    return name.replace("_", " ")


def suites() -> tuple[Suite, ...]:
    """Return all suites that can be imported, in order: registered ones, and those given on the command line."""
    return _suites(*registry.names("suites"), *(name for group, name in registry.allowed() if group == "suites"))


@cache
def _suites(*names: str) -> tuple[Suite, ...]:
    found: dict[str, Suite] = {}
    registered = [listed.name for listed in registry.listing("suites") if listed.plugin is not None]
    for suite in map(load_suite, [*registered, *(name for name in names if ":" in name)]):
        found.setdefault(suite.name, suite)
    return tuple(sorted(found.values(), key=lambda suite: suite.order))


def load_suite(name: str) -> Suite:
    """Load a suite by its registered name, or by ``module:attribute`` if that was allowed.

    Raises
    ------
    UsageError
        If there is no such suite, or it is not a `Suite`.
    """
    found = registry.load("suites", name)
    if not isinstance(found, Suite):
        raise UsageError(f"{name!r} is not a suite: it has to be a harness.suite.Suite.")
    return found


def _no_plan(manifest: Manifest, rng: np.random.Generator, options: PlanOptions) -> list[Access]:
    return []


def suite_named(name: str) -> Suite:
    """Return a suite by name; if it is not installed, one with the name only."""
    known = {suite.name: suite for suite in suites()}
    return known.get(name) or Suite(name=name, description="", order=1 << 30, plan=_no_plan)


def access_named(name: str, suite: str = "") -> AccessInfo:
    """Return the facts of an access from its suite, else from the first suite that has it, else only its name."""
    found = (info for known in suites() if suite in ("", known.name) for info in known.accesses if info.name == name)
    return next(found, None) or AccessInfo(name=name, label=plain(name))


def counted_as(part: Part) -> list[tuple[str, AccessInfo]]:
    """Return the accesses of a part of the cost, each with the name of its suite, in order."""
    return [(suite.name, info) for suite in suites() for info in suite.accesses if info.cost == part]


def mix_reads() -> dict[str, tuple[str, AccessInfo]]:
    """Return suite and access of each read that can have a share in a mix, by its name there."""
    found: dict[str, tuple[str, AccessInfo]] = {}
    for suite, info in counted_as(READ):
        found.setdefault(info.mix or info.name, (suite, info))
    return found
