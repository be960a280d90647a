"""Race of the candidates of every role: measurements round by round, in random order, with the tasks of a run."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness.analysis.choice.costs import needed
from harness.errors import HarnessError, UsageError
from harness.extensions.tune.candidates import Candidate, candidates, settings_of
from harness.extensions.tune.costs import WRITE, CandidateCosts, candidate_costs, stages, survivors
from harness.extensions.tune.question import MeasuredUse, TuneConfig, TuneQuestion
from harness.extensions.tune.tensor_sample import SampleTask
from harness.formats.archive import remove
from harness.formats.base import load_format
from harness.records import CONTROL, Sample
from harness.row_files import SampleFile
from harness.run import schedule
from harness.run.machine import Environment, load_average
from harness.run.progress import Progress
from harness.sampling.cache import require_evictable
from harness.sampling.contenders import ContenderProcesses
from harness.sampling.interrupt import deferred
from harness.sampling.reading import Observed, ReadTask, kept_data
from harness.sampling.verify import Expected, expectations, read_id
from harness.sampling.worker import Worker, WorkerError
from harness.sampling.writing import WriteTask, Written
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec
from harness.workload import ReadAccess

_FROM_READING = ("seconds", "open_seconds", "bytes_returned", "bytes_read", "requests", "peak_rss_bytes")


@dataclass
class Race:
    """The candidates of one role and their measurements."""

    question: TuneQuestion  # The question for the role.
    entered: list[Candidate]  # All candidates, the present setting and the A/A control first.
    remaining: list[Candidate]  # Candidates that were measured in all rounds.
    rounds: int = 0  # Number of these rounds.
    failed: dict[str, str] = field(default_factory=dict)  # Why a candidate has no figure, by its label.
    samples: list[Sample] = field(default_factory=list)  # All samples taken.

    def costs(self, chosen: Sequence[Candidate], rounds: int) -> CandidateCosts:
        """Return the costs of some candidates after a number of rounds."""
        return candidate_costs(self.question, self.samples, chosen, rounds)


def search(config: TuneConfig, asked: Sequence[TuneQuestion], folder: Path, progress: Progress) -> list[Race]:
    """Race the candidates of every role, one role after the other; samples are written as soon as they are taken.

    Parameters
    ----------
    config : TuneConfig
        Settings of the search.
    asked : sequence of TuneQuestion
        From `harness.extensions.tune.question.questions`.
    folder : Path
        Folder of the search, which exists and is writable.
    progress : Progress
        Receives every step.

    Raises
    ------
    UsageError
        If cold reads are not possible in the folder, or the disk cannot hold the samples.
    HarnessError
        If the present setting itself fails.
    KeyboardInterrupt
        After Ctrl-C, once temporary files are removed and all samples are on disk.
    """
    if any(cache == "cold" for question in asked for _, cache in needed(question.use)):
        require_evictable(folder)
    # Space for the corner, its parts for chunks of different lengths, an archive, and its growth.
    need, free = 12 * max(question.part.nbytes for question in asked), shutil.disk_usage(folder).free
    if need > free:
        raise UsageError(
            f"The samples may take {need / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB free: "
            "choose a smaller --sample or another --out."
        )
    with deferred(), ExitStack() as stack:
        scratch = folder / ".archives"
        stack.callback(remove, scratch)
        stack.enter_context(closing(Environment(folder, config.run_id)))
        file = stack.enter_context(closing(SampleFile(folder / "samples.csv")))
        sampler = stack.enter_context(Worker(config.timeout, threads=config.threads))
        writers, readers = (stack.enter_context(ContenderProcesses(config.timeout, config.threads)) for _ in range(2))
        races = [_entered(config, question) for question in asked]
        done = 0
        for number, race in enumerate(races):
            scratch.mkdir()
            later = sum(_steps(len(race.entered), config.rounds) for race in races[number + 1 :])
            track = _Track(config, race, scratch, sampler, (writers, readers), file, progress)
            done = track.run(done, later)
            for processes in (writers, readers):
                processes.end(candidate.label for candidate in race.entered)
            remove(scratch)
    return races


def _entered(config: TuneConfig, question: TuneQuestion) -> Race:
    backend = load_format(config.backend)
    rng = schedule.generator(config.seed, "candidates", backend.name, question.role.value)
    entered = candidates(backend, question.spec, config.most, rng)
    return Race(question=question, entered=entered, remaining=list(entered))


def _steps(count: int, rounds: int) -> int:
    """Return the number of measurements, candidates times rounds, if each comparison halves the candidates."""
    ends = [0, *stages(count, rounds)]
    return sum((end - start) * max(1, count >> stage) for stage, (start, end) in enumerate(pairwise(ends)))


class _Sampled(NamedTuple):
    """An access on one part of the corner, with the expected results."""

    measured: MeasuredUse
    access: ReadAccess
    expected: dict[str, Expected]


class _Track:
    """Sampling of one race."""

    def __init__(
        self,
        config: TuneConfig,
        race: Race,
        scratch: Path,
        sampler: Worker,
        processes: tuple[ContenderProcesses, ContenderProcesses],
        file: SampleFile,
        progress: Progress,
    ) -> None:
        self._config, self._race, self._scratch = config, race, scratch
        self._sampler, (self._writers, self._readers) = sampler, processes
        self._file, self._progress = file, progress
        self._backend = load_format(config.backend)
        self._parts: dict[TensorSpec, tuple[Path, list[_Sampled]]] = {}
        self._prepare()

    def _prepare(self) -> None:
        """Write the sources of candidates: the corner, and its parts cut to complete chunks of each candidate."""
        question = self._race.question
        self._progress.step(f"{question.role.value}: taking {question.shown_sample}", 0)
        taken = {question.part: self._take(question.part, self._config.source, self._config.requested)}
        corner, _ = taken[question.part]
        for part in {question.part_for(candidate.layout) for candidate in self._race.entered}:
            path, manifest = taken[part] if part in taken else self._take(part, f"file:{corner}", None)
            asked = question.accesses(part)
            found = expectations(path, manifest, [read for _, access in asked for read in access.reads])
            sampled = [
                _Sampled(m, access, {read_id(r): found[read_id(r)] for r in access.reads}) for m, access in asked
            ]
            self._parts[part] = path, sampled

    def _take(self, part: TensorSpec, source: str, n_res: int | None) -> tuple[Path, Manifest]:
        """Write a corner as a raw archive, and return it with its manifest."""
        path = self._scratch / f"{'x'.join(map(str, part.shape))}.raw"
        try:
            return path, self._sampler.do(SampleTask(source=source, n_res=n_res, part=part, destination=path))
        except WorkerError as error:
            raise HarnessError(f"The sample of {part.path} could not be made: {error}.") from error

    def run(self, done: int, later: int) -> int:
        """Measure all rounds; return the number of steps done afterwards.

        `done` steps were done before, and about `later` steps follow this race.
        """
        race, after = self._race, stages(len(self._race.entered), self._config.rounds)
        for stage, rounds in enumerate(after):
            count, left = len(race.remaining), rounds - race.rounds
            self._progress.total(done + count * left + count * (after[-1] - rounds) // 2 + later)
            rng = schedule.generator(self._config.seed, "tune", race.question.role.value, stage)
            for number, position, candidate in schedule.blocks(list(race.remaining), left, rng):
                self._progress.step(f"round {race.rounds + number + 1} {candidate.label}")
                if candidate.label not in race.failed:
                    self._sample(candidate, race.rounds + number, position)
            done, race.rounds = done + count * left, rounds
            found = self._compare()
            if rounds < after[-1]:
                race.remaining = survivors(found)
        return done

    def _compare(self) -> CandidateCosts:
        """Drop failed candidates, and return the costs of the others."""
        race, present = self._race, self._race.entered[0]
        race.remaining = [c for c in race.remaining if c.label not in race.failed]
        if present in race.remaining:
            found = race.costs(race.remaining, race.rounds)
            lost = [c for c, total in zip(race.remaining, found.total[0], strict=True) if np.isnan(total)]
            if not lost:
                return found
            race.failed |= {c.label: "the page cache was never in the state that was asked for" for c in lost}
        if present.label in race.failed:
            raise HarnessError(f"The present setting of {self._backend.name} failed: {race.failed[present.label]}.")
        return self._compare()

    def _sample(self, candidate: Candidate, number: int, position: int) -> None:
        """Write the sample with a candidate's settings, and read it with every access of the mix."""
        # The name is unique: a library that caches data by name across readers would return another candidate's.
        archive = self._scratch / f"candidate-{number}-{position}{self._backend.suffix}"
        settings = settings_of(self._backend, self._race.question.spec, candidate.label, candidate.values)
        raw, sampled = self._parts[self._race.question.part_for(candidate.layout)]
        name, place = self._config.backend, WRITE
        try:
            written: Written = self._writers.do(
                candidate.label,
                WriteTask(backend=name, profile=settings, source=raw, destination=archive, keep=True),
            )
            if written.problem:
                raise WorkerError(written.problem)
            self._add(
                candidate, number, position, *WRITE, seconds=written.seconds + written.sync_seconds, verified=True,
                size_bytes=written.size_bytes, files=written.files, bytes_requested=written.memory_bytes,
            )  # fmt: skip
            for measured, access, expected in sampled:
                place = (measured.suite, access.name, "")
                task = ReadTask(
                    backend=name, profile=settings, archive=archive, access=access, expected=expected, cache="discard",
                    reader=self._config.reader,
                )  # fmt: skip
                # This read is discarded, because one-time costs of a first read belong to no sample.
                first: Observed = self._readers.do(candidate.label, task)
                for repeat in range(measured.repeats):
                    self._read(candidate, number * measured.repeats + repeat, position, measured.suite, task, first)
        except WorkerError as error:
            self._race.failed[candidate.label] = str(error)
            self._add(
                candidate, number, position, *place,
                verified=False, status="failed", reason=str(error), cause=error.cause,
            )  # fmt: skip
        finally:
            remove(archive)

    def _read(
        self, candidate: Candidate, number: int, position: int, suite: str, task: ReadTask, first: Observed
    ) -> None:
        """Take one sample of an access in each required cache state."""
        requested = sum(expected.nbytes for expected in task.expected.values())
        for cache in dict.fromkeys(cache for _, cache in needed(self._race.question.use)):
            observed: Observed = self._readers.do(candidate.label, dataclasses.replace(task, cache=cache))
            reading = observed.reading
            values: dict[str, Any] = {"resident_fraction": observed.resident_fraction, "bytes_requested": requested}
            if reading is None:
                values |= {"status": "rejected", "reason": observed.rejected}
            elif problem := reading.problem or kept_data(first, observed, task.access):
                raise WorkerError(problem)
            else:
                values |= {name: getattr(reading, name) for name in _FROM_READING} | {"verified": True}
            self._add(candidate, number, position, suite, task.access.name, cache, **values)

    def _add(
        self, candidate: Candidate, number: int, position: int, suite: str, access: str, cache: str, **values: Any
    ) -> None:
        label = self._race.entered[0].label if candidate.is_control else candidate.label
        sample = Sample(
            run_id=self._config.run_id, suite=suite, access=access, trace=self._config.trace,
            n_res=self._config.n_res, format=CONTROL if candidate.is_control else self._backend.name, profile=label,
            reader=self._config.reader, threads=self._config.threads, cache=cache, executor="main", workers=1,
            round=number, position=position, load_average=load_average(),
            **values,
        )  # fmt: skip
        self._race.samples.append(sample)
        self._file.add(sample)
