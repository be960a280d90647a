"""Run a configuration: its folder, processes and files, and what puts them away again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from harness.extensions.breakdown.explaining import BreakdownRounds
from harness.extensions.result_directories.measuring import Directory, measure_directory
from harness.extensions.result_directories.record import DIRECTORIES, DirectoryRecord
from harness.formats.archive import remove
from harness.records import Breakdown
from harness.row_files import BreakdownFile, SampleFile, done
from harness.run.archives import ArchiveRecord
from harness.run.config import RunConfig
from harness.run.experiment import Experiment, Progress
from harness.run.ledger import LedgerFile, ledger
from harness.run.machine import Environment
from harness.run.recorder import Recorder, RowLog
from harness.run.space import Space, require_space
from harness.run.subject import Arm, Subject
from harness.sampling.cache import require_evictable
from harness.sampling.interrupt import deferred
from harness.sampling.worker import Worker


def run(
    config: RunConfig,
    arms: list[Arm],
    subjects: list[Subject],
    folder: Path,
    progress: Progress,
    directories: Sequence[Directory] = (),
    disk: Space | None = None,
) -> None:
    """Measure everything a configuration asks for.

    Rows are on disk as soon as they are taken. Called again on the same folder, it takes only what is missing.

    Parameters
    ----------
    config : RunConfig
        What to do.
    arms : list of Arm
        From `choose_arms`.
    subjects : list of Subject
        From `open_subjects`.
    folder : Path
        The run's folder; exists and can be written.
    progress : Progress
        Told about every step.
    directories : sequence of Directory
        From `open_directories`.
    disk : Space, optional
        From `require_space`, where it was asked already.

    Raises
    ------
    UsageError
        When cold reads cannot be had there, or the disk cannot hold the archives.
    KeyboardInterrupt
        After Ctrl-C, when everything is put away and what was measured is on disk.
    """
    if "cold" in config.caches and subjects and config.store is None:
        require_evictable(folder)
    scratch = folder / ".archives"
    remove(scratch)  # left by a run that was killed
    disk = disk or require_space(folder, subjects, arms, directories, timeout=config.timeout)
    with deferred(), ExitStack() as stack:
        stack.callback(remove, scratch)
        scratch.mkdir()
        stack.enter_context(closing(Environment(folder, config.run_id, disk.to_document())))
        file = stack.enter_context(closing(SampleFile(folder / "samples.csv")))
        # Verifying a write reads all of it, so the process that samples reads is another one: it meets every archive
        # for the first time, and what a format keeps in memory shows.
        patience = config.patience(max((subject.manifest.nbytes for subject in subjects), default=0))
        writer = stack.enter_context(Worker(patience))
        reader = stack.enter_context(Worker(patience))
        recorder = Recorder(config, arms, file, done(folder / "samples.csv"))
        rows = stack.enter_context(closing(BreakdownFile(folder / "breakdown.csv")))
        log = RowLog(config.run_id, Breakdown, rows, done(folder / "breakdown.csv", Breakdown))
        explainer = stack.enter_context(Worker(patience))
        breakdown = BreakdownRounds(config, arms, explainer, log, progress.step)
        asked = ledger([(subject.label, subject.manifest) for subject in subjects], config)
        records = ArchiveRecord(folder / "archives.json"), LedgerFile(folder / "ledger.csv", asked)
        store = config.store if subjects else None
        uploads = stack.enter_context(store.uploads(config.run_id, writer, folder)) if store else None
        experiment = Experiment(config, arms, scratch, writer, reader, recorder, breakdown, records, progress, uploads)
        steps = sum(experiment.steps(subject) for subject in subjects)
        progress.total(steps + len(directories) * len(config.directory_modes))
        for directory in directories:
            record = DirectoryRecord(folder / DIRECTORIES)
            measure_directory(directory, config, scratch, writer, recorder, record, progress.step)
        for subject in subjects:
            experiment.measure(subject)
