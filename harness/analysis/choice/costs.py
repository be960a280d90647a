"""What using one trace costs in each format: the measured parts, and their sum for a mix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from harness.analysis.accesses import archive_sizes
from harness.analysis.choice.mix import Mix
from harness.analysis.rounds import RESAMPLES, Place, Rounds
from harness.records import CONTROL, RAW
from harness.suite import READERS, SIZE, WRITE, counted_as, mix_reads
from harness.workload import PlanOptions

_GIGABYTE = 1e9


class Use(NamedTuple):
    """A mix as bare numbers, any one of which may be varied beyond what a `Mix` allows."""

    shares: Mapping[str, float]
    cold: float
    opens: float
    readers: int
    writes_per_read: float  # the inverse of `Mix.reads_per_write`: costs are linear in it
    storage_price: float

    @classmethod
    def of(cls, mix: Mix) -> Use:
        """Take the numbers of a mix."""
        return cls(mix.shares, mix.cold, mix.opens, mix.readers, 1 / mix.reads_per_write, mix.storage_price)


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """Everything measured of one trace that a cost is made of.

    Arrays have the shape (1 + RESAMPLES, formats); row 0 is what was measured, the others are the same medians of
    rounds drawn anew. NaN where a format has no figure; `why` then says why.

    Attributes
    ----------
    trace : str
        The trace.
    n_res : int or None
        Its largest length.
    profile : str
        Settings of the formats.
    formats : tuple of str
        The columns; the blind twin, if it was measured, among them.
    reads, opening : mapping of (str, str) to ndarray
        Seconds of one access, and of opening the archive before it, by access of a mix and cache state.
    readers : mapping of int to ndarray
        How many times as long a reader waits when so many read at once; 1 reader is 1 by definition.
    ceiling : mapping of int to float
        The same for a flat file, as measured.
    write : ndarray or None
        Seconds to write the trace durably; None when that was not measured.
    gigabytes : ndarray or None
        Of the archive; None when no size was measured.
    absent : frozenset of str
        Accesses that the trace has no tensor for.
    why : mapping of str to mapping of str to str
        For each part (``ACCESS CACHE``, ``N readers``, ``write``, ``size``), the reason by format.
    writes_from : str
        How the write was reckoned.
    """

    trace: str
    n_res: int | None
    profile: str
    formats: tuple[str, ...]
    reads: Mapping[tuple[str, str], np.ndarray]
    opening: Mapping[tuple[str, str], np.ndarray]
    readers: Mapping[int, np.ndarray]
    ceiling: Mapping[int, float]
    write: np.ndarray | None
    gigabytes: np.ndarray | None
    absent: frozenset[str]
    why: Mapping[str, Mapping[str, str]]
    writes_from: str

    def nearest_readers(self, readers: int) -> int:
        """Return the largest measured number of readers that is not above this one."""
        return max(count for count in self.readers if count <= readers)


def parts(
    cells: Sequence[Rounds], samples: pd.DataFrame, trace: str, n_res: int | None, profile: str, options: PlanOptions,
    baseline: str,
) -> Parts:  # fmt: skip
    """Gather the parts of one trace.

    Parameters
    ----------
    cells : sequence of Rounds
        From `harness.analysis.rounds.rounds`, of the whole run.
    samples : DataFrame
        What they were made from; for sizes.
    trace : str
        Which trace.
    n_res : int or None
        At which length.
    profile : str
        Of which arms.
    options : PlanOptions
        Of the run: how many windows one sample reads.
    baseline : str
        The format that ran twice.

    Returns
    -------
    Parts
        A part that was not measured for any format is not in it.
    """
    here = {c.place: c for c in cells if c.place.trace == trace and c.place.n_res == n_res}
    formats = _formats(here.values(), profile)
    why: dict[str, dict[str, str]] = {}

    def figures(cell: Rounds | None, part: str, values: np.ndarray | None = None) -> np.ndarray | None:
        if cell is None or cell.skipped:
            return None
        why[part] = {name: text for (name, p), text in cell.why.items() if p == profile}
        found = np.full((1 + RESAMPLES, len(formats)), np.nan)
        if cell.arms:
            medians = cell.medians(values)
            for column, (name, p) in enumerate(cell.arms):
                if p == profile and name in formats:
                    found[:, formats.index(name)] = medians[:, column]
        for name, empty in zip(formats, np.isnan(found[0]), strict=True):
            if empty:
                why[part].setdefault(name, "not measured")
        return found

    def cell(suite: str, access: str, cache: str, executor: str = "main", workers: int = 1) -> Rounds | None:
        return here.get(Place(suite, access, trace, n_res, cache, executor, workers))

    reads, opening = {}, {}
    for access, (suite, info) in mix_reads().items():
        for cache in ("warm", "cold"):
            found = cell(suite, info.name, cache)
            times = figures(found, f"{access} {cache}")
            if found is not None and times is not None:
                reads[access, cache] = times / info.per_sample(options)
                opened = figures(found, f"{access} {cache}", found.opening)
                opening[access, cache] = times * 0 if opened is None else opened

    readers = {1: np.ones((1 + RESAMPLES, len(formats)))}
    ceiling: dict[int, float] = {}
    beside = {(suite, info.name) for suite, info in counted_as(READERS)}
    together = {
        place.workers: found
        for place, found in sorted(here.items(), key=lambda item: item[0].workers)
        if place[:2] in beside and place.executor == "processes" and not found.skipped
    }
    slow = {count: figures(found, f"{count} readers") for count, found in together.items()}
    alone = slow.get(1)
    for count, times in slow.items():
        if count > 1 and alone is not None and times is not None:
            # All of them take T(w) for the windows, so each waits w T(w) / windows for one of its own.
            readers[count] = count * times / alone
            why[f"{count} readers"] = why["1 readers"] | why[f"{count} readers"]
            flat = [_ceiling(together[n]) for n in (1, count)]
            if flat[0] and flat[1]:
                ceiling[count] = count * flat[1] / flat[0]

    sizes, requested = _sizes(samples, trace, n_res, profile)
    gigabytes = None
    if sizes:
        sizes = sizes | ({CONTROL: sizes[baseline]} if baseline in sizes else {})  # a twin is written the same way
        gigabytes = np.array([sizes.get(name, np.nan) for name in formats]) / _GIGABYTE
        why[SIZE] = {name: "its archive has no size" for name in formats if name not in sizes}
    write, writes_from = None, ""
    layer = next(filter(None, (cell(suite, info.name, "") for suite, info in counted_as(WRITE))), None)
    if layer is not None and requested:
        per_byte = figures(layer, WRITE, layer.seconds / layer.requested)
        write = None if per_byte is None else per_byte * requested
        writes_from = (
            "Writing the trace is taken to cost, byte for byte, what writing its layers one at a time does "
            f"({layer.place.suite}/{layer.place.access}, on disk): the fixed cost of an archive counts once for each "
            "layer."
        )
    return Parts(
        trace=trace, n_res=n_res, profile=profile, formats=formats, reads=reads, opening=opening, readers=readers,
        ceiling=ceiling, write=write,
        gigabytes=gigabytes, absent=_absent(here), why=why, writes_from=writes_from,
    )  # fmt: skip


def cost(parts: Parts, use: Use) -> np.ndarray:
    """Return the cost of one access in every format.

    The mean waiting over accesses, plus each access's part in writing the trace and keeping it::

        readers_factor * sum over accesses of share * ((1 - cold) * warm + cold * cold_read), where warm and
            cold_read are each read + opens * opening
            + (write + storage_price * gigabytes) / reads_per_write

    Parameters
    ----------
    parts : Parts
        Of one trace.
    use : Use
        Shares of what the trace lacks must be 0.

    Returns
    -------
    ndarray, shape (1 + RESAMPLES, formats)
        Seconds; NaN for a format without one of the parts that count.
    """
    total = np.zeros((1 + RESAMPLES, len(parts.formats)))
    for access, share in use.shares.items():
        for cache, weight in (("warm", 1 - use.cold), ("cold", use.cold)):
            if share * weight:  # what does not count need not have been measured
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


def _formats(cells: Iterable[Rounds], profile: str) -> tuple[str, ...]:
    names = dict.fromkeys(name for c in cells for name, p in [*c.arms, *c.why] if p == profile and name != RAW)
    return tuple(sorted(names, key=lambda name: (name == CONTROL, name)))


def _ceiling(cell: Rounds) -> float | None:
    times = [seconds for (name, _), seconds in zip(cell.arms, cell.seconds, strict=True) if name == RAW]
    return float(np.nanmedian(times[0])) if times else None


def _sizes(samples: pd.DataFrame, trace: str, n_res: int | None, profile: str) -> tuple[dict[str, float], float | None]:
    """Return the bytes of each format's archive, and the bytes of the trace in memory."""
    rows = archive_sizes(samples)
    length = rows["n_res"].isna() if n_res is None else rows["n_res"] == n_res
    rows = rows[(rows["trace"] == trace) & length & (rows["profile"] == profile)]
    sizes = dict(zip(rows["format"], rows["size_bytes"].astype(float), strict=True))
    known = rows["bytes_requested"].dropna()
    return sizes, float(known.iloc[0]) if len(known) else None


def _absent(here: Mapping[Place, Rounds]) -> frozenset[str]:
    """Return the accesses whose only cell says, for every format and in no cache state, that there is no tensor."""
    skipped = {(p.suite, p.access) for p, found in here.items() if found.skipped and not p.cache}
    return frozenset(access for access, (suite, info) in mix_reads().items() if (suite, info.name) in skipped)
