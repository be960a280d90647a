"""The folder of one tiny run that was really measured."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from tests.conftest import TINY, measured, once


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    config = dataclasses.replace(TINY, formats=("hdf5", "npz"), suites=("size", "layer_read"), rounds=3)
    return (
        once(tmp_path_factory, "history", lambda folder: measured(folder / "results" / "tiny", config))
        / "results"
        / "tiny"
    )


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "tiny"))
