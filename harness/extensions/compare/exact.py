"""Exact comparison: bytes, files, requests and content of archives, and figures that head lacks."""

from __future__ import annotations

from collections.abc import Collection

from harness.extensions.compare.outcome import Entry, lost
from harness.extensions.compare.question import Cell
from harness.extensions.compare.record import CONTENT, Exact


def figures(exact: Exact, gone: Collection[Cell] = ()) -> list[Entry]:
    """Compare exact figures, and list those that base has and head lacks.

    Parameters
    ----------
    exact : Exact
        From `harness.extensions.compare.record.Record`.
    gone : collection of Cell
        Cells that are known to be lost completely.

    Returns
    -------
    list of Entry
        Lost figures first, one entry per cell; then one for each figure that both sides have, and for the content of
        each archive.
    """
    found: list[Entry] = []
    absent: dict[Cell, list[str]] = {}
    for cell, name in sorted({(cell, name) for cell, _, name in exact}):
        base, head = (exact.get((cell, side, name)) for side in ("base", "head"))
        if base and head:
            change = "equal" if len({*base, *head}) == 1 else "varies"
            low, high = (None, None) if name == CONTENT else (min(base), min(head))
            if name == CONTENT and len(set(base)) == len(set(head)) == 1 and base[0] != head[0]:
                change = "other"
            elif name != CONTENT and (min(head) > max(base) or max(head) < min(base)):
                change = "grew" if min(head) > max(base) else "shrank"
            found.append(Entry(kind="exact", cell=cell, verdict=change, name=name, base=low, head=high))
        elif base and cell not in gone and name != CONTENT:
            absent.setdefault(cell, []).append(name)
    return [*(lost(cell, "absent", f"it has no {', '.join(names)}") for cell, names in absent.items()), *found]
