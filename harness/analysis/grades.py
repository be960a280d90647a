"""The seed's table of criteria and grades, recomputed from measured cells by rules that are printed with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analysis.rounds import RESAMPLES, Arm, Place, Rounds, bounds, largest, rounds, tuned_first
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.analysis.withdrawal import SHORT
from harness.records import CONTROL, RAW

WORDS = ("Strong", "Good", "Limited", "Poor")

# Times. Up to 1.25 little can be claimed: in one of four cells of the reference run, two equal arms cannot be shown to
# lie closer than that (its smallest detectable effects). At 2 everything takes twice as long, which nobody needs to
# measure to notice; beyond 5, what took a minute takes more than five and is no longer waited for.
_TIMES = (1.25, 2.0, 5.0)
# Sizes are exact, so their limits are tighter. A tenth is lost in rounding up to the next disk; at 2 the same data need
# twice the disks, which is all that storing bfloat16 values as float32 would cost.
_SIZES = (1.1, 1.5, 2.0)

SEED_SOURCE = "the table 'Summary' of the seed's pull request (vizfold-openfold, 53)"


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One row of the table.

    Attributes
    ----------
    name : str
        As in the table.
    title : str
        As in the seed's table.
    cells : str
        Which cells it is made of, in words.
    limits : tuple of float
        The largest ratio that is still Strong, Good, Limited.
    exact : bool
        Whether the cells hold sizes, which have no spread.
    seed : mapping of str to str
        The seed's own grades.
    """

    name: str
    title: str
    cells: str
    limits: tuple[float, float, float]
    exact: bool
    seed: Mapping[str, str]
    takes: Callable[[Place], bool]


def _seed(npz: str, hdf5: str, zarr: str) -> dict[str, str]:
    return {"npz": npz, "hdf5": hdf5, "zarr": zarr}


CRITERIA = (
    Criterion(
        name="storage efficiency", title="Storage efficiency", cells="the archive of the whole trace", limits=_SIZES,
        exact=True, seed=_seed("Good", "Good", "Good"),
        takes=lambda p: (p.suite, p.access) == ("size", "archive"),
    ),
    Criterion(
        name="full read", title="Full archive read", cells="every tensor, warm and cold", limits=_TIMES, exact=False,
        seed=_seed("Good", "Strong", "Strong"), takes=lambda p: p.suite == "full_read",
    ),
    Criterion(
        name="layer read", title="Partial / layer-level read", limits=_TIMES, exact=False,
        cells="one attention layer, one head, one pair layer, each warm and cold",
        seed=_seed("Poor", "Strong", "Good"), takes=lambda p: p.suite == "layer_read",
    ),
    Criterion(
        name="random access", title="Random access scaling", limits=_TIMES, exact=False,
        cells="attention windows and pair windows, each read on its own, warm and cold",
        seed=_seed("Poor", "Good", "Good"),
        # What a user does in memory after reading the whole is a full layer's read, and has its own criterion.
        takes=lambda p: p.suite == "random_access" and not p.access.endswith("_load_once"),
    ),
    Criterion(
        name="parallel access", title="Parallel / concurrent access", limits=_TIMES, exact=False,
        cells="windows, with the most workers of each executor, warm",
        seed=_seed("Poor", "Limited", "Strong"), takes=lambda p: p.suite == "parallel_access",
    ),
)  # fmt: skip

GRADE_COLUMNS = [
    "criterion", "format", "profile", "grade", "borderline", "figure", "low", "high", "cells", "reason", "seed_grade",
    "disagrees",
]  # fmt: skip
CELL_COLUMNS = [
    "criterion", *Place._fields[1:], "format", "profile", "value", "best_format", "ratio",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Grades:
    """The table, and what is behind it.

    Attributes
    ----------
    table : DataFrame
        Columns `GRADE_COLUMNS`, a row for each criterion and format: the word (empty without one, and then ``reason``
        says why), the mean ratio to the best format with its 95 % interval, whether that interval crosses a limit, the
        seed's own word, and whether it lies outside the words that the interval allows.
    cells : DataFrame
        Columns `CELL_COLUMNS`: each value (seconds, or bytes of storage) that went into a figure.
    rules : list of str
        How the words come about, in sentences.
    disagreements : list of str
        A sentence for each grade of the seed's that measurement contradicts.
    """

    table: pd.DataFrame
    cells: pd.DataFrame
    rules: list[str]
    disagreements: list[str]


def rules() -> list[str]:
    """Say in sentences how grades come about."""
    lines = [
        "In each cell (a trace at its largest length, an access, a cache state, an executor, a number of workers) a "
        "format's median time is divided by the best format's; the figure is the geometric mean over the criterion's "
        "cells, so that 1 is the best everywhere. The raw ceiling and the blind twin do not compete.",
    ]
    for limits, of in ((_TIMES, "Times"), (_SIZES, "Sizes, which are exact")):
        words = ", ".join(f"{word} up to {limit:g}" for word, limit in zip(WORDS, limits, strict=False))
        lines.append(f"{of}: {words}, {WORDS[-1]} beyond.")
    lines += [f"{c.name.capitalize()}: {c.cells}." for c in CRITERIA]
    lines.append(
        "A grade is borderline when the figure's 95 % interval (bootstrap over rounds, the same rounds for all formats "
        "of a cell) crosses a limit."
    )
    lines.append(
        f"No grade is given without at least {VERDICT_ROUNDS} rounds in a cell with another format to compare with, "
        "nor to a format that failed in one of the criterion's cells."
    )
    lines.append(f"The seed's words are from {SEED_SOURCE}; they were given to its own settings.")
    return lines


def word(figure: float, limits: Sequence[float]) -> str:
    """Return the word for a ratio to the best format."""
    return WORDS[int(np.searchsorted(limits, figure, side="left"))]


def grade(samples: pd.DataFrame, profile: str | None = None, *, exact_only: bool = False) -> Grades:
    """Grade every format in every criterion.

    Parameters
    ----------
    samples : DataFrame
        From `harness.row_files.read_samples`.
    profile : str, optional
        The settings that are graded; without it ``tuned`` where measured, else the first.
    exact_only : bool
        Give no grade to times, because the run's reads are withdrawn.

    Returns
    -------
    Grades
        Empty tables when nothing was measured.
    """
    cells = rounds(samples)
    profiles = list(dict.fromkeys(p for c in cells for _, p in [*c.arms, *c.why]))
    chosen = tuned_first(profiles) if profile is None else profile
    lengths = largest([c.place for c in cells])
    cells = [c for c in cells if c.place.n_res == lengths[c.place.trace] and not c.skipped]
    formats = list(dict.fromkeys(arm[0] for c in cells for arm in [*c.arms, *c.why] if _competes(arm, chosen)))
    table: list[dict] = []
    behind: list[dict] = []
    for criterion in CRITERIA:
        if exact_only and not criterion.exact:
            table += [_without(criterion, name, chosen, SHORT) for name in sorted(formats)]
            continue
        taken = _most_workers([c for c in cells if criterion.takes(c.place)])
        values = _sizes(samples, taken) if criterion.exact else {c.place: _times(c) for c in taken}
        logs, used = _ratios(criterion, values, chosen, behind)
        for name in sorted(formats):
            table.append(_row(criterion, name, chosen, taken, logs.get(name, []), used))
    rows = pd.DataFrame(table, columns=GRADE_COLUMNS)
    return Grades(
        table=rows, cells=pd.DataFrame(behind, columns=CELL_COLUMNS), rules=rules(), disagreements=_disagreements(rows)
    )


def _competes(arm: Arm, profile: str) -> bool:
    return arm[0] not in (RAW, CONTROL) and arm[1] == profile


def _most_workers(cells: Sequence[Rounds]) -> list[Rounds]:
    most: dict[tuple[str, str, str], int] = {}
    for c in cells:
        key = (c.place.trace, c.place.access, c.place.executor)
        most[key] = max(most.get(key, 0), c.place.workers)
    return [c for c in cells if c.place.workers == most[c.place.trace, c.place.access, c.place.executor]]


def _times(cell: Rounds) -> dict[Arm, np.ndarray]:
    return dict(zip(cell.arms, cell.medians().T, strict=True)) if cell.arms else {}


def _sizes(samples: pd.DataFrame, cells: Sequence[Rounds]) -> dict[Place, dict[Arm, np.ndarray]]:
    """Return the bytes of each archive, which are the same in every resample."""
    rows = samples[(samples["suite"] == "size") & (samples["status"] == "ok") & samples["size_bytes"].notna()]
    found: dict[Place, dict[Arm, np.ndarray]] = {c.place: {} for c in cells}
    for place in found:
        here = rows[(rows["trace"] == place.trace) & (rows["access"] == place.access)]
        here = here[here["n_res"].isna() if place.n_res is None else here["n_res"] == place.n_res]
        for name, profile, size in zip(here["format"], here["profile"], here["size_bytes"], strict=True):
            found[place][name, profile] = np.full(1 + RESAMPLES, float(size))
    return found


def _ratios(
    criterion: Criterion, values: Mapping[Place, Mapping[Arm, np.ndarray]], profile: str, behind: list[dict]
) -> tuple[dict[str, list[np.ndarray]], set[Place]]:
    """Return each format's logarithms of ratios to the best, the cells that could be compared, and note every value."""
    logs: dict[str, list[np.ndarray]] = {}
    used = set()
    for place, arms in values.items():
        mine = {name: found for (name, p), found in arms.items() if _competes((name, p), profile)}
        if len(mine) < 2:  # the only one is the best of one, which says nothing
            continue
        used.add(place)
        best = np.min(list(mine.values()), axis=0)
        first = min(mine, key=lambda name: mine[name][0])
        for name, found in mine.items():
            logs.setdefault(name, []).append(np.log(found / best))
            behind.append(
                {
                    "criterion": criterion.name, **place._asdict(), "format": name, "profile": profile,
                    "value": found[0], "best_format": first, "ratio": found[0] / best[0],
                }
            )  # fmt: skip
    return logs, used


def _without(criterion: Criterion, name: str, profile: str, reason: str) -> dict:
    """Return the row of a format that has no grade."""
    return dict.fromkeys(GRADE_COLUMNS, np.nan) | {
        "grade": "",
        "criterion": criterion.name, "format": name, "profile": profile, "cells": 0, "borderline": False,
        "seed_grade": criterion.seed.get(name, ""), "disagrees": False, "reason": reason,
    }  # fmt: skip


def _row(
    criterion: Criterion, name: str, profile: str, cells: Sequence[Rounds], logs: Sequence[np.ndarray], used: set[Place]
) -> dict:
    row = _without(criterion, name, profile, "") | {"cells": len(logs)}
    whys = [(c.place, why) for c in cells for arm, why in c.why.items() if arm == (name, profile)]
    failed = [(place, why) for place, why in whys if why.startswith("failed")]
    if failed:
        place, why = failed[0]
        return row | {"cells": 0, "reason": f"{place.access} {place.cache}".strip() + f" on {place.trace}: {why}"}
    if not logs:
        timed = [why for _, why in whys] if not criterion.exact else []
        alone = "the only format measured: nothing to compare with"
        return row | {"reason": timed[0] if timed else alone if cells and not used else "not measured"}
    figures = np.exp(np.mean(logs, axis=0))
    low, high = (float(x) for x in bounds(figures[1:]))
    given, best, worst = (word(x, criterion.limits) for x in (float(figures[0]), low, high))
    allowed = WORDS[min(map(WORDS.index, (given, best))) : max(map(WORDS.index, (given, worst))) + 1]
    less = f"measured in {len(logs)} of {len(used)} cells" if len(logs) < len(used) else ""
    return row | {
        "grade": given, "borderline": len(allowed) > 1, "figure": float(figures[0]), "low": low, "high": high,
        "reason": less, "disagrees": bool(row["seed_grade"]) and row["seed_grade"] not in allowed,
    }  # fmt: skip


def _disagreements(table: pd.DataFrame) -> list[str]:
    best = {c.name: "the smallest" if c.exact else "the fastest" for c in CRITERIA}
    return [
        f"{_PROPER.get(row['format'], row['format'])}, {row['criterion']}: the seed says {row['seed_grade']}, measured "
        f"{row['grade']}: {row['figure']:.2f}x {best[row['criterion']]} in {row['cells']} "
        f"cell{'s' if row['cells'] != 1 else ''}."
        for row in table[table["disagrees"].astype(bool)].to_dict("records")
    ]


_PROPER = {"npz": "NPZ", "hdf5": "HDF5", "zarr": "Zarr"}
