"""Rounds: each starts both sides afresh, lets each write its archives, and lets them take turns, block by block.

A process has an offset of its own that no number of repetitions shows: its place in memory, its hash values, and the
pages of its archives. So the unit of the statistics is the round, which draws all of these anew, and not the block.
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

from harness.extensions.compare.question import OPENING, Cell, CompareSettings, Question, sized, written
from harness.extensions.compare.record import Block, Record
from harness.extensions.compare.side import Process, Side, SideError
from harness.run.schedule import generator

MOST_BLOCKS = 4
"""Most blocks of a round, as a multiple of the usual number: for a side that is slower than in the rounds before."""

_DISTURBED = 1.1


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """Rounds of two sides, and the record of what they find."""

    sides: tuple[Side, Side]  # Base and head.
    questions: Sequence[Question]  # From `harness.extensions.compare.question.ask`.
    settings: CompareSettings  # Formats, suites, blocks, seed.
    folder: Path  # Folder for archives; each round removes its own.
    step: Callable[[str], object]  # Called when a round has ended.
    record: Record = field(default_factory=Record)  # Record that rounds extend.

    def take(self, numbers: Sequence[int], only: Collection[Cell] | None = None) -> list[Block]:
        """Take the rounds of these numbers, of some cells or of all, and return their blocks.

        The number of a round decides its order.

        Raises
        ------
        SideError
            If base fails at a task, or head's process cannot be started again.
        """
        known = len(self.record.blocks)
        for number in numbers:
            scratch = self.folder / f"round-{number}"
            scratch.mkdir()
            rng = generator(self.settings.seed, "compare", number)
            order = [self.sides[int(k)] for k in rng.permutation(2)]
            try:
                with ExitStack() as stack:
                    running = [stack.enter_context(Process(side, scratch, self.settings.timeout)) for side in order]
                    for process in running:
                        process.send("hello")  # both start at the same time, before anything is timed
                    for process in running:
                        process.receive()
                    one = _Round(number, running, self.settings, scratch, self.record, rng, only)
                    for question in self.questions:
                        one.measure(question)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
            self.step(f"round {number + 1}")
        return self.record.blocks[known:]


@dataclass
class _Round:
    """One round of one pair of processes."""

    number: int
    running: list[Process]
    settings: CompareSettings
    scratch: Path
    record: Record
    rng: np.random.Generator
    only: Collection[Cell] | None

    def measure(self, question: Question) -> None:
        for name in self._shuffled(self.settings.formats):
            size, opening = question.cell(*sized(), name), question.cell(OPENING, "archive", name)
            writing = question.cell(*written(), name)
            reads = {
                question.cell(suite, access, name): reads
                for suite, access, reads in question.cases
                if suite in self.settings.suites
            }
            possible = [size, *([writing] if writing.suite in self.settings.suites else []), *reads]
            possible += [opening] if reads else []
            cells = [cell for cell in possible if self._wanted(cell)]
            archives: dict[str, Path] = {}
            if cells:
                with self._losing(cells):
                    archives = self._write(question, size, writing, timed=writing in cells)
            if len(archives) == len(self.running):
                timed = [*self._shuffled([cell for cell in cells if cell in reads]), opening]
                for cell in (cell for cell in timed if cell in cells):
                    with self._losing([cell]):
                        self._access(question, cell, reads.get(cell, ()), archives)
            for path in archives.values():
                discard(path)

    @contextmanager
    def _losing(self, cells: Sequence[Cell]) -> Iterator[None]:
        """Record what head fails at, and go on with a fresh process; raise if base fails: nothing could be compared."""
        try:
            yield
        except SideError as error:
            if error.side.name != "head":
                raise
            self.record.failed |= dict.fromkeys(cells, error.reason)
            for process in self.running:
                if process.side.name == "head":
                    process.restart()

    def _wanted(self, cell: Cell) -> bool:
        return cell not in self.record.failed and (self.only is None or cell in self.only)

    def _shuffled(self, items: Sequence[Any]) -> Iterator[Any]:
        return (items[int(k)] for k in self.rng.permutation(len(items)))

    def _write(self, question: Question, size: Cell, writing: Cell, *, timed: bool) -> dict[str, Path]:
        """Let each side write the archive that it will read; return their paths by side."""
        archives = {}
        for process in self._turns(1):
            side = process.side.name
            archives[side] = self.scratch / f"{side}{question.suffixes[size.format]}"
            answer = process.ask(
                "make", format=size.format, profile=self.settings.profile, data=str(question.data),
                archive=str(archives[side]), seconds=5 * self.settings.seconds if timed else 0,
            )  # fmt: skip
            self.record.note(size, side, bytes=answer["size_bytes"], files=answer["files"], content=answer["sha256"])
            if answer["seconds"]:
                self._add(writing, 0, side, answer["seconds"])
        return archives

    def _turns(self, blocks: int) -> Iterator[Process]:
        """Yield the processes in the order of their turns: A B B A, beginning with either."""
        first = int(self.rng.integers(2))
        for number in range(blocks):
            order = (first + number) % 2
            yield self.running[order]
            yield self.running[1 - order]

    def _access(self, question: Question, cell: Cell, reads: Sequence[Any], archives: dict[str, Path]) -> None:
        opening = cell.suite == OPENING
        expected = [] if opening else question.expected[cell.suite, cell.access]
        task = {"format": cell.format, "profile": self.settings.profile, "reads": reads, "expected": expected}
        for process in self.running:  # untimed: the first read of this archive, and a read whose requests are counted
            side = process.side.name
            process.ask("access", **task, archive=str(archives[side]), seconds=0, count=False)
            counted = process.ask("access", **task, archive=str(archives[side]), seconds=0, count=True)["counts"]
            self.record.note(cell, side, bytes_read=counted[0], requests=counted[1])
        # Cores of a shared machine differ from second to second, so both sides begin each block on the same core.
        core = int(self.rng.choice(cores)) if (cores := usable_cores()) else None
        fastest = {process.side.name: math.inf for process in self.running}
        blocks = self.settings.blocks
        for number, process in enumerate(self._turns(MOST_BLOCKS * blocks)):
            if number % 2 == 0 and number >= 2 * blocks and not self._disturbed(cell, fastest):
                break
            side = process.side.name
            answer = process.ask(
                "access", **task, archive=str(archives[side]), seconds=self.settings.seconds, count=False, core=core
            )
            times = answer["open_seconds" if opening else "seconds"]
            self._add(cell, number // 2, side, times)
            fastest[side] = min(fastest[side], *times)
        for side, seconds in fastest.items():
            self.record.fastest.setdefault((cell, side), []).append(seconds)

    def _disturbed(self, cell: Cell, fastest: Mapping[str, float]) -> bool:
        """Return whether a side is slower than before: then something else may run, and both take another turn.

        Each side is compared only with itself, so that neither gains if they are equal.
        """
        known = self.record.fastest
        return any(
            seconds > _DISTURBED * float(np.median(known[cell, side]))
            for side, seconds in fastest.items()
            if (cell, side) in known
        )

    def _add(self, cell: Cell, number: int, side: str, times: list[float]) -> None:
        about: dict[str, Any] = {"round": self.number, "number": number, "side": side}
        self.record.blocks.append(Block(cell=cell, **about, seconds=min(times), repetitions=len(times)))


def usable_cores() -> list[int]:
    """Return the cores that this process may use; empty if the system does not report them."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def discard(path: Path) -> None:
    """Remove an archive, if it is there."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
