"""How reads scale is worked out from samples, said in words from what was seen, and drawn."""

from __future__ import annotations

import pandas as pd
import pytest

from harness.analysis.scaling import COLUMNS, scaling
from harness.records import RAW, Contention, Sample
from harness.report.drawing.scaling import draw_scaling
from harness.report.page.scaling import free_threaded, shown_cells, waits
from harness.row_files import RowFile, SampleFile, read_contention, read_samples

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
    return read_samples(path)


def looks(tmp_path, **changes):
    path = tmp_path / "contention.csv"
    file = RowFile(path, Contention)
    common = {"wall_seconds": 1.0, "cpu_seconds": 1.0, "reader_cpu_seconds": 0.9, "interpreter_lock": True}
    shown = {
        "hdf5": {"lock": "the lock of it", "lock_looks": 100, "lock_held": 90},
        "zarr": {"busiest_thread": "loop", "busiest_thread_seconds": 0.8},
        "npz": {"busiest_thread": "other", "busiest_thread_seconds": 0.1},
    }
    for name, seen in shown.items():
        file.add(Contention(**place(name, "threads", 2), round=0, position=0, **{**common, **seen, **changes}))
    file.close()
    return read_contention(path)


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


def test_words_follow_from_what_was_seen(tmp_path):
    table = scaling(samples(tmp_path, ROWS), looks(tmp_path))
    _, _, shown = shown_cells(table)
    npz, hdf5, zarr = waits(shown, 2)
    assert (
        "0.91×" in hdf5
        and "they do not scale" in hdf5
        and "the lock of it was held in 90 %" in hdf5.lower()
        and "take turns" in hdf5
    )
    assert "Processes, which share neither: 2 are 2.00×" in hdf5
    assert "loop, did 80 % of all the work" in zarr and "1.2 times as fast" in zarr
    assert npz.endswith("they scale.")
    slow = [*(r for r in ROWS if (r.format, r.workers) != ("npz", 2)), *cell("npz", "threads", 2, 7.9)]
    (tmp_path / "samples.csv").unlink()
    table = scaling(samples(tmp_path, slow), read_contention(tmp_path / "contention.csv"))
    assert "interpreter's lock, which was on" in " ".join(waits(table, 2))
    (tmp_path / "contention.csv").unlink()
    table = scaling(read_samples(tmp_path / "samples.csv"), looks(tmp_path, interpreter_lock=False))
    said = {text.partition(":")[0]: text for text in waits(table, 2)}
    assert "interpreter's lock was off" in said["npz"]
    assert "so that reads take turns" in said["hdf5"] and "interpreter" not in said["hdf5"] + said["zarr"]
    assert "lock was off" in free_threaded(table) and "lock of its own, as h5py" in free_threaded(table)
    on = table.assign(interpreter_lock=[None if value is None else True for value in table["interpreter_lock"]])
    assert free_threaded(on) == "" and free_threaded(table.assign(interpreter_lock=None)) == ""
    noisy = table.assign(speedup_high=3.0)
    assert "too uncertain to say" in " ".join(waits(noisy, 2))


def test_it_is_drawn_where_there_is_something_to_compare(tmp_path):
    table = scaling(samples(tmp_path, ROWS))
    drawn = draw_scaling(table, tmp_path)
    assert [path.name for path in drawn] == ["scaling.svg", "scaling.png"] and all(p.stat().st_size for p in drawn)
    assert draw_scaling(table[table["workers"] == 1], tmp_path / "none") == []


def test_files_of_the_first_version_are_read_and_not_added_to(tmp_path):
    from harness.errors import HarnessError

    frame = samples(tmp_path, ROWS)
    old = [c for c in frame.columns if not c.startswith("latency") and c not in ("cpu_seconds", "worker_seconds")]
    path = tmp_path / "old.csv"
    frame[old].assign(schema_version=1).to_csv(path, index=False)
    found = read_samples(path)
    assert found["latency_p99_seconds"].isna().all() and (found["worker_seconds"] == "").all()
    assert scaling(found) is None
    with pytest.raises(HarnessError, match="begun by another version of the harness"):
        SampleFile(path)
