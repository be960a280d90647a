"""What reads demand is counted from the layout, as worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from harness.extensions.projection import demand as module
from harness.extensions.projection.demand import demand
from harness.formats.base import load_format
from harness.formats.hdf5 import Hdf5Format
from harness.trace.manifest import Manifest, Provenance
from harness.trace.schema import tensor
from harness.workload import Read
from tests.formats.samples import put

PAIR, HEADS = tensor("pair/layer_0", (100, 100, 8)), tensor("attention/layer_0", (2, 100, 100))
MANIFEST = Manifest(tensors=(PAIR, HEADS), provenance=Provenance(source="test"))


def part(*spans):
    return tuple(slice(*span) for span in spans)


def test_chunks_that_a_window_touches_are_decoded_whole():
    backend = load_format("hdf5")
    edge = backend.layout(PAIR, "tuned").chunks
    read = Read(path=PAIR.path, selection=part((edge[0] - 1, edge[0] + 1), (0, 1), (0, 8)))
    found = demand(backend, "tuned", MANIFEST, [read])
    assert (found.reads, found.chunks, found.returned) == (1, 2, 2 * 1 * 8 * 4)
    assert found.decoded == (0, 2 * int(np.prod(edge)) * 4, 0)


def test_chunks_are_as_many_as_the_file_has(tmp_path):
    values = np.random.default_rng(0).normal(size=PAIR.shape).astype(np.float32)
    path = put(tmp_path, "hdf5", {PAIR.path: values})
    with Hdf5Format().reader(path) as reader:
        stored = reader._file[PAIR.path].id.get_num_chunks()
    assert demand(load_format("hdf5"), "tuned", MANIFEST, [Read(path=PAIR.path)]).chunks == stored


def test_npz_decodes_a_whole_member_for_each_window():
    window = Read(path=HEADS.path, selection=part((0, 1), (3, 5), (3, 5)))
    found = demand(load_format("npz"), "tuned", MANIFEST, [window, window])
    assert (found.reads, found.chunks, found.decoded) == (2, 2, (2 * HEADS.nbytes, 0, 0))


@pytest.mark.parametrize(("starts", "rows", "members"), [((0, 50), 100, 1), ((50, 0), 150, 2)])
def test_npz_decodes_a_large_member_once_for_blocks_in_their_order(monkeypatch, starts, rows, members):
    monkeypatch.setattr(module, "LARGE_BYTES", 1000)
    reads = [Read(path=PAIR.path, selection=part((start, start + 50), (0, 100), (0, 8))) for start in starts]
    found = demand(load_format("npz"), "tuned", MANIFEST, reads)
    assert found.chunks == members and found.decoded == (0, rows * 100 * 8 * 4, 0)
