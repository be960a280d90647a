"""Trends are drawn for every cell, alike every time, with steps and series marked."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
from matplotlib.axes import Axes

from harness.extensions.history.command import step_table
from harness.extensions.history.series import arrange
from harness.extensions.history.steps import find_steps
from harness.extensions.history.trends import draw_trends
from tests.extensions.history.made import SAME, key, ratios, run, sized, timed


def history():
    values = [1.0] * 12 + [1.25] * 6
    return [
        dataclasses.replace(r, cells=dict([*r.cells.items(), sized(1000 + (i > 3))]))
        for i, r in enumerate(ratios(values))
    ]


def drawn(folder, records):
    folder.mkdir(exist_ok=True)
    series = arrange(records)
    return {path.name: path.read_bytes() for path in draw_trends(series, [find_steps(s) for s in series], folder)}


def test_a_figure_for_each_suite_and_the_machine_with_the_same_bytes_every_time(tmp_path):
    first = drawn(tmp_path / "a", history())
    assert set(first) == {f"trend-{n}.{k}" for n in ("layer_read", "size", "machine") for k in ("svg", "png")}
    assert drawn(tmp_path / "b", history()) == first


def test_steps_and_series_are_marked(tmp_path):
    """The same runs in one series have a step; in two they have none, and a line between."""
    other = dataclasses.replace(SAME, seed=1)
    broken = [dataclasses.replace(r, definition=other if i > 11 else SAME) for i, r in enumerate(history())]

    def lines(records):
        page = drawn(tmp_path / "a", records)["trend-layer_read.svg"].decode()
        return [len(re.findall(f"stroke: {colour}", page)) for colour in ("#d55e00", "#6e6e6e")]

    whole, cut = lines(history()), lines(broken)
    assert whole[0] > cut[0] and whole[1] < cut[1]


def test_intervals_stay_in_their_panels(tmp_path, monkeypatch):
    seen = []
    plain = Axes.vlines

    def vlines(self, x, low, high, **rest):
        seen.append((self, low, high))
        return plain(self, x, low, high, **rest)

    monkeypatch.setattr(Axes, "vlines", vlines)
    place, figures = timed(key(), 0.01)
    wide = run(3, [(place, figures | {"ci_low": 0.001, "ci_high": 0.05})])
    drawn(tmp_path / "a", [*(run(k, [timed(key(), 0.01)]) for k in range(3)), wide])
    for axes, low, high in seen:
        least, most = axes.get_ylim()
        assert least < np.nanmin(low) and np.nanmax(high) < most
    assert any(np.nanmax(high) == 0.05 for _, _, high in seen)


def test_drawings_that_are_no_longer_true_are_removed(tmp_path):
    drawn(tmp_path / "a", history())
    drawn(tmp_path / "a", ratios([1.0, 1.0]))
    assert {p.name for p in (tmp_path / "a").iterdir()} == {
        f"trend-{n}.{k}" for n in ("layer_read", "machine") for k in ("svg", "png")
    }


def test_the_table_has_a_row_for_each_step():
    series = arrange(history())
    table = step_table([find_steps(s) for s in series])
    assert list(table["figure"]) == ["bytes", "time"] and list(table["format"]) == ["hdf5", "hdf5"]
    assert table["commits"].iloc[0] == "0000003..0000004" and table["regression"].all()


def test_sizes_have_ticks_at_whole_bytes(tmp_path):
    texts = re.findall(r"<!-- ([\d,]+ B) -->", drawn(tmp_path / "a", history())["trend-size.svg"].decode())
    assert "1,001 B" in texts and len(set(texts)) == len(texts)
