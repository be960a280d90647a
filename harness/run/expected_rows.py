"""Compare the rows of a run with the required rows; report missing, duplicate, and extra rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from harness.records import CellKey
from harness.run.early_decision import stays
from harness.run.row_faults import ENDS, Fault, Required, Rows, Seen
from harness.run.subject import Arm
from harness.run.turns import Turns
from harness.workload import ReadAccess


def require(
    turns: Iterable[Turns],
    alone: Iterable[tuple[CellKey, int]],
    rows: Rows,
    *,
    sessions: int,
    samples: bool,
    ordered: bool = True,
) -> Required:
    """Compare rows with the required rows.

    Parameters
    ----------
    turns : iterable of Turns
        From `harness.run.turns`.
    alone : iterable of (CellKey, int)
        Cells with a single row outside of all turns, with the position of that row.
    rows : mapping of CellKey to sequence of Seen
        From `rows_of`.
    sessions : int
        How often the run was started or resumed. The formats without an archive may differ between sessions.
    samples : bool
        Whether these are samples: a cell with samples has no skipped rows.
    ordered : bool
        Whether the order of arms is known, so that positions can be checked.

    Returns
    -------
    Required
        A failed row ends its cell; later rows of the cell are not required.
    """
    planned, known, faults, cuts = 0, set[CellKey](), list[Fault](), list[Fault]()
    skipped: dict[tuple[object, ...], dict[CellKey, bool]] = {}
    for each in turns:
        for arm, keys in each.cells.items():
            known.update(keys)
            told = each.told.get(arm, "")
            for key in keys:
                seen = rows.get(key, ())
                if wrong := [row for row in seen if samples and row.effort != each.effort(arm)]:
                    why = f"stands for {wrong[0].effort or 'itself'}, and not for {each.effort(arm) or 'itself'}"
                    faults.append(Fault("status", key, tuple(row.round for row in wrong), why))
                if told:
                    planned += 1
                    faults += [*_alone(key, seen, 0), *_told(key, seen, each, told)]
                elif samples and seen and not each.once:
                    was = skipped.setdefault((*each.subject, arm, isinstance(each.access, ReadAccess)), {})
                    was[key] = any(row.status == "skipped" for row in seen)
        if not each.absent:
            block = [key for arm, keys in each.cells.items() if arm not in each.told for key in keys]
            count, found = _block(block, each, rows, samples=samples)
            planned, faults = planned + count, [*faults, *found]
            faults += _order(each, rows, sessions) if ordered else []
            cuts += [] if each.once else _replaced(block, each, rows)
    faults += [*_cut(cuts, sessions), *_skipped(skipped.values())]
    for key, position in alone:
        known.add(key)
        planned += 1
        seen = rows.get(key, ())
        faults += [*_alone(key, seen, position), *_consistent(key, seen)]
    others = {key: seen for key, seen in rows.items() if key not in known}
    faults += [Fault("extra", k, tuple(row.round for row in seen), "not in the plan") for k, seen in others.items()]
    return Required(planned, tuple(faults))


def _cut(cuts: Sequence[Fault], sessions: int) -> Iterator[Fault]:
    """Yield faults for rounds that were repeated without reason; each session except the last may cut off one round."""
    yield from (fault for fault in cuts if fault.why)
    if len(short := [fault for fault in cuts if not fault.why]) > max(0, sessions - 1):
        yield from (Fault("again", f.cell, f.rounds, f"cut off, in a run of {sessions} sessions") for f in short)


def _skipped(subjects: Iterable[dict[CellKey, bool]]) -> Iterator[Fault]:
    """Yield faults for cells that were skipped although their format was measured on the trace."""
    why = "skipped, though this format was measured on this trace"
    for cells in subjects:
        if len(set(cells.values())) > 1:
            yield from (Fault("status", key, (0,), why) for key, was_skipped in cells.items() if was_skipped)


def _alone(key: CellKey, seen: Sequence[Seen], position: int) -> Iterator[Fault]:
    """Check a cell that must have one row, besides earlier attempts that a machine failure spoilt."""
    good = [row for row in seen if row.round == 0 and not row.machine]
    if not good:
        yield Fault("missing", key, (0,))
    yield from _doubled(key, seen)
    if extra := [row.round for row in seen if row.round != 0] + [0] * (len({row.attempt for row in good}) - 1):
        yield Fault("extra", key, tuple(extra))
    yield from (Fault("order", key, (row.round,)) for row in seen if row.position != position)


def _told(key: CellKey, seen: Sequence[Seen], turns: Turns, told: str) -> Iterator[Fault]:
    """Check the row of a cell that the plan skips; it may instead give the reason why the arm has no archive."""
    for row in seen:
        if row.figure or row.status not in ENDS or (turns.absent and (row.status, row.reason) != ("skipped", told)):
            yield Fault("status", key, (row.round,), f"the plan skips this cell: {told}")


def _block(block: Sequence[CellKey], turns: Turns, rows: Rows, *, samples: bool) -> tuple[int, list[Fault]]:
    """Check cells that were measured in common rounds; return the number of required rows, and the faults."""
    faults: list[Fault] = []
    ends = {key: next((row for row in rows.get(key, ()) if row.final), None) for key in block}
    if not samples:  # a measurement may skip every round of a cell it cannot explain: such rows do not end the cell
        ends = {
            key: end and (end if end.status == "failed" or len(rows[key]) < turns.rounds else None)
            for key, end in ends.items()
        }
    live = [key for key in block if ends[key] is None]
    marks = {key: {row.round: row.mark for row in rows.get(key, ())} for key in block}
    left = stays(turns, marks)
    last = [max((r.attempt for key in live for r in rows.get(key, ()) if r.round == n), default=1)
            for n in range(turns.rounds)]  # fmt: skip
    count = 0
    for key in block:
        seen, end = rows.get(key, ()), ends[key]
        if end is None:
            wanted = set(range(left.get(key, turns.rounds)))
            there = {r.round for r in seen if r.round in wanted and r.attempt == last[r.round] and not r.machine}
            extra = [row.round for row in seen if row.round not in wanted]
        else:
            wanted = set(range(min(end.round, turns.rounds - 1 + turns.once) + 1))
            there = {row.round for row in seen}
            extra = [row.round for row in seen if row.round not in wanted and row.attempt >= end.attempt]
        count += len(wanted)
        if missing := sorted(wanted - there):
            spoilt = any(row.machine for row in seen)
            faults.append(Fault("missing", key, tuple(missing), "the machine failed: resume the run" if spoilt else ""))
        if extra:
            why = "after it was decided" if key in left else "beyond all rounds"
            why = why if end is None else "after the row that ends the cell"
            faults.append(Fault("extra", key, tuple(extra), why))
        faults += [*_doubled(key, seen), *_consistent(key, seen, strict=samples)]
        if samples and not turns.once:
            why = "skipped, though this cell was measured"
            odd = [row for row in seen if row.status == "skipped" and (row.position or row.round) and not row.machine]
            faults += [Fault("status", key, (row.round,), why) for row in odd]
    return count, faults


def _replaced(block: Sequence[CellKey], turns: Turns, rows: Rows) -> Iterator[Fault]:
    """Check rounds that were repeated: a valid reason is a machine failure in or before them, or a cut-off end.

    Yields a fault, on the first cell, for each round that was repeated without such a reason. A round that was cut off
    yields a fault with an empty `why`.
    """
    by_round: dict[tuple[int, int], dict[CellKey, Seen]] = {}
    for key in block:
        for row in rows.get(key, ()):
            if 0 <= row.round < turns.rounds and not row.noted:
                by_round.setdefault((row.round, row.attempt), {})[key] = row
    spoilt = {key for key in block if any(row.machine for row in rows.get(key, ()))}
    for (number, attempt), there in by_round.items():
        if not any(n == number and a > attempt for n, a in by_round):
            continue
        ended = {key for key in block if any(row.final and row.round <= number for row in rows.get(key, ()))}
        lost = [key for key in block if key not in there and key not in ended]
        if any(row.machine for row in there.values()) or spoilt & set(lost):
            continue
        places = {row.position for row in there.values()}
        gaps = 1 + max(places) - len(places) > len(ended)
        why = "" if lost else f"attempt {attempt} of this round is whole"
        why = f"attempt {attempt} of this round lacks rows before its end" if lost and gaps else why
        yield Fault("again", next(iter(there)), (number,), why)


def _doubled(key: CellKey, seen: Sequence[Seen]) -> Iterator[Fault]:
    places = [(row.round, row.attempt) for row in seen]
    if doubled := [place[0] for place in sorted(set(places)) for _ in range(places.count(place) - 1)]:
        yield Fault("doubled", key, tuple(doubled))


def _consistent(key: CellKey, seen: Sequence[Seen], *, strict: bool = True) -> Iterator[Fault]:
    for row in seen:
        if row.status == "ok" and not row.figure:
            yield Fault("status", key, (row.round,), "ok, and has no figure")
        elif row.status == "ok" and (row.reason or row.machine):
            yield Fault("status", key, (row.round,), "ok, and has a reason not to be")
        elif row.status != "ok" and not row.reason:
            yield Fault("status", key, (row.round,), f"{row.status}, and has no reason")
        elif row.status != "ok" and row.figure and (strict or row.status != "skipped"):
            yield Fault("status", key, (row.round,), f"{row.status}, and has a figure")
        elif row.odd:
            yield Fault("status", key, (row.round,), row.odd)


def _order(turns: Turns, rows: Rows, sessions: int) -> list[Fault]:
    """Draw the order again and compare positions with it, leaving out arms without an archive as far as is known."""
    own = {arm: keys for arm, keys in turns.cells.items() if arm not in turns.told}
    taken = [
        (arm, key, row)
        for arm, keys in own.items()
        for key in keys
        for row in rows.get(key, ())
        if 0 <= row.round < turns.rounds and not row.noted
    ]
    out = [
        arm
        for arm, keys in turns.cells.items()
        if any(row.noted and row.reason != turns.told.get(arm) for key in keys for row in rows.get(key, ()))
    ]
    wrong = []
    for without in _without(out):
        draw = turns.draw([arm for arm in turns.cells if arm not in without])
        wrong.append([draw.get((row.round, arm)) != row.position for arm, _, row in taken])
    worst = [all(bad) for bad in zip(*wrong, strict=True)] if sessions > 1 else min(wrong, key=sum)
    return [
        Fault("order", key, (row.round,), f"position {row.position}")
        for (_, key, row), bad in zip(taken, worst, strict=True)
        if bad
    ]


def _without(out: list[Arm]) -> Iterator[set[Arm]]:
    """Yield possible sets of arms left out of a draw; a failed first sample looks like the note of a left-out arm."""
    yield set(out)
    if out:
        yield set()
    if len(out) > 1:
        yield from ({arm} for arm in out)
        yield from (set(out) - {arm} for arm in out)
