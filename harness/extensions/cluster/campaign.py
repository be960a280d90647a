"""Tasks of a run: write, then measure each block; repeat a task that died once, else record the block as failed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.errors import HarnessError
from harness.extensions.cluster.document import TASKS, ClusterDocument, TaskEnd, TaskPart, write_cluster
from harness.extensions.cluster.jobs import Ended
from harness.extensions.cluster.merge import MergedPart, TaskBlock, problems
from harness.extensions.cluster.task import TaskResult, TypedOptions, Unheard, measure, write_archives
from harness.files import plain_name
from harness.formats.archive import remove
from harness.records import NoFigure
from harness.run.completeness import SAMPLES
from harness.run.experiment import SCRATCH, run
from harness.run.planned_run import PlannedRun
from harness.run.planning import asked_traces
from harness.run.preparation import Prepared
from harness.run.progress import Progress
from harness.run.subject import Arm, Subject
from harness.sampling.worker import Worker

ARCHIVES = "archives"
"""Folder in that of a block, which its tasks write and read; one folder for each attempt, removed in the end."""

_FAILED = "failed"  # folder of the rows that record why a block was not measured


class Starter(Protocol):
    """Protocol for starting tasks, as `harness.extensions.cluster.jobs.Jobs` does."""

    def start(self, name: str, function: Callable[..., object], *arguments: object, exclude: str = "") -> Any:
        """Start a task on none of the nodes `exclude`, and return its job."""

    def wait(self, job: Any) -> Ended:
        """Wait for the end of a job, and return its result."""


def blocks_of(planned: PlannedRun, folder: Path) -> list[TaskBlock]:
    """Divide a run into blocks: a trace at one length each.

    Formats are compared within an access of a trace, in common rounds. So all contenders, suites and cache states of a
    trace stay in one task.
    """
    found = []
    for number, ((text, n_res), subject) in enumerate(
        zip(asked_traces(planned.config), planned.subjects, strict=True), 1
    ):
        length = f"-{subject.n_res}" if subject.n_res else ""
        name = f"{number:03d}-{plain_name(subject.label)[:60]}{length}"
        sizes = planned.config.sizes if n_res is None else (n_res,)
        config = dataclasses.replace(planned.config, run_id=name, traces=(text,), sizes=sizes)
        found.append(TaskBlock(name=name, folder=folder / TASKS / name, config=config, subject=subject))
    return found


def clear(block: TaskBlock) -> Iterator[str]:
    """Remove the archives of a block, also those of killed tasks; yield what cannot be removed, and why."""
    for left in (block.folder / ARCHIVES, *block.folder.glob(f"*/{SCRATCH}")):
        try:
            remove(left)
        except OSError as error:
            yield f"{left} cannot be removed ({error.strerror}): a task may still write there. Remove it afterwards."


@dataclass
class Campaign:
    """Tasks of a run: starts them, waits for them, and determines the run folder that counts for each block."""

    jobs: Starter  # Starts tasks.
    folder: Path  # Folder of the run.
    document: ClusterDocument  # Record of the tasks; written whenever one ends.
    allowed: TypedOptions  # Options of the run for its tasks.
    apart: bool  # Whether archives must be read on another node than the one that wrote them.
    progress: Progress  # Receives every task.
    _numbers: dict[str, int] = field(default_factory=dict)

    def measure(self, blocks: Sequence[TaskBlock]) -> list[MergedPart]:
        """Measure the remaining blocks, `at_once` at a time; a block that cannot be measured gets rows that say why."""
        self.progress.total(2 * len(blocks))
        size, found = self.document["at_once"], dict[str, MergedPart]()
        for start in range(0, len(blocks), size):
            for block in blocks[start : start + size]:
                if (whole := self._whole(block)) is not None:
                    self.progress.step(f"{block.name} is complete", 2)
                    found[block.name] = whole
            due = [block for block in blocks[start : start + size] if block.name not in found]
            found |= {part.block.name: part for part in self._taken(due)}
        return [found[block.name] for block in blocks]

    def _whole(self, block: TaskBlock) -> MergedPart | None:
        """Return the complete measurement of a block, by this process or an earlier one; None if there is none."""
        for task in reversed(self.document["tasks"]):
            folder = block.folder / str(task["attempt"])
            ended = (task["block"], task["part"], task["problem"]) == (block.name, "measure", "")
            if not ended or task["node"] is None or not (folder / SAMPLES).is_file():
                continue
            try:
                damaged = any(problems(folder, block, spoilt=False))
            except HarnessError:
                damaged = True
            if not damaged:
                return MergedPart(block=block, folder=folder, host=task["node"]["host"])
        return None

    def _taken(self, due: Sequence[TaskBlock]) -> Iterator[MergedPart]:
        """Write some blocks, then measure them, and yield the part of each."""
        why: dict[str, str] = {}
        for block in due:
            self._begin(block)
        written = self._twice(due, "write", self._write, self._unwritten, why)
        written = self._within_budget(written, why)
        ready = [block for block in due if block.name in written]
        measured = self._twice(
            ready, "measure", lambda block, again: self._measure(block, written[block.name], again), self._left, why
        )
        for block in due:
            list(clear(block))  # what cannot be removed is reported when the run ends
            if (result := measured.get(block.name)) is not None:
                yield MergedPart(block=block, folder=self._attempt(block), host=result.node["host"])
            else:
                yield self._failed(block, why[block.name])

    def _begin(self, block: TaskBlock) -> None:
        """Create the folder of the next attempt at a block."""
        known = [int(path.name) for path in block.folder.glob("*") if path.name.isdecimal()]
        known += [task["attempt"] for task in self._tasks(block, "measure")]
        self._numbers[block.name] = 1 + max(known, default=0)
        self._attempt(block).mkdir(parents=True)
        block.config.save(self._attempt(block) / "run.json")

    def _tasks(self, block: TaskBlock, part: TaskPart) -> list[TaskEnd]:
        return [task for task in self.document["tasks"] if (task["block"], task["part"]) == (block.name, part)]

    def _attempt(self, block: TaskBlock) -> Path:
        return block.folder / str(self._numbers[block.name])

    def _write(self, block: TaskBlock, again: bool) -> Any:
        # Never where an earlier task wrote: one that was given up may still be writing.
        destination = block.folder / ARCHIVES / f"{self._numbers[block.name]}-{1 + again}"
        return self.jobs.start(f"{block.name}-write", write_archives, self._attempt(block), destination, self.allowed)

    def _measure(self, block: TaskBlock, written: TaskResult, again: bool) -> Any:
        if again:
            self._begin(block)
        arguments = (self._attempt(block), written, self.apart, self.allowed)
        exclude = written.node["host"] if self.apart else ""
        return self.jobs.start(f"{block.name}-measure", measure, *arguments, exclude=exclude)

    def _unwritten(self, block: TaskBlock, result: TaskResult, again: bool) -> str:
        """Return why a failed node could not write an archive; empty the second time, when its cells record this."""
        failures = result.prepared.failures.values() if result.prepared and not again else ()
        return next((failure.reason for failure in failures if failure.cause), "")

    def _left(self, block: TaskBlock, result: TaskResult, again: bool) -> str:
        """Return what an ended task left out; if the node failed the second time, its cells record this instead."""
        return next(problems(self._attempt(block), block, spoilt=again), "")

    def _twice(
        self,
        blocks: Sequence[TaskBlock],
        part: TaskPart,
        start: Callable[[TaskBlock, bool], Any],
        left: Callable[[TaskBlock, TaskResult, bool], str],
        why: dict[str, str],
    ) -> dict[str, TaskResult]:
        """Run a task for each block, and once more for those that died; `why` gets the problems of the others."""
        found: dict[str, TaskResult] = {}
        for again in (False, True):
            due = [block for block in blocks if block.name not in found]
            started = [(block, time.time(), start(block, again)) for block in due]
            for block, since, job in started:
                self.progress.step(f"{part} {block.name}", 0)
                ended = self.jobs.wait(job)
                result: TaskResult | None = ended.value
                problem = ended.problem if result is None else result.problem
                if result is not None and not problem:
                    try:
                        problem = left(block, result, again)
                    except HarnessError as error:
                        problem = str(error).rstrip(".")
                self._note(block, part, getattr(job, "job_id", ""), problem, result, since)
                if result is not None and not problem:
                    found[block.name] = result
                    self.progress.step(f"{part} {block.name} has ended")
                else:
                    why[block.name] = problem
        return found

    def _note(
        self, block: TaskBlock, part: TaskPart, job: str, problem: str, result: TaskResult | None, since: float
    ) -> None:
        outside = None
        if result is not None:
            early, late = min(0.0, result.began - since), max(0.0, result.ended - time.time())
            outside = round(early if -early > late else late, 3)
        attempt = self._numbers[block.name] if part == "measure" else 1 + len(self._tasks(block, part))
        self.document["tasks"].append(
            {
                "block": block.name, "trace": block.subject.label, "n_res": block.subject.n_res, "part": part,
                "attempt": attempt, "job": str(job), "problem": problem,
                "node": result.node if result else None,
                "seconds": round(result.ended - result.began, 1) if result else None,
                "files": result.files if result else 0, "archive_bytes": result.archive_bytes if result else 0,
                "clock_outside_seconds": outside,
            }
        )  # fmt: skip
        write_cluster(self.folder, self.document)

    def _within_budget(self, written: dict[str, TaskResult], why: dict[str, str]) -> dict[str, TaskResult]:
        """Drop blocks whose archives exceed the budget of files for all archives at hand; `why` gets the reason."""
        budget, files, kept = self.document["files_budget"], 0, dict[str, TaskResult]()
        for name, result in written.items():
            if files + result.files <= budget:
                files += result.files
                kept[name] = result
            else:
                why[name] = (
                    f"its archives have {result.files} files, which is more than the budget of {budget} leaves: give a "
                    "larger --files-budget, fewer formats or a smaller --at-once"
                )
        return kept

    def _failed(self, block: TaskBlock, why: str) -> MergedPart:
        """Record every cell of a block as failed because of the machine, in a run folder of its own."""
        folder = block.folder / _FAILED
        remove(folder)
        folder.mkdir(parents=True)
        block.config.save(folder / "run.json")

        def prepare(subject: Subject, arms: list[Arm], scratch: Path, worker: Worker, seed: int) -> Prepared:
            failure = NoFigure("failed", f"the task was run twice at most, and this was not measured: {why}", "machine")
            return Prepared(scratch / "trace.raw", subject.manifest, failures=dict.fromkeys(arms, failure))

        planned = PlannedRun.of(block.config)
        # The processes started here read nothing, and this node may have fewer processors than the nodes that measure.
        config = dataclasses.replace(block.config, threads=None)
        run(dataclasses.replace(planned, config=config, measuring=[], prepare=prepare), folder, Unheard())
        return MergedPart(block=block, folder=folder, host="")
