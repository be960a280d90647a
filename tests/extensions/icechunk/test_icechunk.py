"""Archives of Icechunk conform with both readers, have one commit, and say what they need."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from harness.extensions.icechunk.format import IcechunkFormat
from harness.formats.archive import detect, write_archive
from harness.testing import FormatConformance
from harness.testing.samples import sample_arrays
from tests.formats.samples import put, trace_of

if IcechunkFormat.missing():
    pytest.skip(f"icechunk {IcechunkFormat.missing()}", allow_module_level=True)


class TestIcechunk(FormatConformance):
    format = IcechunkFormat


@pytest.mark.parametrize(("profile", "reader"), IcechunkFormat.candidates)
def test_every_candidate_reads_every_bit(profile: str, reader: str, tmp_path: Path) -> None:
    backend, given = IcechunkFormat(), sample_arrays()
    path = tmp_path / "a.icechunk"
    write_archive(trace_of(given), backend, path, backend.alternative(profile) if profile else "tuned")
    with backend.reader(path, reader) as opened:
        for name, array in given.items():
            assert opened.read(name).tobytes() == array.tobytes(), name


def test_the_library_reads_one_commit(tmp_path: Path) -> None:
    import icechunk
    import zarr

    array = np.random.default_rng(0).random((40, 40, 8), np.float32)
    path = put(tmp_path, "icechunk", {"pair/layer_0": array})
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(path / "store")))
    assert len(list(repository.ancestry(branch="main"))) == 2  # the empty start and the whole trace
    group = zarr.open_group(repository.readonly_session("main").store, mode="r")
    assert group["pair/layer_0"][...].tobytes() == array.tobytes()
    assert detect(path).name == "icechunk"


def test_a_missing_library_and_an_old_python_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "icechunk", None)
    assert IcechunkFormat.missing() == "needs the package 'icechunk': pip install 'trace-format-harness[icechunk]'"
    monkeypatch.setattr(sys, "version_info", (3, 11, 7))
    assert IcechunkFormat.missing() == "needs Python 3.12 or newer"
