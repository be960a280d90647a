"""An archive is a trace, and passes from format to format unchanged or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import ArchiveError, HarnessError, UsageError
from harness.extensions.lossy.minimal import MinimalTrace
from harness.extensions.lossy.request import parse
from harness.formats.archive import archive_size, detect, open_archive, verify_archive, write_archive
from harness.formats.archive_trace import ArchiveTrace
from harness.formats.base import load_format
from harness.formats.conversion import convert
from harness.formats.describing import SlimmingFormat
from harness.trace.schema import Role
from harness.trace.sources import open_trace
from harness.trace.stream import read_whole
from tests.formats.samples import BACKENDS, INSTALLED, assert_holds, assert_same, put, trace_of

Arrays = Mapping[str, np.ndarray]


@pytest.mark.parametrize("name", BACKENDS)
def test_the_format_is_found_in_the_content_not_in_the_name(name: str, small: Arrays, tmp_path: Path) -> None:
    for suffix in ("", ".zarr", ".npz", ".h5", ".safetensors"):
        path = tmp_path / f"archive{suffix}"
        write_archive(trace_of(small), load_format(name), path)
        assert detect(path).name == name


@pytest.mark.parametrize(("source", "target"), list(permutations(INSTALLED, 2)))
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


@pytest.mark.parametrize(("text", "message"), [("file:", "needs a path"), ("file:/no/such/archive", "no archive at")])
def test_a_file_trace_needs_a_file(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_trace(text)


@pytest.mark.parametrize("name", BACKENDS)
def test_every_format_holds_the_same_minimal_trace(name: str, sample: Arrays, tmp_path: Path) -> None:
    source = trace_of(sample)
    trace = MinimalTrace(source, parse(["pair=1e-2", "attention=1e-3"], drop=["outputs/count"]))
    backend = load_format(name)
    path = tmp_path / f"archive{backend.suffix}"
    written = convert(trace, backend, path, source=source)
    assert verify_archive(path) == []
    again = ArchiveTrace(path)
    assert again.label == f"file:{path.name} (lossy)"
    assert again.manifest == written
    assert again.manifest.loss == trace.manifest.loss
    raw = write_archive(trace, load_format("raw"), tmp_path / "ceiling")
    assert written.digests == raw.digests


class Overreaching(MinimalTrace):
    """Rounds one value of the pair tensor by more than the bound when it is streamed again."""

    def blocks(self, path: str) -> Any:
        for block in super().blocks(path):
            if path == "pair/layer_0":
                block.reshape(-1)[0] *= 2
            yield block


def test_an_archive_that_breaks_its_bound_is_removed(small: Arrays, tmp_path: Path) -> None:
    source = trace_of(small)
    trace = Overreaching(source, parse(["pair=1e-2"]))
    with pytest.raises(HarnessError, match=r"removed: pair/layer_0: a value moved by more than the bound"):
        convert(trace, load_format("hdf5"), tmp_path / "a.h5", source=source)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["zarr-slim", "zarr-slim-fast"])
def test_vanilla_stores_every_tensor_as_given(name: str, sample: Arrays, tmp_path: Path) -> None:
    found = {}
    for kind, backend in (("slim", load_format(name)), ("vanilla", load_format(name).of)):
        path = tmp_path / kind
        found[kind] = write_archive(trace_of(sample), backend, path).digests
        assert verify_archive(path) == []
        assert detect(path).name == name
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


CONSUMED = [
    ("vit-mnist", "attention=1e-3"),
    ("openfold-1ubq", "attention=1e-3"),
    ("synthetic:n_res=96,layers=1", "attention=1e-4"),
]


@pytest.mark.parametrize(("name", "bound"), CONSUMED)
def test_consumers_of_attention_read_the_same_from_a_minimal_archive(name: str, bound: str, tmp_path: Path) -> None:
    if not name.startswith("synthetic") and not os.environ.get("HARNESS_DATA"):
        pytest.skip("HARNESS_DATA names no folder of real data")
    source = open_trace(name)
    path = tmp_path / "trace.slim.zarr"
    convert(MinimalTrace(source, parse([bound])), load_format("zarr-slim"), path, source=source)
    whole = tmp_path / "whole.slim.zarr"
    convert(source, load_format("zarr-slim"), whole)
    assert archive_size(path)[0] < archive_size(whole)[0]
    with open_archive(path) as (_, reader, manifest):
        for spec in manifest.with_role(Role.ATTENTION):
            before, after = read_whole(source, spec.path), reader.read(spec.path)
            assert np.array_equal(before.argmax(-1), after.argmax(-1))
            best = (np.argsort(-values, axis=-1, kind="stable")[..., :10] for values in (before, after))
            assert np.array_equal(*best)
            assert np.allclose(before.sum(-1), after.sum(-1), atol=1e-6, rtol=0)


def test_consumers_of_pair_read_the_same_from_a_minimal_archive(tmp_path: Path) -> None:
    source = open_trace("synthetic:n_res=64,layers=1")
    path, name = tmp_path / "trace.h5", "activations/layer_0/pair_repr"
    convert(MinimalTrace(source, parse(["pair=1e-2"])), load_format("hdf5"), path, source=source)
    with open_archive(path) as (_, reader, _):
        before, after = read_whole(source, name), reader.read(name)
        # Rounding never inverts an order, so the strongest channel is still among the strongest.
        strongest = np.take_along_axis(after, before.argmax(-1)[..., None], axis=-1)[..., 0]
        assert np.array_equal(strongest, after.max(-1))
        assert np.array_equal(np.sign(before), np.sign(after))
        window = (slice(3, 9), slice(40, 64), slice(0, 128))
        part = reader.read(name, window)
        assert (np.abs(part - before[window]) <= 1e-2 * np.abs(before[window])).all()
