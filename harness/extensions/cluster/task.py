"""Tasks on a node: write the archives of a block, or measure a block whose archives are written."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import registry
from harness.analysis.noise import differences_of
from harness.errors import HarnessError, UsageError
from harness.extensions.cluster.node import Node, describe_node, host
from harness.formats.archive import archive_size, remove
from harness.limits import limits
from harness.report.folders import held
from harness.run.config import RunConfig
from harness.run.experiment import run
from harness.run.machine import describe
from harness.run.planned_run import PlannedRun
from harness.run.preparation import Prepared, prepare
from harness.run.subject import Arm
from harness.sampling.interrupt import deferred
from harness.sampling.worker import Worker

_OURS = ("harness", "commit")  # of this package; `differences_of` compares what else is installed


@dataclass(frozen=True, kw_only=True)
class TypedOptions:
    """Options of the command line that also hold for tasks: plug-ins that may be imported, and the inflation limit."""

    plugins: tuple[registry.Name, ...]
    inflated: int | None

    @classmethod
    def here(cls) -> TypedOptions:
        """Return the options of this process."""
        return cls(plugins=registry.allowed(), inflated=limits.inflated)

    def apply(self) -> None:
        """Apply the options to this process."""
        registry.allow(*self.plugins)
        limits.inflated = self.inflated


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """Result of a task; submitit pickles it for the process that started the task."""

    node: Node  # Node on which it ran.
    # Start and end of the task, by the node's clock.
    began: float
    ended: float
    problem: str = ""  # Why it does not count; empty if it does.
    prepared: Prepared | None = None  # The archives that it wrote.
    arms: tuple[Arm, ...] = ()  # The contenders, as the node finds them.
    # Totals of the archives.
    files: int = 0
    archive_bytes: int = 0
    # Versions of interpreter, libraries and this package, as `harness.run.machine.describe` names them.
    software: dict[str, Any] = field(default_factory=dict)


class Unheard:
    """Progress without output: the log of a task is read only after it has failed."""

    def total(self, steps: int) -> None:
        """Print nothing."""

    def step(self, text: str, steps: int = 1) -> None:
        """Print nothing."""


def write_archives(folder: Path, destination: Path, allowed: TypedOptions) -> TaskResult:
    """Write every archive of a block, and check each.

    Parameters
    ----------
    folder : Path
        Folder of the block, with its configuration.
    destination : Path
        Folder for the archives; its previous content is removed.
    allowed : TypedOptions
        Options of the run for its tasks.

    Returns
    -------
    TaskResult
        Result with the archives.
    """

    def go(planned: PlannedRun) -> dict[str, object]:
        (subject,) = planned.subjects
        remove(destination)
        destination.mkdir(parents=True)
        patience = planned.config.patience(subject.manifest.nbytes)
        with deferred(), ExitStack() as stack:
            worker = stack.enter_context(Worker(patience, threads=planned.config.threads))
            prepared = prepare(subject, planned.arms, destination, worker, planned.config.seed)
        return {
            "prepared": prepared,
            "files": sum(written.files for written in prepared.writes.values()),
            "archive_bytes": sum(written.size_bytes for written in prepared.writes.values()),
        }

    return _done(folder, allowed, go)


def measure(folder: Path, written: TaskResult, apart: bool, allowed: TypedOptions) -> TaskResult:
    """Measure a block in a run folder of its own.

    Parameters
    ----------
    folder : Path
        Run folder with the configuration; nothing was measured in it before.
    written : TaskResult
        Result of `write_archives`.
    apart : bool
        Whether this must be another node than the one that wrote.
    allowed : TypedOptions
        Options of the run for its tasks.

    Returns
    -------
    TaskResult
        Result without figures: the rows are in the folder.
    """
    prepared = written.prepared
    assert prepared is not None

    def go(planned: PlannedRun) -> dict[str, object]:
        if (folder / "environment.json").exists():
            raise HarnessError("it was begun before and did not end, as when the scheduler starts a task again")
        if apart and host() == written.node["host"]:
            raise HarnessError(f"it was started on {host()}, which wrote the archives that it has to read")
        _require_alike(planned.arms, written, _software(folder))
        _require_arrived(prepared, written.node["host"])
        with held(folder):
            run(dataclasses.replace(planned, prepare=lambda *_: prepared), folder, Unheard())
        return {}

    return _done(folder, allowed, go)


def _done(folder: Path, allowed: TypedOptions, go: Callable[[PlannedRun], dict[str, object]]) -> TaskResult:
    """Run a task, and return its result with node and times; a HarnessError becomes the problem of the result."""
    began, found, problem = time.time(), dict[str, object](), ""
    arms: tuple[Arm, ...] = ()
    try:
        allowed.apply()
        planned = PlannedRun.of(RunConfig.read(folder / "run.json"))
        arms = tuple(planned.arms)
        found = go(planned)
    except HarnessError as error:
        problem = str(error).rstrip(".")
    about = {"node": describe_node(folder), "began": began, "ended": time.time(), "problem": problem, "arms": arms}
    return TaskResult(**about, software=_software(folder), **found)  # type: ignore[arg-type]


def _software(folder: Path) -> dict[str, Any]:
    here = describe(folder)
    return {name: here[name] for name in ("libraries", "python", *_OURS)}


def _require_alike(arms: list[Arm], written: TaskResult, here: dict[str, Any]) -> None:
    """Raise `UsageError` if this node has other libraries or readers than the one that wrote."""
    there = written.software
    own = [f"{name} ({there[name]}, then {here[name]})" for name in _OURS if there[name] != here[name]]
    if differing := ", ".join(filter(None, (differences_of([there, here]), *own))):
        raise UsageError(
            f"these differ between {written.node['host']}, which wrote the archives, and {host()}: {differing}. "
            "Install the same packages on all nodes"
        )
    if tuple(arms) != written.arms:
        theirs = {(arm.label, arm.profile, arm.reader): arm.missing for arm in written.arms}
        other = next((a for a in arms if theirs.get((a.label, a.profile, a.reader)) != a.missing), None)
        which = f"the reader {other.reader} of {other.label}" if other else "the formats"
        raise UsageError(
            f"{which} cannot be used alike on {host()} and on {written.node['host']}, which wrote the archives: "
            "install the same packages on all nodes"
        )


def _require_arrived(prepared: Prepared, writer: str) -> None:
    """Raise HarnessError if a shared filesystem shows archives in other sizes than written; reads are verified too."""
    for arm, done in prepared.writes.items():
        path = prepared.archives.get(arm)
        if path is None:
            continue
        try:
            seen = archive_size(path)
        except OSError as error:
            raise HarnessError(f"{host()} does not see {path.name}, which {writer} wrote: {error.strerror}") from error
        if seen != (done.size_bytes, done.files):
            raise HarnessError(
                f"{host()} sees {seen[0]} bytes in {seen[1]} files of {path.name}, and {writer} wrote "
                f"{done.size_bytes} in {done.files}: the shared filesystem is behind"
            )
