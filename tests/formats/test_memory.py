"""A tensor larger than what may be held whole is written, verified and read by blocks without ever being whole."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from harness.formats import layout, npz_reader, opening, selection
from harness.formats.archive import verify_archive, write_archive
from harness.formats.base import load_format
from harness.slimming import slimmer
from harness.trace import stream
from harness.trace.schema import tensor
from harness.trace.sources import open_trace
from harness.workload import PlanOptions, whole_reads
from tests.formats.samples import BACKENDS

pytestmark = pytest.mark.slow

TRACE = "synthetic:values=noise,layers=1,heads=1,hidden_dim=1,pair_dim=64"
PAIR, OUTPUT = "activations/layer_0/pair_repr", "outputs/distogram_logits"
OPTIONS = PlanOptions(whole_bytes=1 << 20, block_bytes=1 << 20)


@pytest.fixture
def traced(monkeypatch):
    for module in (opening, npz_reader):
        monkeypatch.setattr(module, "LARGE_BYTES", OPTIONS.whole_bytes)
    monkeypatch.setattr(slimmer, "MOST_HELD", OPTIONS.whole_bytes)
    monkeypatch.setattr(selection, "BLOCK_BYTES", OPTIONS.block_bytes)
    monkeypatch.setattr(layout, "CHUNK_BYTES", OPTIONS.block_bytes // 4)
    # A default of `block_rows` too, which is bound when it is defined.
    monkeypatch.setattr(stream.block_rows, "__defaults__", (OPTIONS.block_bytes,))
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize("tensor_path", [PAIR, OUTPUT])
@pytest.mark.parametrize("name", BACKENDS)
def test_no_step_holds_a_large_tensor(name, tensor_path, tmp_path, traced):
    trace, backend = open_trace(TRACE, 256), load_format(name)
    if tensor_path != PAIR:
        trace = stream.TraceView(trace, {tensor(tensor_path, trace.manifest[PAIR].shape): PAIR})
    spec = trace.manifest[tensor_path]
    write_archive(open_trace("synthetic:layers=1,n_res=8"), backend, tmp_path / "first")  # loads the format's library
    path = tmp_path / f"a{backend.suffix}"
    peaks = {}
    made = {}
    for step, do in {
        "write": lambda: made.update(write_archive(trace, backend, path).digests),
        "verify": lambda: verify_archive(path, backend),
        "read": lambda: read(backend, path, spec, made[tensor_path]),
    }.items():
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        found = do()
        peaks[step] = tracemalloc.get_traced_memory()[1] - before
        if step == "verify":
            assert found == []
    assert spec.nbytes == 16 << 20 and max(peaks.values()) < 0.75 * spec.nbytes, peaks


def read(backend, path, spec, digest):
    reads = whole_reads(spec, OPTIONS)
    state = stream.Digest()
    with backend.reader(path) as reader:
        for part in reads:
            block = reader.read(part.path, part.selection)
            assert block.nbytes <= OPTIONS.block_bytes and type(block) is np.ndarray
            state.update(block)
    assert len(reads) == 16
    assert state.hexdigest() == digest
