"""The samples of one trace after the other: written, read, explained, and recorded as they come."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from harness.formats.archive import remove
from harness.records import CONTROL, CellKey, NoFigure
from harness.run import schedule
from harness.run.archives import ArchiveRecord
from harness.run.config import RunConfig
from harness.run.ledger import LedgerFile
from harness.run.measurement import Measuring
from harness.run.preparation import Prepared, prepare
from harness.run.recorder import Recorder, cell_key, cell_keys, cell_names
from harness.run.store import Uploads
from harness.run.subject import NO_TWIN, SAME_ARCHIVE, Arm, Subject
from harness.run.turns import archive_recording
from harness.sampling.reading import Observed, ReadTask, kept_data
from harness.sampling.sample import Reading
from harness.sampling.together import PERCENTILES
from harness.sampling.verify import asked_bytes
from harness.sampling.worker import Worker, WorkerError
from harness.sampling.writing import WriteTask, Written
from harness.workload import Absent, Access, ReadAccess, SizeAccess, WriteAccess


class Progress(Protocol):
    """Told how far a run is."""

    def total(self, steps: int) -> None:
        """Say how many steps there will be."""

    def step(self, text: str, steps: int = 1) -> None:
        """Say that steps are done, and what comes next."""


class Experiment:
    """Takes the samples of one run, one subject after the other.

    Parameters
    ----------
    config : RunConfig
        What to do.
    arms : list of Arm
        From `choose_arms`.
    scratch : Path
        An empty folder for archives.
    writer, reader : Worker
        The processes that measure writes and reads.
    recorder : Recorder
        Where samples go.
    measuring : sequence of Measuring
        What extensions measure besides.
    records : tuple of ArchiveRecord and LedgerFile
        Where digests of archives go, and what their readers say of them.
    progress : Progress
        Told about every step.
    uploads : Uploads or None
        The archives in the store that they are read from.
    """

    def __init__(
        self,
        config: RunConfig,
        arms: list[Arm],
        scratch: Path,
        writer: Worker,
        reader: Worker,
        recorder: Recorder,
        measuring: Sequence[Measuring],
        records: tuple[ArchiveRecord, LedgerFile],
        progress: Progress,
        uploads: Uploads | None = None,
    ) -> None:
        self._uploads = uploads
        self._config, self._arms, self._scratch = config, arms, scratch
        self._writer, self._reader, self._recorder, self._progress = writer, reader, recorder, progress
        self._measuring, self._records = measuring, records

    def steps(self, subject: Subject) -> int:
        """Return the number of steps that `measure` will report."""
        recorder = self._recorder
        cells = sum(recorder.rounds(access) * len(recorder.states(access)) for _, access in subject.plans)
        return len(self._arms) * (1 + cells) + sum(each.steps(subject) for each in self._measuring)

    def measure(self, subject: Subject) -> None:
        """Write the subject's archives and take every sample that is not recorded yet."""
        if all(self._recorder.complete(subject, suite, access) for suite, access in subject.plans) and all(
            each.complete(subject) for each in self._measuring
        ):
            self._progress.step(f"{subject.label} is complete", self.steps(subject))
            return
        self._progress.step(f"{subject.label} {subject.n_res or ''}: writing archives", 0)
        prepared = prepare(subject, self._arms, self._scratch, self._writer, self._config.seed)
        for record in self._records:
            record.add(subject, prepared)
        if self._uploads:
            self._progress.step(f"{subject.label}: uploading archives", 0)
            self._uploads.add(prepared, self._arms)
        self._progress.step("archives are written", len(self._arms))
        if recording := archive_recording(self._config):
            self._record_archives(subject, prepared, *recording)
        for suite, access in subject.plans:
            if isinstance(access, Absent):
                for arm in self._arms:
                    self._recorder.note(subject, suite, access, arm, "", NoFigure("skipped", access.reason))
                    self._progress.step("skipped")
            elif isinstance(access, SizeAccess):
                self._sizes(subject, prepared, suite, access)
            elif isinstance(access, WriteAccess):
                self._writes(subject, prepared, suite, access)
            else:
                self._reads(subject, prepared, suite, access)
            for each in self._measuring:
                each.after(subject, prepared, suite, access)
        if self._uploads:
            self._uploads.remove()
        remove(self._scratch)
        self._scratch.mkdir()

    def _record_archives(self, subject: Subject, prepared: Prepared, suite: str, access: WriteAccess) -> None:
        """Record the writing of the archives that are read from: one sample each, which gives no verdict."""
        self._recorder.begin(cell_keys(subject, suite, access, prepared.writes, ""), 1)
        for arm, (position, written) in prepared.writes.items():
            self._add_written(subject, suite, access, arm, 0, position, written)
        for arm, why in prepared.failures.items():
            if not arm.shares:
                self._recorder.note(subject, suite, access, arm, "", why)

    def _usable(self, subject: Subject, prepared: Prepared, suite: str, access: Access) -> list[Arm]:
        """List the arms that have an archive; record why the others have none."""
        for arm, why in prepared.failures.items():
            for state in self._recorder.states(access):
                self._recorder.note(subject, suite, access, arm, state, why)
                self._progress.step("skipped", self._recorder.rounds(access))
        return [arm for arm in self._arms if arm not in prepared.failures]

    def _sizes(self, subject: Subject, prepared: Prepared, suite: str, access: SizeAccess) -> None:
        usable = self._usable(subject, prepared, suite, access)
        own = [arm for arm in usable if not arm.shares]
        self._recorder.begin(cell_keys(subject, suite, access, own, ""), 1)
        for position, arm in enumerate(usable):
            self._progress.step(f"{suite} {access.name} {arm.label}")
            key = cell_key(subject, suite, access, arm, "")
            if arm.shares:
                why = NO_TWIN if arm.label == CONTROL else SAME_ARCHIVE
                self._recorder.note(subject, suite, access, arm, "", NoFigure("skipped", why))
            elif self._recorder.has(key, 0):
                continue
            elif access.tensors is None:
                self._recorder.add(key, 0, position, **_sizes_of(prepared.writes[arm][1]))
            else:
                written = self._write_sample(prepared.write_task(arm, access.tensors, self._scratch))
                values = _no_sample(written) if isinstance(written, NoFigure) else _sizes_of(written)
                self._recorder.add(key, 0, position, **values)

    def _writes(self, subject: Subject, prepared: Prepared, suite: str, access: WriteAccess) -> None:
        usable = self._usable(subject, prepared, suite, access)
        arms = [arm for arm in usable if not arm.rereads]
        for arm in usable:
            if arm not in arms:
                self._recorder.note(subject, suite, access, arm, "", NoFigure("skipped", SAME_ARCHIVE))
        self._recorder.begin(cell_keys(subject, suite, access, arms, ""), self._config.rounds)
        rng = schedule.generator(self._config.seed, suite, access.name, subject.label, subject.n_res)
        for number, position, arm in schedule.blocks(arms, self._config.rounds, rng):
            self._progress.step(f"{suite} {access.name} {arm.label}")
            keys = cell_keys(subject, suite, access, [arm], "")
            if all(self._recorder.has(key, number) for key in keys):
                continue
            tensors = access.tensors[number % len(access.tensors)]
            written = self._write_sample(prepared.write_task(arm, tensors, self._scratch, access.task))
            if isinstance(written, NoFigure):
                for key in keys:
                    self._recorder.add(key, number, position, **_no_sample(written))
            else:
                self._add_written(subject, suite, access, arm, number, position, written)

    def _write_sample(self, task: WriteTask) -> Written | NoFigure:
        """Write once; a failure makes the cell failed."""
        try:
            written: Written = self._writer.do(task)
        except WorkerError as error:
            remove(task.destination)
            return NoFigure.of(error)
        return NoFigure("failed", written.problem) if written.problem else written

    def _add_written(
        self,
        subject: Subject,
        suite: str,
        access: WriteAccess,
        arm: Arm,
        number: int,
        position: int,
        written: Written,
    ) -> None:
        """Record a write twice: until the caller could go on, and until the bytes were on disk."""
        seconds_of = (written.seconds, written.seconds + written.sync_seconds)
        for name, seconds in zip(cell_names(access), seconds_of, strict=True):
            key = cell_key(subject, suite, access, arm, "", name)
            values = {"seconds": seconds, "peak_rss_bytes": written.peak_rss_bytes, **_sizes_of(written)}
            self._recorder.add(key, number, position, **values)

    def _reads(self, subject: Subject, prepared: Prepared, suite: str, access: ReadAccess) -> None:
        arms = self._usable(subject, prepared, suite, access)
        tasks = {
            arm: dataclasses.replace(
                prepared.read_task(arm, access),
                stored=self._uploads.stored(arm) if self._uploads else None,
                settings=self._config.settings,
            )
            for arm in arms
        }
        first: dict[Arm, Observed] = {}
        for state in self._recorder.states(access):
            names = (suite, access.name, subject.label, subject.n_res, state, access.executor, access.workers)
            rng = schedule.generator(self._config.seed, *names)
            self._recorder.begin(cell_keys(subject, suite, access, arms, state), self._config.rounds)
            for number, position, arm in schedule.blocks(arms, self._config.rounds, rng):
                self._progress.step(f"{suite} {access.name} {state} {arm.label}")
                key = cell_key(subject, suite, access, arm, state)
                if not self._recorder.has(key, number):
                    kept = self._read_sample(key, number, position, tasks[arm], arm, first)
                    if kept:  # what it keeps would serve every later access too
                        prepared.failures[arm] = NoFigure("failed", kept)

    def _read_sample(
        self, key: CellKey, number: int, position: int, task: ReadTask, arm: Arm, first: dict[Arm, Observed]
    ) -> str:
        """Take one sample, before the first of an arm a discarded one; return why the arm is out, if it is."""
        try:
            if arm not in first:
                first[arm] = self._reader.do(task)
            observed: Observed = self._reader.do(dataclasses.replace(task, cache=key.cache))
        except WorkerError as error:
            self._recorder.add(key, number, position, **_no_sample(NoFigure.of(error)))
            return ""
        values: dict[str, Any] = {"resident_fraction": observed.resident_fraction}
        reading = observed.reading
        if reading is None:
            values |= {"status": "rejected", "reason": observed.rejected}
            self._recorder.add(key, number, position, **values)
            return ""
        kept = kept_data(first[arm], observed, task.access)
        problem = reading.problem or kept
        if problem:
            values |= {"status": "failed", "reason": problem}
        else:  # a sample that failed has no time
            values |= {"seconds": reading.seconds, "open_seconds": reading.open_seconds, **_together_of(reading)}
        self._recorder.add(
            key,
            number,
            position,
            bytes_requested=asked_bytes(task.access.reads, task.expected),
            bytes_returned=reading.bytes_returned,
            bytes_read=reading.bytes_read,
            files_opened=first[arm].files_opened,
            requests=reading.requests,
            retries=reading.retries,
            peak_rss_bytes=reading.peak_rss_bytes,
            verified=not problem,
            **values,
        )
        return kept


def _sizes_of(written: Written) -> dict[str, Any]:
    return {
        "bytes_requested": written.memory_bytes,
        "verified": True,
        "size_bytes": written.size_bytes,
        "files": written.files,
        "native_bytes": written.native_bytes,
    }


def _no_sample(why: NoFigure) -> dict[str, Any]:
    return {**dataclasses.asdict(why), "verified": False}


def _together_of(reading: Reading) -> dict[str, Any]:
    """Return what only a sample by several workers has: latencies, processor time, and each worker's time."""
    names = [f"latency_p{percentile}_seconds" for percentile in PERCENTILES]
    latencies = {} if reading.latencies is None else dict(zip(names, reading.latencies, strict=True))
    workers = " ".join(f"{seconds:.9f}" for seconds in reading.worker_seconds)
    return {**latencies, "cpu_seconds": reading.cpu_seconds, "worker_seconds": workers}
