"""What is compared exactly: bytes, files and requests of both sides, what head has no longer, the bytes of archives."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from harness.compare.outcome import Figure, Lost
from harness.compare.question import Cell
from harness.compare.record import CONTENT, Exact


def figures(exact: Exact) -> list[Figure]:
    """Compare the exact figures that both sides have; of several values the smallest is told."""
    found = []
    for cell, name in sorted({(cell, name) for cell, _, name in exact if name != CONTENT}):
        base, head = (exact.get((cell, side, name)) for side in ("base", "head"))
        if base and head:
            change: Any = "equal" if len({*base, *head}) == 1 else "varies"
            if min(head) > max(base) or max(head) < min(base):
                change = "grew" if min(head) > max(base) else "shrank"
            found.append(Figure(cell=cell, name=name, base=min(base), head=min(head), change=change))
    return found


def lost_figures(exact: Exact, known: Collection[Cell]) -> list[Lost]:
    """Find figures that base has and head has not, of cells that are not known to be lost altogether."""
    found: dict[Cell, list[str]] = {}
    for cell, side, name in sorted(exact):
        if side == "base" and name != CONTENT and cell not in known and not exact.get((cell, "head", name)):
            found.setdefault(cell, []).append(name)
    return [Lost(cell=cell, state="absent", reason=f"it has no {', '.join(names)}") for cell, names in found.items()]


def same_bytes(exact: Exact) -> dict[str, bool | None]:
    """Say for each format whether both sides write the same bytes; None where a side's own archives differ."""
    found: dict[str, set[bool | None]] = {}
    for cell, side, name in exact:
        base, head = (set(exact.get((cell, which, CONTENT), ())) for which in ("base", "head"))
        if name == CONTENT and side == "base" and head:
            found.setdefault(cell.format, set()).add(None if len(base) > 1 or len(head) > 1 else base == head)
    return {name: False if False in alike else None if None in alike else True for name, alike in found.items()}
