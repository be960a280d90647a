"""Every lying backend is caught, or measured for what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.formats.archive import write_archive
from harness.formats.raw import RawFormat
from harness.row_files import read_samples
from harness.sampling.parallel_sample import take_threads
from harness.sampling.sample import take
from harness.sampling.verify import Expected, check, expectations
from harness.trace.manifest import Manifest
from harness.trace.sources import open_trace
from harness.trace.stream import digest
from harness.workload import Read
from tests import liars

TRACE = "synthetic:layers=1,heads=2,hidden_dim=16,pair_dim=8"
PAIR = "activations/layer_0/pair_repr"
WINDOW = (slice(3, 11), slice(5, 13), slice(0, 8))
READS = (Read(path=PAIR), Read(path=PAIR, selection=WINDOW))


@pytest.fixture
def archive(tmp_path: Path) -> tuple[Path, Manifest, dict[str, Expected]]:
    path = tmp_path / "trace.raw"
    manifest = write_archive(open_trace(TRACE, 40), RawFormat(), path)
    return path, manifest, expectations(path, manifest, READS)


@pytest.mark.parametrize(
    ("liar", "caught"),
    [
        (liars.Lazy, "returned StoredTensor instead of an ndarray"),
        (liars.Mapped, "mapped file"),
        (liars.Zeros, "differ from the source"),
        (liars.Flipped, "differ from the source"),
        (liars.Half, "dtype float16 instead of float32"),
        (liars.Whole, "shape (40, 40, 8) instead of (8, 8, 8)"),
    ],
)
def test_a_wrong_result_is_named(archive, liar, caught):
    path, _, expected = archive
    assert caught in take(liar(), path, READS, expected).problem
    assert caught in take_threads(liar(), path, READS, expected, 2, shared=True).problem


def test_a_mapped_tensor_of_which_parts_are_copied_is_named(archive):
    path, _, expected = archive
    reads = [read for read in READS if read.selection is not None]
    assert reads and "mapped file" in take(liars.Mapped(), path, reads, expected, load_once=True).problem


def test_an_honest_backend_has_no_problem(archive):
    path, _, expected = archive
    reading = take(RawFormat(), path, READS, expected)
    assert reading.problem == ""
    assert reading.bytes_returned == sum(want.nbytes for want in expected.values())


def test_what_a_backend_raises_becomes_one_sentence(archive):
    path, _, expected = archive
    with pytest.raises(HarnessError, match=r"^fickle failed reading trace.raw: RuntimeError: not today$"):
        for _ in range(8):
            take(liars.Fickle(), path, READS, expected)


def test_a_pause_in_every_read_is_measured(archive):
    path, _, expected = archive
    assert take(liars.Sleepy(), path, READS, expected).seconds >= len(READS) * liars.PAUSE


def test_an_injected_latency_is_reported_to_the_nanosecond(archive):
    path, _, expected = archive
    now = [0]

    class Slow(RawFormat):
        def reader(self, path):
            now[0] += 7_000_000
            reader = super().reader(path)
            read = reader.read

            def delayed(*args):
                now[0] += 20_000_000
                return read(*args)

            reader.read = delayed
            return reader

    reading = take(Slow(), path, READS, expected, clock=lambda: now[0])
    assert reading.seconds == len(READS) * 0.020
    assert reading.open_seconds == 0.007


@pytest.mark.slow
def test_a_run_with_liars_fails_their_cells_and_measures_the_rest(measure):
    names = ["Lazy", "Caching", "Zeros", "Flipped", "Half", "Whole", "WritesNothing", "Fickle", "Hanging", "Dying"]
    folder, progress = measure(
        formats=("hdf5", *(f"tests.liars:{name}" for name in names)),
        suites=("full_read", "layer_read"),
        timeout=10,
        explained=False,
    )
    rows = read_samples(folder / "samples.csv")
    failed = rows[rows["status"] == "failed"].groupby("format")["reason"].agg(set)
    said = {name: " ".join(reasons) for name, reasons in failed.items()}
    assert set(said) == {
        "lazy",
        "caching",
        "zeros",
        "flipped",
        "half",
        "whole",
        "nothing",
        "fickle",
        "hanging",
        "dying",
    }
    caching = rows[rows["format"] == "caching"].groupby("access")
    assert set(caching.groups) == {"all_tensors", "attention_layer", "head", "pair_layer"}
    assert caching["status"].agg(lambda s: "failed" in set(s)).all(), "it is out for all later accesses"
    assert all("data was kept from an earlier reader" in reason for reason in failed["caching"])
    assert "wrote nothing" in said["nothing"]
    assert "not today" in said["fickle"]
    assert "hung: no answer within 10 s" in said["hanging"]
    assert "its process ended without an answer (exit code 3)" in said["dying"]
    assert rows.loc[rows["status"] == "failed", "seconds"].isna().all()
    honest = rows[rows["format"].isin(["hdf5", "raw", "a/a"])]
    assert (honest["status"] == "ok").all() and honest["verified"].astype(bool).all()
    assert len(honest) == 3 * 4 * 2  # arms, accesses, rounds
    assert progress.steps == progress.planned


def test_bits_are_compared_not_values():
    one, other = np.array([0.0, np.nan], np.float32), np.array([-0.0, np.nan], np.float32)
    expected = Expected(digest(one), "float32", (2,), 8)
    assert check(one.copy(), expected) == ""
    assert "differ" in check(other, expected)
