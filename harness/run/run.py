"""Run a configuration: its folder, processes and files, and what puts them away again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from harness.formats.archive import remove
from harness.row_files import SampleFile, done
from harness.run.archives import ArchiveRecord
from harness.run.config import RunConfig
from harness.run.experiment import Experiment, Progress
from harness.run.ledger import LedgerFile, ledger
from harness.run.machine import Environment
from harness.run.measurement import Measuring, RunSession, copies, open_measurements
from harness.run.recorder import Recorder
from harness.run.space import Space, require_space
from harness.run.subject import Arm, Subject
from harness.sampling.cache import require_evictable
from harness.sampling.interrupt import deferred
from harness.sampling.worker import Worker

_SCRATCH = ".archives"


def run(
    config: RunConfig,
    arms: list[Arm],
    subjects: list[Subject],
    folder: Path,
    progress: Progress,
    measuring: Sequence[Measuring] | None = None,
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
    measuring : sequence of Measuring, optional
        From `harness.run.measurement.open_measurements`, where they are open already.
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
    scratch = folder / _SCRATCH
    remove(scratch)  # left by a run that was killed
    measuring = open_measurements(config) if measuring is None else measuring
    disk = disk or require_space(folder, subjects, arms, copies(measuring), timeout=config.timeout)
    with deferred(), ExitStack() as stack:
        stack.callback(remove, scratch)
        scratch.mkdir()
        stack.enter_context(closing(Environment(folder, config.run_id, disk.to_document())))
        experiment = _experiment(stack, config, arms, subjects, folder, progress, measuring)
        steps = sum(experiment.steps(subject) for subject in subjects)
        progress.total(steps + sum(each.steps(None) for each in measuring))
        for each in measuring:
            each.before()
        for subject in subjects:
            experiment.measure(subject)


def _experiment(
    stack: ExitStack,
    config: RunConfig,
    arms: list[Arm],
    subjects: list[Subject],
    folder: Path,
    progress: Progress,
    measuring: Sequence[Measuring],
) -> Experiment:
    """Open the files of a run and start its processes; the stack puts them away."""
    scratch = folder / _SCRATCH
    file = stack.enter_context(closing(SampleFile(folder / "samples.csv")))
    # Verifying a write reads all of it, so the process that samples reads is another one: it meets every archive
    # for the first time, and what a format keeps in memory shows.
    patience = config.patience(max((subject.manifest.nbytes for subject in subjects), default=0))
    writer = stack.enter_context(Worker(patience))
    reader = stack.enter_context(Worker(patience))
    recorder = Recorder(config, arms, file, done(folder / "samples.csv"))
    session = RunSession(
        config=config,
        arms=arms,
        folder=folder,
        scratch=scratch,
        recorder=recorder,
        writer=writer,
        patience=patience,
        stack=stack,
        step=progress.step,
    )
    for each in measuring:
        each.begin(session)
    asked = ledger([(subject.label, subject.manifest) for subject in subjects], config)
    records = ArchiveRecord(folder / "archives.json"), LedgerFile(folder / "ledger.csv", asked)
    store = config.store if subjects else None
    uploads = stack.enter_context(store.uploads(config.run_id, writer, folder)) if store else None
    return Experiment(config, arms, scratch, writer, reader, recorder, measuring, records, progress, uploads)
