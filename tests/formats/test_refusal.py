"""Files of other kinds, archives that lie and hostile names are refused, each in one sentence."""

from __future__ import annotations

import dataclasses
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from harness.errors import ArchiveError, HarnessError, UsageError
from harness.formats.archive import detect, open_archive, verify_archive, write_archive
from harness.formats.base import load_format
from harness.formats.seal import BLANK, find_seal, seal
from harness.testing.samples import StepTrace
from harness.trace.manifest import Manifest
from harness.trace.schema import Role, SchemaError, TensorSpec, tensor
from tests.formats.samples import BACKENDS, INSTALLED, assert_found, put

Arrays = Mapping[str, np.ndarray]


def foreign(folder: Path) -> dict[str, Path]:
    """Make files of other kinds, some of them close to those of the formats."""
    made = {name: folder / name for name in (
        "text.txt", "empty", "empty.raw", "text.raw", "magic.raw", "short.raw", "folder", "broken.zarr", "list.zarr",
        "null.zarr", "deep.zarr", "broken2.zarr", "plain.npz", "no.zip", "header.safetensors")}  # fmt: skip
    made["text.txt"].write_text("a letter\n")
    made["empty"].write_bytes(b"")
    made["empty.raw"].write_bytes(b"")
    made["text.raw"].write_text("a letter that is long enough\n" * 20)
    made["magic.raw"].write_bytes(b"\xff" * 200 + b"TFHRAW02")
    made["short.raw"].write_bytes(b"TFHRAW02")
    made["folder"].mkdir()
    documents = {"broken": "{", "list": "[]", "null": '{"attributes": null}', "deep": "[" * 100_000}
    for name, text in documents.items():
        made[f"{name}.zarr"].mkdir()
        (made[f"{name}.zarr"] / "zarr.json").write_text(text)
    made["broken2.zarr"].mkdir()
    (made["broken2.zarr"] / ".zattrs").write_bytes(b"\xff\xfe")
    np.savez(made["plain.npz"], a=np.arange(3))
    with zipfile.ZipFile(made["no.zip"], "w") as archive:
        archive.writestr("metadata/manifest.json", '{"manifest_version": 99}')
    text = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    made["header.safetensors"].write_bytes(len(text).to_bytes(8, "little") + text + b"\0" * 4)
    for version in (2, 3):
        made[f"group{version}"] = folder / f"group{version}"
        group = zarr.create_group(made[f"group{version}"], zarr_format=version)
        group.create_array("a", shape=(3,), dtype="int32")
    made["array"] = folder / "array"
    zarr.create_array(made["array"], shape=(3,), dtype="int32")
    made["other.h5"] = folder / "other.h5"
    with h5py.File(made["other.h5"], "w") as file:
        file["a"] = np.arange(3)
    made["almost.h5"] = folder / "almost.h5"
    with h5py.File(made["almost.h5"], "w", userblock_size=512) as file:
        file["metadata/manifest"] = "not bytes"
    return made


def test_other_kinds_of_files_are_refused_in_one_sentence(tmp_path: Path) -> None:
    for name, path in foreign(tmp_path).items():
        if path.suffix == ".safetensors" and not find_spec("safetensors"):
            continue  # refused because the library is missing, as `tests/extensions/safetensors` says
        with pytest.raises(ArchiveError) as caught, open_archive(path):
            pass
        assert "\n" not in str(caught.value), name
        assert str(path) in str(caught.value), name
        assert_found(path, name)


def test_every_format_refuses_the_files_of_the_others(small: Arrays, tmp_path: Path) -> None:
    archives = {name: put(tmp_path, name, small) for name in INSTALLED}
    for reading in INSTALLED:
        for written, path in archives.items():
            below = getattr(load_format(written), "of", None)
            if reading not in (written, below and below.name):  # a slimmed archive is one of the format below
                with pytest.raises(ArchiveError, match=re.escape(str(path))), open_archive(path, load_format(reading)):
                    pass


def test_nothing_at_the_path_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    for use in (detect, verify_archive):
        with pytest.raises(UsageError, match="There is no archive at"):
            use(tmp_path / "nowhere")


def rewrite(path: Path, name: str, change: Callable[[Manifest], Manifest]) -> None:
    """Put another manifest into an archive and seal it anew, as a hand that means to deceive would."""
    if name == "hdf5":
        with h5py.File(path, "r+") as file:
            text = change(Manifest.from_json(file["metadata/manifest"][()].tobytes())).to_json().encode()
            del file["metadata/manifest"]
            file["metadata/manifest"] = np.frombuffer(text, np.uint8)
    elif name == "npz":
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
        manifest = change(Manifest.from_json(members["metadata/manifest.json"]))
        members["metadata/manifest.json"] = manifest.to_json().encode()
        with zipfile.ZipFile(path, "w") as archive:
            for member, data in members.items():
                archive.writestr(member, data)
            archive.comment = BLANK.encode()
    else:
        file = path / "zarr.json"
        document = json.loads(file.read_text())
        own = document["attributes"]["trace_format_harness"]
        own.update(manifest=change(Manifest.from_json(own["manifest"])).to_json(), seal=BLANK)
        file.write_text(json.dumps(document))
    start = find_seal(path)[0]
    data = start.read_bytes()
    place = data.index(b"trace-format-harness-seal:") + len(BLANK) - 64
    start.write_bytes(data[:place] + b"0" * 64 + data[place + 64 :])
    seal(path)


def with_first(manifest: Manifest, **changes: object) -> Manifest:
    spec = dataclasses.replace(manifest.tensors[0], **changes)  # type: ignore[arg-type]
    return dataclasses.replace(manifest, tensors=(spec, *manifest.tensors[1:]))


DECEITS: dict[str, tuple[Callable[[Manifest], Manifest], str]] = {
    "shape": (lambda m: with_first(m, shape=(20, 2)), "has shape .* the manifest says"),
    "dtype": (lambda m: with_first(m, dtype="int32"), "the manifest says .* int32"),
    "more": (
        lambda m: dataclasses.replace(m, tensors=(*m.tensors, tensor("outputs/more", (2,)))),
        "lists outputs/more, which the archive does not contain",
    ),
    "digest": (
        lambda m: dataclasses.replace(m, digests={"outputs/values": "0" * 32}),
        "outputs/values does not match the digest",
    ),
    "no digest": (lambda m: dataclasses.replace(m, digests={}), "outputs/values has no digest"),
    "climbing": (lambda m: with_first(m, path="../outside"), "may not be absolute, hidden, or climb out"),
    "absolute": (lambda m: with_first(m, path="/etc/passwd"), "may not be absolute, hidden, or climb out"),
    "twice": (lambda m: dataclasses.replace(m, tensors=m.tensors * 2), "expected each tensor once, found it twice"),
}


@pytest.mark.parametrize("deceit", DECEITS)
@pytest.mark.parametrize("name", ["hdf5", "npz", "zarr", "zarr-slim"])
def test_a_manifest_that_disagrees_is_found_behind_a_good_seal(name: str, deceit: str, tmp_path: Path) -> None:
    change, message = DECEITS[deceit]
    path = put(tmp_path, name, {"outputs/values": np.arange(40, dtype=np.float32).reshape(20, 2)[:, :1].copy()})
    rewrite(path, name, lambda manifest: manifest)
    assert verify_archive(path) == []  # the rewriting itself does no harm
    rewrite(path, name, change)
    problems = verify_archive(path)
    assert len(problems) == 1
    assert str(path) in problems[0]
    assert re.search(message, problems[0])


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(
    "hostile", ["../x", "/abs/x", "a//b", "a/./b", ".hidden/x", "a/.x", "metadata/x", "a\\..\\b/c/"]
)
def test_hostile_names_are_refused_before_anything_is_written(name: str, hostile: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    spec = TensorSpec(path=hostile, shape=(3,), dtype="int32", axes=("axis_0",), role=Role.ACTIVATION)
    with pytest.raises(SchemaError):
        write_archive(StepTrace({spec: np.arange(3, dtype=np.int32)}), load_format(name), home / "archive")
    assert list(home.iterdir()) == []
    assert list(tmp_path.iterdir()) == [home]


@pytest.mark.parametrize("name", ["zarr", "zarr-slim"])
@pytest.mark.parametrize("taken", ["outputs/zarr.json", "zarr.json/x"])
def test_names_that_zarr_needs_for_itself_leave_nothing(name: str, taken: str, tmp_path: Path) -> None:
    with pytest.raises(HarnessError):
        put(tmp_path, name, {taken: np.arange(3), "outputs/other": np.arange(3)})
    assert list(tmp_path.iterdir()) == []
