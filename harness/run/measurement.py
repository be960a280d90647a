"""What an extension measures in a run besides what suites ask for; found by entry point ``harness.measurements``."""

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
    """What a measurement may use while a run takes its samples.

    Attributes
    ----------
    config : RunConfig
        Of the run.
    arms : list of Arm
        What runs in every round.
    folder, scratch : Path
        Of the run, and one for what does not stay.
    recorder : Recorder
        Writes samples, and knows how a cell's samples failed.
    writer : Worker
        The process that writes archives; none of the samples of reads are taken there.
    patience : float
        Seconds after which a task counts as hung.
    stack : ExitStack
        Closes what was opened when the run ends.
    step : callable
        Told in a few words what comes next; optionally how many steps that is.
    """

    config: RunConfig
    arms: list[Arm]
    folder: Path
    scratch: Path
    recorder: Recorder
    writer: Worker
    patience: float
    stack: ExitStack
    step: Callable[..., None]


class Measuring:
    """A measurement of one run, from `Measurement.open`; each method does nothing unless it is overridden.

    Attributes
    ----------
    copy_bytes : int
        Bytes of the disk that its copies take at one time.
    """

    copy_bytes: int = 0

    def begin(self, session: RunSession) -> None:
        """Open what it writes and the processes that it needs."""

    def steps(self, subject: Subject | None) -> int:
        """Return how many steps it will report of a subject; with None, of what comes before the first."""
        return 0

    def before(self) -> None:
        """Measure what no subject is needed for, before the first."""

    def complete(self, subject: Subject) -> bool:
        """Say whether there is nothing left to take of a subject."""
        return True

    def after(self, subject: Subject, prepared: Prepared, suite: str, access: Access) -> None:
        """Measure when the samples of an access are taken, while its archives are there."""


class Measurement:
    """What an extension adds to runs; an instance is registered. Each method adds nothing unless it is overridden.

    Attributes
    ----------
    name : str
        Its key in ``measurements`` of ``run.json``.
    alone : bool
        Whether a run that asks for it measures no trace unless one is named.
    access : str
        The access of the samples that it adds to ``samples.csv``, whose trace and format are none; empty for none.
    rows : type of Row or None
        The rows of a file of its own.
    since : int or None
        The schema of samples from which on a run has that file; None where it need not have it.
    """

    name: ClassVar[str]
    alone: ClassVar[bool] = False
    access: ClassVar[str] = ""
    rows: ClassVar[type[Row] | None] = None
    since: ClassVar[int | None] = None

    def add_options(self, add: Callable[..., argparse.Action]) -> None:
        """Add options of ``harness run``, as `argparse.ArgumentParser.add_argument` does."""

    def asked(self, arguments: argparse.Namespace) -> dict[str, Any] | None:
        """Return its part of ``run.json``, plain values; None where it is not asked for."""
        return None

    def earlier(self, document: dict[str, Any]) -> dict[str, Any] | None:
        """Take its part out of fields of a ``run.json`` that nobody else knows, where earlier versions had it there."""
        return None

    def options(self, config: RunConfig) -> Iterable[str]:
        """Return the options that ask for the same again."""
        return ()

    def open(self, config: RunConfig) -> Measuring | None:
        """Open what a run asks for, before its folder is made; None where it has nothing to measure."""
        return None

    def turns(self, config: RunConfig, arms: Sequence[Arm], subject: Subject) -> Iterable[Turns]:
        """Return the turns in which the rows of its file were taken for a subject."""
        return ()

    def cells(self, config: RunConfig, recorded: Sequence[CellKey]) -> Iterable[tuple[CellKey, int]]:
        """Return the cells of its samples with their positions; `recorded` are those that there are rows of."""
        return ()

    def check(self, run: Path) -> Iterator[tuple[str, list[str]]]:
        """Yield what was checked of its files in a run's folder, with what does not follow from the samples."""
        yield from ()

    def outside(self, config: RunConfig) -> Iterable[str]:
        """Name what it uses that a configuration alone chooses, as ``the directory 'x'``."""
        return ()

    def differences(self, before: Path, after: Path) -> tuple[list[str], list[str]]:
        """Say in words what of two runs has another size, and what has the same size and other bytes."""
        return [], []

    def data(self, run: Path) -> Mapping[str, tuple[Any, Any]]:
        """Return, for each trace of its samples, what was asked of it and what it holds, both as plain values."""
        return {}


def installed() -> list[Measurement]:
    """Return the measurements of all installed extensions that can be imported."""
    return registry.usable("measurements")


def part(config: RunConfig, name: str, kind: type[T]) -> T | None:
    """Decode a measurement's part of a configuration; None where the run did not ask for it.

    Raises
    ------
    HarnessError
        When it does not fit.
    """
    found = config.measurements.get(name)
    where = f"{name} in run.json of {config.run_id}"
    return None if found is None else decode(json.dumps(found), kind, where)


def unknown_parts(config: RunConfig) -> list[str]:
    """Name what a run asks for that no installed extension brings."""
    return sorted(set(config.measurements) - {each.name for each in installed()})


def open_measurements(config: RunConfig) -> list[Measuring]:
    """Open everything that a run asks of extensions.

    Raises
    ------
    UsageError
        When an extension is not installed, or something cannot be measured.
    """
    if unknown := unknown_parts(config):
        raise UsageError(f"The run asks for {', '.join(unknown)}, which no installed extension brings: install it.")
    return [found for each in installed() if (found := each.open(config)) is not None]


def copies(measuring: Sequence[Measuring]) -> int:
    """Return the bytes of the disk that copies take at one time."""
    return max((each.copy_bytes for each in measuring), default=0)


def of_installed(samples: pd.DataFrame, config: RunConfig, plan: Path) -> pd.DataFrame:
    """Leave out the samples of measurements that no installed extension brings: those of no trace of the plan."""
    if not unknown_parts(config) or not plan.exists():
        return samples
    planned = {described["trace"] for described in read_plan(plan)}
    return samples[samples["trace"].isin(planned) | is_apart(samples)].reset_index(drop=True)


def is_apart(samples: pd.DataFrame) -> pd.Series:
    """Tell the samples that measurements of extensions added from those of formats."""
    return samples["access"].isin([each.access for each in installed() if each.access])
