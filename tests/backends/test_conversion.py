"""An archive is a trace, and passes from format to format unchanged or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from backends.samples import BACKENDS, INSTALLED, assert_holds, assert_same, put, trace_of

from harness.backends.archive import detect, open_archive, verify_archive, write_archive
from harness.backends.archive_trace import ArchiveTrace
from harness.backends.base import load_backend
from harness.errors import ArchiveError, UsageError
from harness.trace.sources import open_trace

Arrays = Mapping[str, np.ndarray]


@pytest.mark.parametrize("name", BACKENDS)
def test_the_format_is_found_in_the_content_not_in_the_name(name: str, small: Arrays, tmp_path: Path) -> None:
    for suffix in ("", ".zarr", ".npz", ".h5", ".safetensors"):
        path = tmp_path / f"archive{suffix}"
        write_archive(trace_of(small), load_backend(name), path)
        assert detect(path).name == name


@pytest.mark.parametrize(("source", "target"), list(permutations(INSTALLED, 2)))
def test_any_format_becomes_any_other(source: str, target: str, small: Arrays, tmp_path: Path) -> None:
    first = put(tmp_path, source, small)
    second = tmp_path / "converted"
    manifest = write_archive(ArchiveTrace(first), load_backend(target), second)
    assert detect(second).name == target
    assert_holds(second, small)
    assert verify_archive(second) == []
    with open_archive(first) as (_, _, before):
        assert manifest == before


@pytest.mark.parametrize("name", BACKENDS)
def test_an_archive_is_a_trace(name: str, sample: Arrays, tmp_path: Path) -> None:
    path = put(tmp_path, name, sample)
    trace = open_trace(f"file:{path}")
    assert trace.label == f"file:{path.name}"
    for spec in trace.manifest.tensors:
        blocks = list(trace.blocks(spec.path))
        whole = np.concatenate(blocks) if spec.shape and blocks else np.array(blocks[0] if blocks else [], spec.dtype)
        assert_same(whole.reshape(spec.shape), sample[spec.path])


def test_a_trace_from_a_damaged_archive_is_refused_when_its_digest_differs(small: Arrays, tmp_path: Path) -> None:
    path = put(tmp_path, "raw", small)
    data = bytearray(path.read_bytes())
    data[100] ^= 4  # within the first tensor
    path.write_bytes(data)
    target = tmp_path / "converted.h5"
    with pytest.raises(ArchiveError, match="pair/layer_0 does not have the digest"):
        write_archive(ArchiveTrace(path), load_backend("hdf5"), target)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("text", "message"), [("file:", "needs a path"), ("file:/no/such/archive", "no archive at")])
def test_a_file_trace_needs_a_file(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_trace(text)
