"""The raw ceiling finds tensors by its index, and the manifest only when that is asked for; both have to agree."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.errors import ArchiveError
from harness.formats import raw
from harness.formats.archive import open_archive, verify_archive
from harness.formats.base import load_format
from harness.formats.seal import BLANK, seal
from tests.formats.samples import assert_same, put

ARRAYS = {
    "pair/layer_0": np.random.default_rng(0).normal(size=(6, 6, 4)).astype(np.float32),
    "pair/layer_1": np.random.default_rng(1).normal(size=(6, 6, 4)).astype(np.float32),
    "structure/ptm": np.array(0.5, np.float32),
    "single/layer_0": np.empty((6, 0), np.float16),
}


def parts(path: Path) -> tuple[bytes, bytes, bytes]:
    """Split an archive into its tensors, its manifest and its index."""
    data = path.read_bytes()
    body, trailer = data[: -raw._TAIL], data[-raw._TAIL :]
    text, index = (int.from_bytes(trailer[start : start + 8], "little") for start in (0, 8))
    assert len(body) > text + index
    return body[: -text - index], body[len(body) - text - index : len(body) - index], body[len(body) - index :]


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Put another index into an archive and seal it anew, as a hand that means to deceive would."""
    tensors, text, index = parts(path)
    index = change(index)
    lengths = b"".join(len(part).to_bytes(8, "little") for part in (text, index))
    path.write_bytes(tensors + text + index + lengths + BLANK.encode() + raw._MAGIC)
    seal(path)


def test_what_is_read_by_path_needs_no_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, "raw", ARRAYS)
    tensors, text, _ = parts(path)
    asked: list[tuple[int, int]] = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda file, n, at: (asked.append((at, at + n)), real(file, n, at))[1])
    monkeypatch.setattr(raw, "Manifest", None)  # nothing of one is decoded
    with load_format("raw").reader(path) as reader:
        for name, array in ARRAYS.items():
            assert_same(reader.read(name), array)
        part = (slice(1, 3), slice(2, 6), slice(0, 4))
        assert_same(reader.read("pair/layer_1", part), ARRAYS["pair/layer_1"][part])
        assert asked and all(start >= len(tensors) + len(text) for start, _ in asked)
        assert reader.manifest_text() == text
        assert (len(tensors), len(tensors) + len(text)) in asked


def test_the_manifest_and_the_index_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(tmp_path, "raw", ARRAYS)
    assert verify_archive(path) == []
    with open_archive(path) as (_, reader, manifest):
        assert [(t.path, t.shape, t.dtype) for t in manifest.tensors] == [
            (name, found.shape, found.dtype) for name, found in reader.stored().items()
        ]
    assert main(["inspect", str(path)]) == 0
    assert "pair/layer_1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda index: index.replace(b"float32 576 6", b"float32 0 6"), "at byte 0, what is before"),
        (lambda index: index.replace(b"6 6 4\npair/layer_1", b"6 4 6\npair/layer_1"), "the manifest says"),
        (lambda index: index.replace(b"float32", b"float16"), "ends at 288"),
        (lambda index: index.replace(b"pair/layer_1", b"pair/layer_2"), "which the archive does not contain"),
        (lambda index: index[: index.index(b"structure")], "expected 1152 bytes of tensors, found 1156"),
        (lambda index: index.replace(b"float32", b"nothing"), "truncated or damaged"),
        (lambda index: index.replace(b"576", b"\xff"), "truncated or damaged"),
        (lambda index: b"", "expected 0 bytes of tensors"),
    ],
)
def test_an_index_that_disagrees_is_refused(tmp_path: Path, change: Callable[[bytes], bytes], said: str) -> None:
    path = put(tmp_path, "raw", ARRAYS)
    rewrite(path, change)
    with pytest.raises(ArchiveError, match=said), open_archive(path):
        pass


def test_an_archive_of_another_version_is_refused_by_name(tmp_path: Path) -> None:
    path = put(tmp_path, "raw", ARRAYS)
    path.write_bytes(path.read_bytes()[:-2] + b"01")
    said = "a raw archive of another version of this harness: write it again"
    with pytest.raises(ArchiveError, match=said), open_archive(path):
        pass
