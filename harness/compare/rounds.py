"""The rounds: each starts both sides afresh, has each write its archives, and lets them take turns, block by block.

A process has an offset of its own that no number of repetitions shows: where its memory lies, how its hashes fall, on
which pages its archives lie. So the unit of the statistics is the round, in which all of that is drawn anew, and not
the block.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.compare.exact import Lost
from harness.compare.question import OPENING, WRITING, Cell, CompareSettings, Question
from harness.compare.side import Process, Side, SideError
from harness.run.schedule import generator

Count = Callable[[str], object]

MOST_BLOCKS = 4
"""Times as many blocks as usual are taken in a round where a side is slower than in the rounds before."""

_DISTURBED = 1.1


@dataclass(frozen=True, kw_only=True)
class Block:
    """Times of one side in one block of a round, in seconds.

    Attributes
    ----------
    cell : Cell
        What was measured.
    round, number : int
        Where.
    side : str
        ``base`` or ``head``.
    seconds : float
        Of the fastest repetition in the block. What else a machine does makes a repetition longer and never shorter,
        so on one that others use as well the fastest varies least (Chen & Revels 2016).
    repetitions : int
        How many.
    """

    cell: Cell
    round: int
    number: int
    side: str
    seconds: float
    repetitions: int


@dataclass
class Record:
    """Everything that rounds found.

    Attributes
    ----------
    blocks : list of Block
        Times.
    exact : dict
        For each (cell, side, figure) the values seen, one a round: bytes, files, requests.
    contents : dict
        For each (format, trace, length, side) the digests of the archives' bytes, one a round.
    fastest : dict
        For each (cell, side) the seconds of its fastest repetition, one a round.
    lost : dict of Cell to Lost
        What head failed at where base did not; it is measured no further.
    """

    blocks: list[Block] = field(default_factory=list)
    exact: dict[tuple[Cell, str, str], list[int]] = field(default_factory=dict)
    contents: dict[tuple[str, str, int | None, str], list[str]] = field(default_factory=dict)
    fastest: dict[tuple[Cell, str], list[float]] = field(default_factory=dict)
    lost: dict[Cell, Lost] = field(default_factory=dict)

    def note(self, cell: Cell, side: str, **figures: int) -> None:
        """Add deterministic figures."""
        for name, value in figures.items():
            self.exact.setdefault((cell, side, name), []).append(value)

    def cells(self) -> list[Cell]:
        """List the cells with times, in the order in which they were first measured by name."""
        return sorted({block.cell for block in self.blocks})


def take_rounds(
    sides: tuple[Side, Side],
    questions: Sequence[Question],
    settings: CompareSettings,
    numbers: Sequence[int],
    folder: Path,
    record: Record,
    step: Count,
    only: Collection[Cell] | None = None,
) -> None:
    """Take rounds and add what they find to the record.

    Parameters
    ----------
    sides : (Side, Side)
        Base and head.
    questions : sequence of Question
        From `harness.compare.question.ask`.
    settings : CompareSettings
        Formats, blocks, seed.
    numbers : sequence of int
        Of the rounds; each decides its order.
    folder : Path
        For archives; what a round wrote is removed with it.
    record : Record
        Added to.
    step : callable
        Told what was done.
    only : collection of Cell, optional
        The cells to measure; all when None.

    Raises
    ------
    SideError
        When base fails at something, or head's process cannot be started again.
    """
    for number in numbers:
        scratch = folder / f"round-{number}"
        scratch.mkdir()
        rng = generator(settings.seed, "compare", number)
        order = [sides[int(k)] for k in rng.permutation(2)]
        try:
            with ExitStack() as stack:
                running = [stack.enter_context(Process(side, scratch, settings.timeout)) for side in order]
                for process in running:
                    process.send("hello")  # both start up at once, before anything is timed
                for process in running:
                    process.receive()
                one = _Round(number, running, settings, scratch, record, rng, only)
                for question in questions:
                    one.measure(question)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        step(f"round {number + 1}")


class _Round:
    """One round of one pair of processes."""

    def __init__(
        self,
        number: int,
        running: list[Process],
        settings: CompareSettings,
        scratch: Path,
        record: Record,
        rng: np.random.Generator,
        only: Collection[Cell] | None,
    ) -> None:
        self._number, self._running, self._settings, self._scratch = number, running, settings, scratch
        self._record, self._rng, self._only = record, rng, only

    def measure(self, question: Question) -> None:
        for name in self._shuffled(self._settings.formats):
            cases = [case for case in question.cases if self._wanted(question.cell(case[0], case[1], name))]
            opening = question.cell(OPENING, "archive", name)
            writing = question.cell(WRITING, "archive", name)
            timed = WRITING in self._settings.suites and self._wanted(writing)
            opened = bool(question.cases) and self._wanted(opening)
            sized = question.cell("size", "archive", name)
            if not (cases or timed or opened or self._wanted(sized)):
                continue
            every = [question.cell(suite, access, name) for suite, access, _ in cases]
            archives: dict[str, Path] = {}
            with self._losing([*every, *([writing] if timed else []), *([opening] if opened else []), sized]):
                archives = self._write(question, name, writing, timed=timed)
            if len(archives) == len(self._running):
                for suite, access, reads in self._shuffled(cases):
                    cell = question.cell(suite, access, name)
                    with self._losing([cell]):
                        self._access(question, cell, reads, archives)
                if opened:
                    with self._losing([opening]):
                        self._access(question, opening, (), archives)
            for path in archives.values():
                discard(path)

    @contextmanager
    def _losing(self, cells: Sequence[Cell]) -> Iterator[None]:
        """Note what head fails at as lost, and go on with a fresh process; what base fails at cannot be compared."""
        try:
            yield
        except SideError as error:
            if error.side.name != "head":
                raise
            for cell in cells:
                self._record.lost[cell] = Lost(cell=cell, state="failed", reason=error.reason)
            for process in self._running:
                if process.side.name == "head":
                    process.restart()

    def _wanted(self, cell: Cell) -> bool:
        return cell not in self._record.lost and (self._only is None or cell in self._only)

    def _shuffled(self, items: Sequence[Any]) -> Iterator[Any]:
        return (items[int(k)] for k in self._rng.permutation(len(items)))

    def _task(self, name: str) -> dict[str, Any]:
        return {"format": name, "profile": self._settings.profile}

    def _write(self, question: Question, name: str, cell: Cell, *, timed: bool) -> dict[str, Path]:
        """Let each side write the archive that it will read."""
        archives = {}
        for process in self._turns(1):
            side = process.side.name
            archives[side] = self._scratch / f"{side}{question.suffixes[name]}"
            answer = process.ask(
                "write", **self._task(name), data=str(question.data), archive=str(archives[side]),
                seconds=5 * self._settings.seconds if timed else 0,
            )  # fmt: skip
            sized = question.cell("size", "archive", name)
            self._record.note(sized, side, bytes=answer["size_bytes"], files=answer["files"])
            key = (name, question.trace, question.n_res, side)
            self._record.contents.setdefault(key, []).append(answer["sha256"])
            if answer["seconds"]:
                self._add(cell, 0, side, answer["seconds"])
        return archives

    def _turns(self, blocks: int) -> Iterator[Process]:
        """Yield who comes next: A B B A, beginning with either."""
        first = int(self._rng.integers(2))
        for number in range(blocks):
            order = (first + number) % 2
            yield self._running[order]
            yield self._running[1 - order]

    def _access(self, question: Question, cell: Cell, reads: Sequence[Any], archives: dict[str, Path]) -> None:
        opening = cell.suite == OPENING
        expected = [] if opening else question.expected[cell.suite, cell.access]
        task = {**self._task(cell.format), "reads": reads, "expected": expected}
        for process in self._running:  # untimed: the first reading of this archive, and one whose requests are counted
            side = process.side.name
            process.ask("access", **task, archive=str(archives[side]), seconds=0, count=False)
            counted = process.ask("access", **task, archive=str(archives[side]), seconds=0, count=True)["counts"]
            self._record.note(cell, side, bytes_read=counted[0], requests=counted[1])
        # Cores of a shared machine differ from second to second, so both sides begin each block on the same one.
        core = int(self._rng.choice(cores)) if (cores := usable_cores()) else None
        fastest = {process.side.name: math.inf for process in self._running}
        for number, process in enumerate(self._turns(MOST_BLOCKS * self._settings.blocks)):
            if number % 2 == 0 and number >= 2 * self._settings.blocks and not self._disturbed(cell, fastest):
                break
            side = process.side.name
            answer = process.ask(
                "access", **task, archive=str(archives[side]), seconds=self._settings.seconds, count=False, core=core
            )
            times = answer["open_seconds" if opening else "seconds"]
            self._add(cell, number // 2, side, times)
            fastest[side] = min(fastest[side], *times)
        for side, seconds in fastest.items():
            self._record.fastest.setdefault((cell, side), []).append(seconds)

    def _disturbed(self, cell: Cell, fastest: Mapping[str, float]) -> bool:
        """Say whether a side is slower than it was: then something else may run, and both take another turn.

        Each side is held against itself alone, so that neither gains when they are equal.
        """
        known = self._record.fastest
        return any(
            seconds > _DISTURBED * float(np.median(known[cell, side]))
            for side, seconds in fastest.items()
            if (cell, side) in known
        )

    def _add(self, cell: Cell, number: int, side: str, times: list[float]) -> None:
        self._record.blocks.append(
            Block(
                cell=cell,
                round=self._number,
                number=number,
                side=side,
                seconds=min(times),
                repetitions=len(times),
            )
        )


def read_each_other(
    sides: tuple[Side, Side], questions: Sequence[Question], settings: CompareSettings, folder: Path
) -> dict[tuple[str, str, int | None, str, str], str]:
    """Let each side write an archive, and both read both, every tensor, bit for bit.

    Returns
    -------
    dict
        For each (format, trace, length, writer, reader) what is wrong; empty when every bit is right.
    """
    found: dict[tuple[str, str, int | None, str, str], str] = {}
    with ExitStack() as stack:
        # Written by one process and read by another, so that what a format keeps in memory does not help it.
        writers, readers = ([stack.enter_context(Process(s, folder, settings.timeout)) for s in sides] for _ in "wr")
        for question in questions:
            for name, suffix in question.suffixes.items():
                task: dict[str, Any] = {"format": name, "profile": settings.profile}
                for writer in writers:
                    path = folder / f"{writer.side.name}{suffix}"
                    unwritten = _problem(writer, "write", data=str(question.data), archive=str(path), seconds=0, **task)
                    for reader in readers:
                        key = (name, question.trace, question.n_res, writer.side.name, reader.side.name)
                        found[key] = unwritten or _read(reader, task, path, question.digests)
                    discard(path)
    return found


def usable_cores() -> list[int]:
    """List the cores that this process may use; empty where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def discard(path: Path) -> None:
    """Remove an archive, if it is there."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _problem(process: Process, do: str, **task: Any) -> str:
    try:
        process.ask(do, **task)
    except SideError as error:
        return str(error).rstrip(".")
    return ""


def _read(process: Process, task: dict[str, Any], path: Path, wanted: dict[str, str]) -> str:
    try:
        digests = process.ask("digests", **task, archive=str(path), tensors=list(wanted))["digests"]
    except SideError as error:
        return str(error).rstrip(".")
    wrong = [tensor for tensor, value in wanted.items() if digests[tensor] != value]
    return f"{len(wrong)} of {len(wanted)} tensors differ, the first is {wrong[0]}" if wrong else ""
