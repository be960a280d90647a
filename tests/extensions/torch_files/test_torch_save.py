"""Files of torch.save: plain for torch's own users, conforming with both readers, and without code of a stranger."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import harness
from harness.errors import ArchiveError
from harness.extensions.torch_files.format import KEY, TorchSaveFormat
from harness.formats.archive import check_bytes, detect, open_archive, verify_archive
from harness.formats.seal import BLANK, seal
from harness.testing import FormatConformance
from harness.testing.samples import small_arrays
from tests.formats.samples import put

torch = pytest.importorskip("torch", reason="pip install torch==2.13.0")


class Mapped(TorchSaveFormat):
    """The harness opens with the reader that maps."""

    readers: ClassVar = {"torch.load-mmap": TorchSaveFormat.readers["torch.load-mmap"]}


class TestTorchSave(FormatConformance):
    format = TorchSaveFormat


class TestMapped(FormatConformance):
    format = Mapped


def test_torch_reads_the_file_as_a_dictionary_of_tensors(tmp_path: Path) -> None:
    arrays = small_arrays()
    path = put(tmp_path, "torch-save", arrays)
    found = torch.load(path, weights_only=True)
    assert list(found) == [KEY, *arrays]
    for name, array in arrays.items():
        assert found[name].numpy().tobytes() == array.tobytes()
    assert detect(path).name == "torch-save" and verify_archive(path) == []


def hostile(path: Path, content: object) -> Path:
    """Save something else under a seal, as whoever means to deceive would."""
    with path.open("wb") as file:
        torch.save(content, file)
        file.seek(-2, 2)
        file.write(len(BLANK).to_bytes(2, "little") + BLANK.encode())
    seal(path)
    return path


class _Calls:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("reader", TorchSaveFormat.readers)
def test_nothing_in_a_strangers_file_is_run(reader: str, tmp_path: Path) -> None:
    path = hostile(tmp_path / "a.pt", {KEY: "{}", "pair/layer_0": _Calls(tmp_path / "called")})
    with pytest.raises(Exception, match=r"[Ww]eights"):
        TorchSaveFormat().reader(path, reader)
    with pytest.raises(ArchiveError), open_archive(path):
        pytest.fail("opened")
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"pair/layer_0": torch.ones(3)}, "no dictionary of tensors with a manifest"),
        ([torch.ones(3)], "no dictionary of tensors with a manifest"),
        ({KEY: "{}", "pair/layer_0": torch.ones(1).expand(1 << 40)}, "not a plain tensor, contiguous"),
        ({KEY: "{}", "pair/layer_0": torch.eye(3).to_sparse()}, "not a plain tensor, contiguous"),
        ({KEY: "{}", "pair/layer_0": 3}, "not a plain tensor, contiguous"),
    ],
)
def test_what_is_no_dictionary_of_plain_tensors_is_refused(content: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=said):
        TorchSaveFormat().reader(hostile(tmp_path / "a.pt", content))


def test_a_member_that_inflates_is_refused_before_it_is_read(tmp_path: Path) -> None:
    plain = put(tmp_path, "torch-save", {"outputs/values": np.zeros(100_000)})
    packed = tmp_path / "b.pt"
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
        target.comment = BLANK.encode()
    seal(packed)
    assert "is compressed" in check_bytes(packed, TorchSaveFormat())


def test_what_is_read_may_be_changed(tmp_path: Path) -> None:
    with harness.open(put(tmp_path, "torch-save", small_arrays())) as trace:
        for array in trace.values():
            expected = array[...].copy()
            for block in (array[...], *array.blocks()):
                block[...] = 0
            assert np.array_equal(array[...], expected)
