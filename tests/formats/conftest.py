"""Traces shared by the tests of the formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from harness.testing.samples import sample_arrays, small_arrays
from tests.formats.killing import Killer
from tests.formats.samples import LACKING


@pytest.fixture(scope="session")
def sample() -> Mapping[str, np.ndarray]:
    """Every dtype that all formats hold, role and special value, by path."""
    return sample_arrays(LACKING)


@pytest.fixture(scope="session")
def small() -> Mapping[str, np.ndarray]:
    """A few small tensors, by path."""
    return small_arrays()


@pytest.fixture(scope="session")
def killer() -> Iterator[Killer]:
    """Processes that write archives and are killed."""
    process = Killer()
    yield process
    process.close()
