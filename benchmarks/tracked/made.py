"""Preparation, once for all benchmarks: an archive of the trace in every format, and figures without repetition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness import registry
from harness.run.preparation import Prepared, prepare
from harness.run.subject import Arm
from harness.sampling.reading import Observed, ReadTask, kept_data
from harness.sampling.worker import Worker, WorkerError
from harness.sampling.writing import Written
from harness.workload import Access, ReadAccess, SizeAccess

from . import definition

LIMIT = 300.0
"""Seconds after which a task counts as hung."""

Figures = dict[str, int | None]


@dataclass(frozen=True)
class Made:
    """Result of asv's ``setup_cache``, for the processes that measure."""

    prepared: Prepared  # The archives.
    # By format: why it cannot be measured here, as a library is missing or the profile is not for it.
    unusable: dict[str, str]
    broken: dict[str, str]  # By format: what failed.
    # By suite, case and format: sizes, and the counts of a verified read.
    figures: dict[tuple[str, str, str], Figures] = field(default_factory=dict)
    problems: dict[tuple[str, str, str], str] = field(default_factory=dict)  # By the same: what failed instead.


def make(folder: Path) -> Made:
    """Write the archives into an empty folder, and measure every figure that needs no repetition.

    Parameters
    ----------
    folder : Path
        The folder, which must exist as long as anything is measured.

    Returns
    -------
    Made
        A format that fails is among the broken ones; the others are still measured.
    """
    unusable = {listed.name: listed.missing for listed in registry.listing("formats") if listed.missing}
    arms = [arm for name, arm in definition.arms().items() if name not in unusable]
    with Worker(LIMIT) as worker:
        prepared = prepare(definition.subject(), arms, folder, worker, definition.config().seed)
        failures = {arm.label: failure for arm, failure in prepared.failures.items()}
        unusable |= {name: why.reason for name, why in failures.items() if why.status == "skipped"}
        broken = {name: why.reason for name, why in failures.items() if why.status == "failed"}
        made = Made(prepared, unusable, broken)
        for suite, access in definition.subject().plans:
            for arm in prepared.archives:
                key = (suite, definition.case(access), arm.label)
                try:
                    made.figures[key] = dict(_figures(worker, prepared, arm, access, folder))
                except WorkerError as error:
                    made.problems[key] = str(error)
    return made


def _figures(
    worker: Worker, prepared: Prepared, arm: Arm, access: Access, folder: Path
) -> Iterator[tuple[str, int | None]]:
    if isinstance(access, SizeAccess):
        written = prepared.writes[arm]
        if access.tensors is not None:
            written = worker.do(prepared.write_task(arm, access.tensors, folder))
        yield from sizes(written).items()
    elif isinstance(access, ReadAccess):
        task = ReadTask(**prepared.about(arm, access))
        first = worker.do(task)
        observed = worker.do(replace(task, cache="warm"))
        yield from counts(first, observed, access).items()


def sizes(written: Written) -> Figures:
    """Return bytes and files of an archive that was written and verified.

    Raises
    ------
    WorkerError
        If it does not hold what was written.
    """
    if written.problem:
        raise WorkerError(written.problem)
    return {"bytes": written.size_bytes, "files": written.files}


def counts(first: Observed, observed: Observed, access: ReadAccess) -> Figures:
    """Return the bytes read, the read calls and the opened files of one sample.

    Parameters
    ----------
    first : Observed
        Observation of the discarded read before it, which counts opened files.
    observed : Observed
        Observation of the sample.
    access : ReadAccess
        The access.

    Raises
    ------
    WorkerError
        If the cache was not warm, a result was wrong, or the format kept data instead of reading it.
    """
    reading = observed.reading
    if reading is None:
        raise WorkerError(observed.rejected)
    if problem := reading.problem or kept_data(first, observed, access):
        raise WorkerError(problem)
    return {"bytes_read": reading.bytes_read, "requests": reading.requests, "files_opened": first.files_opened}
