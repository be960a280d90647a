"""What tests of runs in tasks share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.extensions.cluster.campaign import blocks_of
from harness.run.planned_run import PlannedRun
from tests.conftest import once
from tests.extensions.cluster.made import CONFIG, Here, measured


@pytest.fixture(scope="session")
def blocks() -> tuple[str, str]:
    """The names of the two blocks of `CONFIG`."""
    first, second = (block.name for block in blocks_of(PlannedRun.of(CONFIG), Path()))
    return first, second


@pytest.fixture(scope="session")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two blocks, merged; to be changed only in copies."""
    return once(tmp_path_factory, "cluster-merged", lambda folder: measured(folder / "run", Here())) / "run"


@pytest.fixture
def run_copied(merged: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(merged, tmp_path / "run")
