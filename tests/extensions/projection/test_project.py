"""Cost models find the costs that made the times, predict what they have not seen, and project as printed."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from harness.analysis.choice.mix import Mix, presets
from harness.cli import main
from harness.errors import HarnessError, UsageError
from harness.extensions.projection.demand import FEATURES, Demand
from harness.extensions.projection.model import ModelCell, cells_of, fit, fit_all
from harness.extensions.projection.project import STORES, ProjectionQuestion, project, save
from harness.extensions.projection.section import COLUMNS, FILE, section
from harness.records import CellKey

REFERENCE = Path(__file__).parents[3] / "results" / "reference"
TRACE = "synthetic:layers=6"
TRUE = np.array([1e-3, 1e-4, 2e-5, 3e-10, 4e-10, 0, 1e-10])
ASKED = ProjectionQuestion(
    traces=10_000, n_res=384, readers=50, accesses=1, mix=presets()["shared-cluster"], store=STORES["s3"]
)


def cells(noise=0.0, lengths=(64, 128, 256), seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for n in lengths:
        for name, demand in {
            "pair_layer": Demand(reads=1, chunks=n * n // 1024, decoded=(0, n * n * 512, 0), returned=n * n * 512),
            "attention_layer": Demand(reads=1, chunks=8, decoded=(n * n * 32, 0, 0), returned=n * n * 32),
            "head": Demand(reads=1, chunks=1, decoded=(n * n * 4, 0, 0), returned=n * n * 4),
            "window_pair": Demand(reads=5, chunks=20, decoded=(0, 20 * 524288, 0), returned=5 * 524288),
            "window_attention": Demand(reads=12, chunks=14, decoded=(14 * 65536, 0, 0), returned=12 * 4096),
        }.items():
            seconds = float(demand.features @ TRUE) * float(np.exp(noise * rng.normal()))
            found.append(
                ModelCell(
                    key=CellKey("s", name, "t", n, "x", "tuned", "warm", "main", 1), demand=demand, seconds=seconds,
                    bytes_read=1.0, requests=1.0,
                )
            )  # fmt: skip
    return found


def test_costs_that_made_the_times_predict_lengths_and_accesses_that_were_left_out():
    (model,) = fit_all(cells())
    assert model.by_length < 1e-6
    for cell in cells(lengths=(1024,)):
        assert model.predict(cell.demand) == pytest.approx(cell.seconds, rel=1e-6)
    assert len(model.seconds) == len(FEATURES) and (model.seconds >= 0).all()


def test_the_held_out_error_is_that_of_times_that_no_model_can_know():
    assert 0.05 < fit_all(cells(noise=0.2))[0].by_length < 0.5


def test_more_lengths_predict_a_longer_one_better():
    (longer,) = [cell for cell in cells(lengths=(2048,)) if cell.key.access == "pair_layer"]

    def error(lengths):
        """Return the root mean square of relative errors over runs that are simulated apart."""
        predicted = [float(longer.demand.features @ fit(cells(0.1, lengths, seed))) for seed in range(20)]
        return float(np.sqrt(np.mean([(value / longer.seconds - 1) ** 2 for value in predicted])))

    three, four, five = (error((64, 128, 256, 512, 1024)[:count]) for count in (3, 4, 5))
    assert three > four > five
    (model,) = fit_all(cells(0.1, (64, 128, 256, 512, 1024)))
    assert len(model.cells) == 25 and model.by_length < 0.2


def test_relative_errors_count_so_that_short_accesses_do_too():
    slower = [dataclasses.replace(cell, seconds=cell.seconds * 1000) for cell in cells()]
    assert fit(slower) == pytest.approx(1000 * fit(cells()), rel=1e-6)


def test_what_no_access_demands_costs_nothing():
    """A run may hold no attention, and its column of demands is then zero."""
    pair = [dataclasses.replace(c, demand=dataclasses.replace(c.demand, decoded=(0, 0, 1000 * n))) for n, c in
            enumerate(cells(), 1)]  # fmt: skip
    found = fit(pair)
    assert np.isfinite(found).all() and (found[[3, 4]] == 0).all() and found.max() > 0


def test_too_few_lengths_and_too_few_cells_are_refused():
    with pytest.raises(UsageError, match="two lengths or more"):
        fit_all(cells(lengths=(64,)))
    with pytest.raises(UsageError, match="x has 2 warm cells"):
        fit_all([cell for cell in cells() if cell.key.access == "head"][:2])


@pytest.fixture(scope="module")
def reference():
    return project(REFERENCE, TRACE, ASKED)


def test_models_of_the_reference_run_predict_held_out_cells_within_a_quarter():
    for model in fit_all(cells_of(REFERENCE, TRACE)):
        assert model.by_length < 0.25 and model.by_access < 0.25


def test_the_projection_is_the_printed_arithmetic(reference):
    table = reference.table.set_index("format")
    samples = pd.read_csv(REFERENCE / "samples.csv")
    size = samples[(samples["access"] == "archive") & (samples["suite"] == "size") & (samples["n_res"] == 384)]
    size = size[size["effort"] == "stock"].set_index("format")
    for name, row in table.iterrows():
        assert row["gigabytes"] == pytest.approx(10_000 * size.loc[name, "size_bytes"] / 1e9)
        assert row["storage_per_month"] == pytest.approx(0.023 * row["gigabytes"])
        assert row["upload"] == pytest.approx(0.005 / 1000 * 10_000 * size.loc[name, "files"])
        assert row["reading"] == pytest.approx(0.0004 / 1000 * 10_000 * row["requests_per_access"])
        assert row["seconds"] == pytest.approx(10_000 * row["seconds_per_access"] / 50)


def test_latency_and_bandwidth_add_what_they_say(reference):
    store = dataclasses.replace(STORES["s3"], latency=0.120)
    slower = project(REFERENCE, TRACE, dataclasses.replace(ASKED, store=store)).table.set_index("format")
    before = reference.table.set_index("format")
    for name in before.index:
        added = slower.loc[name, "seconds_per_access"] - before.loc[name, "seconds_per_access"]
        assert added == pytest.approx(0.1 * before.loc[name, "requests_per_access"])


def test_a_local_projection_of_a_measured_access_is_near_what_was_measured():
    mix = Mix(name="pair", shares={"pair_layer": 1})
    asked = dataclasses.replace(ASKED, mix=mix, store=STORES["local"])
    table = project(REFERENCE, TRACE, asked).table.set_index("format")
    for cell in cells_of(REFERENCE, TRACE):
        if (cell.key.access, cell.n_res) == ("pair_layer", 384):
            assert table.loc[cell.key.format, "seconds_per_access"] == pytest.approx(cell.seconds, rel=0.5)


def test_a_length_that_was_not_measured_is_called_an_extrapolation(reference):
    assert not any("extrapolation" in note for note in reference.notes)
    beyond = project(REFERENCE, TRACE, dataclasses.replace(ASKED, n_res=2048))
    assert any("outside the measured lengths" in note for note in beyond.notes)
    assert (beyond.table["gigabytes"] > 3.9 * reference.table["gigabytes"].min()).all()


def test_what_is_kept_is_shown_as_a_projection(reference, tmp_path):
    path = save(reference, tmp_path)
    fair = SimpleNamespace(withdrawn=False)
    asked, table, notes = section.blocks(section.find(tmp_path, fair), fair)
    assert "10,000 traces" in asked.text and notes.texts[0].startswith("Projection, not a measurement")
    assert len(table.rows) == 4 and all(len(row) == len(COLUMNS) for row in table.rows)
    assert section.find(tmp_path, SimpleNamespace(withdrawn=True)) is None
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"projection_version": 99}))
    with pytest.raises(HarnessError, match="has version 99"):
        section.find(tmp_path, fair)
    (tmp_path / FILE).write_text("[]")
    with pytest.raises(HarnessError, match="remove it and project again"):
        section.find(tmp_path, fair)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--latency", "20"], "--latency takes a number with its unit"),
        (["--bandwidth", "0Gbit"], "--bandwidth takes a number with its unit"),
        (["--bandwidth", "1.2.3Gbit"], "--bandwidth takes a number with its unit"),
        (["--price-gets", "cheap"], "--price-gets takes a number"),
        (["--store", "s4"], "no store named 's4'"),
        (["--readers", "0"], "--readers takes a positive integer"),
        (["--mix", "viewer"], "no mix named"),
        (["--trace", "synthetic:layers=2"], "has no trace 'synthetic:layers=2'"),
        (["--trace", "af2-1ubq"], "two lengths or more"),
    ],
)
def test_what_cannot_be_projected_is_refused_in_a_sentence(options, part, capsys):
    assert main(["project", str(REFERENCE), *options]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if not re.match(r"\d+ s  ", line)]  # no progress
    assert len(told) == 1 and part in told[0]


def test_lengths_that_several_nodes_measured_are_not_projected(tmp_path):
    environment = json.loads((REFERENCE / "environment.json").read_text())
    environment["sessions"] = [environment["sessions"][0] | {"node": node} for node in ("a", "b")]
    (tmp_path / "environment.json").write_text(json.dumps(environment))
    (tmp_path / "run.json").write_bytes((REFERENCE / "run.json").read_bytes())
    with pytest.raises(UsageError, match="were measured on 2 nodes, whose times are not compared"):
        project(tmp_path, None, ASKED)
