"""A run measures every cell once, keeps what it has, and continues where it stopped."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from harness.errors import UsageError
from harness.formats.archive import write_archive
from harness.formats.npz import NpzFormat
from harness.row_files import read_samples
from harness.run import disk_space
from harness.run.archives import read_archives
from harness.run.config import RunConfig
from harness.run.experiment import run
from harness.run.planned_run import PlannedRun
from harness.run.planning import choose_arms, open_subjects
from harness.trace.sources import open_trace
from harness.trace.stream import digest
from harness.workload import PlanOptions
from tests import liars
from tests.conftest import TINY, Counted, allow

pytestmark = pytest.mark.slow

ALL_SUITES = ("size", "write", "capture", "full_read", "layer_read", "random_access", "parallel_access")


def test_every_cell_has_every_round_and_verified_samples(measure):
    folder, progress = measure(suites=ALL_SUITES, caches=("warm", "cold"))
    rows = read_samples(folder / "samples.csv")
    assert (rows["status"].isin(["ok", "skipped"])).all(), rows[rows["status"] == "failed"]["reason"].unique()
    good = rows[rows["status"] == "ok"]
    assert good["verified"].astype(bool).all()
    assert set(good["format"]) == {"hdf5", "raw", "a/a"}
    reads = good[~good["suite"].isin(["size", "write", "capture"])]
    cells = reads.groupby(["suite", "access", "format", "cache", "executor", "workers"])["round"].apply(sorted)
    assert cells.map(lambda rounds: rounds == [0, 1]).all()
    assert (reads["bytes_returned"] == reads["bytes_requested"]).all()
    assert reads.loc[reads["cache"] == "cold", "resident_fraction"].lt(0.01).all()
    assert reads.loc[reads["cache"] == "warm", "resident_fraction"].ge(0.99).all()
    assert (reads["files_opened"] >= 1).all() and (reads["requests"] > 0).all()
    assert progress.steps == progress.planned
    assert not (folder / ".archives").exists()
    before = (folder / "samples.csv").read_bytes()
    _, progress = measure(folder, suites=ALL_SUITES, caches=("warm", "cold"))
    assert (folder / "samples.csv").read_bytes() == before, "a run that is complete takes nothing again"
    assert progress.steps == progress.planned
    assert len(json.loads((folder / "environment.json").read_text())["sessions"]) == 2


def test_timed_writes_of_each_contender_are_done_by_a_process_of_its_own(measure, tmp_path, monkeypatch):
    """The A/A control is a contender as well; archives that are read from are written by one more process."""
    monkeypatch.setenv(liars.WITNESSED, str(tmp_path / "witnessed"))
    folder, progress = measure(
        formats=("tests.liars:Witness", "tests.liars:OtherWitness"), baseline="witness", suites=("write",), rounds=3
    )
    rows = read_samples(folder / "samples.csv")
    timed = rows[(rows["suite"] == "write") & rows["access"].str.startswith("layer") & rows["seconds"].notna()]
    assert set(timed["format"]) == {"witness", "other", "a/a", "raw"} and set(timed["status"]) == {"ok"}
    said = [line.split() for line in (tmp_path / "witnessed").read_text().splitlines()]
    large = max(int(nbytes) for *_, nbytes in said)
    trace = {(name, pid) for name, pid, nbytes in said if int(nbytes) == large}
    (writer,) = {pid for _, pid in trace}
    pids = {which: {pid for name, pid, _ in said if name == which} - {writer} for which in ("witness", "other")}
    assert not pids["witness"] & pids["other"]
    assert len(pids["witness"]) == 2 and len(pids["other"]) == 1, "the control has its own"
    assert progress.steps == progress.planned


def test_plans_do_not_depend_on_the_formats():
    one = open_subjects(TINY)[0]
    other = open_subjects(dataclasses.replace(TINY, formats=("npz", "zarr"), rounds=7))[0]
    assert one.plans == other.plans
    moved = open_subjects(dataclasses.replace(TINY, seed=5))[0]
    assert one.plans != moved.plans


def test_several_profiles_share_rounds_and_an_unsupported_one_is_skipped_with_its_reason(measure):
    folder, _ = measure(
        formats=("hdf5", "npz"), profiles=("matched", "tuned"), suites=("full_read", "size"), explained=False
    )
    rows = read_samples(folder / "samples.csv")
    arms = {
        ("hdf5", "matched"),
        ("hdf5", "tuned"),
        ("npz", "matched"),
        ("npz", "tuned"),
        ("raw", ""),
        ("a/a", "matched"),
    }
    assert set(zip(rows["format"], rows["profile"], strict=True)) == arms
    unsupported = (rows["format"] == "npz") & (rows["profile"] == "matched")
    assert set(rows.loc[unsupported, "status"]) == {"skipped"}
    assert rows.loc[unsupported, "reason"].str.contains("matched").all()
    assert (rows.loc[~unsupported & (rows["access"] == "all_tensors"), "status"] == "ok").all()


def test_a_format_name_that_is_taken_is_refused():
    with pytest.raises(UsageError, match="is taken"):
        choose_arms(dataclasses.replace(TINY, formats=("hdf5", "hdf5")))


def test_what_is_no_backend_is_refused():
    allow("tests.liars:NotAFormat")
    with pytest.raises(UsageError, match="is not a format"):
        choose_arms(dataclasses.replace(TINY, formats=("tests.liars:NotAFormat",)))


def test_too_little_disk_is_said_before_anything_is_written(measure, monkeypatch, tmp_path):
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(UsageError, match=r"2 archives of synthetic.* MB free: choose fewer formats"):
        measure()


def test_a_configuration_survives_its_file(tmp_path):
    for config in (
        TINY,
        dataclasses.replace(TINY, measurements={"of-an-extension": {"asked": ["a", 0.05]}}),
        dataclasses.replace(TINY, trace_bytes=10**10, options=PlanOptions(whole_bytes=1000)),
        dataclasses.replace(TINY, options=PlanOptions(parallel_windows=8, parallel_bytes=None)),
        dataclasses.replace(TINY, options=PlanOptions(parallel_windows=8)),
    ):
        config.save(tmp_path / "run.json")
        assert RunConfig.read(tmp_path / "run.json") == config


def test_a_field_that_nobody_knows_is_a_measurement_that_is_not_installed(tmp_path):
    path = tmp_path / "run.json"
    TINY.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"settings": 7, "told": {"a": 1}, "unasked": []}))
    config = RunConfig.read(path)
    assert config.measurements == {"settings": {"settings": 7}, "told": {"a": 1}} and not config.settings
    with pytest.raises(UsageError, match="asks for settings, told, which no installed extension brings"):
        PlannedRun.of(config)


def test_a_trace_that_is_held_is_handed_to_the_process_that_writes_it_and_what_it_lacks_skipped(tmp_path, monkeypatch):
    path = tmp_path / "data" / "vit_mnist" / "vit_mnist_attention.npz"
    path.parent.mkdir(parents=True)
    maps = np.random.default_rng(0).random((2, 2, 5, 5), np.float32)
    np.savez(path, attn_layer_0=maps, images=np.zeros((2, 1, 4, 4)), labels=np.arange(2), preds=np.arange(2))
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    config = dataclasses.replace(TINY, traces=("vit-mnist",), suites=("full_read", "layer_read"))
    planned = dataclasses.replace(PlannedRun.of(config), measuring=[])
    path.unlink()  # so that nothing can be opened again
    folder = tmp_path / "run"
    folder.mkdir()
    run(planned, folder, Counted())
    rows = read_samples(folder / "samples.csv")
    absent = rows["access"] == "pair_layer"
    assert set(rows.loc[absent, "reason"]) == {"the trace has no pair tensor"} and absent.sum() == 3
    assert set(rows.loc[absent, "status"]) == {"skipped"} and set(rows.loc[~absent, "status"]) == {"ok"}
    digests = read_archives(folder / "archives.json")[0]["tensor_digests"]
    assert digests["attention/layer_0"] == digest(maps)


def test_a_trace_that_cannot_be_made_fails_its_cells_and_the_next_trace_goes_on(tmp_path):
    path = tmp_path / "broken.npz"
    write_archive(open_trace(TINY.traces[0], 40), NpzFormat(), path)
    config = dataclasses.replace(TINY, traces=(f"file:{path}", *TINY.traces), suites=("full_read", "write"))
    planned = dataclasses.replace(PlannedRun.of(config), measuring=[])
    data = bytearray(path.read_bytes())  # damaged after the run has looked at it
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    folder, progress = tmp_path / "run", Counted()
    folder.mkdir()
    run(planned, folder, progress)
    rows = read_samples(folder / "samples.csv")
    broken = rows[rows["trace"] == "file:broken.npz"]
    assert set(broken["status"]) == {"failed"} and broken["reason"].str.startswith("the trace could not be made").all()
    assert (rows.loc[rows["trace"] != "file:broken.npz", "status"] == "ok").all()
    assert progress.steps == progress.planned


def test_large_tensors_are_read_by_blocks_and_verified_in_every_format_and_all_ask_for_the_same_bytes(measure):
    options = dataclasses.replace(TINY.options, whole_bytes=20_000, block_bytes=8_000)
    formats = ("npz", "hdf5", "zarr", "zarr-slim")
    suites = ("full_read", "layer_read", "random_access")
    folder, _ = measure(formats=formats, rounds=1, suites=suites, options=options, explained=False)
    rows = read_samples(folder / "samples.csv")
    assert set(rows["status"]) == {"ok", "skipped"}
    assert (rows[rows["status"] == "ok"].groupby("access")["bytes_requested"].nunique() == 1).all()
    pair = rows[(rows["access"] == "pair_layer") & (rows["status"] == "ok")]
    assert set(pair["bytes_requested"]) == {40 * 40 * 8 * 4} == set(pair["bytes_returned"])
    assert set(rows.loc[rows["status"] == "skipped", "access"]) == {"window_pair_load_once"}


def test_a_trace_is_sampled_by_as_many_first_layers_as_fit_at_its_largest_length(measure):
    trace = "synthetic:layers=3,heads=2,hidden_dim=16,pair_dim=8"
    config = dataclasses.replace(TINY, traces=(trace,), sizes=(20, 40), trace_bytes=200_000)
    cut = "synthetic:values=protein,layers=3,heads=2,hidden_dim=16,pair_dim=8 (first 2 of 3 layers)"
    subjects = open_subjects(config)
    assert [subject.label for subject in subjects] == [cut, cut]
    need = disk_space.space(Path(), subjects, choose_arms(config))
    assert need.count == 2 and need.each == subjects[1].manifest.nbytes <= 200_000
    written = subjects[1].manifest.nbytes // 2  # about one layer with its pair representation under two names
    assert 2 * need.each + written < need.archives < 2 * need.each + 2 * written
    folder, _ = measure(traces=config.traces, trace_bytes=config.trace_bytes, rounds=1, explained=False)
    rows = read_samples(folder / "samples.csv")
    assert set(rows["status"]) == {"ok", "skipped"} and set(rows["trace"]) == {cut}
    assert rows.loc[rows["access"] == "all_tensors", "bytes_requested"].eq(need.each).all()
