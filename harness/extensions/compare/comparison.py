"""Run of a comparison: reads of each other's archives, rounds, more rounds for what is not settled, the outcome."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.analysis.verdict import VERDICT_ROUNDS
from harness.errors import UsageError
from harness.extensions.compare.exact import figures
from harness.extensions.compare.outcome import MOST_LOOKS, THRESHOLD, Entry, Outcome, lost
from harness.extensions.compare.question import CompareSettings, Question
from harness.extensions.compare.record import Record
from harness.extensions.compare.rounds import Rounds, discard
from harness.extensions.compare.side import NotComparable, Process, Side, SideError
from harness.extensions.compare.verdict import settle
from harness.run.machine import load_average

if TYPE_CHECKING:
    from harness.run.progress import Progress


def require_rounds(rounds: int) -> None:
    """Raise a UsageError for fewer rounds than `VERDICT_ROUNDS`, which cannot give a verdict."""
    if rounds < VERDICT_ROUNDS:
        raise UsageError(f"A verdict needs at least {VERDICT_ROUNDS} rounds, got {rounds}.")


def compare_sides(
    sides: tuple[Side, Side],
    questions: Sequence[Question],
    settings: CompareSettings,
    folder: Path,
    progress: Progress,
    threshold: float = THRESHOLD,
) -> Outcome:
    """Measure two sides in turn and judge them; a time is red only if fresh rounds in fresh processes confirm it.

    Parameters
    ----------
    sides, questions, settings, folder : see `harness.extensions.compare.rounds.Rounds`
        Sides, traces, settings and folder of the measurement.
    progress : Progress
        Receives every round.
    threshold : float
        The slowdown that matters.

    Raises
    ------
    NotComparable
        If base cannot even read what it wrote itself.
    SideError
        If base fails during the rounds; what head fails at is lost, and a regression.
    """
    begun, load = time.monotonic(), load_average()
    progress.total(MOST_LOOKS * settings.rounds + 1)
    readings = read_each_other(sides, questions, settings, folder)
    broken = {one.cell.format for one in readings if one.verdict == "unreadable" and one.writer == one.reader}
    for one in readings:
        if one.verdict == "unreadable" and one.writer == one.reader == "base":
            raise NotComparable(
                f"The base has nothing to compare with: {one.cell}: {one}; choose others with --formats."
            )
    progress.step("every archive is read by both")
    timed = dataclasses.replace(settings, formats=tuple(name for name in settings.formats if name not in broken))
    rounds = Rounds(sides=sides, questions=questions, settings=timed, folder=folder, step=progress.step)
    record, judged = rounds.record, settle(rounds.take, settings.rounds, threshold) if timed.formats else []
    return Outcome(
        base=sides[0].label,
        head=sides[1].label,
        threshold=threshold,
        entries=[*readings, *_measured(record), *(one for one in judged if one.cell not in record.failed)],
        notes=[f"{name} was not timed: head cannot read what it wrote." for name in sorted(broken)],
        blocks=record.blocks,
        facts={
            "base": sides[0].facts,
            "head": sides[1].facts,
            "settings": dataclasses.asdict(settings),
            "seconds": round(time.monotonic() - begun, 1),
            "load_average": [load, load_average()],
        },
    )


def _measured(record: Record) -> list[Entry]:
    """Return entries for what head failed at or has no times of, and for the exact figures."""
    timed = [{block.cell for block in record.blocks if block.side == side} for side in ("base", "head")]
    untimed = sorted(timed[0] - timed[1] - set(record.failed))
    return [
        *(lost(cell, "failed", reason) for cell, reason in record.failed.items()),
        *(lost(cell, "absent", "it has no time") for cell in untimed),
        *figures(record.exact, record.failed),
    ]


def read_each_other(
    sides: tuple[Side, Side], questions: Sequence[Question], settings: CompareSettings, folder: Path
) -> list[Entry]:
    """Let each side write an archive, and both sides read both archives: every tensor, bit for bit."""
    found = []
    with ExitStack() as stack:
        # Written by one process and read by another, so that a format does not profit from what it keeps in memory.
        writers, readers = ([stack.enter_context(Process(s, folder, settings.timeout)) for s in sides] for _ in "wr")
        for question in questions:
            for name in settings.formats:
                task: dict[str, Any] = {"format": name, "profile": settings.profile}
                for writer in writers:
                    by = writer.side.name
                    path = folder / f"{by}{question.suffixes[name]}"
                    problem = _problem(
                        writer, None, do="make", data=str(question.data), seconds=0, archive=path, **task
                    )
                    for reader in readers:
                        read = problem or _problem(reader, question.digests, do="digests", archive=path, **task)
                        cell = question.cell("read", "archive", name)
                        about: dict[str, Any] = {"verdict": "unreadable" if read else "read", "note": read}
                        found.append(Entry(kind="readable", cell=cell, writer=by, reader=reader.side.name, **about))
                    discard(path)
    return found


def _problem(process: Process, wanted: dict[str, str] | None, *, archive: Path, **task: Any) -> str:
    """Return what went wrong at a task, or which tensors differ from `wanted`; empty if nothing did."""
    try:
        answer = process.ask(**task, archive=str(archive), tensors=list(wanted or ()))
    except SideError as error:
        return str(error).rstrip(".")
    wrong = [tensor for tensor, value in (wanted or {}).items() if answer["digests"][tensor] != value]
    return f"{len(wrong)} of {len(wanted or ())} tensors differ, the first is {wrong[0]}" if wrong else ""
