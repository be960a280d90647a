"""The report of a run on corpora: rows a second and bytes follow from its cells, and the projection from its sizes."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from harness.cli import main
from harness.extensions.corpus.measured import PROTEINS, Corpus, measured
from harness.row_files import read_samples
from harness.trace.manifest import Manifest
from harness.trace.sources import open_trace
from tests.conftest import TINY

TEXT = "corpus:proteins={},layers=2,width=16"


@pytest.mark.parametrize("layout", ["proteins", "rows"])
def test_a_corpus_is_described_from_its_manifest(layout):
    manifest = open_trace(f"{TEXT.format(5)},layout={layout}").manifest
    found = Corpus.of(Manifest.from_json(manifest.to_json()))
    assert found is not None and found.proteins == 5 and found.row_bytes == 32
    assert found.kind == (2, 16, "bfloat16", layout == "rows")
    assert 2 * found.rows * found.row_bytes == manifest.nbytes - (6 * 8 if layout == "rows" else 0)
    assert Corpus.of(open_trace(TINY.traces[0], 8).manifest) is None


@pytest.mark.slow
def test_rows_a_second_and_the_projection_follow_from_the_tables(sketched, tmp_path):
    run = tmp_path / "run"
    traces = [option for n in (4, 8) for option in ("--trace", TEXT.format(n))]
    argv = ["run", *traces, "--suites", "size,corpus_access", "--formats", "hdf5", "--baseline", "hdf5"]
    argv += ["--rounds", "1", "--cache", "both", "--readers", "stock", "--workers", "2", "--executors", "threads"]
    assert main([*argv, "--out", str(run), "--quiet"]) == 0
    samples, summary = read_samples(run / "samples.csv"), pd.read_csv(run / "summary.csv")
    found = measured(run, samples, summary)
    assert found is not None and sorted(corpus.proteins for corpus in found.corpora.values()) == [4, 8]
    batches = found.cells[found.cells["access"] == "row_batch"]
    assert set(batches["rows"]) == {1024} and {"raw", "hdf5"} == set(batches["format"])
    first = batches.iloc[0]
    assert first["rows_per_second"] == pytest.approx(1024 / first["median_read_seconds"])
    (projected,) = found.projected
    less = next(name for name, corpus in found.corpora.items() if corpus.proteins == 4)
    archives = samples[(samples["access"] == "archive") & (samples["format"] == "hdf5")]
    sizes = archives.set_index("trace")["size_bytes"]
    assert projected.corpus.proteins == 8
    assert projected.stored == pytest.approx(sizes[projected.trace] * PROTEINS / 8)
    cold = found.cells[(found.cells["access"] == "layer_of_all") & (found.cells["cache"] == "cold")]
    seconds = cold[cold["format"] == "hdf5"].set_index("trace")["median_seconds"]
    if len(seconds) == 2:  # cold reads are possible here
        assert projected.layer_seconds == pytest.approx(seconds[projected.trace] * PROTEINS / 8)
        assert projected.error == pytest.approx(abs(seconds[less] * 2 / seconds[projected.trace] - 1))
    else:
        assert math.isnan(projected.layer_seconds)
        assert projected.error == pytest.approx(abs(sizes[less] * 2 / sizes[projected.trace] - 1))
    text = (run / "report.md").read_text()
    assert "## Corpora" in text and f"Projection to {PROTEINS:,} proteins, not a measurement" in text
    assert "random rows of one layer, warm, 2 threads" in text and "several archives" in text


def test_a_run_without_corpora_has_no_section(tmp_path):
    cells = pd.DataFrame({"suite": ["size"], "status": ["ok"]})
    assert measured(tmp_path, pd.DataFrame(), cells) is None
