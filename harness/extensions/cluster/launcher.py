"""``harness run --cluster local|slurm``: options, refusals, and the run from the first task to the final check."""

from __future__ import annotations

import argparse
import dataclasses
import re
import shlex
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from harness.cli import terminal
from harness.cli.cluster_option import Launcher
from harness.cli.options import integer
from harness.cli.readers import resume_command
from harness.errors import HarnessError, UsageError, escaped
from harness.evidence.bundle import read_bundle, write_bundle
from harness.evidence.check import check
from harness.extensions.cluster.campaign import Campaign, blocks_of, clear
from harness.extensions.cluster.document import FILE, TASKS, ClusterDocument, notes, read_cluster, write_cluster
from harness.extensions.cluster.jobs import LOCAL, SLURM, Jobs
from harness.extensions.cluster.merge import TaskBlock, merge
from harness.extensions.cluster.task import TypedOptions
from harness.files import write_text
from harness.formats.archive import remove
from harness.records import LUKEWARM
from harness.run.completeness import SAMPLES
from harness.run.config import RunConfig
from harness.run.disk_space import Space
from harness.run.measurement import installed
from harness.run.planned_run import PlannedRun
from harness.run.progress import Progress
from harness.sampling.cache import cold_is_proven
from harness.sampling.interrupt import exit_code
from harness.workload import Cache

_AT_ONCE = {LOCAL: 1, SLURM: 4}
_MINUTES, _FILES = 1440, 100_000
_KEY = re.compile(r"[a-z][a-z0-9-]*")
_OURS = (
    "nodes", "ntasks", "ntasks-per-node", "array", "time", "output", "error", "open-mode", "signal", "requeue",
    "no-requeue", "chdir", "job-name", "exclusive",
)  # fmt: skip
"""Options of sbatch that are set here: else a task could start twice, elsewhere or next to others, or get lost."""

_JOBS = "jobs"  # in the folder of tasks: scripts, and what submitit pickles for tasks and unpickles from them


class ClusterLauncher(Launcher):
    """Launcher that measures each block of a run in tasks of its own, through submitit, and merges their results."""

    options: ClassVar = {
        "task-minutes": ("N", f"time limit of a task (default: {_MINUTES})"),
        "at-once": (
            "N",
            "blocks that are written and measured at one time, each by a node of its own (default: "
            f"{_AT_ONCE[SLURM]}; local: always 1)",
        ),
        "files-budget": ("N", f"files that the archives at hand may have together (default: {_FILES})"),
        "sbatch": (
            "KEY=VALUE,...",
            "options of sbatch for every task, such as partition=long,account=mine (default: none)",
        ),
        "script": ("FILE", "write the script of a task for Slurm there, and measure nothing (default: none)"),
    }

    def __init__(self, name: str, arguments: argparse.Namespace) -> None:
        self._kind = name
        self._minutes = _number(arguments.task_minutes, "--task-minutes", _MINUTES)
        self._at_once = _number(arguments.at_once, "--at-once", _AT_ONCE[name])
        self._files = _number(arguments.files_budget, "--files-budget", _FILES)
        self._sbatch = _options(arguments.sbatch)
        self._script = Path(arguments.script) if arguments.script else None
        if name == LOCAL and (self._at_once > 1 or self._sbatch or self._script):
            raise UsageError(
                "--cluster local runs one task after the other on this machine, so that none disturbs another: leave "
                "out --at-once, --sbatch and --script."
            )
        given = {option: getattr(arguments, option.replace("-", "_")) for option in self.options if option != "script"}
        typed = [f" --{option} {shlex.quote(str(value))}" for option, value in given.items() if value is not None]
        self.typed = f" --cluster {name}{''.join(typed)}"

    @classmethod
    def began(cls, folder: Path) -> bool:
        """Return whether tasks were started for a run."""
        return (folder / FILE).exists()

    def settled(self, config: RunConfig, folder: Path, tell: Callable[[str], object]) -> RunConfig:
        """Raise `UsageError` for what tasks cannot measure alike; call cold reads lukewarm if they cannot be proven."""
        if config.store is not None:
            raise UsageError("--cluster reads from a shared filesystem: leave out --store.")
        if config.trace_bytes is not None and len(config.sizes) > 1:
            raise UsageError("--trace-bytes cuts a trace at all its lengths alike: with --cluster give one of --sizes.")
        if alone := [each.name for each in installed() if each.alone and each.name in config.measurements]:
            raise UsageError(f"The measurement {alone[0]} has no trace to divide into tasks: leave out --cluster.")
        if self._kind == SLURM:
            tell(
                f"Threads of each contender: {config.threads}. The default is the number of processors of this node: "
                "give --threads where those of the cluster have another."
            )
        # On Slurm, archives are read on another node, and this node may be its file server. So the filesystem seen
        # here, such as ext4, does not show what that node sees.
        if "cold" in config.caches and (self._kind == SLURM or not cold_is_proven(folder)):
            tell("Cold reads cannot be proven on this filesystem: they are called lukewarm, and no grade uses them.")
            caches: tuple[Cache, ...] = tuple("lukewarm" if state == "cold" else state for state in config.caches)
            return dataclasses.replace(config, caches=caches)
        return config

    def preview(self, planned: PlannedRun, folder: Path) -> str:
        """Write the script of the first task if requested; raise if this machine cannot start tasks."""
        jobs = self._jobs(folder)
        jobs.require(here=self._script is None)
        if self._script is None:
            return ""
        (first, *_), count = blocks_of(planned, folder), len(planned.subjects)
        write_text(self._script, jobs.script(f"{first.name}-measure", "WRITER"))
        return (
            f"Script: {self._script}, of the task that measures {first.name}. The run has {count} blocks of two tasks; "
            "WRITER stands for the node that wrote. Nothing was submitted."
        )

    def run(self, planned: PlannedRun, folder: Path, progress: Progress, disk: Space | None = None) -> None:
        """Run the tasks of all blocks that are not measured yet, and merge their folders.

        Raises
        ------
        UsageError
            If the folder was begun in another way, or has links where tasks write.
        HarnessError
            If blocks cannot be merged, or after Ctrl-C: every task is then ended, and complete blocks count.
        """
        if not self.began(folder) and (folder / SAMPLES).exists():
            raise UsageError(f"{folder} was begun on one machine: continue it there, without --cluster.")
        blocks = blocks_of(planned, folder.absolute())
        _require_own(folder.absolute() / TASKS, blocks)
        at_once = min(self._at_once, len(blocks))
        if disk is not None and disk.archives * at_once > disk.free:
            raise UsageError(
                f"The archives of {at_once} blocks may take {disk.archives * at_once / 1e9:.1f} GB together, and "
                f"{disk.free / 1e9:.1f} GB are free: give a smaller --at-once, and continue the run."
            )
        document = self._document(folder, planned.config)
        # Answers of earlier tasks may come from anyone, and have the numbers of tasks to come: none is ever unpickled.
        remove(folder.absolute() / TASKS / _JOBS)
        write_cluster(folder, document)
        jobs = self._jobs(folder)
        campaign = Campaign(jobs, folder, document, TypedOptions.here(), self._kind == SLURM, progress)
        try:
            parts = campaign.measure(blocks)
            merge(folder, planned.config, parts)
        except KeyboardInterrupt as error:
            onward = resume_command(folder, planned.config, self.typed)
            stopped = HarnessError(f"Interrupted; blocks that were measured are kept. Continue with: {onward}")
            stopped.exit_code = exit_code(error)
            raise stopped from error
        finally:
            jobs.cancel()
            for problem in (text for block in blocks for text in clear(block)):
                terminal.complain(problem)

    def check(self, folder: Path, tell: Callable[[str], object]) -> int:
        """Report the notes on the tasks; pack the merged run, and check that its report follows from its samples."""
        document = read_cluster(folder)
        for note in notes(document) if document else ():
            tell(escaped(note))
        tell("Checking the merged run.")
        with tempfile.TemporaryDirectory(prefix="harness-cluster-") as scratch:
            path = Path(scratch) / "run.bundle.zip"
            write_bundle(folder, path)
            results = check(read_bundle(path), Path(scratch))
        wrong = [result for result in results if result.problems]
        for result in wrong:
            more = f" (harness check names {len(result.problems) - 1} more)" if len(result.problems) > 1 else ""
            terminal.complain(f"{result.what}: {result.problems[0]}{more}")
        if not wrong:
            tell(f"Checked: {len(results)} statements of the merged run follow from its samples.")
        return 1 if wrong else 0

    def _jobs(self, folder: Path) -> Jobs:
        return Jobs(self._kind, (folder / TASKS / _JOBS).absolute(), self._minutes, self._sbatch)

    def _document(self, folder: Path, config: RunConfig) -> ClusterDocument:
        known = read_cluster(folder)
        if known and known["cluster"] != self._kind:
            raise UsageError(f"{folder} was begun with --cluster {known['cluster']}: continue it so.")
        return {
            "cluster": self._kind, "at_once": self._at_once, "minutes": self._minutes, "files_budget": self._files,
            "lukewarm": LUKEWARM in config.caches, "tasks": known["tasks"] if known else [],
        }  # fmt: skip


def _number(text: str | None, option: str, default: int) -> int:
    return default if text is None else integer(option)(text)


def _options(text: str | None) -> dict[str, str]:
    found = {}
    for part in text.split(",") if text is not None else ():
        key, _, value = part.partition("=")
        if not _KEY.fullmatch(key) or not value or not value.isprintable():
            raise UsageError(f"--sbatch takes options as KEY=VALUE separated by commas, got {text!r}.")
        if any(name.startswith(key) for name in _OURS):  # sbatch accepts the beginning of a name
            raise UsageError(f"--sbatch cannot set {key}, which --cluster sets itself: leave it out.")
        found[key] = value
    return found


def _require_own(tasks: Path, blocks: Sequence[TaskBlock]) -> None:
    """Raise `UsageError` for links in folders that tasks write to or that are cleared: they may lead anywhere."""
    for path in (tasks, *(path for block in blocks for path in (block.folder, *block.folder.glob("*")))):
        if path.is_symlink():
            raise UsageError(f"{path} is a link: remove it, and resume the run.")
