"""An archive is a trace, and passes from format to format unchanged or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from harness.errors import ArchiveError, UsageError
from harness.formats.archive import detect, open_archive, verify_archive, write_archive
from harness.formats.archive_trace import ArchiveTrace
from harness.formats.base import load_format
from harness.formats.describing import SlimmingFormat
from harness.trace.sources import open_trace
from tests.formats.samples import BACKENDS, INSTALLED, assert_holds, assert_same, put, trace_of

Arrays = Mapping[str, np.ndarray]


@pytest.mark.parametrize("name", BACKENDS)
def test_the_format_is_found_in_the_content_not_in_the_name(name: str, small: Arrays, tmp_path: Path) -> None:
    for suffix in ("", ".zarr", ".npz", ".h5", ".safetensors"):
        path = tmp_path / f"archive{suffix}"
        write_archive(trace_of(small), load_format(name), path)
        assert detect(path).name == name


# Each format as a source and as a target, twice, beside another each time.
PAIRS = [(source, (2 * INSTALLED)[k + step]) for k, source in enumerate(INSTALLED) for step in (1, 3)]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_any_format_becomes_any_other(source: str, target: str, small: Arrays, tmp_path: Path) -> None:
    first = put(tmp_path, source, small)
    second = tmp_path / "converted"
    manifest = write_archive(ArchiveTrace(first), load_format(target), second)
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
        write_archive(ArchiveTrace(path), load_format("hdf5"), target)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "message"), [("file:", "needs a path"), ("file:/no/such/archive", "There is no file")]
)
def test_a_file_trace_needs_a_file(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_trace(text)


def test_vanilla_stores_every_tensor_as_given(sample: Arrays, tmp_path: Path) -> None:
    found = {}
    for kind, backend in (("slim", load_format("zarr-slim")), ("vanilla", load_format("zarr-slim").of)):
        path = tmp_path / kind
        found[kind] = write_archive(trace_of(sample), backend, path).digests
        assert verify_archive(path) == []
        assert detect(path).name == "zarr-slim"
        own = json.loads((path / "zarr.json").read_text())
        nodes = own["consolidated_metadata"]["metadata"]
        arrays = {place: node for place, node in nodes.items() if node["node_type"] == "array"}
        narrowed = {node["attributes"]["narrowing"] for node in arrays.values()} - {"none"}
        if kind == "vanilla":
            assert set(arrays) == set(sample)
            assert not narrowed
        else:
            assert len(arrays) < len(sample)
            assert "bfloat16" in narrowed
    assert found["slim"] == found["vanilla"]


@pytest.mark.parametrize("name", ["npz", "hdf5", "zarr", "raw"])
def test_formats_that_store_everything_as_given_do_not_slim(name: str) -> None:
    assert not isinstance(load_format(name), SlimmingFormat)
