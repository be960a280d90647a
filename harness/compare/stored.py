"""Two runs that were made one after the other: what such unpaired data can show, and what it cannot."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from harness.analysis.statistics import Interval, bounds, resampled_medians
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.compare.comparison import Outcome
from harness.compare.exact import figures, lost_figures
from harness.compare.side import NotComparable
from harness.compare.stored_cells import StoredCells, both, exact_figures, lost_cells, not_in_base
from harness.compare.verdict import THRESHOLD, Judged
from harness.errors import UsageError
from harness.evidence.bundle import MEASURED, SUFFIX, read_bundle
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


def is_stored(text: str) -> bool:
    """Say whether an argument names a run's folder or a bundle, and not a commit."""
    path = Path(text)
    return path.name.endswith(SUFFIX) or (path.is_dir() and (path / "run.json").exists())


@contextmanager
def opened(text: str) -> Iterator[Path]:
    """Give the folder of a run, unpacked where it is a bundle.

    Raises
    ------
    UsageError
        When it lacks what a comparison needs.
    """
    path = Path(text)
    if path.is_dir():
        if lost := [name for name in MEASURED if not (path / name).is_file()]:
            raise UsageError(f"{path} has no {lost[0]}, so it cannot be compared: make the run again.")
        yield path
        return
    bundle = read_bundle(path)
    if lost := [name for name in MEASURED if name not in bundle.files]:
        raise UsageError(f"{path} has no {lost[0]}, so it cannot be compared: pack the run again.")
    with tempfile.TemporaryDirectory(prefix="harness-compare-") as folder:
        for name in MEASURED:
            (Path(folder) / name).write_bytes(bundle.files[name])
        yield Path(folder)


def compare_stored(base: str, head: str, threshold: float = THRESHOLD) -> Outcome:
    """Compare two stored runs.

    Parameters
    ----------
    base, head : str
        Folders or bundles.
    threshold : float
        The slowdown that matters.

    Returns
    -------
    Outcome
        Red by deterministic figures and by cells that are ok in base and not in head. A time is ``no regression`` where
        the unpaired interval ends below the threshold, else ``inconclusive``, with no number of rounds, for none would
        make it paired.

    Raises
    ------
    NotComparable
        When the two differ in machine, seed or data, or have too few rounds; names the difference.
    """
    with opened(base) as first, opened(head) as second:
        _require_alike(first, second)
        sides = [StoredCells.of(folder) for folder in (first, second)]
        notes = [CANNOT, *_software(first, second), *not_in_base(*sides)]
        exact = exact_figures(first, second, *sides)
    lost = lost_cells(*sides)
    lost += lost_figures(exact, {one.cell for one in lost})
    judged, found = _times(sides[0], sides[1], threshold), figures(exact)
    nothing = not (judged or found or any(one.state != "absent" for one in lost))
    return Outcome(
        base=base, head=head, threshold=threshold, judged=judged, figures=found, lost=lost, notes=notes,
        refused=_NOTHING if nothing else "",
    )  # fmt: skip


def _require_alike(first: Path, second: Path) -> None:
    configs = [RunConfig.read(folder / "run.json") for folder in (first, second)]
    machines = [_session(folder) for folder in (first, second)]
    for name in (*_MACHINE, *(name for name in _LIMITS if all(name in machine for machine in machines))):
        _require_same(f"machines ({name})", *(machine.get(name) for machine in machines))
    _require_same("seeds", configs[0].seed, configs[1].seed)
    # What bounds a plan may differ where the plans do not, which are compared below.
    alike = [dataclasses.replace(c, options=dataclasses.replace(c.options, parallel_bytes=None)) for c in configs]
    _require_same("data definitions (options)", *(config.options for config in alike))
    for name in sorted({*configs[0].measurements, *configs[1].measurements}):
        ours, theirs = (config.measurements.get(name, {}) for config in configs)
        both = set(ours) & set(theirs) or set(ours) | set(theirs)  # what earlier versions did not record cannot be held
        _require_same(f"data definitions ({name})", *({key: p.get(key) for key in both} for p in (ours, theirs)))
    ours, theirs = _common_plans(first, second)
    if ours != theirs:
        raise NotComparable("The runs have different plans of the same traces: a suite or a trace was changed.")
    digests = [
        {(s["trace"], s["n_res"]): s["tensor_digests"] for s in read_archives(f / "archives.json")}
        for f in (first, second)
    ]
    for place, before in digests[0].items():
        after = digests[1].get(place) or before  # what only one of them has is lost, cell by cell
        if wrong := [path for path in {**before, **after} if before.get(path) != after.get(path)]:
            raise NotComparable(
                f"The runs have different data definitions: {place[0]} holds other values in {wrong[0]}."
            )
    for config in configs:
        if config.rounds < VERDICT_ROUNDS:
            raise NotComparable(
                f"The run {config.run_id} has {config.rounds} rounds: a verdict needs {VERDICT_ROUNDS}."
            )


def _common_plans(first: Path, second: Path) -> list[Any]:
    """Return the plans of two runs, each without the traces and suites that the other has not."""
    ours, theirs = ({(s["trace"], s["n_res"]): s for s in read_plan(f / "plan.json")} for f in (first, second))
    plans: list[list[Any]] = [[], []]
    for place in [place for place in ours if place in theirs]:
        pair = (ours[place], theirs[place])
        common = set.intersection(*({access["suite"] for access in subject["accesses"]} for subject in pair))
        for plan, subject in zip(plans, pair, strict=True):
            accesses = sorted(
                (access for access in subject["accesses"] if access["suite"] in common),
                key=lambda access: str(access["suite"]),
            )
            plan.append({**subject, "accesses": accesses})
    return plans


def _require_same(what: str, ours: Any, theirs: Any) -> None:
    if ours != theirs:
        raise NotComparable(f"The runs have different {what}: {_shown(ours)}, then {_shown(theirs)}.")


def _shown(value: Any) -> str:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ", ".join(f"{name}={part}" for name, part in vars(value).items())
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)


def _session(folder: Path) -> dict[str, Any]:
    sessions = read_environment(folder / "environment.json")["sessions"]
    return dict(sessions[-1]) if sessions else {}


def _software(first: Path, second: Path) -> list[str]:
    ours, theirs = _session(first), _session(second)
    pairs = {name: (ours.get(name), theirs.get(name)) for name in ("commit", "python", "kernel")}
    before, after = ours.get("packages") or {}, theirs.get("packages") or {}
    pairs |= {name: (before.get(name), after.get(name)) for name in sorted({*before, *after})}
    texts = [f"{name} ({a or 'none'}, then {b or 'none'})" for name, (a, b) in pairs.items() if a != b]
    return [f"The runs differ in {', '.join(texts)}."] if texts else []


def _times(base: StoredCells, head: StoredCells, threshold: float) -> list[Judged]:
    judged = []
    for cell in both(base, head):
        before, after = base.cells[cell].seconds, head.cells[cell].seconds
        if access_named(cell.access.split()[0], cell.suite).once or not (len(before) and len(after)):
            continue
        ratio = unpaired(before, after)
        sides = (("base", before), ("head", after))
        few = [f"{side} has {len(found)} rounds" for side, found in sides if len(found) < VERDICT_ROUNDS]
        settled = ratio.high <= 1 + threshold and not few
        judged.append(
            Judged(
                cell=cell,
                ratio=ratio,
                log_ratios=(),  # the rounds of the two runs have nothing in common
                rounds=min(len(before), len(after)),
                base_seconds=float(np.median(before)),
                head_seconds=float(np.median(after)),
                word="no regression" if settled else "inconclusive",
                note="; ".join(["unpaired", *few]),
            )
        )
    return judged


def unpaired(base: np.ndarray, head: np.ndarray) -> Interval:
    """Estimate the ratio of two medians, each with rounds drawn anew by itself.

    Parameters
    ----------
    base, head : ndarray, shape (rounds,)
        Seconds; may differ in length.

    Returns
    -------
    Interval
        Of head over base. It holds the spread within each run, and nothing of what changed between them.
    """
    after, before = (resampled_medians(times[None], seed)[:, 0] for seed, times in enumerate((head, base)))
    ratio = after / before
    low, high = bounds(ratio[1:])
    return Interval(float(ratio[0]), float(low), float(high))
