"""What is compared exactly: bytes, files and requests of both sides, what head has no longer, the bytes of archives."""

from __future__ import annotations

from collections.abc import Collection

from harness.compare.outcome import Entry, lost
from harness.compare.question import Cell
from harness.compare.record import CONTENT, Exact


def figures(exact: Exact, gone: Collection[Cell] = ()) -> list[Entry]:
    """Compare exact figures, and name those that base has and head has not.

    Parameters
    ----------
    exact : Exact
        From `harness.compare.record.Record`.
    gone : collection of Cell
        Cells that are known to be lost altogether.

    Returns
    -------
    list of Entry
        Lost figures first, together for each cell; then one for each figure that both sides have.
    """
    found: list[Entry] = []
    absent: dict[Cell, list[str]] = {}
    for cell, name in sorted({(cell, name) for cell, _, name in exact if name != CONTENT}):
        base, head = (exact.get((cell, side, name)) for side in ("base", "head"))
        if base and head:
            change = "equal" if len({*base, *head}) == 1 else "varies"
            if min(head) > max(base) or max(head) < min(base):
                change = "grew" if min(head) > max(base) else "shrank"
            found.append(Entry(kind="exact", cell=cell, verdict=change, name=name, base=min(base), head=min(head)))
        elif base and cell not in gone:
            absent.setdefault(cell, []).append(name)
    return [*(lost(cell, "absent", f"it has no {', '.join(names)}") for cell, names in absent.items()), *found]


def same_bytes(exact: Exact) -> dict[str, bool | None]:
    """Say for each format whether both sides write the same bytes; None where a side's own archives differ."""
    found: dict[str, set[bool | None]] = {}
    for cell, side, name in exact:
        base, head = (set(exact.get((cell, which, CONTENT), ())) for which in ("base", "head"))
        if name == CONTENT and side == "base" and head:
            found.setdefault(cell.format, set()).add(None if len(base) > 1 or len(head) > 1 else base == head)
    return {name: False if False in alike else None if None in alike else True for name, alike in found.items()}
