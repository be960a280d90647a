"""Exponents of growth: known ones are found, noise widens their intervals, two lengths give none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.analysis.findings import find
from harness.analysis.report_options import find_options
from harness.analysis.summary import summarise
from harness.analysis.table import SampleTable
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.extensions.growth.drawing import draw_growth
from harness.extensions.growth.fitting import fit, growth
from harness.extensions.growth.section import FoundGrowth, section
from harness.report.page.limits import limits
from harness.report.section import Text, brought
from tests.report.synthetic_samples import cell, frame

REFERENCE = Path(__file__).parents[3] / "results" / "reference"
LENGTHS = (256, 512, 1024)


def said(table: pd.DataFrame) -> list[str]:
    """Return the paragraphs of the section."""
    findings: Any = SimpleNamespace(without_formats=False)
    return [block.text for block in section.blocks(FoundGrowth(table, table), findings) if isinstance(block, Text)]


def samples(exponents, lengths=LENGTHS, noise=0.0, bent=1.0):
    rng = np.random.default_rng(3)
    groups = []
    for name, exponent in exponents.items():
        for n in lengths:
            times = 1e-6 * n**exponent * (bent if n == 512 else 1) * np.exp(noise * rng.normal(size=VERDICT_ROUNDS))
            groups.append(cell("layer_read", "pair_layer", name, times.tolist(), n_res=n))
    return SampleTable.of(frame(*groups))


def test_known_exponents_are_found():
    table = growth(samples({"hdf5": 2.0, "zarr": 0.0})).set_index("format")
    assert table.loc["hdf5", "exponent"] == pytest.approx(2) and table.loc["zarr", "exponent"] == pytest.approx(0)
    assert table.loc["hdf5", "coefficient"] == pytest.approx(1e-6)
    assert (table["exponent_high"] - table["exponent_low"] < 1e-6).all()
    assert table["largest_deviation"].max() < 1e-6
    assert table[["shortest", "longest", "lengths"]].drop_duplicates().to_numpy().tolist() == [[256, 1024, 3]]


def test_noise_widens_the_interval_around_the_exponent():
    (row,) = growth(samples({"hdf5": 1.5}, noise=0.1)).to_dict("records")
    assert row["exponent_low"] < 1.5 < row["exponent_high"] and row["exponent_high"] - row["exponent_low"] > 0.01


def test_more_lengths_narrow_the_interval():
    """Over formats that are simulated apart, since one may be lucky."""
    names = [f"format{k}" for k in range(6)]
    widths = []
    for lengths in (LENGTHS, (128, *LENGTHS), (128, *LENGTHS, 2048)):
        table = growth(samples(dict.fromkeys(names, 1.5), lengths, noise=0.1))
        assert set(table["lengths"]) == {len(lengths)}
        assert set(table["shortest"]) == {lengths[0]} and set(table["longest"]) == {lengths[-1]}
        assert table["exponent"].to_numpy() == pytest.approx(1.5, abs=0.1)
        widths.append(float((table["exponent_high"] - table["exponent_low"]).mean()))
    assert widths[0] > 1.2 * widths[1] > 1.2 * 1.2 * widths[2]
    assert "128 to 2048 residues" in said(table)[0]


def test_a_law_that_is_none_shows_as_a_deviation():
    (row,) = growth(samples({"hdf5": 2.0}, bent=1.5)).to_dict("records")
    assert 0.1 < row["largest_deviation"] < 0.5
    assert "% from its line (hdf5, layer_read/pair_layer)" in said(growth(samples({"hdf5": 2.0}, bent=1.5)))[1]


def test_two_lengths_and_the_control_and_the_ceiling_have_no_exponent():
    assert growth(samples({"hdf5": 2.0}, LENGTHS[:2])).empty
    assert growth(samples({"a/a": 2.0, "raw": 1.0})).empty
    assert said(growth(samples({"hdf5": 2.0}, LENGTHS[:2]))) == []


def test_a_length_that_varies_more_counts_less():
    times = np.array([[1.0, 1.0, 1.0], [4.0, 4.0, 4.0], [64.0, 20.0, 200.0]])
    slopes, _, _ = fit(np.array([1.0, 2.0, 4.0]), times)
    assert slopes[0] == pytest.approx(2, abs=0.05)


def test_points_and_lines_are_drawn_with_their_exponents(tmp_path):
    found = samples({"hdf5": 2.0, "npz": 1.0})
    drawn = draw_growth(growth(found), summarise(found, None, control_of="hdf5"), tmp_path)
    assert [path.name for path in drawn] == ["growth.svg", "growth.png"]
    again = drawn[0].read_bytes()
    assert draw_growth(growth(found), summarise(found, None, control_of="hdf5"), tmp_path)[0].read_bytes() == again
    assert draw_growth(pd.DataFrame(), pd.DataFrame(), tmp_path) == []


def exponents(folder: Path) -> pd.DataFrame:
    found = section.find(folder, find(folder, find_options(folder)))
    return found.exponents


@pytest.mark.slow
def test_growth_is_not_fitted_to_lengths_of_several_nodes(tmp_path):
    folder = shutil.copytree(REFERENCE, tmp_path / "run")
    assert not exponents(folder).empty
    path = folder / "environment.json"
    environment = json.loads(path.read_text())
    environment["sessions"] = [environment["sessions"][0] | {"node": node} for node in ("a", "b")]
    path.write_text(json.dumps(environment))
    assert exponents(folder).empty


@pytest.mark.slow
def test_one_round_of_three_lengths_says_that_growth_is_not_fitted(measure):
    folder, _ = measure(suites=("layer_read",), sizes=(24, 32, 40), rounds=1, explained=False)
    findings = find(folder, find_options(folder))
    assert exponents(folder).empty
    assert "How times grow with length is not fitted to fewer than 10 rounds." in limits(
        findings, brought(folder, findings)
    )
