"""The option ``--cluster`` of ``run``: measure in tasks on other nodes, with an extension found by entry point."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from harness import registry
from harness.cli.options import one_of
from harness.errors import UsageError
from harness.run.config import RunConfig
from harness.run.disk_space import Space
from harness.run.planned_run import PlannedRun
from harness.run.progress import Progress


class Launcher(ABC):
    """Interface that measures a run in processes on other nodes; classes are registered in ``harness.launchers``.

    Parameters
    ----------
    name : str
        The registered name that was typed.
    arguments : Namespace
        Parsed arguments, with the values of `options`.

    Attributes
    ----------
    options : mapping of str to (str, str)
        Options that it adds to ``harness run``, by name: metavar and help. Their values are text.
    typed : str
        Options that the user must repeat to continue the run, beginning with a blank.
    """

    options: ClassVar[dict[str, tuple[str, str]]] = {}
    typed: str = ""

    @abstractmethod
    def __init__(self, name: str, arguments: argparse.Namespace) -> None: ...

    @classmethod
    @abstractmethod
    def began(cls, folder: Path) -> bool:
        """Return whether the run in a folder was started by such a launcher, and must be continued by one."""

    @abstractmethod
    def settled(self, config: RunConfig, folder: Path, tell: Callable[[str], object]) -> RunConfig:
        """Return the configuration to measure, before anything is written; raise UsageError if this is impossible."""

    @abstractmethod
    def preview(self, planned: PlannedRun, folder: Path) -> str:
        """Return text to print instead of measuring; empty to measure. Raise UsageError if this is impossible."""

    @abstractmethod
    def run(self, planned: PlannedRun, folder: Path, progress: Progress, disk: Space | None = None) -> None:
        """Write the files of `harness.run.experiment.run` into a folder; do not repeat measurements that it has."""

    @abstractmethod
    def check(self, folder: Path, tell: Callable[[str], object]) -> int:
        """Check the files that `run` wrote, after the report is written; return the exit code."""


def add_launchers(parser: argparse.ArgumentParser) -> None:
    """Add ``--cluster``, and the options of every extension behind it."""
    known = registry.names("launchers")
    group = parser.add_argument_group("many nodes")
    kinds = f"measure in tasks on the nodes of a cluster: {', '.join(known)}" if known else "needs an extension"
    group.add_argument("--cluster", type=one_of("cluster", known), metavar="NAME", help=f"{kinds} (default: here)")
    for name, (metavar, text) in _options().items():
        group.add_argument(f"--{name}", metavar=metavar, help=text)


def chosen(arguments: argparse.Namespace) -> Launcher | None:
    """Return the launcher that measures the run elsewhere; None if the run is measured here."""
    if arguments.cluster is None:
        for name in _options():
            if getattr(arguments, name.replace("-", "_")) is not None:
                raise UsageError(f"--{name} is an option of --cluster: add --cluster, or leave it out.")
        if arguments.resume and arguments.out and any(kind.began(arguments.out) for kind in _kinds()):
            raise UsageError(f"{arguments.out} was begun in tasks on other nodes: continue it with --cluster, too.")
        return None
    kind: type[Launcher] = registry.load("launchers", arguments.cluster)
    return kind(arguments.cluster, arguments)


def _kinds() -> list[type[Launcher]]:
    return registry.usable("launchers")


def _options() -> dict[str, tuple[str, str]]:
    return {name: about for kind in _kinds() for name, about in kind.options.items()}
