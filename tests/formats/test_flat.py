"""Large runs of a flat file are divided over the threads of the budget, and every byte lands where it belongs."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from harness.errors import ArchiveError
from harness.formats import flat
from harness.formats.flat import read_flat
from harness.formats.threads import ThreadTeam

SHAPE = (7, 1001, 3)


@pytest.fixture
def stored(tmp_path: Path):
    """A tensor behind a header of 5 bytes, its file, and a crew of three."""
    values = np.random.default_rng(0).integers(0, 2**31, SHAPE, dtype=np.int32)
    path = tmp_path / "flat"
    path.write_bytes(b"12345" + values.tobytes())
    descriptor, crew = os.open(path, os.O_RDONLY), ThreadTeam(3)
    yield values, descriptor, crew, path
    crew.close()
    os.close(descriptor)


@pytest.mark.parametrize(
    "selection", [None, (slice(2, 5), slice(None), slice(None)), (slice(3, 4), slice(1, 999), slice(None))]
)
def test_what_several_threads_read_is_what_one_reads(stored, monkeypatch, selection):
    values, descriptor, crew, _ = stored
    at_work = set()
    fill = flat.fill_from

    def noted(*given):
        at_work.add(threading.get_ident())
        barrier.wait(10)  # no thread goes on before all three are at work
        fill(*given)

    barrier = threading.Barrier(3)
    monkeypatch.setattr(flat, "SHARED", 1000)
    monkeypatch.setattr(flat, "fill_from", noted)
    found = read_flat(descriptor, 5, SHAPE, "int32", selection, crew)
    assert found.tobytes() == values[selection or ...].tobytes() and len(at_work) == 3


def test_a_small_run_is_read_by_the_caller_alone(stored, monkeypatch):
    values, descriptor, crew, _ = stored
    monkeypatch.setattr(crew, "share", None)
    assert (read_flat(descriptor, 5, SHAPE, "int32", None, crew) == values).all()


def test_a_file_that_ends_early_is_said_from_any_thread(stored, monkeypatch):
    _, descriptor, crew, path = stored
    os.truncate(path, 100)
    monkeypatch.setattr(flat, "SHARED", 1000)
    with pytest.raises(ArchiveError):
        read_flat(descriptor, 5, SHAPE, "int32", None, crew)
