"""What tests of several rooms share: a tiny run, and real data where there is any."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from matplotlib.figure import Figure

from harness import registry
from harness.analysis.report_options import find_options
from harness.limits import limits
from harness.report import write
from harness.report.drawing.plots import plotted
from harness.report.write import write_report
from harness.run.config import RunConfig
from harness.run.experiment import run
from harness.run.planned_run import PlannedRun
from harness.workload import PlanOptions

settings.register_profile("untimed", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")  # the speed of the machine decides no test


class Counted:
    """Progress that remembers how far it was told to be."""

    def __init__(self) -> None:
        self.steps = self.planned = 0

    def total(self, steps: int) -> None:
        self.planned = steps

    def step(self, text: str, steps: int = 1) -> None:
        self.steps += steps


TINY = RunConfig(
    run_id="tiny",
    preset="quick",
    traces=("synthetic:layers=1,heads=2,hidden_dim=16,pair_dim=8",),
    sizes=(40,),
    formats=("hdf5",),
    profiles=("tuned",),
    suites=("size", "write", "full_read", "layer_read", "random_access"),
    caches=("warm",),
    rounds=2,
    baseline="hdf5",
    timeout=60,
    options=PlanOptions(attention_windows=4, pair_windows=2, workers=(("threads", 2), ("processes", 2))),
)


@pytest.fixture(autouse=True)
def nothing_allowed() -> Iterator[None]:
    """Let no test import what only another one was allowed to, or inflate as much."""
    registry.forget_allowed()
    yield
    registry.forget_allowed()
    limits.inflated = None


def allow(*formats: str) -> None:
    """Allow formats of the tests' own, as a person does who types them."""
    registry.allow(*(("formats", name) for name in formats if ":" in name))


@pytest.fixture
def measure(tmp_path: Path) -> Callable[..., tuple[Path, Counted]]:
    """Run a tiny configuration, changed by keyword, and return its folder and progress.

    With ``explained=False`` only samples are taken, and no process is started that explains them.
    """

    def go(folder: Path | None = None, *, explained: bool = True, **changes: object) -> tuple[Path, Counted]:
        config = dataclasses.replace(TINY, **changes)  # type: ignore[arg-type]
        allow(*config.formats)
        folder = folder or tmp_path / "run"
        folder.mkdir(exist_ok=True)
        config.save(folder / "run.json")
        planned, progress = PlannedRun.of(config), Counted()
        run(planned if explained else dataclasses.replace(planned, measuring=[]), folder, progress)
        return folder, progress

    return go


VERDICTS = dataclasses.replace(
    TINY,
    run_id="small",
    formats=("hdf5", "npz"),
    rounds=10,
    caches=("warm", "cold"),
    options=PlanOptions(
        attention_windows=4, pair_windows=2, workers=(("threads", 2), ("processes", 1), ("processes", 2))
    ),
    suites=("size", "write", "full_read", "layer_read", "random_access", "parallel_access"),
)


def measured(folder: Path, config: RunConfig = VERDICTS) -> Path:
    """Make a run as the command line does, without its terminal."""
    folder.mkdir(parents=True)
    config = dataclasses.replace(config, run_id=folder.name)
    config.save(folder / "run.json")
    run(PlannedRun.of(config), folder, Counted())
    return folder


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Let one process of the tests make a folder and all others wait for it; it is changed only in copies."""
    root = factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder, whole = root / name, root / f"{name}.whole"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            whole.touch()
    return folder


def reported(factory: pytest.TempPathFactory, name: str, config: RunConfig) -> Path:
    """Make a run and its report, once for all processes of the tests; its name is small."""

    def make(folder: Path) -> None:
        made = measured(folder / "results" / "small", config)
        write_report(made, find_options(made))

    return once(factory, name, make) / "results" / "small"


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with enough rounds for verdicts, and with its report; to be changed only in copies."""
    return reported(tmp_path_factory, "small", VERDICTS)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with enough rounds of little, without a report; to be changed only in copies."""
    config = dataclasses.replace(TINY, suites=("size", "layer_read"), rounds=10)
    made = once(tmp_path_factory, "tiny", lambda folder: measured(folder / "results" / "tiny", config))
    return made / "results" / "tiny"


@pytest.fixture
def sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures of reports empty, for tests that read their words and tables: drawing takes longest."""

    def save(path: Path, **_: Any) -> None:
        path.write_text("<svg></svg>")

    def sketch(*names: str) -> Callable[..., list[Path]]:
        def draw(*given: Any, **_: Any) -> list[Path]:
            paths = [given[-1] / f"{name}.{kind}" for name in names for kind in ("svg", "png")]
            for path in paths:
                save(path)
            return paths

        return draw

    for called, names in {
        "draw": [name for name, *_ in plotted()],
        "draw_scaling": ["scaling"], "draw_attribution": ["attribution"], "draw_criteria": ["criteria"],
    }.items():  # fmt: skip
        monkeypatch.setattr(write, called, sketch(*names))
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: save(path))


@pytest.fixture
def real_data() -> Path:
    """The folder of real data; the tests that need it have others beside them that do not."""
    folder = os.environ.get("HARNESS_DATA")
    if not folder:
        pytest.skip("HARNESS_DATA names no folder of real data")
    return Path(folder)


UNDRAWN = (
    sys.executable,
    "-c",
    "import sys; from harness.report import write; write._draw = lambda *_: []; from harness.cli import main; "
    "sys.exit(main(sys.argv[1:]))",
)
"""The command line as a process of its own, whose reports have no drawings."""


def plain(text: str) -> str:
    """Join lines that a console wrapped."""
    return re.sub(r"\s+", " ", text)
