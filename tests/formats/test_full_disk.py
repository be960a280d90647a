"""A full disk is said as such by every library, and what it interrupts leaves nothing behind."""

from __future__ import annotations

import asyncio
import zipfile

import h5py
import pytest

from harness.errors import MachineError
from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.trace.sources import open_trace

TRACE = "synthetic:layers=1,heads=2,hidden_dim=16,pair_dim=8"
PAGE = (
    "Unable to flush dataset (file write failed: time = Sat Nov 28 15:33:01 2026\n, filename = 'a.h5', "
    "file descriptor = 3, errno = 28, error message = 'No space left on device', buf = 0x5, offset = 7)"
)


def test_hdf5_names_the_disk_also_when_a_flush_fails(tmp_path, monkeypatch):
    def refused(dataset):
        raise RuntimeError(PAGE)

    monkeypatch.setattr(h5py.Dataset, "flush", refused)
    with pytest.raises(MachineError, match=r"^hdf5 failed writing .*: No space left on device\.$"):
        write_archive(open_trace(TRACE, 20), load_format("hdf5"), tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())


def test_an_npz_that_is_aborted_writes_no_more(tmp_path):
    manifest = open_trace(TRACE, 20).manifest
    writer = load_format("npz").writer(tmp_path / "a.npz", manifest, "tuned")
    with pytest.raises(ZeroDivisionError):
        writer.write(manifest.tensors[0], (1 / 0 for _ in range(1)))
    writer.abort()
    assert not zipfile.is_zipfile(tmp_path / "a.npz"), "its directory went to memory, where no disk is full"


def test_zarr_has_written_its_last_when_it_is_aborted(tmp_path):
    sync = pytest.importorskip("zarr.core.sync")
    writer = load_format("zarr").writer(tmp_path / "a.zarr", open_trace(TRACE, 20).manifest, "tuned")
    ended = []

    async def begun() -> None:
        async def late() -> None:
            await asyncio.sleep(0.3)
            ended.append(True)

        ended_later.append(asyncio.ensure_future(late()))

    ended_later: list[object] = []
    sync.sync(begun())
    writer.abort()
    assert ended
