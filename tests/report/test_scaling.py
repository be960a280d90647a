"""How reads scale is worked out from samples, and drawn."""

from __future__ import annotations

import pandas as pd
import pytest

from harness.analysis.scaling import COLUMNS, scaling
from harness.analysis.table import SampleTable
from harness.records import RAW, Sample
from harness.report.drawing import scaling as drawn_scaling
from harness.report.drawing.scaling import draw_scaling
from harness.row_files import SampleFile, read_samples

ROUNDS = 10


def place(name, executor, workers):
    return {
        "run_id": "r", "suite": "parallel_access", "access": "window_attention", "trace": "t", "n_res": 64,
        "format": name, "profile": "" if name == RAW else "tuned", "cache": "warm", "executor": executor,
        "workers": workers,
    }  # fmt: skip


def cell(name, executor, workers, seconds, **changes):
    times = {"latency_p50_seconds": 0.001, "latency_p95_seconds": 0.002, "latency_p99_seconds": 0.004}
    values = {**times, "cpu_seconds": 1.5 * seconds, "worker_seconds": "0.1 0.2", **changes}
    return [
        Sample(**place(name, executor, workers), round=k, position=0, seconds=seconds * (1 + 0.01 * k), **values)
        for k in range(ROUNDS)
    ]


ROWS = [
    *cell("hdf5", "threads", 1, 1.0), *cell("hdf5", "threads", 2, 1.1), *cell("hdf5", "threads-shared", 2, 2.0),
    *cell("hdf5", "processes", 1, 1.0), *cell("hdf5", "processes", 2, 0.5), *cell("zarr", "threads", 1, 8.0),
    *cell("zarr", "threads", 2, 7.0), *cell("npz", "threads", 1, 8.0), *cell("npz", "threads", 2, 4.1),
    *cell(RAW, "threads", 1, 0.5), *cell(RAW, "threads", 2, 0.25),
]  # fmt: skip


def samples(tmp_path, rows):
    path = tmp_path / "samples.csv"
    file = SampleFile(path)
    for row in rows:
        file.add(row)
    file.close()
    return SampleTable.of(read_samples(path))


def one(table, name, executor, workers):
    found = table[(table["format"] == name) & (table["executor"] == executor) & (table["workers"] == workers)]
    (row,) = found.to_dict("records")
    return row


def test_speed_is_against_one_worker_of_the_same_kind_and_against_the_ceiling(tmp_path):
    table = scaling(samples(tmp_path, ROWS))
    assert list(table.columns) == COLUMNS and len(table) == 11
    processes = one(table, "hdf5", "processes", 2)
    assert processes["speedup"] == pytest.approx(2.0) and processes["efficiency"] == pytest.approx(1.0)
    assert processes["speedup_low"] < 2 < processes["speedup_high"] and pd.isna(processes["raw_fraction"])
    shared = one(table, "hdf5", "threads-shared", 2)  # of which there is no one worker
    assert shared["speedup"] == pytest.approx(0.5) and shared["one_worker"] == pytest.approx(1.045)
    threads = one(table, "hdf5", "threads", 2)
    assert threads["raw_fraction"] == pytest.approx(0.25 / 1.1) and threads["raw_speedup"] == pytest.approx(2.0)
    alone = one(table, "hdf5", "threads", 1)
    assert (alone["speedup"], alone["speedup_low"], alone["speedup_high"]) == (1, 1, 1)
    assert alone["latency_p99_seconds"] == pytest.approx(0.004) and alone["cpu_per_second"] == pytest.approx(
        1.5, rel=0.1
    )


def test_the_same_samples_give_the_same_table(tmp_path):
    found = samples(tmp_path, ROWS)
    pd.testing.assert_frame_equal(scaling(found), scaling(found))


def test_a_failed_cell_has_no_scaling_and_a_run_without_latencies_none_at_all(tmp_path):
    bad = Sample(**place("zarr", "threads", 2), round=3, position=0, status="failed", reason="zeros")
    rows = [r for r in ROWS if (r.format, r.workers, r.round) != ("zarr", 2, 3)]
    table = scaling(samples(tmp_path, [*rows, bad]))
    assert table[(table["format"] == "zarr") & (table["workers"] == 2)].empty
    (tmp_path / "samples.csv").unlink()
    times = dict.fromkeys(("latency_p50_seconds", "latency_p95_seconds", "latency_p99_seconds"))
    assert scaling(samples(tmp_path, cell("zarr", "main", 1, 1.0, **times))) is None


def test_it_is_drawn_where_there_is_something_to_compare(tmp_path):
    table = scaling(samples(tmp_path, ROWS))
    drawn = draw_scaling(table, tmp_path)
    assert [path.name for path in drawn] == ["scaling.svg", "scaling.png"] and all(p.stat().st_size for p in drawn)
    assert draw_scaling(table[table["workers"] == 1], tmp_path / "none") == []


def test_the_ideal_is_a_straight_line_and_no_panel_has_one_number_of_workers(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(drawn_scaling, "line", lambda axes, x, y, **style: lines.append((axes, x, y)))
    rows = [*ROWS, *cell("hdf5", "threads", 8, 0.4)]
    draw_scaling(scaling(samples(tmp_path, rows)), tmp_path)
    axes, x, y = next(line for line in lines if list(line[2]) == [1, 2, 8])
    places = axes.transData.transform(list(zip(x, y, strict=True)))
    slopes = (places[1:] - places[:-1])[:, 1] / (places[1:] - places[:-1])[:, 0]
    assert slopes[0] == pytest.approx(slopes[1])
    assert len({id(line[0]) for line in lines}) == 4  # two panels for threads and for processes, none where they share
    assert "scaling.csv: 2 threads, one shared reader" in (tmp_path / "scaling.svg").read_text()


def test_files_of_the_first_version_are_read_and_not_added_to(tmp_path):
    from harness.errors import HarnessError

    frame = samples(tmp_path, ROWS).rows
    later = ("cpu_seconds", "worker_seconds", "group")
    old = [c for c in frame.columns if not c.startswith("latency") and c not in later]
    path = tmp_path / "old.csv"
    frame[old].assign(schema_version=1).to_csv(path, index=False)
    found = read_samples(path)
    assert found["latency_p99_seconds"].isna().all() and (found["worker_seconds"] == "").all()
    assert scaling(SampleTable.of(found)) is None
    with pytest.raises(HarnessError, match="written by another version of the harness"):
        SampleFile(path)
