"""Cells of a run, and the turns in which their rows are taken, derived from its plan, seed and configuration."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from harness import registry
from harness.errors import HarnessError
from harness.records import LUKEWARM, REMOTE, CellKey, Effort
from harness.run import schedule
from harness.run.config import RunConfig
from harness.run.subject import Arm, Subject
from harness.suite import load_suite
from harness.workload import Absent, Access, ReadAccess, SizeAccess, WriteAccess

MOST_ROWS = 500_000
"""Maximum number of rows of a run's samples; a larger file could not be read back."""

RACE, RACE_ROUNDS = "race", 3
"""`Turns.what` of races, which select a format's best, and their number of rounds: few, as no verdict rests on them."""

RaceTimes = Mapping[CellKey, Mapping[int, float]]
"""Seconds by cell of a race and round, from rows in force, including opening."""

_NO_CONTROL = "sizes need no A/A control: they are exact"
_SAME_ARCHIVE = "the same archive, read in another way"


def cell_names(access: Access) -> tuple[str, ...]:
    """Name the cells of an access: a write has one for the time of the writer, and one until the bytes are on disk."""
    written = isinstance(access, WriteAccess)
    return (access.name, f"{access.name}_durable") if written else (access.name,)


def cell_key(subject: Subject, suite: str, access: Access, arm: Arm, cache: str, name: str = "") -> CellKey:
    """Return the key of one cell of an access; `name` selects one if `cell_names` returns several."""
    executor, workers = getattr(access, "executor", ReadAccess.executor), getattr(access, "workers", 1)
    place = (suite, name or access.name, *subject.place)
    return CellKey(*place, cache=cache, executor=executor, workers=workers, **arm.contender._asdict())


def cell_keys(subject: Subject, suite: str, access: Access, arms: Iterable[Arm], cache: str) -> list[CellKey]:
    """Return the keys of all cells of an access that are measured in common blocks."""
    return [cell_key(subject, suite, access, arm, cache, name) for arm in arms for name in cell_names(access)]


def states(config: RunConfig, access: Access) -> list[str]:
    """List the cache states in which a run measures an access; one empty name if the cache is irrelevant to it."""
    if config.store or not isinstance(access, ReadAccess):
        return [REMOTE if isinstance(access, ReadAccess) else ""]
    return [c for c in config.caches if ("cold" if c == LUKEWARM else c) in access.caches]


@dataclass(frozen=True, kw_only=True)
class Turns:
    """Cells whose rows are taken in turn: those of one access in one cache state."""

    # Suite, access and cache state.
    suite: str
    access: Access
    state: str
    # Cells by arm, in the order of the run's arms; a write has two cells, whose rows are written together.
    cells: Mapping[Arm, tuple[CellKey, ...]]
    rounds: int  # Number of rows of each cell.
    drawn: tuple[object, ...]  # Seed and names for drawing the order within rounds; empty for the order of arms.
    subject: tuple[str, int | None]  # Trace and length; an arm that was skipped has no archive of it.
    # The arms that the plan skips, with reasons; each cell has one skipped row instead of all others.
    told: Mapping[Arm, str] = field(default_factory=dict)
    once: bool = False  # Whether each cell has a single row, about the archive from which all others are read.
    what: str = ""  # Kind of rows, of races and of measurements of extensions; empty for samples.
    best: frozenset[Arm] = frozenset()  # Winners of the race of their format.
    leave: bool = False  # Whether decided contenders are dropped, as in every run that names its readers.

    def effort(self, arm: Arm) -> Effort:
        """Return the effort that an arm represents in these turns."""
        if arm.entered == "stock":
            return "both" if arm in self.best else "stock"
        return "best" if arm in self.best else ""

    @property
    def block(self) -> list[CellKey]:
        """All cells, which are measured in common rounds."""
        return [key for keys in self.cells.values() for key in keys]

    @property
    def absent(self) -> bool:
        """Whether nothing is measured, because the trace lacks the tensors of the access."""
        return isinstance(self.access, Absent)

    def draw(self, usable: Sequence[Arm]) -> dict[tuple[int, Arm], int]:
        """Return the position of each arm in each round; `usable` are the arms with an archive."""
        if not self.drawn:
            return {(0, arm): position for position, arm in enumerate(usable)}
        arms = [arm for arm in (self.cells if self.once else usable) if arm not in self.told]
        seed, *names = self.drawn
        rng = schedule.generator(seed, *names)  # type: ignore[arg-type]
        return {(number, arm): position for number, position, arm in schedule.blocks(arms, self.rounds, rng)}


def winners(race: Turns, times: RaceTimes) -> list[Arm]:
    """Select each format's best in a profile: the candidate with the lowest median time in a race.

    A pure function of recorded rows. Candidates without all rounds are excluded; on a tie the first wins.
    """
    found: dict[tuple[str, str], tuple[float, Arm]] = {}
    for arm, (key, *_) in race.cells.items():
        seconds = times.get(key, {})
        if len(seconds) < race.rounds:
            continue
        time = statistics.median(seconds.values())
        if (best := found.get((arm.label, arm.group))) is None or time < best[0]:
            found[arm.label, arm.group] = time, arm
    return [arm for _, arm in found.values()]


def archive_turns(config: RunConfig, arms: Sequence[Arm], subject: Subject) -> Iterator[Turns]:
    """Yield the turns of writing the archives that are read later, if a suite of the run records these writes."""
    known = {*registry.names("suites"), *(name for group, name in registry.allowed() if group == "suites")}
    recording = [suite for suite in map(load_suite, (n for n in config.suites if n in known)) if suite.archives]
    for suite in recording[:1]:
        access = WriteAccess(name=suite.archives, tensors=())
        own = [arm for arm in arms if not arm.shares]
        yield _turns(config, own, subject, suite.name, access, "", ("archives", *subject.place), rounds=1, once=True)


def access_turns(
    config: RunConfig,
    arms: Sequence[Arm],
    subject: Subject,
    suite: str,
    access: Access,
    best: Mapping[str, Iterable[Arm]] = MappingProxyType({}),
) -> list[Turns]:
    """List the turns of one access, one for each cache state; `best` has the winners of races by cache state."""
    names = (suite, access.name, *subject.place)
    if isinstance(access, ReadAccess):
        found = []
        for state in states(config, access):
            won = frozenset(best.get(state, ()))
            beside = between(config, arms, subject, won)
            taking = [arm for arm in arms if arm.always or arm in won or arm in beside]
            told = {arm: arm.missing for arm in taking if arm.missing}
            place = (*names, state, access.executor, access.workers)
            found.append(_turns(config, taking, subject, suite, access, state, place, told=told, best=won))
        return found
    taking = [arm for arm in arms if arm.always]
    if isinstance(access, WriteAccess):
        told = {arm: _SAME_ARCHIVE for arm in taking if arm.rereads}
        return [_turns(config, taking, subject, suite, access, "", names, told=told)]
    if isinstance(access, SizeAccess):  # includes candidates of races: the smallest archive is the format's best
        taking = [arm for arm in arms if arm.always or not arm.shares]
        told = {arm: _NO_CONTROL if arm.contender.is_control else _SAME_ARCHIVE for arm in taking if arm.shares}
    else:
        told = dict.fromkeys(taking, access.reason)
    return [_turns(config, taking, subject, suite, access, "", (), rounds=1, told=told)]


def between(config: RunConfig, arms: Iterable[Arm], subject: Subject, won: Iterable[Arm]) -> frozenset[Arm]:
    """Return the contenders between winners and the stock readers of their formats.

    If a winner differs from the stock reader in both reader and settings, the contender between has the winner's reader
    and the stock settings. It separates the effects of reader and settings. Only the largest length of a trace has such
    contenders, because the breakdown of differences is made there.
    """
    if subject.requested is not None and subject.requested != max(config.sizes):
        return frozenset()
    known = {(arm.label, arm.group, arm.profile, arm.reader): arm for arm in arms if not arm.contender.is_control}
    found = (known.get((arm.label, arm.group, arm.group, arm.reader)) for arm in won)
    return frozenset(arm for arm in found if arm is not None and arm.entered == "between")


def race_turns(config: RunConfig, arms: Sequence[Arm], subject: Subject) -> list[Turns]:
    """List the races of a subject: the candidates for each format's best, in separate rounds.

    There is one race for each access, executor and cache state, with the largest number of workers, because grades are
    based on that. Earlier runs raced only the first executor and number of workers of an access, or only one state.
    """
    racing = [arm for arm in arms if arm.raced]
    told = {arm: arm.missing for arm in racing if arm.missing}
    largest: dict[tuple[str, str, str], ReadAccess] = {}
    for suite, access in subject.plans:
        if racing and isinstance(access, ReadAccess):
            key = (suite, access.name, access.executor if config.race_each_executor else "")
            known = largest.setdefault(key, access)
            if config.race_each_executor and access.workers > known.workers:
                largest[key] = access
    found = []
    for (suite, name, executor), access in largest.items():
        for number, state in enumerate(states(config, access)[: None if config.race_each_state else 1]):
            names = (suite, name, *subject.place, RACE, *([state] if number else []), *([executor] if executor else []))
            found.append(
                _turns(config, racing, subject, suite, access, state, names, rounds=RACE_ROUNDS, told=told, what=RACE)
            )
    return found


def races_of(config: RunConfig, races: Iterable[Turns], suite: str, access: Access) -> list[Turns]:
    """Return the races that select the best for an access, one for each cache state."""
    if not isinstance(access, ReadAccess):
        return []
    mine = [race for race in races if (race.suite, race.access.name) == (suite, access.name)]
    if not config.race_each_executor:
        return mine
    return [race for race in mine if isinstance(race.access, ReadAccess) and race.access.executor == access.executor]


def best_of(
    config: RunConfig, races: Iterable[Turns], suite: str, access: Access, times: RaceTimes
) -> dict[str, list[Arm]]:
    """Return the winners of the races of an access by cache state; a single race of an earlier run counts for all."""
    found = {race.state: winners(race, times) for race in races_of(config, races, suite, access)}
    return {state: found.get(state, next(iter(found.values()))) for state in states(config, access) if found}


def sample_turns(
    config: RunConfig, arms: Sequence[Arm], subject: Subject, times: RaceTimes | None = None
) -> Iterator[Turns]:
    """Yield the turns of ``samples.csv`` for one subject; `times` are the times of completed races."""
    races = race_turns(config, arms, subject)
    yield from archive_turns(config, arms, subject)
    for suite, access in subject.plans:
        best = best_of(config, races, suite, access, times or {})
        yield from access_turns(config, arms, subject, suite, access, best)


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
    """Return the turns of a measurement's rows of an access, in separate rounds whose order is drawn for `what`."""
    names = (suite, access.name, *subject.place, what)
    return _turns(config, arms, subject, suite, access, state, names, rounds=rounds, what=what)


def _turns(
    config: RunConfig,
    arms: Sequence[Arm],
    subject: Subject,
    suite: str,
    access: Access,
    state: str,
    names: tuple[object, ...],
    *,
    rounds: int | None = None,
    told: Mapping[Arm, str] | None = None,
    once: bool = False,
    what: str = "",
    best: frozenset[Arm] = frozenset(),
) -> Turns:
    return Turns(
        suite=suite,
        access=access,
        state=state,
        cells={arm: tuple(cell_keys(subject, suite, access, [arm], state)) for arm in arms},
        rounds=config.rounds if rounds is None else rounds,
        drawn=(config.seed, *names) if names else (),
        subject=subject.place,
        told=told or {},
        once=once,
        what=what,
        best=best,
        leave=bool(config.readers),
    )


def require_few_rows(config: RunConfig, arms: int, subjects: Iterable[Subject]) -> None:
    """Check that a run has at most `MOST_ROWS` rows, counted before any turns are made.

    Raises
    ------
    HarnessError
        When there are more, as an untrusted configuration might request.
    """
    total = 0
    for subject in subjects:
        for _, access in subject.plans:
            rounds = 1 if isinstance(access, Absent | SizeAccess) else config.rounds
            total += arms * rounds * len(cell_names(access)) * len(states(config, access))
            if config.readers and isinstance(access, ReadAccess):
                total += arms * RACE_ROUNDS * len(states(config, access))
    if total > MOST_ROWS:
        raise HarnessError(
            f"A run has at most {MOST_ROWS} rows, and this one asks for {total}: ask for fewer rounds, formats, "
            "traces, sizes or suites."
        )
