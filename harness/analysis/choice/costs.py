"""Costs of using one trace in each format: the measured parts, and their sum for a mix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from harness.analysis.accesses import archive_sizes
from harness.analysis.cells import WAITED
from harness.analysis.choice.mix import Mix
from harness.analysis.statistics import RESAMPLES, bounds
from harness.analysis.table import CaseSamples, SampleTable
from harness.records import CONTROL
from harness.sampling.executor import load_executor
from harness.suite import READERS, SIZE, WRITE, counted_as, mix_reads
from harness.workload import PlanOptions

GIGABYTE = 1e9


class Use(NamedTuple):
    """A mix as plain numbers, each of which may be varied beyond the limits of a `Mix`."""

    shares: Mapping[str, float]
    cold: float
    opens: float
    readers: int
    writes_per_read: float  # the inverse of `Mix.reads_per_write`: costs are linear in it
    storage_price: float

    @classmethod
    def of(cls, mix: Mix) -> Use:
        """Return the numbers of a mix."""
        return cls(mix.shares, mix.cold, mix.opens, mix.readers, 1 / mix.reads_per_write, mix.storage_price)


@dataclass(frozen=True, kw_only=True, eq=False)
class CostParts:
    """The measured parts of the cost of using one trace.

    Arrays have the shape (1 + RESAMPLES, formats). Row 0 holds measured medians, the others the same medians of
    resampled rounds. NaN where a format has no figure; `why` then has the reason.
    """

    formats: tuple[str, ...]  # The columns; the A/A control, if it was measured, is the last.
    # By access of a mix and cache state: seconds of one access, and of opening the archive before it.
    reads: Mapping[tuple[str, str], np.ndarray]
    opening: Mapping[tuple[str, str], np.ndarray]
    write: np.ndarray | None  # Seconds to write the trace durably; None if that was not measured.
    gigabytes: np.ndarray | None  # Size of the archive; None if no size was measured.
    # The trace, its largest length, and the profile of the formats.
    trace: str = ""
    n_res: int | None = None
    profile: str = ""
    # By number of concurrent readers, how many times as long each waits; 1 for one reader by definition.
    readers: Mapping[int, np.ndarray] = field(default_factory=lambda: {1: np.ones(1)})
    ceiling: Mapping[int, float] = field(default_factory=dict)  # The same for a flat file, as measured.
    together: str = ""  # The kind of those readers, in words.
    absent: frozenset[str] = frozenset()  # Accesses that the trace has no tensor for.
    # For each part (``ACCESS CACHE``, ``N readers``, ``write``, ``size``), the reason by format.
    why: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    writes_from: str = ""  # A sentence on how the time to write was estimated.

    def nearest_readers(self, readers: int) -> int:
        """Return the largest measured number of readers that is at most `readers`."""
        return max(count for count in self.readers if count <= readers)


def cost_parts(table: SampleTable, trace: str, options: PlanOptions, baseline: str) -> CostParts:
    """Return the parts of one trace at its largest length, without those that were measured for no format.

    Parameters
    ----------
    table : SampleTable
        The samples of a run.
    trace : str
        The trace.
    options : PlanOptions
        Plan options of the run, which set how many windows one sample reads.
    baseline : str
        The format that the A/A control repeats.
    """
    found = _Gathered(table, trace)
    reads, opening = {}, {}
    for access, (suite, info) in mix_reads().items():
        for cache in ("warm", "cold"):
            case, part = found.case(suite, info.name, cache), f"{access} {cache}"
            if case is not None and not case.skipped:
                reads[access, cache] = found.figures(case, part) / info.per_sample(options)
                opening[access, cache] = found.figures(case, part, "open_seconds")
    readers, ceiling, together = found.readers()
    write, writes_from = found.write()
    skipped = {case.case[:2] for case in found.cases if case.skipped and not case.case.cache}
    return CostParts(
        trace=trace, n_res=found.n_res, profile=found.profile, formats=found.formats, reads=reads, opening=opening,
        readers=readers, ceiling=ceiling, together=together, write=write, gigabytes=found.gigabytes(baseline),
        why=found.why, writes_from=writes_from,
        absent=frozenset(access for access, (suite, info) in mix_reads().items() if (suite, info.name) in skipped),
    )  # fmt: skip


class _Gathered:
    """Cases of one trace, and the reasons why formats have no figure for a part of their cost."""

    def __init__(self, table: SampleTable, trace: str) -> None:
        self.n_res, self.profile = table.lengths[trace], table.judged_profile
        self.cases = [c for c in table.cases if (c.case.trace, c.case.n_res) == (trace, self.n_res)]
        sizes = archive_sizes(table.rows)
        length = sizes["n_res"].isna() if self.n_res is None else sizes["n_res"] == self.n_res
        self._sizes = sizes[(sizes["trace"] == trace) & length & (sizes["profile"] == self.profile)]
        found = [c for c in table.contenders(self.cases) if c.profile == self.profile and not c.is_ceiling]
        self.formats = tuple(c.format for c in sorted(found, key=lambda c: (c.is_control, c.format)))
        self.why: dict[str, dict[str, str]] = {}

    def case(self, *wanted: str) -> CaseSamples | None:
        """Return the case of a suite, access and cache state without a parallel executor; None if there is none."""
        here = [c for c in self.cases if (c.case.suite, c.case.access, c.case.cache) == wanted]
        return next((c for c in here if not load_executor(c.case.executor).parallel), None)

    def figures(self, case: CaseSamples, part: str, column: str = "seconds", per: str = "") -> np.ndarray:
        """Return medians of a case by format, and store in `why` the reasons of formats without a median."""
        why = {whose.format: text for whose, text in case.why.items() if whose.profile == self.profile}
        found = np.full((1 + RESAMPLES, len(self.formats)), np.nan)
        for whose, medians in case.medians(column, per).items():
            if whose.profile == self.profile and whose.format in self.formats:
                found[:, self.formats.index(whose.format)] = medians
        empty = (name for name, value in zip(self.formats, found[0], strict=True) if np.isnan(value))
        self.why[part] = why | {name: why.get(name, "not measured") for name in empty}
        return found

    def readers(self) -> tuple[dict[int, np.ndarray], dict[int, float], str]:
        """Return how many times as long concurrent readers wait, by format and for a flat file, and their kind."""
        slowdown, ceiling, together = {1: np.ones((1 + RESAMPLES, len(self.formats)))}, {}, ""
        beside = {(suite, info.name) for suite, info in counted_as(READERS)}
        found: dict[int, CaseSamples] = {}
        for case in sorted(self.cases, key=lambda c: c.case.workers):
            if case.case[:2] in beside and not case.skipped:
                executor = load_executor(case.case.executor)
                if executor.independent:
                    found.setdefault(case.case.workers, case)  # attention windows, if a run reads pair windows too
                    together = executor.worker[1]
        slow = {count: self.figures(case, f"{count} readers", WAITED) for count, case in found.items()}
        for count, times in slow.items():
            if count > 1 and 1 in slow:
                # Together they wait S(w) for all windows, so each waits S(w) / windows for one of its own windows.
                slowdown[count] = times / slow[1]
                self.why[f"{count} readers"] = self.why["1 readers"] | self.why[f"{count} readers"]
                flat = [c for n in (1, count) if (c := found[n].ceiling) is not None and not c.why]
                if len(flat) == 2:
                    one, several = (float(np.median(c.columns[WAITED][c.timed])) for c in flat)
                    ceiling[count] = several / one
        return slowdown, ceiling, together

    def gigabytes(self, baseline: str) -> np.ndarray | None:
        sizes = dict(zip(self._sizes["format"], self._sizes["size_bytes"].astype(float), strict=True))
        if not sizes:
            return None
        sizes |= {CONTROL: sizes[baseline]} if baseline in sizes else {}  # the control is written the same way
        self.why[SIZE] = {name: "its archive has no size" for name in self.formats if name not in sizes}
        return np.array([sizes.get(name, np.nan) for name in self.formats]) / GIGABYTE

    def write(self) -> tuple[np.ndarray | None, str]:
        """Estimate the time to write the trace from that of its layers; also return a sentence on the method."""
        layer = next(filter(None, (self.case(suite, info.name, "") for suite, info in counted_as(WRITE))), None)
        requested = self._sizes["bytes_requested"].dropna()
        if layer is None or requested.empty:
            return None, ""
        told = (
            "Writing the trace is taken to cost, byte for byte, what writing its layers one at a time does "
            f"({layer.case.suite}/{layer.case.access}, on disk): the fixed cost of an archive counts once for each "
            "layer."
        )
        if layer.skipped:
            return None, told
        return self.figures(layer, WRITE, "seconds", per="bytes_requested") * float(requested.iloc[0]), told


def cost(parts: CostParts, use: Use) -> np.ndarray:
    """Return the cost of one access in every format.

    It is the mean waiting time over accesses, plus each access's part of writing and storing the trace::

        readers_factor * sum over accesses of share * ((1 - cold) * warm + cold * cold_read), where warm and
            cold_read are each read + opens * opening
            + (write + storage_price * gigabytes) / reads_per_write

    Parameters
    ----------
    parts : CostParts
        The parts of one trace.
    use : Use
        The mix; shares of accesses that the trace has no tensor for must be 0.

    Returns
    -------
    ndarray, shape (1 + RESAMPLES, formats)
        Seconds; NaN for a format without one of the parts that count.
    """
    total = np.zeros((1 + RESAMPLES, len(parts.formats)))
    for access, share in use.shares.items():
        for cache, weight in (("warm", 1 - use.cold), ("cold", use.cold)):
            if share * weight:  # parts without weight may be unmeasured
                total = total + share * weight * parts.reads[access, cache]
                if use.opens:
                    total = total + share * weight * use.opens * parts.opening[access, cache]
    total = total * parts.readers[parts.nearest_readers(use.readers)]
    if use.writes_per_read and parts.write is not None:
        total = total + use.writes_per_read * parts.write
    if use.writes_per_read * use.storage_price and parts.gigabytes is not None:
        total = total + use.writes_per_read * use.storage_price * parts.gigabytes
    return total


def needed(use: Use) -> list[tuple[str, str]]:
    """Return the access and cache state of every read that counts."""
    states = [cache for cache, weight in (("warm", 1 - use.cold), ("cold", use.cold)) if weight]
    return [(access, cache) for access in mix_reads() if use.shares.get(access) for cache in states]


def control_floor(parts: CostParts, total: np.ndarray, baseline: str) -> float | None:
    """Return the log ratio of the A/A control's cost to the original's, absolute, at the interval's end further from 0.

    Parameters
    ----------
    parts : CostParts
        Names the columns.
    total : ndarray, shape (1 + RESAMPLES, formats)
        From `cost`.
    baseline : str
        The format that the control repeats.

    Returns
    -------
    float or None
        None when one of the two has no cost.
    """
    if CONTROL not in parts.formats or baseline not in parts.formats:
        return None
    ratio = total[:, parts.formats.index(CONTROL)] / total[:, parts.formats.index(baseline)]
    return None if np.isnan(ratio[0]) else float(np.abs(np.log(np.array(bounds(ratio[1:])))).max())
