"""What is compared exactly: bytes, files, requests, who reads whose archives, and what head has no longer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from harness.compare.question import Cell

Change = Literal["grew", "shrank", "equal", "varies"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One deterministic figure of both sides.

    Attributes
    ----------
    cell : Cell
        Of what.
    name : str
        ``bytes``, ``files``, ``bytes_read`` or ``requests``.
    base, head : int
        The figure; of several the smallest.
    change : str
        ``grew`` (a regression: every figure of head is above every one of base), ``shrank``, ``equal``, or ``varies``
        where a side did not give one figure in every round and the two overlap, so that it cannot be gated.
    """

    cell: Cell
    name: str
    base: int
    head: int
    change: Change


def figures(exact: Mapping[tuple[Cell, str, str], list[int]]) -> list[Figure]:
    """Compare what rounds noted.

    Parameters
    ----------
    exact : mapping
        From `harness.compare.rounds.Record`.

    Returns
    -------
    list of Figure
        One for each cell and name that both sides have.
    """
    found = []
    for cell, name in sorted({(cell, name) for cell, _, name in exact}):
        base, head = exact.get((cell, "base", name)), exact.get((cell, "head", name))
        if base and head:
            change = _change(set(base), set(head))
            found.append(Figure(cell=cell, name=name, base=min(base), head=min(head), change=change))
    return found


@dataclass(frozen=True, kw_only=True)
class Lost:
    """What base has and head has not: always a regression, or a gate would pass because something failed.

    Attributes
    ----------
    cell : Cell
        Of what.
    state : str
        What it is in head: ``failed``, ``rejected``, ``skipped``, or ``absent``.
    reason : str
        Why, in head's words; empty where there are none.
    """

    cell: Cell
    state: str
    reason: str = ""

    @property
    def how(self) -> str:
        """Say what became of it."""
        return f"{self.state} in head{': ' if self.reason else ''}{self.reason}"


def lost_figures(exact: Mapping[tuple[Cell, str, str], list[int]], known: Collection[Cell]) -> list[Lost]:
    """Find figures that base has and head has not, of cells that are not known to be lost altogether.

    Parameters
    ----------
    exact : mapping
        As for `figures`.
    known : collection of Cell
        Cells that are lost.
    """
    found: dict[Cell, list[str]] = {}
    for cell, side, name in sorted(exact):
        if side == "base" and cell not in known and not exact.get((cell, "head", name)):
            found.setdefault(cell, []).append(name)
    return [Lost(cell=cell, state="absent", reason=f"it has no {', '.join(names)}") for cell, names in found.items()]


def _change(base: set[int], head: set[int]) -> Change:
    if min(head) > max(base):
        return "grew"
    if max(head) < min(base):
        return "shrank"
    return "equal" if len(base | head) == 1 else "varies"


@dataclass(frozen=True, kw_only=True)
class ReadBack:
    """Whether one side can read what a side wrote.

    Attributes
    ----------
    format, trace : str
        Of what.
    n_res : int or None
        Of what length.
    writer, reader : str
        ``base`` or ``head``.
    problem : str
        What is wrong; empty when every tensor came back bit for bit.
    """

    format: str
    trace: str
    n_res: int | None
    writer: str
    reader: str
    problem: str

    @property
    def breaks(self) -> bool:
        """Whether it is a regression: head cannot read what it or base wrote."""
        return bool(self.problem) and self.reader == "head"

    def __str__(self) -> str:
        """Say it in a sentence."""
        said = f"cannot be read by {self.reader}: {self.problem}" if self.problem else f"is read by {self.reader}"
        return f"{self.format} written by {self.writer} {said}"


def readings(found: Mapping[tuple[str, str, int | None, str, str], str]) -> list[ReadBack]:
    """Turn what `harness.compare.rounds.read_each_other` found into rows."""
    return [
        ReadBack(format=name, trace=trace, n_res=n_res, writer=writer, reader=reader, problem=problem)
        for (name, trace, n_res, writer, reader), problem in found.items()
    ]


def same_bytes(contents: Mapping[tuple[str, str, int | None, str], list[str]]) -> dict[str, bool | None]:
    """Say for each format whether both sides write the same bytes; None where a side's own archives differ."""
    found: dict[str, bool | None] = {}
    for name, trace, n_res, _ in contents:
        base, head = (set(contents.get((name, trace, n_res, side), [])) for side in ("base", "head"))
        if not (base and head):
            continue
        alike = None if len(base) > 1 or len(head) > 1 else base == head
        before = found.get(name, True)
        found[name] = False if alike is False or before is False else None if None in (alike, before) else True
    return found
