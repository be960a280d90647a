"""Sealed archives whose chunks or shapes ask for far more than they hold are refused before they are read."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path

import h5py
import hdf5plugin
import pytest
import zarr as library
from numcodecs import Zstd

from harness.cli import main
from harness.formats.archive import verify_archive, write_archive
from harness.formats.base import load_format
from harness.formats.chunk_headers import HEADER, overstated
from harness.formats.seal import BLANK, files_of, find_seal, seal
from harness.trace.sources import open_trace

TRACE = "synthetic:n_res=16,layers=1,heads=2"
FAR = (2 << 30) - (1 << 20)


@pytest.fixture
def zarr(tmp_path: Path) -> Path:
    return _written(tmp_path / "a.zarr", "zarr")


def _written(path: Path, name: str) -> Path:
    write_archive(open_trace(TRACE), load_format(name), path)
    return path


def _sealed_again(path: Path, file: Path) -> None:
    data = file.read_bytes()
    at = data.index(BLANK[:-64].encode()) + len(BLANK) - 64
    file.write_bytes(data[:at] + b"0" * 64 + data[at + 64 :])
    seal(path)


def _refused(path: Path, tmp_path: Path, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """See that neither command reads a tensor of it."""
    (problem,) = verify_archive(path)
    assert said in problem
    assert main(["convert", str(path), str(tmp_path / "b.raw")]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "b.raw").exists()


@pytest.mark.parametrize("profile", ["tuned", "seed"])
def test_a_chunk_of_zarr_states_what_a_chunk_has(tmp_path, capsys, profile):
    path = tmp_path / "a.zarr"
    write_archive(open_trace(TRACE), load_format("zarr"), path, profile)
    chunk = max(
        (f for f in files_of(path / "activations" / "layer_0" / "pair_repr") if f.name[0] not in "z."),
        key=lambda file: file.stat().st_size,
    )
    data = chunk.read_bytes()
    chunk.write_bytes(data[:4] + struct.pack("<I", FAR) + data[8:])
    _sealed_again(path, find_seal(path)[0])
    _refused(path, tmp_path, "states 1.999 GiB", capsys)


@pytest.mark.parametrize("copied", [False, True])
def test_other_codecs_of_zarr_are_refused(zarr, tmp_path, capsys, copied):
    """In an array's own metadata, by which folders are read, or in their copy in the root, by which stores are."""
    codecs = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "gzip", "configuration": {"level": 5}}]
    array = zarr / "activations" / "layer_0" / "pair_repr"
    if copied:
        library.consolidate_metadata(zarr)  # as its owner may have done
        root = json.loads((zarr / "zarr.json").read_text())
        root["consolidated_metadata"]["metadata"]["activations/layer_0/pair_repr"]["codecs"] = codecs
        (zarr / "zarr.json").write_text(json.dumps(root))
    else:
        (array / "zarr.json").write_text(json.dumps(json.loads((array / "zarr.json").read_text()) | {"codecs": codecs}))
        for chunk in files_of(array / "c"):
            chunk.write_bytes(gzip.compress(bytes(1 << 20)))
    _sealed_again(zarr, zarr / "zarr.json")
    _refused(
        zarr,
        tmp_path,
        "activations/layer_0/pair_repr is stored by a codec that no archive of this harness uses",
        capsys,
    )


@pytest.mark.parametrize("name", ["zarr", "zarr-slim"])
def test_a_terabyte_of_which_nothing_is_stored_is_refused(tmp_path, capsys, name, monkeypatch):
    path = _written(tmp_path / "a", name)
    monkeypatch.setenv("HARNESS_MAX_INFLATED", str(1 << 10))
    (problem,) = verify_archive(path)
    assert "more than 1 KiB" in problem and "--max-inflated" in problem
    assert main(["convert", str(path), str(tmp_path / "b.raw"), "--max-inflated", "1KiB"]) == 1
    assert "--max-inflated" in capsys.readouterr().err
    assert main(["convert", str(path), str(tmp_path / "b.raw"), "--max-inflated", "1GiB"]) == 0
    assert main(["verify", str(path)]) == 0


@pytest.mark.parametrize(
    ("filters", "chunk", "said"),
    [
        (dict(hdf5plugin.Blosc(cname="zstd")), struct.pack("<4xIII", FAR, 1 << 20, 116), "states 1.999 GiB"),
        (dict(hdf5plugin.Bitshuffle(cname="lz4")), struct.pack(">QI", FAR, 8192), "states 1.999 GiB"),
        (dict(hdf5plugin.Bitshuffle(cname="lz4")), struct.pack(">QI", 2048, 1 << 30), "larger than the chunk"),
        ({"compression": "gzip"}, b"x", "stored by a filter that no archive of this harness uses"),
        (dict(hdf5plugin.Zstd()), b"x", "stored by a filter that no archive of this harness uses"),
    ],
)
def test_a_chunk_of_hdf5_states_what_a_chunk_has(tmp_path, capsys, filters, chunk, said):
    path = _written(tmp_path / "a.h5", "hdf5")
    with h5py.File(path, "r+") as file:
        name = "attention/layer_0"
        shape, dtype = file[name].shape, file[name].dtype
        del file[name]
        made = file.create_dataset(name, shape, dtype, chunks=(2, 16, 16), **filters)
        made.id.write_direct_chunk((0, 0, 0), chunk + bytes(100))
    _sealed_again(path, path)
    _refused(path, tmp_path, said, capsys)


def test_what_is_no_folder_is_no_run(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["report", str(tmp_path / "file")]) == 1
    assert "There is no run at" in capsys.readouterr().err


@pytest.mark.parametrize("nbytes", [1, 255, 256, 300, 65_791, 65_792, 1 << 20])
def test_the_length_that_a_frame_of_zstd_states_is_found(nbytes):
    frame = Zstd(19).encode(bytes(nbytes))
    assert overstated("zstd", frame[:HEADER], nbytes, nbytes) == ""
    assert "has a chunk that states" in overstated("zstd", frame[:HEADER], nbytes, nbytes + 1)
    without = bytes([*frame[:4], frame[4] & 0b00011100]) + frame[5:]
    assert overstated("zstd", without[:HEADER], nbytes, nbytes) == "has a chunk that does not state its length"
    assert "does not state" in overstated("zstd", b"no frame of it..", nbytes, nbytes)
