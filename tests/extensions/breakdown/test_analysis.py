"""The rows of a breakdown become one row a cell, and a breakdown file survives what a run can meet."""

from __future__ import annotations

import math

import pytest

from harness.documents import DocumentError
from harness.errors import HarnessError
from harness.extensions.breakdown.analysis import COLUMNS, below_zero, where_time_goes
from harness.extensions.breakdown.rows import Breakdown, read_breakdown
from harness.records import CellKey, Mark, columns
from harness.row_files import RowFile, done

KEY = CellKey("layer_read", "head", "synthetic", 40, "zarr", "tuned", "warm", "main", 1)
FIGURES = {
    "open_seconds": 0.5, "metadata_seconds": 1.0, "file_read_seconds": 2.0, "decode_seconds": 3.0, "copy_seconds": 0.25,
    "stored_bytes": 100, "extents": 3, "files": 2, "bytes_requested": 400,
}  # fmt: skip


def row(number: int, total: float = 10.0, key: CellKey = KEY, **changes: object) -> Breakdown:
    values: dict[str, object] = {**FIGURES, "total_seconds": total, "rest_seconds": total - 6.25, **changes}
    return Breakdown(run_id="r", **key._asdict(), round=number, position=0, **values)  # type: ignore[arg-type]


@pytest.fixture
def table(tmp_path):
    """Write rows and summarise what is read back."""

    def go(*rows: Breakdown):
        file = RowFile(tmp_path / "breakdown.csv", Breakdown)
        for each in rows:
            file.add(each)
        file.close()
        return where_time_goes(read_breakdown(tmp_path / "breakdown.csv"))

    return go


def test_times_are_those_of_the_quietest_round_and_the_largest_part_is_named(table):
    cells = table(row(0), row(1, 8.0, decode_seconds=9.0, rest_seconds=-4.25), row(2, 30.0))
    assert list(cells.columns) == COLUMNS and len(cells) == 1
    cell = cells.iloc[0]
    assert (cell["rounds"], cell["total_seconds"], cell["decode_seconds"], cell["rest_seconds"]) == (3, 10.0, 3.0, 3.75)
    assert (cell["stored_bytes"], cell["extents"], cell["files"], cell["stored_fraction"]) == (100, 3, 2, 0.25)
    assert (cell["main_part"], cell["status"], cell["reason"]) == ("rest of the library", "ok", "")


def test_a_negative_rest_stays_negative(table):
    cell = table(row(0, 5.0)).iloc[0]
    assert cell["rest_seconds"] == -1.25
    assert cell["main_part"] == "decode"


def test_a_rest_that_is_clearly_negative_is_flagged(table):
    other = KEY._replace(access="layer")
    cells = table(row(0, 5.0), row(0, 6.0, key=other), row(0, 10.0, key=KEY._replace(access="window")))
    assert below_zero(cells).tolist() == [True, False, False]  # 25 % below, 4 % below, above


def test_an_exact_figure_that_differs_is_empty_and_said(table):
    cell = table(row(0), row(1, stored_bytes=120)).iloc[0]
    assert math.isnan(cell["stored_bytes"]) and math.isnan(cell["stored_fraction"])
    assert cell["reason"] == "stored_bytes differs between rounds: 100 to 120"
    assert cell["total_seconds"] == 10.0


def test_a_failed_round_leaves_no_figures(table):
    cell = table(row(0), Breakdown(run_id="r", **KEY._asdict(), round=1, position=0, status="failed", reason="x")).iloc[
        0
    ]
    assert (cell["status"], cell["reason"], cell["rounds"]) == ("failed", "x", 0)
    assert all(math.isnan(cell[name]) for name in COLUMNS if name.endswith("_seconds"))


def test_a_rejected_round_counts_for_nothing(table):
    cold = Breakdown(run_id="r", **KEY._asdict(), round=0, position=0, status="rejected", reason="too little memory")
    cell = table(cold, row(1), row(2, 12.0)).iloc[0]
    assert (cell["status"], cell["rounds"], cell["total_seconds"]) == ("ok", 2, 10.0)
    assert cell["reason"] == "too little memory"


def test_a_cell_without_replay_has_its_total_alone(table):
    nothing = dict.fromkeys(FIGURES) | {"open_seconds": 0.5, "rest_seconds": None, "bytes_requested": 400}
    cell = table(row(0, **nothing, status="skipped", reason="why")).iloc[0]
    assert (cell["total_seconds"], cell["open_seconds"], cell["rounds"]) == (10.0, 0.5, 1)
    assert (cell["status"], cell["reason"], cell["main_part"]) == ("skipped", "why", "")
    assert math.isnan(cell["stored_bytes"]) and math.isnan(cell["rest_seconds"])


def test_cells_are_kept_apart_in_the_order_measured(table):
    other = KEY._replace(format="hdf5", n_res=None)
    cells = table(row(0), row(0, key=other), row(1, key=other), row(1))
    assert list(cells["format"]) == ["zarr", "hdf5"]
    assert list(cells["rounds"]) == [2, 2]


def test_a_length_that_no_trace_has_is_a_missing_number(table):
    cells = table(row(0, key=KEY._replace(n_res=None)))
    assert cells["n_res"].dtype == float and math.isnan(cells["n_res"].iloc[0])


def test_a_length_that_all_traces_have_is_a_whole_number(table):
    assert table(row(0))["n_res"].dtype == int


def test_a_file_without_rows_gives_a_table_without_rows(table):
    assert list(table().columns) == COLUMNS
    assert len(table()) == 0


def test_a_breakdown_file_continues_behind_a_cut_and_says_what_it_holds(tmp_path):
    path = tmp_path / "breakdown.csv"
    file = RowFile(path, Breakdown)
    file.add(row(0))
    file.add(row(1, status="rejected", reason="it was, so to say, cold"))
    file.close()
    assert path.read_text().splitlines()[0].split(",") == columns(Breakdown)
    path.write_bytes(path.read_bytes()[:-5])
    RowFile(path, Breakdown).close()
    assert done(path, Breakdown) == {KEY: {0: Mark("ok")}}
    assert done(tmp_path / "none.csv", Breakdown) == {}


def test_a_schema_that_is_not_known_is_refused_by_name(tmp_path):
    path = tmp_path / "breakdown.csv"
    file = RowFile(path, Breakdown)
    file.add(row(0, schema_version=7))
    file.close()
    with pytest.raises(HarnessError, match="schema version 7; this reader knows version 3"):
        read_breakdown(path)
    path.write_text(path.read_text().replace("copy_seconds", "copied").replace(",7", ",2"))
    with pytest.raises(HarnessError, match="not a breakdown file: it has a column 'copied'"):
        read_breakdown(path)
    with pytest.raises(HarnessError, match="There is no"):
        read_breakdown(tmp_path / "none.csv")


def test_only_what_is_left_of_a_total_may_be_negative(tmp_path):
    file = RowFile(tmp_path / "breakdown.csv", Breakdown)
    file.add(row(0, total=1.0, rest_seconds=-0.5, open_seconds=0.5))
    file.close()
    assert read_breakdown(tmp_path / "breakdown.csv")["rest_seconds"][0] == -0.5
    text = (tmp_path / "breakdown.csv").read_text()
    (tmp_path / "breakdown.csv").write_text(text.replace(",1.0,", ",-1.0,"))
    with pytest.raises(DocumentError, match="line 2, column total_seconds: expected float >= 1e-09"):
        read_breakdown(tmp_path / "breakdown.csv")
