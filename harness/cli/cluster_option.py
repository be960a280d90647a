"""The option ``--cluster`` of ``run``: measure in tasks on other nodes, by an extension found by entry point."""

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
    """Measures a run in processes that it starts elsewhere; its class is registered in ``harness.launchers``.

    Parameters
    ----------
    name : str
        The registered name that was typed.
    arguments : Namespace
        With the values of `options`.

    Attributes
    ----------
    options : mapping of str to (str, str)
        Its options of ``harness run``, by name: metavar and help. Values are text.
    typed : str
        What has to be typed again to continue the run, beginning with a blank.
    """

    options: ClassVar[dict[str, tuple[str, str]]] = {}
    typed: str = ""

    @abstractmethod
    def __init__(self, name: str, arguments: argparse.Namespace) -> None: ...

    @classmethod
    @abstractmethod
    def began(cls, folder: Path) -> bool:
        """Say whether the run in a folder was begun so, and has to be continued so."""

    @abstractmethod
    def settled(self, config: RunConfig, folder: Path, tell: Callable[[str], object]) -> RunConfig:
        """Return what is measured of what was asked, before anything is written; UsageError for what cannot be."""

    @abstractmethod
    def preview(self, planned: PlannedRun, folder: Path) -> str:
        """Return what to print in place of measuring; empty to measure. UsageError for what cannot be measured."""

    @abstractmethod
    def run(self, planned: PlannedRun, folder: Path, progress: Progress, disk: Space | None = None) -> None:
        """Leave in a folder what `harness.run.experiment.run` would; what is there already is not measured again."""

    @abstractmethod
    def check(self, folder: Path, tell: Callable[[str], object]) -> int:
        """Check what `run` left, after its report is written; return the exit code."""


def add_launchers(parser: argparse.ArgumentParser) -> None:
    """Add ``--cluster``, and the options of every extension behind it."""
    known = registry.names("launchers")
    group = parser.add_argument_group("many nodes")
    kinds = f"measure in tasks on the nodes of a cluster: {', '.join(known)}" if known else "needs an extension"
    group.add_argument("--cluster", type=one_of("cluster", known), metavar="NAME", help=f"{kinds} (default: here)")
    for name, (metavar, text) in _options().items():
        group.add_argument(f"--{name}", metavar=metavar, help=text)


def chosen(arguments: argparse.Namespace) -> Launcher | None:
    """Return what measures the run elsewhere; None where it is measured here."""
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
