"""Every reader of this project has the threads of the budget, as libraries that are given it have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.capacity import Capacity, GroupLimits
from harness.formats import threads
from harness.formats.base import load_format
from tests.formats.samples import put

READERS = [("raw", "pread"), ("hdf5", "h5py-direct"), ("npz", "offset"), ("zarr-slim", "own")]


@pytest.mark.parametrize("budget", [1, 2, 9])
@pytest.mark.parametrize(("name", "reader"), READERS)
def test_a_reader_has_the_threads_of_the_budget(
    name: str, reader: str, budget: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = GroupLimits(memory_bytes=None, cores=None)
    usable = Capacity(cores=64, cores_usable=budget, memory_bytes=None, limits=limits)
    path = put(tmp_path, name, {"pair/layer_0": np.ones((8, 8, 4), np.float32)})
    monkeypatch.setattr(threads, "capacity", lambda: usable)
    with load_format(name).reader(path, reader) as opened:
        crews = [value for value in vars(opened).values() if isinstance(value, threads.ThreadTeam)]
        assert [crew.threads for crew in crews] == [budget]
