"""Race the candidates of every role, one role after the other."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from harness.analysis.choice.costs import needed
from harness.errors import UsageError
from harness.extensions.tune.candidates import candidates
from harness.extensions.tune.halving import stages
from harness.extensions.tune.question import TuneQuestion
from harness.extensions.tune.race import Race, Track, TuneConfig
from harness.formats.archive import remove
from harness.formats.base import Format, load_format
from harness.row_files import SampleFile
from harness.run import schedule
from harness.run.experiment import Progress
from harness.run.machine import Environment
from harness.sampling.cache import require_evictable
from harness.sampling.interrupt import deferred
from harness.sampling.worker import Worker


def search(
    config: TuneConfig,
    asked: Sequence[TuneQuestion],
    folder: Path,
    progress: Progress,
    clock: Callable[[], float] = time.monotonic,
) -> list[Race]:
    """Race the candidates of every role.

    Samples are on disk as soon as they are taken.

    Parameters
    ----------
    config : TuneConfig
        What to do.
    asked : sequence of TuneQuestion
        From `harness.extensions.tune.question.questions`.
    folder : Path
        Of the search; exists and can be written.
    progress : Progress
        Told about every step.
    clock : callable
        Returns seconds; for the budget.

    Returns
    -------
    list of Race
        One for each question.

    Raises
    ------
    UsageError
        When cold reads cannot be had there, or the disk cannot hold the samples.
    HarnessError
        When the present setting itself fails.
    KeyboardInterrupt
        After Ctrl-C, when everything is put away and what was measured is on disk.
    """
    backend = load_format(config.backend)
    if any(cache == "cold" for question in asked for _, cache in needed(question.use)):
        require_evictable(folder)
    _require_space(folder, asked)
    scratch = folder / ".archives"
    with deferred(), ExitStack() as stack:
        stack.callback(remove, scratch)
        scratch.mkdir()
        stack.enter_context(closing(Environment(folder, config.run_id)))
        file = stack.enter_context(closing(SampleFile(folder / "samples.csv")))
        writer = stack.enter_context(Worker(config.timeout))
        reader = stack.enter_context(Worker(config.timeout))
        ends = clock() + config.budget
        races = [_race(config, backend, question) for question in asked]
        planned = [stages(len(race.entered), config.rounds) for race in races]
        steps = [_steps(len(race.entered), after) for race, after in zip(races, planned, strict=True)]
        for number, (race, after) in enumerate(zip(races, planned, strict=True)):

            def replan(found: int, number: int = number) -> None:
                steps[number] = found  # more may remain than half
                progress.total(sum(steps))

            # What a role does not need of its part is there for those after it.
            until = clock() + (ends - clock()) / (len(races) - number)
            track = Track(config, backend, race, scratch, writer, reader, file, progress)
            track.prepare()
            track.run(after, clock, until, replan)
            remove(scratch)
            scratch.mkdir()
    return races


def _race(config: TuneConfig, backend: Format, question: TuneQuestion) -> Race:
    rng = schedule.generator(config.seed, "candidates", backend.name, question.role.value)
    entered = candidates(backend, question.spec, config.most, rng)
    return Race(question=question, entered=entered, remaining=list(entered))


def _steps(count: int, after: Sequence[int]) -> int:
    """Return how many candidates times rounds there are when each comparison halves."""
    steps, before = 0, 0
    for number, rounds in enumerate(after):
        steps += (rounds - before) * max(1, count >> number)
        before = rounds
    return steps


def _require_space(folder: Path, asked: Sequence[TuneQuestion]) -> None:
    # The corner, its parts for chunks of different lengths, an archive, and room for one to grow.
    need = 12 * max(question.part.nbytes for question in asked)
    free = shutil.disk_usage(folder).free
    if need > free:
        raise UsageError(
            f"The samples may take {need / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB free: "
            "choose a smaller --sample or another --out."
        )
