"""Which cells a run has, which of them are complete, and the writing of their rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable
from typing import Any, Generic

from harness.records import REMOTE, AnyRow, CellKey, Mark, NoFigure, Sample
from harness.row_files import RowFile, SampleFile
from harness.run.config import RunConfig
from harness.run.machine import load_average
from harness.run.subject import Arm, Subject
from harness.workload import Access, ReadAccess, WriteAccess


def cell_names(access: Access) -> tuple[str, ...]:
    """Name the cells of an access: a write has one until the caller may go on, one until the bytes were on disk."""
    written = isinstance(access, WriteAccess)
    return (access.name, f"{access.name}_durable") if written else (access.name,)


def cell_key(subject: Subject, suite: str, access: Access, arm: Arm, cache: str, name: str = "") -> CellKey:
    """Return the key of one cell of an access; `name` where `cell_names` gives more than one."""
    executor, workers = (access.executor, access.workers) if isinstance(access, ReadAccess) else ("main", 1)
    return CellKey(
        suite, name or access.name, subject.label, subject.n_res, arm.label, arm.profile, cache, executor, workers
    )


def cell_keys(subject: Subject, suite: str, access: Access, arms: Iterable[Arm], cache: str) -> list[CellKey]:
    """Return the keys of all cells of an access that are measured in common blocks."""
    return [cell_key(subject, suite, access, arm, cache, name) for arm in arms for name in cell_names(access)]


def states(config: RunConfig, access: Access) -> list[str]:
    """List the cache states in which a run measures an access; one empty name where the cache plays no part."""
    if not isinstance(access, ReadAccess):
        return [""]
    return [REMOTE] if config.store else [c for c in config.caches if c in access.caches]


class RowLog(Generic[AnyRow]):
    """Writes the rows of cells, each once, and knows what a run that was interrupted has written before.

    What runs together is one block: the rows of several cells in one round. A block that was cut off, or in which the
    machine failed, is taken again for all its cells, so that what is compared was measured side by side.

    Parameters
    ----------
    run_id : str
        Of the run.
    row : callable
        Makes a row, as its class does.
    file : RowFile
        Where rows go.
    recorded : dict
        What the file already holds, from `harness.row_files.done`.
    """

    def __init__(
        self,
        run_id: str,
        row: Callable[..., AnyRow],
        file: RowFile[AnyRow],
        recorded: dict[CellKey, dict[int, Mark]],
    ) -> None:
        self._run_id, self._row, self._file, self._recorded = run_id, row, file, recorded
        self._due: dict[CellKey, dict[int, int]] = {}  # the attempt of each round that is to be taken in this session

    def whole(self, keys: Collection[CellKey], rounds: int) -> bool:
        """Say whether there is nothing left to take of cells that are measured in common blocks."""
        return all(self._whole(keys, number) for number in range(rounds))

    def _whole(self, keys: Collection[CellKey], number: int) -> bool:
        marks = [self._recorded.get(key, {}).get(number) for key in keys if not self._out(key)]
        attempts = {0 if mark is None or mark.cause else mark.attempt for mark in marks}
        return len(attempts) <= 1 and 0 not in attempts

    def _out(self, key: CellKey) -> bool:
        """Say whether a cell has no figure for good."""
        return any(mark.final for mark in self._recorded.get(key, {}).values())

    def begin(self, keys: Collection[CellKey], rounds: int) -> None:
        """Decide what this session takes of cells that are measured in common blocks: each block whole, or not at all.

        Parameters
        ----------
        keys : collection of CellKey
            The cells.
        rounds : int
            How many blocks there are.
        """
        for number in range(rounds):
            if not self._whole(keys, number):
                marks = [self._recorded.get(key, {}).get(number) for key in keys]
                attempt = 1 + max((mark.attempt for mark in marks if mark), default=0)
                for key in keys:
                    if not self._out(key):
                        self._due.setdefault(key, {})[number] = attempt

    def has(self, key: CellKey, number: int) -> bool:
        """Say whether a cell needs no row in a round, of those that `begin` was told of."""
        return number not in self._due.get(key, {})

    def failure(self, key: CellKey) -> Mark | None:
        """Return how a cell has failed, if it has."""
        return next((mark for mark in self._recorded.get(key, {}).values() if mark.status == "failed"), None)

    def add(self, key: CellKey, number: int, position: int, **values: Any) -> None:
        """Record a row, unless it is recorded; after one that failed the cell needs no more in this session."""
        attempt = self._due.get(key, {}).pop(number, None)
        if attempt is not None:
            self._write(key, number, position, attempt, values)

    def _write(self, key: CellKey, number: int, position: int, attempt: int, values: dict[str, Any]) -> None:
        about = {"run_id": self._run_id, **key._asdict(), "round": number, "position": position, "attempt": attempt}
        self._file.add(self._row(**about, **values))
        mark = Mark(values.get("status", "ok"), values.get("cause", ""), attempt)
        self._recorded.setdefault(key, {})[number] = mark
        if mark.status in ("failed", "skipped"):
            self._due.pop(key, None)

    def explain(self, key: CellKey, block: Collection[CellKey], rounds: int, why: NoFigure, **values: Any) -> None:
        """Record in a row of its own why a cell has no figure, unless its blocks are whole or it has none for good."""
        missing = [number for number in range(rounds) if not self._whole(block, number)]
        if missing and not self._out(key):
            mark = self._recorded.get(key, {}).get(missing[0])
            attempt = 1 + mark.attempt if mark else 1
            self._write(key, missing[0], 0, attempt, {**dataclasses.asdict(why), **values})


class Recorder(RowLog[Sample]):
    """Writes samples.

    Parameters
    ----------
    config : RunConfig
        Of the run.
    arms : list of Arm
        Of the run.
    file : SampleFile
        Where rows go.
    recorded : dict
        What the file already holds, from `harness.row_files.done`.
    """

    def __init__(
        self, config: RunConfig, arms: list[Arm], file: SampleFile, recorded: dict[CellKey, dict[int, Mark]]
    ) -> None:
        super().__init__(config.run_id, Sample, file, recorded)
        self._config, self._arms = config, arms

    def rounds(self, access: Access) -> int:
        """Return the number of samples that a cell of this access has."""
        return self._config.rounds if isinstance(access, ReadAccess | WriteAccess) else 1

    def states(self, access: Access) -> list[str]:
        """List the cache states in which an access is measured; one empty name where the cache plays no part."""
        return states(self._config, access)

    def complete(self, subject: Subject, suite: str, access: Access) -> bool:
        """Say whether there is nothing left to take of an access."""
        return all(
            self.whole(cell_keys(subject, suite, access, self._arms, state), self.rounds(access))
            for state in self.states(access)
        )

    def add(self, key: CellKey, number: int, position: int, **values: Any) -> None:
        """Record a sample with the present load, unless it is recorded."""
        super().add(key, number, position, load_average=load_average(), **values)

    def note(self, subject: Subject, suite: str, access: Access, arm: Arm, cache: str, why: NoFigure) -> None:
        """Record that the cells of an access have no figure, and why, unless they are finished."""
        block = cell_keys(subject, suite, access, self._arms, cache)
        verified = False if why.status == "failed" else None
        for key in cell_keys(subject, suite, access, [arm], cache):
            self.explain(key, block, self.rounds(access), why, verified=verified)
