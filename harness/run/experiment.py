"""Execution of a planned run: open its files and processes, and take the samples of each trace in turn."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.formats.archive import remove
from harness.records import EVICTED, NoFigure, Sample
from harness.row_files import SampleFile, done
from harness.run.archives import ArchiveRecord
from harness.run.disk_space import Space
from harness.run.ledger import LedgerFile, ledger
from harness.run.machine import Environment
from harness.run.measurement import Measuring, RunSession
from harness.run.plan import save_plan
from harness.run.planned_run import PlannedRun, Prepare
from harness.run.preparation import Prepared, prepare, probe, write
from harness.run.progress import Progress, weight
from harness.run.races import Races
from harness.run.recorder import Recorder
from harness.run.sample_values import counts_of, sizes_of, times_of
from harness.run.store import Uploads
from harness.run.subject import Arm, Subject
from harness.run.turns import (
    RACE,
    Turns,
    access_turns,
    archive_turns,
    best_of,
    race_turns,
    races_of,
    sample_turns,
)
from harness.sampling.cache import require_evictable
from harness.sampling.contenders import ContenderProcesses
from harness.sampling.executor import load_executor
from harness.sampling.interrupt import deferred
from harness.sampling.reader_probe import RehearseTask
from harness.sampling.reading import Observed, ReadTask, kept_data
from harness.sampling.verify import asked_bytes
from harness.sampling.worker import Worker, WorkerError
from harness.workload import Access, ReadAccess, SizeAccess, WriteAccess

SCRATCH = ".archives"
"""Name of the subfolder of a run's folder that holds its archives while it is measured."""


def run(planned: PlannedRun, folder: Path, progress: Progress, disk: Space | None = None) -> None:
    """Take all samples of a planned run, and save its plan in the same folder.

    Rows are written as soon as they are taken. A second call on the same folder takes only the missing ones.

    Parameters
    ----------
    planned : PlannedRun
        The run.
    folder : Path
        The run's folder; must exist and be writable.
    progress : Progress
        Notified of every step.
    disk : Space, optional
        From `PlannedRun.require_space`, if already computed.

    Raises
    ------
    UsageError
        When cold reads are impossible in the folder, or the disk cannot hold the archives.
    KeyboardInterrupt
        After Ctrl-C, once temporary files are removed and all rows are on disk.
    """
    config, arms, subjects, measuring = planned.config, planned.arms, planned.subjects, planned.measuring
    if EVICTED.intersection(config.caches) and subjects and config.store is None:
        require_evictable(folder)
    scratch = folder / SCRATCH
    remove(scratch)  # left behind by a killed run
    disk = disk or planned.require_space(folder)
    save_plan(subjects, folder / "plan.json", arms)
    with deferred(), ExitStack() as stack:
        stack.callback(remove, scratch)
        scratch.mkdir()
        stack.enter_context(closing(Environment(folder, config.run_id, disk.to_document())))
        file = stack.enter_context(closing(SampleFile(folder / Sample.file)))
        # Verifying a write reads the complete archive. Reads are sampled in other processes, so that no format can
        # serve them from data it kept in memory.
        patience = config.patience(max((subject.manifest.nbytes for subject in subjects), default=0))
        writer = stack.enter_context(Worker(patience, threads=config.threads))
        readers, writers = (stack.enter_context(ContenderProcesses(patience, config.threads)) for _ in range(2))
        session = RunSession(
            config=config,
            arms=arms,
            folder=folder,
            scratch=scratch,
            recorder=Recorder(config.run_id, Sample, file, done(folder / Sample.file)),
            writer=writer,
            patience=patience,
            stack=stack,
            step=progress.step,
        )
        for each in measuring:
            each.begin(session)
        asked = ledger([(subject.label, subject.manifest) for subject in subjects], arms, config)
        records = ArchiveRecord(folder / "archives.json"), LedgerFile(folder / "ledger.csv", asked)
        store = config.store if subjects else None
        uploads = stack.enter_context(store.uploads(config.run_id, writer, folder)) if store else None
        races = Races.open(config.run_id, folder, stack) if any(arm.raced for arm in arms) else None
        experiment = Experiment(session, readers, writers, measuring, records, uploads, races, planned.prepare)
        progress.total(sum(map(experiment.steps, subjects)) + sum(each.steps(None) for each in measuring))
        for each in measuring:
            each.before()
        for subject in subjects:
            experiment.measure(subject)


@dataclass
class Experiment:
    """Takes the samples of one run, one subject after the other."""

    session: RunSession  # Resources of the run.
    # The processes that measure reads, and those that measure writes, one for each contender.
    readers: ContenderProcesses
    writers: ContenderProcesses
    measuring: Sequence[Measuring]  # Additional measurements of extensions.
    records: tuple[ArchiveRecord, LedgerFile]  # Files for digests of archives, and for what their readers report.
    uploads: Uploads | None  # Uploaded archives, if archives are read from a store.
    races: Races | None = None  # Races that select each format's best, in a run that requests them.
    prepare: Prepare = prepare  # As in `harness.run.planned_run.PlannedRun`.

    def __post_init__(self) -> None:
        # The discarded read of the current access, by arm and `Turns.what`. Races have separate processes: one that
        # rests after its race stays slower, and would be compared with processes that started later.
        self._first: dict[tuple[Arm, str], tuple[ReadTask, Observed]] = {}

    def steps(self, subject: Subject) -> int:
        """Return the number of steps that `measure` will report."""
        config, arms = self.session.config, self.session.arms
        turns = [(each, weight(subject.manifest, each.access)) for each in sample_turns(config, arms, subject)]
        rounds = sum(len(each.cells) * each.rounds * weighs for each, weighs in turns if not each.once)
        # Before a race it is unknown whether the stock reader wins: at most one winner and one contender between it
        # and the stock reader are measured in addition.
        races = race_turns(config, arms, subject)
        raced = {(race.suite, race.access.name) for race in races}
        rounds += sum(self._most_best() * t.rounds * w for t, w in turns if (t.suite, t.access.name) in raced)
        rounds += sum(len(race.cells) * race.rounds * weight(subject.manifest, race.access) for race in races)
        return len(arms) * weight(subject.manifest) + rounds + sum(each.steps(subject) for each in self.measuring)

    def _most_best(self) -> int:
        """Return the maximum number of winners of one race, and contenders between, that are not measured anyway."""
        return len({(arm.label, arm.group, arm.raced) for arm in self.session.arms if arm.raced or not arm.always})

    def measure(self, subject: Subject) -> None:
        """Write the subject's archives and take every sample that is not yet recorded."""
        session, step = self.session, self.session.step
        config, arms = session.config, session.arms
        raced = race_turns(config, arms, subject)
        turns = sample_turns(config, arms, subject, self.races.times if self.races else {})
        whole = [session.recorder.whole(each.block, each.rounds, session.recorder.left(each)) for each in turns]
        log = self.races.recorder if self.races else None
        whole += [log is not None and log.whole(each.block, each.rounds, log.left(each)) for each in raced]
        if all(whole) and all(each.complete(subject) for each in self.measuring):
            step(f"{subject.label} is complete", self.steps(subject))
            return
        step(f"{subject.label} {subject.n_res or ''}: writing archives", 0)
        prepared = self.prepare(subject, arms, session.scratch, session.writer, config.seed)
        prepared.cache_bytes = config.cache_bytes
        probe(prepared, self.readers, RACE)
        for record in self.records:
            record.add(subject, prepared)
        if self.uploads:
            step(f"{subject.label}: uploading archives", 0)
            self.uploads.add(prepared, arms)
        step("archives are written", len(arms) * weight(subject.manifest))
        for each in archive_turns(config, arms, subject):
            self._take(prepared, each, session.recorder)
        waiting = list(raced)
        running: set[Arm] = set()  # winners of the last access; if they win again, they go on, as stock readers do
        for suite, access in subject.plans:
            self._first.clear()
            self._race(prepared, waiting, suite, access)
            best = best_of(config, raced, suite, access, self.races.times) if self.races else {}
            found = access_turns(config, arms, subject, suite, access, best)
            before, running = running, {arm for each in found for arm in each.cells if best and not arm.always}
            self.readers.end((arm, "") for arm in before - running)
            for each in found:
                saved = self._most_best() - sum(not arm.always for arm in each.cells) if best else 0
                step(f"{suite} {access.name}", saved * each.rounds * weight(subject.manifest, access))
                self._take(prepared, each, session.recorder)
            for measuring in self.measuring:
                measuring.after(subject, prepared, suite, access)
        self.readers.close()  # so that all compared processes are equally old: one that rested for long reads slower
        if self.uploads:
            self.uploads.remove()
        remove(session.scratch)
        session.scratch.mkdir()

    def _race(self, prepared: Prepared, waiting: list[Turns], suite: str, access: Access) -> None:
        """Run the races that select the best for an access, unless they already ran for an earlier access."""
        for race in races_of(self.session.config, list(waiting), suite, access):
            waiting.remove(race)
            if self.races:
                self._take(prepared, race, self.races.recorder)

    def _take(self, prepared: Prepared, turns: Turns, recorder: Recorder) -> None:
        def sample(arm: Arm, number: int) -> list[dict[str, Any]]:
            try:
                if isinstance(turns.access, ReadAccess):
                    values = self._read(prepared, turns, arm)
                    if turns.what and self.races:
                        self.races.note(turns.cells[arm][0], number, values)
                    return [values]
                return self._written(prepared, turns, arm, number)
            except WorkerError as error:
                return [{**asdict(NoFigure.of(error)), "verified": False}] * len(turns.cells[arm])

        def step(text: str, steps: int) -> None:
            self.session.step(text, 0 if turns.once else steps * weight(prepared.manifest, turns.access))

        recorder.take(turns, prepared.without(turns.access), sample, step, lambda arms: self._start(turns, arms))
        self.writers.end(turns.cells)

    def _start(self, turns: Turns, arms: Sequence[Arm]) -> None:
        """Start the processes of arms that have samples to take."""
        kept = self.session.config.cache_bytes
        tasks = {arm: RehearseTask(backend=arm.backend, profile=arm.settings) for arm in arms}
        if isinstance(turns.access, WriteAccess) and not turns.once:
            self.writers.begin(tasks)
        elif isinstance(turns.access, ReadAccess) and load_executor(turns.access.executor).pausable:
            reading = {arm: replace(task, reader=arm.reader, cache_bytes=kept) for arm, task in tasks.items()}
            self.readers.begin({(arm, turns.what): task for arm, task in reading.items()})

    def _written(self, prepared: Prepared, turns: Turns, arm: Arm, number: int) -> list[dict[str, Any]]:
        """Return the values of a size or write sample, of an existing or a new archive; a write has two cells."""
        access, scratch = turns.access, self.session.scratch
        if turns.once or (isinstance(access, SizeAccess) and access.tensors is None):
            found = prepared.writes[arm]
        elif isinstance(access, WriteAccess):
            tensors = access.tensors[number % len(access.tensors)]
            found = write(prepared.write_task(arm, tensors, scratch, access.task), lambda t: self.writers.do(arm, t))
        else:
            assert isinstance(access, SizeAccess) and access.tensors is not None
            found = write(prepared.write_task(arm, access.tensors, scratch), self.session.writer.do)
        sizes = sizes_of(found)
        if isinstance(access, SizeAccess):
            return [sizes]
        # Time until the writer returned, and time until the bytes were on disk.
        times = (found.seconds, found.seconds + found.sync_seconds)
        return [{"seconds": seconds, "peak_rss_bytes": found.peak_rss_bytes, **sizes} for seconds in times]

    def _read(self, prepared: Prepared, turns: Turns, arm: Arm) -> dict[str, Any]:
        """Take one sample of a read; before the first of an arm and access, take a discarded one."""
        access, key = turns.access, (arm, turns.what)
        assert isinstance(access, ReadAccess)
        if key not in self._first:
            task = ReadTask(
                **prepared.about(arm, access),
                stored=self.uploads.stored(arm) if self.uploads else None,
                settings=self.session.config.settings,
            )
            self._first[key] = task, self.readers.do(key, task)
        task, first = self._first[key]
        observed: Observed = self.readers.do(key, replace(task, cache=turns.state))
        reading = observed.reading
        values: dict[str, Any] = {"resident_fraction": observed.resident_fraction}
        if reading is None:
            return {**values, "status": "rejected", "reason": observed.rejected}
        kept = kept_data(first, observed, access)
        if kept:  # kept data would serve every later access too
            prepared.failures[arm] = NoFigure("failed", kept)
        problem = reading.problem or kept
        values |= {"bytes_requested": asked_bytes(access.reads, task.expected), "verified": not problem}
        values |= {"files_opened": first.files_opened, **counts_of(reading)}
        # A sample that failed has no time.
        return values | ({"status": "failed", "reason": problem} if problem else times_of(reading))
