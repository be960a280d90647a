"""The interface of measurements, which extensions add to a run; entry point group ``harness.measurements``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pandas as pd

from harness import registry
from harness.documents import decode
from harness.errors import UsageError
from harness.records import CellKey, Row
from harness.run.config import RunConfig
from harness.run.plan import read_plan
from harness.run.subject import Arm, Subject
from harness.workload import Access

if TYPE_CHECKING:
    from harness.run.preparation import Prepared
    from harness.run.recorder import Recorder
    from harness.run.turns import Turns
    from harness.sampling.worker import Worker

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RunSession:
    """Resources for a measurement while a run takes samples."""

    config: RunConfig  # Configuration of the run.
    arms: list[Arm]  # Contenders of every round.
    # Folder of the run, and a folder for temporary files.
    folder: Path
    scratch: Path
    recorder: Recorder  # Writes samples, and returns how a cell failed.
    writer: Worker  # The process that writes archives; it takes no samples of reads.
    patience: float  # Time limit of a task in seconds.
    stack: ExitStack  # Closed when the run ends.
    step: Callable[..., None]  # Takes a short description of the next step, and optionally its number of steps.


class Measuring:
    """A measurement in one run, from `Measurement.open`; by default each method does nothing."""

    copy_bytes: int = 0  # Disk space in bytes that its copies need at one time.

    def begin(self, session: RunSession) -> None:
        """Open files and processes."""

    def steps(self, subject: Subject | None) -> int:
        """Return the number of steps of a subject; with None, of `before`."""
        return 0

    def before(self) -> None:
        """Take measurements that need no subject, before the first subject."""

    def complete(self, subject: Subject) -> bool:
        """Return whether all rows of a subject are recorded."""
        return True

    def after(self, subject: Subject, prepared: Prepared, suite: str, access: Access) -> None:
        """Take measurements after the samples of an access, while the archives exist."""


class Measurement:
    """A kind of measurement; an instance is registered. By default each method adds nothing.

    Attributes
    ----------
    name : str
        Key in ``measurements`` of ``run.json``.
    alone : bool
        Whether a run with this measurement measures no trace by default.
    access : str
        Access of its samples in ``samples.csv``, which have no trace and format; empty if it has no samples.
    rows : type of Row or None
        Type of the rows of its separate file; None if it has no such file.
    since : int or None
        First schema version of samples with that file; None if the file is optional.
    """

    name: ClassVar[str]
    alone: ClassVar[bool] = False
    access: ClassVar[str] = ""
    rows: ClassVar[type[Row] | None] = None
    since: ClassVar[int | None] = None

    def add_options(self, add: Callable[..., argparse.Action]) -> None:
        """Add options of ``harness run``, as `argparse.ArgumentParser.add_argument` does."""

    def asked(self, arguments: argparse.Namespace) -> dict[str, Any] | None:
        """Return the request as plain values for ``run.json``; None if the measurement was not requested."""
        return None

    def earlier(self, document: dict[str, Any]) -> dict[str, Any] | None:
        """Return the request from other fields of a ``run.json`` of an earlier version."""
        return None

    def options(self, config: RunConfig) -> Iterable[str]:
        """Return the command line options that repeat the measurement."""
        return ()

    def open(self, config: RunConfig) -> Measuring | None:
        """Check the request before the run's folder is created; return None if there is nothing to measure."""
        return None

    def turns(self, config: RunConfig, arms: Sequence[Arm], subject: Subject) -> Iterable[Turns]:
        """Return the turns in which the rows of its file are taken for a subject."""
        return ()

    def cells(self, config: RunConfig, recorded: Sequence[CellKey]) -> Iterable[tuple[CellKey, int]]:
        """Return the cells of its samples with their positions; `recorded` are the cells with rows."""
        return ()

    def check(self, run: Path) -> Iterator[tuple[str, list[str]]]:
        """Yield each check of its files against the samples of a run: its name, and the problems that it found."""
        yield from ()

    def outside(self, config: RunConfig) -> Iterable[str]:
        """Name external resources that a configuration makes it use, such as ``the directory 'x'``."""
        return ()

    def differences(self, before: Path, after: Path) -> tuple[list[str], list[str]]:
        """Describe the differences between two runs: different sizes, and equal sizes with different bytes."""
        return [], []

    def data(self, run: Path) -> Mapping[str, tuple[Any, Any]]:
        """Return the request and the content of each trace of its samples, as plain values."""
        return {}


def installed() -> list[Measurement]:
    """Return the measurements of all installed extensions that can be imported."""
    return registry.usable("measurements")


def part(config: RunConfig, name: str, kind: type[T]) -> T | None:
    """Decode a measurement's part of a configuration; return None if the run does not include it.

    Raises
    ------
    HarnessError
        When the part does not fit the type `kind`.
    """
    found = config.measurements.get(name)
    where = f"{name} in run.json of {config.run_id}"
    return None if found is None else decode(json.dumps(found), kind, where)


def unknown_parts(config: RunConfig) -> list[str]:
    """Name the measurements of a run that no installed extension provides."""
    return sorted(set(config.measurements) - {each.name for each in installed()})


def open_measurements(config: RunConfig) -> list[Measuring]:
    """Open all requested measurements of a run.

    Raises
    ------
    UsageError
        When an extension is not installed, or a request cannot be measured.
    """
    if unknown := unknown_parts(config):
        raise UsageError(f"The run asks for {', '.join(unknown)}, which no installed extension brings: install it.")
    return [found for each in installed() if (found := each.open(config)) is not None]


def copies(measuring: Sequence[Measuring]) -> int:
    """Return the disk space in bytes that copies of measurements need at one time."""
    return max((each.copy_bytes for each in measuring), default=0)


def of_installed(samples: pd.DataFrame, config: RunConfig, plan: Path) -> pd.DataFrame:
    """Return the samples without those of measurements that are not installed, whose traces are not in the plan."""
    if not unknown_parts(config) or not plan.exists():
        return samples
    planned = {described["trace"] for described in read_plan(plan)}
    return samples[samples["trace"].isin(planned) | is_apart(samples)].reset_index(drop=True)


def is_apart(samples: pd.DataFrame) -> pd.Series:
    """Return a boolean series: which samples were added by measurements of extensions."""
    return samples["access"].isin([each.access for each in installed() if each.access])
