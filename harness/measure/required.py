"""Hold the rows of a run against those that it has to have; what is missing, doubled or extra is named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pandas as pd

from harness.measure.subject import Arm
from harness.measure.turns import Turns
from harness.records import CellKey

Kind = Literal["missing", "doubled", "extra", "order", "status"]

SAID: dict[Kind, str] = {
    "missing": "{count} of {planned} rows that the plan asks for are missing",
    "doubled": "{count} rows are there more than once",
    "extra": "{count} rows are none that the plan asks for",
    "order": "{count} rows are not in the order that the seed gives",
    "status": "{count} rows do not agree with their status",
}
_ENDS = ("failed", "skipped")
_FEW = 3  # cells that a sentence names


class Seen(NamedTuple):
    """What counts of a recorded row."""

    round: int
    position: int
    status: str
    figure: bool
    reason: str

    @property
    def noted(self) -> bool:
        """Whether it may say why there is no sample, and is then none itself."""
        return self.status in _ENDS and self.position == 0


@dataclass(frozen=True)
class Fault:
    """What is wrong with some rows of one cell.

    Attributes
    ----------
    kind : str
        One of `SAID`.
    cell : CellKey
        Which.
    rounds : tuple of int
        Their rounds; one that is there three times is in it twice.
    why : str
        More of it; may be empty.
    """

    kind: Kind
    cell: CellKey
    rounds: tuple[int, ...]
    why: str = ""

    def __str__(self) -> str:
        key = self.cell
        workers = "" if key.executor == "main" else f"{key.workers} {key.executor}"
        parts = (key.suite, key.access, key.trace, key.n_res, key.format, key.profile, key.cache, workers)
        numbers = sorted(set(self.rounds))
        runs = [n for n in numbers if n - 1 not in numbers], [n for n in numbers if n + 1 not in numbers]
        told = ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in zip(*runs, strict=True))
        plural = "s" if len(numbers) > 1 else ""
        return f"{' '.join(str(part) for part in parts if part not in (None, ''))}, round{plural} {told}" + (
            f": {self.why}" if self.why else ""
        )


@dataclass(frozen=True)
class Required:
    """How the rows of a file compare with those that its run has to have.

    Attributes
    ----------
    planned : int
        Rows that it has to have, as far as its rows say: a failure ends a cell.
    faults : tuple of Fault
        What is wrong; empty when each row is there once, in its place.
    """

    planned: int
    faults: tuple[Fault, ...]

    def sentences(self) -> Iterator[tuple[Kind, str, list[Fault]]]:
        """Yield what is wrong, each kind in words, with the faults behind it."""
        for kind, text in SAID.items():
            if found := [fault for fault in self.faults if fault.kind == kind]:
                count = sum(len(fault.rounds) for fault in found)
                yield kind, text.format(count=count, planned=self.planned), found

    def summary(self, what: str) -> Iterator[str]:
        """Yield the same for a page, with the first few cells."""
        for _, text, found in self.sentences():
            more = f"; and {len(found) - _FEW} more cells" if len(found) > _FEW else ""
            yield f"{what}: {text}: {'; '.join(map(str, found[:_FEW]))}{more}."


def rows_of(frame: pd.DataFrame, figure: Sequence[str]) -> dict[CellKey, list[Seen]]:
    """Arrange the rows of a file by cell, in the order of the file.

    Parameters
    ----------
    frame : DataFrame
        From `harness.records`.
    figure : sequence of str
        The columns of which a row that is ok has one.
    """
    has = frame[list(figure)].notna()
    found: dict[CellKey, list[Seen]] = {}
    for row, figures in zip(frame.to_dict("records"), has.to_dict("records"), strict=True):
        n_res = None if pd.isna(row["n_res"]) else int(row["n_res"])
        values = {name: row[name] for name in CellKey._fields}
        key = CellKey(**{**values, "n_res": n_res, "workers": int(row["workers"])})
        seen = Seen(int(row["round"]), int(row["position"]), row["status"], any(figures.values()), row["reason"])
        found.setdefault(key, []).append(seen)
    return found


def require(
    turns: Iterable[Turns],
    alone: Iterable[tuple[CellKey, int]],
    rows: Mapping[CellKey, Sequence[Seen]],
    *,
    sessions: int,
    samples: bool,
    ordered: bool = True,
) -> Required:
    """Hold rows against those that have to be there.

    Parameters
    ----------
    turns : iterable of Turns
        From `harness.measure.turns`.
    alone : iterable of (CellKey, int)
        Cells of one row that take no turns, with the position of the row.
    rows : mapping of CellKey to sequence of Seen
        From `rows_of`.
    sessions : int
        How often the run was begun or resumed. Formats that have no archive may differ between sessions.
    samples : bool
        Whether these are samples, which no row that was skipped may stand among.
    ordered : bool
        Whether the order of arms is known, so that positions can be told.

    Returns
    -------
    Required
        A pure function of these: a row that failed ends its cell, so that those after it are not asked for.
    """
    planned, known = 0, set[CellKey]()
    faults: list[Fault] = []
    skipped: dict[tuple[object, ...], list[tuple[CellKey, bool]]] = {}
    for each in turns:
        known.update(each.cells.values())
        for arm, key in each.cells.items():
            seen = rows.get(key, ())
            told = each.told or each.told_of.get(arm, "")
            wanted = {0} if told else _wanted(seen, each, samples=samples)
            planned += len(wanted)
            faults += _counted(key, seen, wanted)
            faults += _told(key, seen, each, told) if told else _statuses(key, seen, each, samples=samples)
            if samples and seen and not told and not each.once_more:
                place = (*each.subject, arm)
                skipped.setdefault(place, []).append((key, any(row.status == "skipped" for row in seen)))
        if ordered and not each.told:
            faults += _order(each, rows, sessions)
    for cells in skipped.values():
        if len({was for _, was in cells}) > 1:
            why = "skipped, though this format was measured on this trace"
            faults += [Fault("status", key, (0,), why) for key, was in cells if was]
    for key, position in alone:
        known.add(key)
        planned += 1
        seen = rows.get(key, ())
        faults += _counted(key, seen, {0})
        faults += [Fault("order", key, (row.round,)) for row in seen if row.position != position]
        faults += _consistent(key, seen)
    faults += [
        Fault("extra", key, tuple(row.round for row in seen), "not in the plan")
        for key, seen in rows.items()
        if key not in known
    ]
    return Required(planned, tuple(faults))


def _wanted(seen: Sequence[Seen], turns: Turns, *, samples: bool) -> set[int]:
    """Return the rounds that a cell has to have; a failure is the last, and so is a sample that was skipped."""
    last = turns.rounds + turns.once_more
    ends = [row.round for row in seen if row.status in _ENDS and 0 <= row.round < last]
    if not samples and ends and max(row.round for row in seen) > min(ends):
        ends = [row.round for row in seen if row.status == "failed" and 0 <= row.round < last]
    return set(range(min(ends) + 1 if ends else turns.rounds))


def _counted(key: CellKey, seen: Sequence[Seen], wanted: set[int]) -> Iterator[Fault]:
    numbers = [row.round for row in seen]
    there = set(numbers)
    if missing := sorted(wanted - there):
        yield Fault("missing", key, tuple(missing))
    if extra := sorted(there - wanted):
        ended = any(row.status in _ENDS and row.round in wanted for row in seen)
        yield Fault("extra", key, tuple(extra), "after the row that ends the cell" if ended else "beyond all rounds")
    if doubled := [number for number in sorted(there) for _ in range(numbers.count(number) - 1)]:
        yield Fault("doubled", key, tuple(doubled))


def _told(key: CellKey, seen: Sequence[Seen], turns: Turns, told: str) -> Iterator[Fault]:
    """Hold the one row of a cell that is not measured by design; without an archive it may say that instead."""
    for row in seen:
        if row.figure or row.status not in _ENDS or (turns.told and (row.status, row.reason) != ("skipped", told)):
            yield Fault("status", key, (row.round,), f"the plan skips this cell: {told}")
        elif row.position != 0:
            yield Fault("order", key, (row.round,))


def _statuses(key: CellKey, seen: Sequence[Seen], turns: Turns, *, samples: bool) -> Iterator[Fault]:
    yield from _consistent(key, seen, strict=samples)
    for row in seen:
        if samples and row.status == "skipped" and (row.position or (row.round and not turns.once_more)):
            yield Fault("status", key, (row.round,), "skipped, though this cell was measured")
        if turns.fails_at_zero and row.status == "failed" and row.position:
            yield Fault("order", key, (row.round,))


def _consistent(key: CellKey, seen: Sequence[Seen], *, strict: bool = True) -> Iterator[Fault]:
    for row in seen:
        if row.status == "ok" and not row.figure:
            yield Fault("status", key, (row.round,), "ok, and has no figure")
        elif row.status == "ok" and row.reason:
            yield Fault("status", key, (row.round,), "ok, and has a reason not to be")
        elif row.status != "ok" and not row.reason:
            yield Fault("status", key, (row.round,), f"{row.status}, and has no reason")
        elif row.status != "ok" and row.figure and (strict or row.status != "skipped"):
            yield Fault("status", key, (row.round,), f"{row.status}, and has a figure")


def _order(turns: Turns, rows: Mapping[CellKey, Sequence[Seen]], sessions: int) -> list[Fault]:
    """Draw the order again, and hold positions against it: without the arms that had no archive, as far as is known."""
    taken = [
        (arm, row)
        for arm, key in turns.cells.items()
        if arm not in turns.told_of
        for row in rows.get(key, ())
        if 0 <= row.round < turns.rounds and not row.noted and not (turns.fails_at_zero and row.status == "failed")
    ]
    out = [
        arm
        for arm, key in turns.cells.items()
        if any(row.noted and row.reason != turns.told_of.get(arm) for row in rows.get(key, ()))
    ]
    draws = [turns.draw([arm for arm in turns.cells if arm not in without]) for without in _without(out)]
    wrong = [{(arm, row) for arm, row in taken if draw.get((row.round, arm)) != row.position} for draw in draws]
    worst = set.intersection(*wrong) if sessions > 1 else min(wrong, key=len)
    return [Fault("order", turns.cells[arm], (row.round,), f"position {row.position}") for arm, row in taken if
            (arm, row) in worst]  # fmt: skip


def _without(out: list[Arm]) -> Iterator[set[Arm]]:
    """Yield which arms may have been left out of a draw: a first sample that failed looks like a note of none."""
    yield set(out)
    if out:
        yield set()
    if len(out) > 1:
        yield from ({arm} for arm in out)
        yield from (set(out) - {arm} for arm in out)
