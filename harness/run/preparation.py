"""Write the archives of one trace: the raw archive from the source, and all others from the raw archive."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import registry
from harness.formats.archive import remove
from harness.formats.base import UnsupportedProfile, load_format
from harness.formats.describing import Opened
from harness.formats.selection import Selection, in_blocks
from harness.records import RAW, NoFigure
from harness.run import schedule
from harness.run.subject import Arm, Subject
from harness.sampling import cache
from harness.sampling.contenders import ContenderProcesses
from harness.sampling.executor import load_executor
from harness.sampling.reader_probe import Probed, ProbeTask, RehearseTask
from harness.sampling.verify import Expected, asked_bytes, expectations, read_id
from harness.sampling.worker import Worker, WorkerError
from harness.sampling.writing import ScanTask, WriteTask, Written, native_bytes
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec
from harness.trace.stream import BLOCK_BYTES
from harness.workload import Access, ReadAccess, WriteAccess


@dataclass
class Prepared:
    """The archives of one subject."""

    raw: Path  # The raw archive, checked against the digests of the source's stream.
    manifest: Manifest  # With the digests of the source's stream.
    bfloat16: frozenset[str] = frozenset()  # Paths of the tensors that are exactly representable in bfloat16.
    expected: dict[str, Expected] = field(default_factory=dict)  # Expected result of every read of every plan.
    archives: dict[Arm, Path] = field(default_factory=dict)  # The verified archives.
    # Results of writing, for arms with an archive of their own.
    writes: dict[Arm, Written] = field(default_factory=dict)
    # The arms without an archive, with the reason; later also those whose readers kept data between samples.
    failures: dict[Arm, NoFigure] = field(default_factory=dict)
    # The arms whose readers cannot read their archives, from `probe`; sizes and writes of these are still measured.
    unreadable: dict[Arm, NoFigure] = field(default_factory=dict)
    # What the reader of each arm reports about an example tensor of each role, by path; from `probe`.
    opened: dict[Arm, dict[str, Opened]] = field(default_factory=dict)
    cache_bytes: int | None = None  # Budget in bytes of decoded chunks of every reader.

    def without(self, access: Access) -> dict[Arm, NoFigure]:
        """Return the arms that take no part in an access, with reasons; reads also exclude `unreadable` arms."""
        return self.failures | (self.unreadable if isinstance(access, ReadAccess) else {})

    def about(self, arm: Arm, access: ReadAccess) -> dict[str, Any]:
        """Return the fields of a `harness.sampling.executor.Share` for an arm and access."""
        nbytes = asked_bytes(access.reads, self.expected)
        sizes = [written.size_bytes for arm, written in self.writes.items() if arm in self.archives]
        return {
            "backend": arm.backend,
            "profile": arm.settings,
            "reader": arm.reader,
            "cache_bytes": self.cache_bytes,
            "archive": self.archives[arm],
            "access": access,
            "expected": {read_id(read): self.expected[read_id(read)] for read in access.reads},
            # Equal for all arms.
            "by_reading": load_executor(access.executor).counted and cache.read_little(sizes, nbytes),
        }

    def write_task(
        self,
        arm: Arm,
        tensors: tuple[tuple[str, str], ...] | None,
        folder: Path,
        task: str = WriteAccess.task,
        *,
        name: str = "sample",
        keep: bool = False,
    ) -> WriteTask:
        """Return the task that writes an archive from the raw one, of some tensors or, with None, of all."""
        made: WriteTask = registry.imported("What writes a sample", task)(
            backend=arm.backend,
            profile=arm.settings,
            source=self.raw,
            tensors=tensors,
            bfloat16=self.bfloat16,
            destination=folder / f"{name}{load_format(arm.backend).suffix}",
            keep=keep,
        )
        return made


def source_task(subject: Subject, raw: Path, tensors: tuple[tuple[str, str], ...] | None = None) -> WriteTask:
    """Return the task that writes the raw archive, from which all others are written."""
    return WriteTask(
        backend=RAW,
        profile="tuned",
        source=subject.source,
        n_res=subject.requested,
        layers=subject.layers,
        tensors=tensors,
        destination=raw,
        keep=True,
    )


def prepare(subject: Subject, arms: list[Arm], scratch: Path, worker: Worker, seed: int) -> Prepared:
    """Write and verify every archive of a subject, in random order.

    Parameters
    ----------
    subject : Subject
        The trace and its plans.
    arms : list of Arm
        Arms of the run.
    scratch : Path
        An empty folder.
    worker : Worker
        Process that writes and verifies; read samples are taken in other processes.
    seed : int
        Seed of the run.

    Returns
    -------
    Prepared
        If the trace cannot be generated, or has changed since it was planned, every arm has failed with the reason.
    """
    prepared = Prepared(scratch / "trace.raw", subject.manifest)
    try:
        raw = write(source_task(subject, prepared.raw), worker.do)
        prepared.bfloat16 = worker.do(ScanTask(archive=prepared.raw))
    except WorkerError as error:
        prepared.failures.update(dict.fromkeys(arms, NoFigure.of(error, "the trace could not be made: ")))
        return prepared
    changed = subject.files.changed() if subject.files else ""
    if changed or raw.manifest.tensors != subject.manifest.tensors:
        what = f"{changed or subject.label} has changed since the run was planned; run it again"
        prepared.failures.update(dict.fromkeys(arms, NoFigure("failed", f"the trace could not be made: {what}")))
        return prepared
    prepared.manifest = raw.manifest
    reads = [read for _, access in subject.plans if isinstance(access, ReadAccess) for read in access.reads]
    prepared.expected = expectations(prepared.raw, prepared.manifest, reads)
    rng = schedule.generator(seed, "archives", *subject.place)
    own = [arm for arm in arms if not arm.shares]
    for _, _, arm in schedule.blocks(own, 1, rng):
        if arm.contender.is_ceiling:  # already written: the other archives are made from it
            prepared.archives[arm] = prepared.raw
            exact = native_bytes(prepared.manifest, prepared.bfloat16)
            prepared.writes[arm] = dataclasses.replace(raw, native_bytes=exact)
        else:
            _archive(prepared, arm, scratch, worker)
    for sharing in (arm for arm in arms if arm.shares):
        original = next(arm for arm in own if (arm.backend, arm.profile) == (sharing.backend, sharing.profile))
        if original in prepared.archives:
            prepared.archives[sharing] = prepared.archives[original]
        else:
            prepared.failures[sharing] = prepared.failures[original]
    return prepared


def probe(prepared: Prepared, processes: ContenderProcesses, what: str) -> None:
    """Try every arm's reader on its archive; store what it reports, or why it cannot read the archive.

    `what` selects processes other than those that take samples: these start together, when a sample is first due.
    """
    examples = tuple((spec.path, _little(spec)) for spec in prepared.manifest.examples().values())
    rehearsals = {
        (arm, what): RehearseTask(
            backend=arm.backend, profile=arm.settings, reader=arm.reader, cache_bytes=prepared.cache_bytes
        )
        for arm in prepared.archives
        if arm.reader and not arm.missing
    }
    processes.begin(rehearsals)
    for (arm, _), rehearsal in rehearsals.items():
        task = ProbeTask(**vars(rehearsal), archive=prepared.archives[arm], examples=examples)
        try:
            found: Probed = processes.do((arm, what), task)
        except WorkerError as error:
            prepared.unreadable[arm] = NoFigure.of(error)
            continue
        prepared.opened[arm] = found.opened
        if found.unsupported:
            prepared.unreadable[arm] = NoFigure("skipped", found.unsupported)


def _little(spec: TensorSpec) -> Selection | None:
    """Return the selection of a tensor's first block; None, for the complete tensor, if it is at most one block."""
    return next(iter(in_blocks(spec, None))) if spec.nbytes > BLOCK_BYTES else None


def _archive(prepared: Prepared, arm: Arm, scratch: Path, worker: Worker) -> None:
    """Write and verify one archive; store the reason if that fails."""
    backend = load_format(arm.backend)
    task = prepared.write_task(arm, None, scratch, name=f"{arm.label}-{arm.profile}", keep=True)
    try:
        backend.require(prepared.manifest, arm.settings)
        prepared.writes[arm] = write(task, worker.do)
        prepared.archives[arm] = task.destination
    except UnsupportedProfile as error:
        prepared.failures[arm] = NoFigure("skipped", str(error))
    except WorkerError as error:
        prepared.failures[arm] = NoFigure.of(error)


def write(task: WriteTask, do: Callable[[WriteTask], Written]) -> Written:
    """Write an archive by passing a task to a process with `do`; remove the archive if it fails verification.

    Raises
    ------
    WorkerError
        When the archive cannot be written, or does not contain the data that was written.
    """
    try:
        found = do(task)
        if found.problem:
            raise WorkerError(found.problem)
    except WorkerError:
        remove(task.destination)
        raise
    return found
