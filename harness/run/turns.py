"""Which cells a run has, and in which turns their rows are taken: all of it from plan, seed and configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.errors import HarnessError
from harness.extensions.breakdown.explaining import WARM, ExplainingRounds, explaining_rounds
from harness.records import CONTROL, CellKey
from harness.run import schedule
from harness.run.config import RESULT_DIRECTORY, RunConfig
from harness.run.recorder import cell_key, cell_names, states
from harness.run.subject import NO_TWIN, SAME_ARCHIVE, Arm, Subject
from harness.workload import Absent, Access, ReadAccess, SizeAccess, WriteAccess

MOST_ROWS = 500_000
"""Rows of a run's samples: a file of more could not be read again."""

ARCHIVE = WriteAccess(name="archive", tensors=())
"""The whole trace, written once to be read from."""

Draw = Callable[[Sequence[Arm]], Mapping[tuple[int, Arm], int]]


@dataclass(frozen=True, kw_only=True)
class Turns:
    """Cells whose rows were taken in turn: those of one access in one cache state.

    Attributes
    ----------
    cells : dict of Arm to tuple of CellKey
        In the order of the run's arms; a write has two, whose rows are written together.
    rounds : int
        Rows of each cell.
    draw : callable
        Takes the arms that have an archive; returns the position of each in every round.
    told : str
        Why there is one row that was skipped in place of all others, for every arm; empty where they were measured.
    told_of : dict of Arm to str
        The same for some arms.
    subject : tuple
        Trace and length; within it an arm that was skipped has no archive.
    once : bool
        Whether there is one row, which tells of the archive that all others were read from.
    """

    cells: Mapping[Arm, tuple[CellKey, ...]]
    rounds: int
    draw: Draw
    subject: tuple[str, int | None]
    told: str = ""
    told_of: Mapping[Arm, str] = field(default_factory=dict)
    once: bool = False


def sample_turns(config: RunConfig, arms: Sequence[Arm], subject: Subject) -> Iterator[Turns]:
    """List the turns of ``samples.csv`` for one subject.

    Parameters
    ----------
    config : RunConfig
        Of the run.
    arms : sequence of Arm
        In the order of `harness.run.subject.choose_arms`.
    subject : Subject
        Trace and plans.
    """
    if "write" in config.suites:
        own = [arm for arm in arms if not arm.shares]
        order = _drawn(config, own, 1, "archives", subject.label, subject.n_res)
        cells = _cells(subject, "write", ARCHIVE, own, "")
        yield Turns(cells=cells, rounds=1, draw=lambda usable: order, subject=_place(subject), once=True)
    for suite, access in subject.plans:
        for state in states(config, access):
            yield _turns(config, subject, suite, access, state, _cells(subject, suite, access, arms, state))


def _cells(
    subject: Subject, suite: str, access: Access, arms: Sequence[Arm], state: str
) -> dict[Arm, tuple[CellKey, ...]]:
    names = cell_names(access)
    return {arm: tuple(cell_key(subject, suite, access, arm, state, name) for name in names) for arm in arms}


def _turns(
    config: RunConfig, subject: Subject, suite: str, access: Access, state: str, cells: dict[Arm, tuple[CellKey, ...]]
) -> Turns:
    place = _place(subject)
    if isinstance(access, Absent):
        return Turns(cells=cells, rounds=1, draw=_listed, subject=place, told=access.reason)
    if isinstance(access, SizeAccess):
        told = {arm: NO_TWIN if arm.label == CONTROL else SAME_ARCHIVE for arm in cells if arm.shares}
        return Turns(cells=cells, rounds=1, draw=_listed, subject=place, told_of=told)
    names: tuple[object, ...] = (suite, access.name, subject.label, subject.n_res)
    if isinstance(access, ReadAccess):
        names, told = (*names, state, access.executor, access.workers), {}
    else:
        told = {arm: SAME_ARCHIVE for arm in cells if arm.rereads}
    return Turns(
        cells=cells,
        rounds=config.rounds,
        draw=lambda usable: _drawn(config, [arm for arm in usable if arm not in told], config.rounds, *names),
        subject=place,
        told_of=told,
    )


def require_few_rows(config: RunConfig, arms: int, subjects: Iterable[Subject]) -> None:
    """Refuse a run that asks for more rows than `MOST_ROWS`, counted before any is planned.

    Raises
    ------
    HarnessError
        Also for files of a stranger that ask for them.
    """
    total = 0
    for subject in subjects:
        for _, access in subject.plans:
            rounds = 1 if isinstance(access, Absent | SizeAccess) else config.rounds
            total += arms * rounds * len(cell_names(access)) * len(states(config, access))
    if total > MOST_ROWS:
        raise HarnessError(
            f"A run has at most {MOST_ROWS} rows, and this one asks for {total}: ask for fewer rounds, formats, "
            "traces, sizes or suites."
        )


def explaining_turns(
    kind: type[ExplainingRounds], config: RunConfig, arms: Sequence[Arm], subject: Subject
) -> Iterator[Turns]:
    """List the turns of the rows that explain samples; arguments as for `sample_turns`."""
    explained = [arm for arm in arms if arm.label != CONTROL]
    rounds = explaining_rounds(config)
    for suite, access in subject.plans:
        if kind.applies(config, access):
            names = (suite, access.name, subject.label, subject.n_res, kind.what)
            yield Turns(
                cells=_cells(subject, suite, access, explained, WARM),
                rounds=rounds,
                draw=lambda usable, names=names: _drawn(config, usable, rounds, *names),  # type: ignore[misc]
                subject=_place(subject),
            )


def directory_cells(config: RunConfig, found: Sequence[CellKey]) -> Iterator[tuple[CellKey, int]]:
    """List the cells of result directories with their positions, by the names that records give to directories.

    Parameters
    ----------
    config : RunConfig
        Of the run.
    found : sequence of CellKey
        The cells of directories that rows were recorded of.
    """
    if not config.directories:
        return
    suites = list(dict.fromkeys(key.suite for key in found)) or list(config.suites[:1])
    labels = list(dict.fromkeys(key.trace for key in found))[: len(config.directories)]
    labels += [f"directory {number + 1}" for number in range(len(labels), len(config.directories))]
    for label in labels:
        for position, mode in enumerate(config.directory_modes):
            for suite in suites:
                yield CellKey(suite, RESULT_DIRECTORY, label, None, mode, "", "", "main", 1), position


def _drawn(config: RunConfig, arms: Sequence[Arm], rounds: int, *names: object) -> dict[tuple[int, Arm], int]:
    rng = schedule.generator(config.seed, *names)
    return {(number, arm): position for number, position, arm in schedule.blocks(arms, rounds, rng)}


def _listed(usable: Sequence[Arm]) -> dict[tuple[int, Arm], int]:
    return {(0, arm): position for position, arm in enumerate(usable)}


def _place(subject: Subject) -> tuple[str, int | None]:
    return subject.label, subject.n_res
