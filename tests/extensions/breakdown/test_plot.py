"""The picture of where time goes: what it shows of several traces, and that nothing measured draws nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from harness.extensions.breakdown.analysis import drawn_cells
from harness.extensions.breakdown.plot import draw_time


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
