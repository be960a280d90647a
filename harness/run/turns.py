"""Which cells a run has, and in which turns their rows are taken: all of it from plan, seed and configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness import registry
from harness.errors import HarnessError
from harness.records import CONTROL, CellKey
from harness.run import schedule
from harness.run.config import RunConfig
from harness.run.recorder import cell_key, cell_names, states
from harness.run.subject import NO_TWIN, SAME_ARCHIVE, Arm, Subject
from harness.suite import load_suite
from harness.workload import Absent, Access, ReadAccess, SizeAccess, WriteAccess

MOST_ROWS = 500_000
"""Rows of a run's samples: a file of more could not be read again."""

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


def archive_recording(config: RunConfig) -> tuple[str, WriteAccess] | None:
    """Return the suite of a run, and its access, that record the writing of archives which are read from."""
    known = {*registry.names("suites"), *(name for group, name in registry.allowed() if group == "suites")}
    asked = (load_suite(name) for name in config.suites if name in known)
    return next(((suite.name, WriteAccess(name=suite.archives, tensors=())) for suite in asked if suite.archives), None)


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
    if recording := archive_recording(config):
        own = [arm for arm in arms if not arm.shares]
        order = _drawn(config, own, 1, "archives", subject.label, subject.n_res)
        cells = _cells(subject, *recording, own, "")
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


def turns_of(
    config: RunConfig,
    subject: Subject,
    suite: str,
    access: Access,
    arms: Sequence[Arm],
    state: str,
    rounds: int,
    what: str,
) -> Turns:
    """Return the turns of rows that a measurement takes of an access in rounds of its own, drawn for `what`."""
    names = (suite, access.name, subject.label, subject.n_res, what)
    return Turns(
        cells=_cells(subject, suite, access, arms, state),
        rounds=rounds,
        draw=lambda usable: _drawn(config, usable, rounds, *names),
        subject=_place(subject),
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


def _drawn(config: RunConfig, arms: Sequence[Arm], rounds: int, *names: object) -> dict[tuple[int, Arm], int]:
    rng = schedule.generator(config.seed, *names)
    return {(number, arm): position for number, position, arm in schedule.blocks(arms, rounds, rng)}


def _listed(usable: Sequence[Arm]) -> dict[tuple[int, Arm], int]:
    return {(0, arm): position for position, arm in enumerate(usable)}


def _place(subject: Subject) -> tuple[str, int | None]:
    return subject.label, subject.n_res
