"""The entropy of traces whose entropy is known, how much of a large one is counted, and the section of a report."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from harness.cli import main
from harness.extensions.entropy import document
from harness.extensions.entropy.model import entropy_bits, entropy_bytes, plane_counts
from harness.testing.samples import StepTrace
from harness.trace.schema import tensor


def trace_of(array: np.ndarray):
    return StepTrace({tensor("outputs/values", array.shape, array.dtype): array})


def test_a_uniform_byte_has_eight_bits_and_a_constant_none():
    spec = tensor("outputs/values", (256,), "uint8")
    assert entropy_bits(plane_counts(spec, [np.arange(256, dtype=np.uint8)])) == pytest.approx(8)
    assert entropy_bits(plane_counts(spec, [np.full(256, 7, np.uint8)])) == 0
    assert entropy_bits(plane_counts(spec, [])) == 0


def test_planes_are_the_bytes_of_values():
    values = np.repeat(np.arange(256, dtype=np.uint16) << 8, 4)  # the lower byte is zero throughout
    found, counted = entropy_bytes(trace_of(values))
    assert (found, counted) == (pytest.approx(len(values)), 1.0)
    floats = np.random.default_rng(0).standard_normal(1 << 16).astype(np.float32)
    rounded = (floats.view(np.uint32) & 0xFFFF0000).view(np.float32)
    full, half = entropy_bytes(trace_of(floats))[0], entropy_bytes(trace_of(rounded))[0]
    assert full - half == pytest.approx(2 * len(floats), rel=0.01)


def test_of_a_large_trace_a_part_is_counted_and_the_whole_estimated():
    values = np.random.default_rng(0).integers(0, 4, (64, 1 << 18), np.uint8)  # two bits each, in 2 blocks of 8 MiB
    whole, counted = entropy_bytes(trace_of(values))
    part, share = entropy_bytes(trace_of(values), most=values.nbytes // 2)
    assert counted == 1 and 0.4 < share < 0.6
    assert part == pytest.approx(whole, rel=1e-3) and whole == pytest.approx(values.size / 4, rel=1e-3)


@pytest.mark.slow
def test_a_run_states_the_estimate_beside_the_sizes_and_a_check_holds_them(tmp_path):
    run = tmp_path / "run"
    argv = ["run", "--trace", "synthetic:layers=1,heads=1,hidden_dim=4,pair_dim=4", "--sizes", "16", "--suites", "size"]
    argv += ["--formats", "npz,hdf5", "--baseline", "npz", "--rounds", "1"]
    assert main([*argv, "--out", str(run), "--quiet"]) == 0
    (row,) = document.read(run)
    assert row["n_res"] == 16 and 0 < row["entropy_bytes"] < row["float32_bytes"] and row["counted"] == 1
    report = (run / "report.md").read_text()
    assert "Sizes beside an entropy estimate" in report and "It is no bound" in report
    bundle = tmp_path / "run.bundle.zip"
    assert main(["bundle", str(run), "--out", str(bundle)]) == 0
    assert main(["check", str(bundle)]) == 0


def test_a_block_that_is_larger_than_memory_is_counted_in_parts():
    values = np.zeros((1, 1 << 22), np.float32)
    spec = tensor("x", values.shape)
    tracemalloc.start()
    counts = plane_counts(spec, [values])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counts.sum() == values.nbytes and peak < 1.5 * values.nbytes, "and not 8 bytes for each value of a plane"
    assert plane_counts(spec, [values], every=2).sum() == values.nbytes // 2
