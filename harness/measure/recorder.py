"""Which cells a run has, which of them are complete, and the writing of their rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic

from harness.measure.config import REMOTE, RunConfig
from harness.measure.machine import load_average
from harness.measure.subject import Arm, Subject
from harness.records import AnyRow, CellKey, RowFile, Sample, SampleFile, Status
from harness.workload import Access, ReadAccess, StreamAccess, WriteAccess


def cell_names(access: Access) -> tuple[str, ...]:
    """Name the cells of an access: a write has one until the caller may go on, one until the bytes were on disk."""
    written = isinstance(access, WriteAccess | StreamAccess)
    return (access.name, f"{access.name}_durable") if written else (access.name,)


def cell_key(subject: Subject, suite: str, access: Access, arm: Arm, cache: str, name: str = "") -> CellKey:
    """Return the key of one cell of an access; `name` where `cell_names` gives more than one."""
    executor, workers = (access.executor, access.workers) if isinstance(access, ReadAccess) else ("main", 1)
    return CellKey(
        suite, name or access.name, subject.label, subject.n_res, arm.label, arm.profile, cache, executor, workers
    )


def states(config: RunConfig, access: Access) -> list[str]:
    """List the cache states in which a run measures an access; one empty name where the cache plays no part."""
    if not isinstance(access, ReadAccess):
        return [""]
    return [REMOTE] if config.store else [c for c in config.caches if c in access.caches]


class RowLog(Generic[AnyRow]):
    """Writes the rows of cells, each once, and knows what a run that was interrupted has written before.

    Parameters
    ----------
    run_id : str
        Of the run.
    row : callable
        Makes a row, as its class does.
    file : RowFile
        Where rows go.
    recorded : dict
        What the file already holds, from `harness.records.done`.
    """

    def __init__(
        self,
        run_id: str,
        row: Callable[..., AnyRow],
        file: RowFile[AnyRow],
        recorded: dict[CellKey, dict[int, Status]],
    ) -> None:
        self._run_id, self._row, self._file, self._recorded = run_id, row, file, recorded

    def finished(self, key: CellKey, rounds: int) -> bool:
        """Say whether a cell has all its rows, or a reason to have none."""
        seen = self._recorded.get(key, {})
        return len(seen) >= rounds or any(status in ("failed", "skipped") for status in seen.values())

    def has(self, key: CellKey, number: int) -> bool:
        """Say whether a cell needs no row in a round: it has one, or it failed before."""
        return number in self._recorded.get(key, {}) or self.failed(key)

    def failed(self, key: CellKey) -> bool:
        """Say whether a row of a cell has failed."""
        return "failed" in self._recorded.get(key, {}).values()

    def add(self, key: CellKey, number: int, position: int, **values: Any) -> None:
        """Record a row, unless it is recorded."""
        rounds = self._recorded.setdefault(key, {})
        if number not in rounds:
            self._file.add(self._row(run_id=self._run_id, **key._asdict(), round=number, position=position, **values))
            rounds[number] = values.get("status", "ok")

    def explain(self, key: CellKey, rounds: int, **values: Any) -> None:
        """Record in a row of its own why a cell has no figure, unless it is finished."""
        if not self.finished(key, rounds):
            self.add(key, max(self._recorded.get(key, {}), default=-1) + 1, 0, **values)


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
        What the file already holds, from `harness.records.done`.
    """

    def __init__(
        self, config: RunConfig, arms: list[Arm], file: SampleFile, recorded: dict[CellKey, dict[int, Status]]
    ) -> None:
        super().__init__(config.run_id, Sample, file, recorded)
        self._config, self._arms = config, arms

    def rounds(self, access: Access) -> int:
        """Return the number of samples that a cell of this access has."""
        return self._config.rounds if isinstance(access, ReadAccess | WriteAccess | StreamAccess) else 1

    def states(self, access: Access) -> list[str]:
        """List the cache states in which an access is measured; one empty name where the cache plays no part."""
        return states(self._config, access)

    def complete(self, subject: Subject, suite: str, access: Access) -> bool:
        """Say whether every cell of an access is finished."""
        return all(
            self.finished(cell_key(subject, suite, access, arm, state, name), self.rounds(access))
            for arm in self._arms
            for state in self.states(access)
            for name in cell_names(access)
        )

    def add(self, key: CellKey, number: int, position: int, **values: Any) -> None:
        """Record a sample with the present load, unless it is recorded."""
        super().add(key, number, position, load_average=load_average(), **values)

    def note(
        self, subject: Subject, suite: str, access: Access, arm: Arm, cache: str, status: Status, reason: str
    ) -> None:
        """Record that the cells of an access have no figure, and why, unless they are finished."""
        verified = False if status == "failed" else None
        for name in cell_names(access):
            key = cell_key(subject, suite, access, arm, cache, name)
            self.explain(key, self.rounds(access), status=status, reason=reason, verified=verified)
