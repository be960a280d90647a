"""Comparison of two stored runs, made one after the other: what such unpaired data can show, and what they cannot."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from harness.analysis.cells import CellSamples
from harness.analysis.statistics import Interval, bounds, resampled_medians
from harness.analysis.table import CaseKey, SampleTable
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.evidence.bundle import SUFFIX, archives_of, opened_run
from harness.extensions.compare.exact import figures
from harness.extensions.compare.outcome import THRESHOLD, Entry, Outcome, lost
from harness.extensions.compare.question import Cell, sized
from harness.extensions.compare.record import Record
from harness.extensions.compare.side import NotComparable
from harness.records import Contender
from harness.row_files import read_samples
from harness.run.archives import read_archives
from harness.run.config import RunConfig
from harness.run.machine import read_environment
from harness.run.plan import read_plan
from harness.suite import access_named

CANNOT = (
    "These are stored runs: their rounds were other moments, so times are not paired, and a difference between them "
    "may as well be one of load, temperature or memory between the two. No time of a stored run is called a "
    "regression; bytes, files and requests are exact and are. To compare times: 'harness compare BASE HEAD' of the "
    "two commits, in turn."
)

_MACHINE = ("cpu", "cores", "cores_usable", "memory_bytes", "machine", "virtual_machine", "filesystem")
_LIMITS = ("cores_limit", "memory_limit_bytes")  # which earlier versions did not record
_NOTHING = "no cell is ok in both runs. Compare runs of the same formats, suites and traces."
_COUNTED = {"bytes_read": "bytes_read", "requests": "requests", "files_opened": "files_opened"} | {
    "size_bytes": "bytes", "files": "files"
}  # fmt: skip
_SHOWN = 6  # cells named in a note


def is_stored(text: str) -> bool:
    """Return whether an argument names a run's folder or a bundle, and not a commit."""
    path = Path(text)
    return path.name.endswith(SUFFIX) or (path.is_dir() and (path / "run.json").exists())


def compare_stored(base: str, head: str, threshold: float = THRESHOLD) -> Outcome:
    """Compare two stored runs.

    Parameters
    ----------
    base, head : str
        Folders or bundles of runs.
    threshold : float
        The slowdown that matters.

    Returns
    -------
    Outcome
        Red by deterministic figures and by cells that are ok in base and not in head. A time is ``no regression`` if
        the unpaired interval ends below the threshold, else ``inconclusive``. It has no number of rounds, because none
        would make it paired.

    Raises
    ------
    NotComparable
        If the two differ in machine, seed or data, or have too few rounds; the message names the difference.
    """
    with opened_run(Path(base)) as first, opened_run(Path(head)) as second:
        _require_alike(first, second)
        before, after = cells_of(first), cells_of(second)
        good = [
            cell
            for cell in sorted(before.keys() & after.keys(), key=str)
            if before[cell].status == after[cell].status == "ok" and not before[cell].contender.is_ceiling
        ]
        record = Record()
        for side, folder, cells in (("base", first, before), ("head", second, after)):
            _note_exact(record, side, folder, {cell: cells[cell] for cell in good})
        notes = [CANNOT, *_software(first, second), *_not_in_base(before)]
    gone = _lost(before, after)
    found = figures(record.exact, {one.cell for one in gone})
    times = [
        one for cell in good if (one := _time(cell, before[cell].read_seconds, after[cell].read_seconds, threshold))
    ]
    entries = [*gone, *found, *times]
    nothing = all(entry.verdict == "absent" for entry in entries)
    return Outcome(
        base=base, head=head, threshold=threshold, entries=entries, notes=notes, refused=_NOTHING if nothing else ""
    )


def cells_of(folder: Path) -> dict[Cell, CellSamples]:
    """Return the cells of a run, of formats and of the raw ceiling, with their samples in force."""
    table = SampleTable.of(read_samples(folder / "samples.csv"))
    found = [(case.case, cell) for case in table.cases for cell in case.cells]
    return {_cell(case, cell.contender): cell for case, cell in found if not cell.contender.is_control}


def _cell(case: CaseKey, contender: Contender) -> Cell:
    workers = "" if case.executor == "main" else f"{case.workers} {case.executor}"
    access = " ".join(filter(None, (case.access, case.cache, workers)))
    label = _label(contender.format, contender.profile, contender.reader)
    return Cell(case.suite, access, label, case.trace, case.n_res)


def _label(name: str, profile: str, reader: str = "") -> str:
    more = ", ".join(filter(None, ("" if profile == "tuned" else profile, reader)))
    return f"{name} ({more})" if more else name


def _note_exact(record: Record, side: str, folder: Path, good: dict[Cell, CellSamples]) -> None:
    """Record the sizes of archives, and the exact figures of cells that are ok in both runs."""
    for (trace, n_res, name, profile), (archive, *_) in archives_of(folder).items():
        if Contender(name, profile).competes:
            cell = Cell(*sized(), _label(name, profile), trace, n_res)
            record.note(cell, side, bytes=archive["size_bytes"], files=archive["files"])
    for cell, samples in good.items():
        for column, name in _COUNTED.items():
            if len(values := samples.known(column)):
                record.exact.setdefault((cell, side, name), [int(value) for value in values])


def _lost(base: dict[Cell, CellSamples], head: dict[Cell, CellSamples]) -> list[Entry]:
    """Return an entry for every cell that is ok in base and not in head, or has a time in base and none in head."""
    found = []
    for cell, ours in sorted(base.items(), key=str):
        theirs = head.get(cell)
        if ours.status != "ok":
            continue
        if theirs is None:
            found.append(lost(cell, "absent"))
        elif theirs.status != "ok":
            found.append(lost(cell, theirs.status, theirs.reason))
        elif len(ours.seconds) and not len(theirs.seconds):
            found.append(lost(cell, "absent", "it has no time"))
    return found


def _not_in_base(base: dict[Cell, CellSamples]) -> list[str]:
    """Return a note on the cells that are not compared, because they are not ok in base."""
    bad = [f"{cell} ({found.status})" for cell, found in base.items() if found.status not in ("ok", "skipped")]
    more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    return [f"Not compared, because base has no good measurement: {', '.join(bad[:_SHOWN])}{more}."] if bad else []


def _require_alike(first: Path, second: Path) -> None:
    configs = [RunConfig.read(folder / "run.json") for folder in (first, second)]
    machines = [_session(folder) for folder in (first, second)]
    for name in (*_MACHINE, *(name for name in _LIMITS if all(name in machine for machine in machines))):
        _require_same(f"machines ({name})", *(machine.get(name) for machine in machines))
    _require_same("seeds", *(config.seed for config in configs))
    # Limits of a plan may differ if the plans do not, which are compared below.
    _require_same("data definitions (options)", *(dataclasses.replace(c.options, parallel_bytes=None) for c in configs))
    for name in sorted({name for config in configs for name in config.measurements}):
        ours, theirs = (config.measurements.get(name, {}) for config in configs)
        both = set(ours) & set(theirs) or set(ours) | set(theirs)  # earlier versions did not record all of them
        _require_same(f"data definitions ({name})", *({key: p.get(key) for key in both} for p in (ours, theirs)))
    plans = [{(s["trace"], s["n_res"]): s for s in read_plan(folder / "plan.json")} for folder in (first, second)]
    for subject in plans[0].keys() & plans[1].keys():
        pair = [plan[subject] for plan in plans]
        common = set.intersection(*({access["suite"] for access in one["accesses"]} for one in pair))
        plain = [
            {**one, "accesses": {suite: [a for a in one["accesses"] if a["suite"] == suite] for suite in common}}
            for one in pair
        ]
        if plain[0] != plain[1]:
            raise NotComparable("The runs have different plans of the same traces: a suite or a trace was changed.")
    digests = [
        {(s["trace"], s["n_res"]): s["tensor_digests"] for s in read_archives(folder / "archives.json")}
        for folder in (first, second)
    ]
    for place, before in digests[0].items():
        after = digests[1].get(place) or before  # what head lacks, or could not make, is reported as lost, cell by cell
        if wrong := [path for path in {**before, **after} if before.get(path) != after.get(path)]:
            raise NotComparable(
                f"The runs have different data definitions: {place[0]} holds other values in {wrong[0]}."
            )
    for config in configs:
        if config.rounds < VERDICT_ROUNDS:
            raise NotComparable(
                f"The run {config.run_id} has {config.rounds} rounds: a verdict needs {VERDICT_ROUNDS}."
            )


def _require_same(what: str, ours: Any, theirs: Any) -> None:
    if ours != theirs:
        raise NotComparable(f"The runs have different {what}: {_shown(ours)}, then {_shown(theirs)}.")


def _shown(value: Any) -> str:
    fields = vars(value).items() if dataclasses.is_dataclass(value) else ()
    return ", ".join(f"{name}={part}" for name, part in fields) or str(value)


def _session(folder: Path) -> dict[str, Any]:
    sessions = read_environment(folder / "environment.json")["sessions"]
    return dict(sessions[-1]) if sessions else {}


def _software(first: Path, second: Path) -> list[str]:
    ours, theirs = (
        {name: session.get(name) for name in ("commit", "python", "kernel")} | (session.get("packages") or {})
        for session in (_session(first), _session(second))
    )
    names = dict.fromkeys([*ours, *sorted(theirs)])
    texts = [f"{n} ({ours.get(n) or 'none'}, then {theirs.get(n) or 'none'})" for n in names]
    texts = [text for text, n in zip(texts, names, strict=True) if ours.get(n) != theirs.get(n)]
    return [f"The runs differ in {', '.join(texts)}."] if texts else []


def _time(cell: Cell, before: np.ndarray, after: np.ndarray, threshold: float) -> Entry | None:
    """Judge a cell that has times in both runs; return None without them, or for an access with one time by design."""
    if access_named(cell.access.split()[0], cell.suite).once or not (len(before) and len(after)):
        return None
    ratio = unpaired(before, after)
    few = [f"{s} has {len(t)} rounds" for s, t in (("base", before), ("head", after)) if len(t) < VERDICT_ROUNDS]
    return Entry(
        kind="times",
        cell=cell,
        verdict="no regression" if ratio.high <= 1 + threshold and not few else "inconclusive",
        ratio=ratio.median,
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        base=float(np.median(before)),
        head=float(np.median(after)),
        rounds=min(len(before), len(after)),
        note="; ".join(["unpaired", *few]),
    )


def unpaired(base: np.ndarray, head: np.ndarray) -> Interval:
    """Estimate the ratio of two medians; the rounds of each run are resampled independently.

    Parameters
    ----------
    base, head : ndarray, shape (rounds,)
        Seconds; may differ in length.

    Returns
    -------
    Interval
        Of head over base. It covers the spread within each run, but no change between them.
    """
    after, before = (resampled_medians(times[None], seed)[:, 0] for seed, times in enumerate((head, base)))
    ratio = after / before
    low, high = bounds(ratio[1:])
    return Interval(float(ratio[0]), float(low), float(high))
