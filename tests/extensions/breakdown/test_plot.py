"""The picture of where time goes: what it shows of several traces, and that nothing measured draws nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.image import imread

from harness.extensions.breakdown.analysis import drawn_cells
from harness.extensions.breakdown.plot import draw_time
from harness.report.drawing.figure import Page


def cells(trace: str, n_res: float, accesses: list[str], **changes: object) -> pd.DataFrame:
    parts = {"metadata": 1e-3, "file_read": 2e-3, "decode": 3e-3, "copy": 1e-3, "rest": -1e-3}
    row = {"trace": trace, "n_res": n_res, "total_seconds": 6e-3, "open_seconds": 1e-3, "rounds": 3}
    row |= {f"{name}_seconds": value for name, value in parts.items()} | changes
    rows = [{**row, "access": a, "format": f, "profile": "tuned"} for a in accesses for f in ("hdf5", "zarr")]
    return pd.DataFrame(rows)


SEVERAL = pd.concat(
    [
        cells("vit", np.nan, ["head", "attention_layer"]),  # a trace without residues has no length
        cells("synthetic", 64.0, ["head", "all_tensors", "pair_layer"]),
        cells("synthetic", 128.0, ["head", "all_tensors", "pair_layer"]),
    ]
)


def test_the_trace_with_most_accesses_is_shown_at_its_largest_length():
    assert drawn_cells(SEVERAL)[:2] == ("synthetic", 128.0)


def test_a_trace_without_residues_alone():
    trace, n_res, _ = drawn_cells(cells("vit", np.nan, ["head"]))
    assert trace == "vit" and np.isnan(n_res)


@pytest.mark.parametrize("table", [SEVERAL, cells("vit", np.nan, ["head"])])
def test_it_is_drawn_alike_every_time(tmp_path, table):
    paths = draw_time(table, tmp_path)
    assert [p.name for p in paths] == ["where_time_goes.svg", "where_time_goes.png"]
    before = [p.read_bytes() for p in paths]
    assert [p.read_bytes() for p in draw_time(table, tmp_path)] == before
    assert imread(paths[1]).std() > 0.01


def test_nothing_measured_draws_nothing(tmp_path):
    assert draw_time(cells("t", 64.0, ["head"], total_seconds=np.nan), tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_a_bar_shows_all_its_parts_however_long_the_read(tmp_path, monkeypatch):
    bars = []
    plain = Axes.barh

    def barh(self, y, width, left, **rest):
        bars.extend(zip(y, left, width, strict=True))
        return plain(self, y, width, left=left, **rest)

    monkeypatch.setattr(Axes, "barh", barh)
    table = cells("synthetic", 64.0, ["head"])
    parts = [name for name in table if name.endswith("_seconds") and name not in ("total_seconds", "open_seconds")]
    long, opaque = table["format"] == "hdf5", table["format"] == "zarr"
    table.loc[long, [*parts, "total_seconds", "open_seconds"]] *= 1000  # 7 s beside 7 ms
    table.loc[opaque, parts] = np.nan
    draw_time(table, tmp_path)
    ends = {row: [(left, left + width) for place, left, width in bars if place == row] for row in (0, 1)}
    assert len(ends[0]) == 5 and len(ends[1]) == 2  # all parts of one; of the other to open, and what is not known
    for pieces in ends.values():
        assert pieces[0][0] == 0 and pieces[-1][1] == pytest.approx(1)
        assert [end for _, end in pieces[:-1]] == pytest.approx([start for start, _ in pieces[1:]])
    drawn = (tmp_path / "where_time_goes.svg").read_text()
    assert "<!-- 7 s -->" in drawn and "<!-- 7 ms -->" in drawn and "<!-- no breakdown -->" in drawn


def test_long_names_stay_on_the_page(tmp_path, monkeypatch):
    pages = []
    plain = Page.save
    monkeypatch.setattr(Page, "save", lambda self, *where: pages.append(self) or plain(self, *where))
    one = cells("synthetic", 64.0, ["head"])
    draw_time(pd.concat([one.assign(format="zarr-slim", profile=name) for name in ("tuned", "another-one")]), tmp_path)
    (page,) = pages
    page.figure.draw_without_rendering()
    boxes = {text.get_text(): text.get_window_extent() for text in page.axes[0, 0].texts}
    assert {"zarr-slim\n(tuned)", "zarr-slim\n(another-one)"} < set(boxes) and min(b.x0 for b in boxes.values()) > 0
