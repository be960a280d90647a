"""The candidates of one role: measured round by round, each round in random order, with the tasks of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness.analysis.choice.costs import needed
from harness.errors import HarnessError
from harness.extensions.tune.candidates import Candidate, settings_of
from harness.extensions.tune.corner import SampleTask
from harness.extensions.tune.halving import survivors
from harness.extensions.tune.question import MeasuredUse, TuneQuestion
from harness.extensions.tune.standing import WRITE, Standing, label_of, standing
from harness.formats.archive import remove
from harness.formats.base import Format
from harness.records import CONTROL, Sample
from harness.row_files import SampleFile
from harness.run import schedule
from harness.run.experiment import Progress
from harness.run.machine import load_average
from harness.sampling.reading import Observed, ReadTask, kept_data
from harness.sampling.verify import Expected, expectations, read_id
from harness.sampling.worker import Worker, WorkerError
from harness.sampling.writing import WriteTask, Written
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec
from harness.workload import ReadAccess

_FROM_READING = ("seconds", "open_seconds", "bytes_returned", "bytes_read", "requests", "peak_rss_bytes")


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """Everything that decides what a search measures.

    Attributes
    ----------
    run_id : str
        Name of the search, and of its folder.
    backend : str
        What `load_format` takes.
    source, trace : str
        The trace as ``NAME[:key=value,...]``, and as records name it.
    requested, n_res : int or None
        The length it was asked for in, and its own.
    rounds : int
        Samples of those that remain.
    most : int
        Candidates for each role.
    seed : int
        Decides draws, windows and order.
    budget : float
        Seconds after which no further round is started, in equal parts for the roles; infinite for none.
    timeout : float
        Seconds after which a sample counts as hung.
    """

    run_id: str
    backend: str
    source: str
    trace: str
    requested: int | None
    n_res: int | None
    rounds: int
    most: int
    seed: int
    budget: float
    timeout: float


@dataclass
class Race:
    """The candidates of one role with what was measured of them.

    Attributes
    ----------
    question : TuneQuestion
        What was asked.
    entered : list of Candidate
        All, the present setting and the A/A control first.
    remaining : list of Candidate
        Those that were measured in all rounds.
    rounds : int
        How many that are.
    failed : dict of str to str
        Why a candidate has no figure, by its label.
    samples : list of Sample
        All that were taken.
    """

    question: TuneQuestion
    entered: list[Candidate]
    remaining: list[Candidate]
    rounds: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    def rounds_of(self, label: str) -> int:
        """Return in how many rounds a candidate was measured."""
        return len({s.round for s in self.samples if label_of(s) == label and (s.suite, s.access) == WRITE})


class _Sampled(NamedTuple):
    """An access on one part of the corner, with what it has to return."""

    measured: MeasuredUse
    access: ReadAccess
    expected: dict[str, Expected]


class Track:
    """Takes the samples of one race."""

    def __init__(
        self,
        config: TuneConfig,
        backend: Format,
        race: Race,
        scratch: Path,
        writer: Worker,
        reader: Worker,
        file: SampleFile,
        progress: Progress,
    ) -> None:
        self._config, self._backend, self._race, self._scratch = config, backend, race, scratch
        self._writer, self._reader, self._file, self._progress = writer, reader, file, progress
        self._parts: dict[TensorSpec, tuple[Path, list[_Sampled]]] = {}

    def prepare(self) -> None:
        """Write what candidates are written from: the corner, cut to whole chunks of each."""
        question = self._race.question
        self._progress.step(f"{question.role.value}: taking {question.shown_sample}", 0)
        taken = {question.part: self._take(question.part, self._config.source, self._config.requested)}
        corner, _ = taken[question.part]
        for part in {question.part_for(candidate.layout) for candidate in self._race.entered}:
            path, manifest = taken[part] if part in taken else self._take(part, f"file:{corner}", None)
            asked = question.accesses(part)
            found = expectations(path, manifest, [read for _, access in asked for read in access.reads])
            self._parts[part] = (
                path,
                [_Sampled(m, access, {read_id(r): found[read_id(r)] for r in access.reads}) for m, access in asked],
            )

    def _take(self, part: TensorSpec, source: str, n_res: int | None) -> tuple[Path, Manifest]:
        """Write a corner as a raw archive, and return it with its manifest."""
        path = self._scratch / f"{'x'.join(map(str, part.shape))}.raw"
        try:
            manifest: Manifest = self._writer.do(SampleTask(source=source, n_res=n_res, part=part, destination=path))
        except WorkerError as error:
            raise HarnessError(f"The sample of {part.path} could not be made: {error}.") from error
        return path, manifest

    def run(
        self, after: Sequence[int], clock: Callable[[], float], until: float, replan: Callable[[int], None]
    ) -> None:
        """Take rounds until the last comparison, or after the first one until the clock says so.

        Parameters
        ----------
        after : sequence of int
            From `harness.extensions.tune.halving.stages`.
        clock : callable
            Returns seconds.
        until : float
            By that clock.
        replan : callable
            Told, before each stage, how many steps there will be in all when no more candidate is dropped.
        """
        race, number, taken = self._race, 0, 0
        for stage, rounds in enumerate(after):
            taken += len(race.remaining) * (rounds - number)
            replan(taken + len(race.remaining) * (after[-1] - rounds) // 2)
            rng = schedule.generator(self._config.seed, "tune", race.question.role.value, stage)
            for block in _by_round(race.remaining, rounds - number, rng):
                if number >= after[0] and clock() > until:
                    break
                for position, candidate in block:
                    self._progress.step(f"round {number + 1} {candidate.label}")
                    if candidate.label not in race.failed:
                        self._sample(candidate, number, position)
                number += 1
            race.rounds = number
            found = self._compare()
            if number < rounds:
                return
            if number < after[-1]:
                race.remaining = survivors(found, race.remaining)

    def _compare(self) -> Standing:
        """Leave out what failed, and say where the others stand."""
        race, present = self._race, self._race.entered[0]
        good = [c for c in race.remaining if c.label not in race.failed]
        found = standing(race.question, race.samples, good, race.rounds) if present in good else None
        if found is not None:
            lost = [c for c, total in zip(good, found.total[0], strict=True) if np.isnan(total)]
            race.failed |= {c.label: "the page cache was never in the state that was asked for" for c in lost}
        if found is None or present.label in race.failed:
            raise HarnessError(f"The present setting of {self._backend.name} failed: {race.failed[present.label]}.")
        race.remaining = [c for c in good if c.label not in race.failed]
        return found if race.remaining == good else standing(race.question, race.samples, race.remaining, race.rounds)

    def _sample(self, candidate: Candidate, number: int, position: int) -> None:
        """Write the sample with a candidate's settings, and read it in every way that the mix does."""
        # A name of its own: whoever keeps data by name from reader to reader would read another candidate's.
        archive = self._scratch / f"candidate-{number}-{position}{self._backend.suffix}"
        settings = settings_of(self._backend, self._race.question.spec, candidate.label, candidate.values)
        raw, sampled = self._parts[self._race.question.part_for(candidate.layout)]
        name, place = self._config.backend, WRITE
        try:
            written: Written = self._writer.do(
                WriteTask(backend=name, profile=settings, source=raw, destination=archive, keep=True)
            )
            if written.problem:
                raise WorkerError(written.problem)
            self._add(
                candidate, number, position, *WRITE, "", seconds=written.seconds + written.sync_seconds, verified=True,
                size_bytes=written.size_bytes, files=written.files, bytes_requested=written.memory_bytes,
            )  # fmt: skip
            for measured, access, expected in sampled:
                place = (measured.suite, access.name)
                task = ReadTask(
                    backend=name, profile=settings, archive=archive, access=access, expected=expected, cache="discard"
                )  # fmt: skip
                first: Observed = self._reader.do(task)  # discarded: what is met first belongs to no sample
                for repeat in range(measured.repeats):
                    self._read(candidate, number * measured.repeats + repeat, position, measured.suite, task, first)
        except WorkerError as error:
            self._race.failed[candidate.label] = str(error)
            self._add(
                candidate, number, position, *place, "",
                verified=False, status="failed", reason=str(error), cause=error.cause,
            )  # fmt: skip
        finally:
            remove(archive)

    def _read(
        self, candidate: Candidate, number: int, position: int, suite: str, task: ReadTask, first: Observed
    ) -> None:
        """Take one sample of an access in each cache state that counts."""
        for cache in dict.fromkeys(cache for _, cache in needed(self._race.question.use)):
            observed: Observed = self._reader.do(dataclasses.replace(task, cache=cache))
            reading = observed.reading
            values: dict[str, Any] = {"resident_fraction": observed.resident_fraction}
            if reading is None:
                values |= {"status": "rejected", "reason": observed.rejected}
            elif problem := reading.problem or kept_data(first, observed, task.access):
                raise WorkerError(problem)
            else:
                values |= {name: getattr(reading, name) for name in _FROM_READING} | {"verified": True}
            requested = sum(expected.nbytes for expected in task.expected.values())
            self._add(
                candidate, number, position, suite, task.access.name, cache, bytes_requested=requested, **values
            )  # fmt: skip

    def _add(
        self, candidate: Candidate, number: int, position: int, suite: str, access: str, cache: str, **values: Any
    ) -> None:
        control, present = candidate.label == CONTROL, self._race.entered[0]
        sample = Sample(
            run_id=self._config.run_id, suite=suite, access=access, trace=self._config.trace,
            n_res=self._config.n_res, format=CONTROL if control else self._backend.name,
            profile=present.label if control else candidate.label, cache=cache, executor="main", workers=1,
            round=number, position=position, load_average=load_average(), **values,
        )  # fmt: skip
        self._race.samples.append(sample)
        self._file.add(sample)


def _by_round(arms: Sequence[Candidate], rounds: int, rng: Any) -> Iterator[list[tuple[int, Candidate]]]:
    """Yield the randomised blocks of `harness.run.schedule`, a round at a time."""
    ordered = list(schedule.blocks(arms, rounds, rng))
    for number in range(rounds):
        yield [(position, arm) for found, position, arm in ordered if found == number]
