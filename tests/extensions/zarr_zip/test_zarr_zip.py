"""Archives of Zarr in a zip file conform with every reader, hold each member once, and are told from others."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import zarr

from harness.errors import HarnessError
from harness.extensions.zarr_zip.format import ZippedZarrFormat
from harness.formats.archive import open_archive, write_archive
from harness.formats.base import UnsupportedProfile, UnsupportedReader
from harness.formats.opening import detect
from harness.testing import FormatConformance
from harness.testing.samples import manifest_of, sample_arrays
from harness.trace.schema import tensor
from tests.formats.samples import put, trace_of


class TestZippedZarr(FormatConformance):
    format = ZippedZarrFormat


@pytest.mark.parametrize("profile", ["", *ZippedZarrFormat.alternatives])
@pytest.mark.parametrize("reader", ZippedZarrFormat.readers)
def test_every_reader_reads_every_bit(profile: str, reader: str, tmp_path: Path) -> None:
    if missing := ZippedZarrFormat.readers[reader].missing():
        pytest.skip(f"{reader} {missing}")
    backend, given = ZippedZarrFormat(), sample_arrays()
    path = tmp_path / "a.zarr.zip"
    write_archive(trace_of(given), backend, path, backend.alternative(profile) if profile else "tuned")
    with backend.reader(path, reader) as opened:
        for name, array in given.items():
            with suppress(UnsupportedReader):  # tensorstore lacks some types
                assert opened.read(name).tobytes() == array.tobytes(), name
        assert opened.read(next(iter(given))).tobytes() == next(iter(given.values())).tobytes()


@pytest.mark.parametrize("profile", ["tuned", "seed", "matched"])
def test_each_member_is_stored_once_and_the_library_reads_it(profile: str, tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((40, 40, 8), np.float32)
    path = tmp_path / "a.zarr.zip"
    write_archive(trace_of({"pair/layer_0": array}), ZippedZarrFormat(), path, profile)
    with zipfile.ZipFile(path) as file:
        names = file.namelist()
        assert len(names) == len(set(names))
        assert {info.compress_type for info in file.infolist()} == {zipfile.ZIP_STORED}
    group = zarr.open_group(zarr.storage.ZipStore(path, mode="r"), mode="r")
    assert group["pair/layer_0"][...].tobytes() == array.tobytes()
    assert detect(path).name == "zarr-zip"


def test_other_zip_files_are_not_its_own(tmp_path: Path) -> None:
    array = np.zeros((4, 4, 2), np.float32)
    assert detect(put(tmp_path, "npz", {"pair/layer_0": array})).name == "npz"
    other = tmp_path / "other.zarr.zip"
    zarr.create_group(zarr.storage.ZipStore(other, mode="w")).store.close()
    assert detect(other).name == "zarr-zip"
    with pytest.raises(HarnessError, match="no manifest"), open_archive(other):
        pass


def test_a_compressed_member_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "zarr-zip", {"pair/layer_0": np.zeros((4, 4, 2), np.float32)})
    packed = tmp_path / "packed.zarr.zip"
    with zipfile.ZipFile(path) as file, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        for name in file.namelist():
            out.writestr(name, file.read(name))
        out.comment = file.comment
    with pytest.raises(HarnessError, match="only stored members are read"), open_archive(packed):
        pass


def test_more_members_than_are_read_are_not_written() -> None:
    specs = {tensor("pair/layer_0", (8192, 8192, 128)): np.zeros(0)}
    backend = ZippedZarrFormat()
    with pytest.raises(UnsupportedProfile, match="more members than are read of a zip file"):
        backend.require(manifest_of(specs), "tuned")
    backend.require(manifest_of(specs), backend.alternative("sharded"))


def test_a_chunk_that_states_far_more_than_it_has_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "zarr-zip", {"pair/layer_0": np.ones((8, 8, 4), np.float32)})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        info = next(i for i in file.infolist() if "/c/" in i.filename)
    start = info.header_offset + 30 + int.from_bytes(data[info.header_offset + 26 : info.header_offset + 28], "little")
    data[start + 4 : start + 8] = (1 << 31).to_bytes(4, "little")  # the length in the header of Blosc
    path.write_bytes(data)
    assert "states" in ZippedZarrFormat().overstated(path)


def test_a_codec_of_others_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "other.zarr.zip"
    store = zarr.storage.ZipStore(path, mode="w")
    zarr.create_group(store).create_array("x", shape=(4,), dtype="f4", compressors=zarr.codecs.GzipCodec())[:] = 1
    store.close()
    assert "codec" in ZippedZarrFormat().overstated(path)
