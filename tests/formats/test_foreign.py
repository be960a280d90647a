"""A sound file of another program is told from a damaged archive, and nothing in an archive leads out of it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from harness.cli import main
from harness.errors import ArchiveError, MachineError
from harness.formats.archive import open_archive, verify_archive
from harness.formats.npz_reader import NpzReader
from harness.formats.seal import BLANK, find_seal, seal
from tests.formats.samples import BACKENDS, INSTALLED, put

Arrays = Mapping[str, np.ndarray]
VALUES = np.arange(300, dtype=np.float32)


def make_npz(path: Path) -> None:
    np.savez_compressed(path, coords=VALUES)


def make_torch(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps({}))
        file.writestr("archive/data/0", VALUES.tobytes())


def make_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["group/values"] = VALUES


def make_zarr(version: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        group = zarr.create_group(path, zarr_format=version)
        group.create_array("values", data=VALUES)

    return make


SOUND = {
    "a.npz": make_npz, "a.pt": make_torch, "a.h5": make_hdf5, "a.nc": make_hdf5,
    "array.zarr": lambda path: zarr.create_array(path, data=VALUES, zarr_format=2),
    "two.zarr": make_zarr(2), "three.zarr": make_zarr(3),
}  # fmt: skip
OTHERS = {
    "a.npy": lambda path: np.save(path, VALUES),
    "a.pkl": lambda path: path.write_bytes(pickle.dumps({})),
    "a.json": lambda path: path.write_text("{}"),
    "folder": lambda path: path.mkdir(),
}  # fmt: skip


@pytest.mark.parametrize("name", [*SOUND, *OTHERS])
def test_a_file_of_another_program_is_not_called_an_archive_that_is_damaged(name, tmp_path, capsys):
    path = tmp_path / name
    (SOUND | OTHERS)[name](path)
    for arguments in (["inspect", str(path)], ["verify", str(path)]):
        assert main(arguments) == 1
        said = "".join(capsys.readouterr())
        assert "not an archive of" in said and "harness convert" in said and "Traceback" not in said
        assert name in OTHERS or ("another program wrote it" in said and "damaged" not in said)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_damaged_archive_of_this_harness_is_still_called_damaged(name: str, small: Arrays, tmp_path: Path) -> None:
    path = put(tmp_path, name, small)
    file = find_seal(path)[0]
    data = file.read_bytes()
    mark = data.index(BLANK.encode()[:-64])
    without_mark = data[:mark] + b"x" + data[mark + 1 :]
    for changed in (without_mark, data[: len(data) // 2], data[:-20], data[:3], b""):
        file.write_bytes(changed)
        (problem,) = verify_archive(path)
        assert "another program wrote it. " not in problem or "it is damaged, or" in problem, changed[:40]
        assert any(word in problem for word in ("damaged", "sealed", "is empty")), problem


def resealed(path: Path) -> None:
    """Seal an archive anew, as a hand that means to deceive would."""
    file = find_seal(path)[0]
    data = file.read_bytes()
    place = data.index(BLANK.encode()[:-64]) + len(BLANK) - 64
    file.write_bytes(data[:place] + b"0" * 64 + data[place + 64 :])
    seal(path)


def refused(path: Path, what: str) -> None:
    """Check that an archive is neither opened nor verified, and why."""
    with pytest.raises(ArchiveError, match=what), open_archive(path):
        pytest.fail("opened")
    assert any(what in problem for problem in verify_archive(path))


def linked(file: h5py.File, secret: Path) -> None:
    del file["outputs/values"]
    file["outputs/values"] = h5py.ExternalLink(str(secret), "/values")


def soft(file: h5py.File, secret: Path) -> None:
    file.move("outputs/values", "outputs/others")
    file["outputs/values"] = h5py.SoftLink("/outputs/others")


def manifest_linked(file: h5py.File, secret: Path) -> None:
    del file["metadata/manifest"]
    file["metadata/manifest"] = h5py.ExternalLink(str(secret), "/values")


def external(file: h5py.File, secret: Path) -> None:
    del file["outputs/values"]
    file.create_dataset("outputs/values", (20,), "f4", external=[(str(secret), 0, 80)])


def virtual(file: h5py.File, secret: Path) -> None:
    del file["outputs/values"]
    layout = h5py.VirtualLayout((20,), "f4")
    layout[:] = h5py.VirtualSource(str(secret), "values", (20,))
    file.create_virtual_dataset("outputs/values", layout)


@pytest.mark.parametrize(
    ("lead", "what"),
    [
        (linked, "the link 'outputs/values'"),
        (soft, "the link 'outputs/values'"),
        (manifest_linked, "the link 'metadata/manifest'"),
        (external, "the data set 'outputs/values' with external storage"),
        (virtual, "the virtual data set 'outputs/values'"),
    ],
)
def test_hdf5_that_leads_to_another_file_is_refused(lead, what, tmp_path, capsys):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["values"] = np.full(20, 1234.5, np.float32)
    path = put(tmp_path, "hdf5", {"outputs/values": np.arange(20, dtype=np.float32)})
    with h5py.File(path, "r+") as file:
        lead(file, secret)
    resealed(path)
    refused(path, what)
    for arguments in (["inspect", str(path)], ["convert", str(path), str(tmp_path / "b.npz")]):
        assert main(arguments) == 1
        said = "".join(capsys.readouterr())
        assert what in said and "nothing was read" in said and "1234.5" not in said
    assert not (tmp_path / "b.npz").exists()


@pytest.mark.parametrize("name", sorted({"zarr", "zarr-slim"} & {*INSTALLED}))
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_link_in_a_folder_is_refused(name: str, kind: str, small: Arrays, tmp_path: Path) -> None:
    path = put(tmp_path, name, small)
    chosen = next(p for p in sorted(path.rglob("*")) if (p.is_dir() if kind == "folder" else p.name[0] in "c0"))
    moved = tmp_path / "elsewhere"
    chosen.rename(moved)
    chosen.symlink_to(moved)
    refused(path, f"the link '{chosen.relative_to(path).as_posix()}'")


def test_an_archive_that_is_itself_reached_by_a_link_is_read(small: Arrays, tmp_path: Path) -> None:
    for name in INSTALLED:
        link = tmp_path / f"link-{name}"
        link.symlink_to(put(tmp_path, name, small))
        assert verify_archive(link) == []


def test_a_place_that_climbs_out_of_a_slimmed_archive_is_refused(tmp_path: Path) -> None:
    arrays = {f"pair/layer_{k}": np.ones((45, 45, 8), np.float32) * k for k in range(2)}
    other = put(tmp_path, "zarr-slim", arrays)
    other.rename(tmp_path / "other")
    path = put(tmp_path, "zarr-slim", arrays)
    document = json.loads((path / "zarr.json").read_text())
    own = document["attributes"]["trace_format_harness"]
    nodes = document["consolidated_metadata"]["metadata"]
    own["slim"]["places"] = {"pair/layer_1": ["../other/pair/layer_1", None]}
    nodes["../other/pair/layer_1"] = nodes.pop("pair/layer_1")
    (path / "zarr.json").write_text(json.dumps(document))
    resealed(path)
    with open_archive(path) as (_, reader, _), pytest.raises(ArchiveError, match="is not in the archive"):
        reader.read("pair/layer_1")


@pytest.mark.parametrize("name", BACKENDS)
def test_an_empty_folder_that_was_added_is_found(name: str, small: Arrays, tmp_path: Path) -> None:
    path = put(tmp_path, name, small)
    if path.is_dir():
        (path / "outputs" / "added" / "deeper").mkdir(parents=True)
        assert verify_archive(path) == [f"{path}: the empty folder 'outputs/added/deeper' was added."]


def test_a_refused_lock_is_not_called_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(tmp_path, "hdf5", {"outputs/values": np.arange(20, dtype=np.float32)})
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for command in ("inspect", "verify"):
            assert main([command, str(path)]) == 1
            said = "".join(capsys.readouterr())
            assert "HDF5_USE_FILE_LOCKING=FALSE" in said and "damaged" not in said and str(path) in said
    finally:
        os.close(descriptor)
    assert main(["verify", str(path)]) == 0


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EAGAIN, errno.ENOSYS])
def test_a_filesystem_without_locks_is_named_with_what_to_set(code, tmp_path, capsys, monkeypatch):
    path = put(tmp_path, "hdf5", {"outputs/values": np.arange(20, dtype=np.float32)})

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, "Unable to synchronously open file (unable to lock file)")

    monkeypatch.setattr(h5py, "File", refuse)
    to_npz = ["convert", path, tmp_path / "b.npz"]
    for arguments in (["verify", path], to_npz, ["convert", "synthetic:n_res=16", tmp_path / "c.h5"]):
        assert main([*map(str, arguments)]) == 1
        said = "".join(capsys.readouterr())
        assert os.strerror(code) in said and "HDF5_USE_FILE_LOCKING=FALSE" in said and "damaged" not in said
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


TROUBLES = [errno.EIO, errno.EMFILE, errno.ENOMEM, errno.ESTALE, errno.EACCES, errno.ETIMEDOUT]


@pytest.mark.parametrize("error", [*(OSError(code, os.strerror(code)) for code in TROUBLES), MemoryError()], ids=repr)
def test_trouble_of_the_machine_is_not_called_damage(error, tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise error

    path = put(tmp_path, "npz", {"outputs/values": np.arange(20, dtype=np.float32)})
    for method in ("manifest_text", "read"):
        with monkeypatch.context() as patched:
            patched.setattr(NpzReader, method, fail)
            with pytest.raises(MachineError) as caught:
                verify_archive(path)
        reason = os.strerror(error.errno) if isinstance(error, OSError) else "out of memory"
        assert reason in str(caught.value) and "damaged" not in str(caught.value)
    with (
        pytest.raises(MachineError) as caught,
        pytest.importorskip("harness.foreign.source").readable("a.npz"),
    ):
        fail()
    assert str(caught.value) == f"a.npz cannot be read: {reason}."
