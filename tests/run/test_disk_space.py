"""A run is refused only where its archives do not fit, by their bound or, where that does not, by an estimate."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.errors import UsageError
from harness.row_files import read_samples
from harness.run import disk_space
from harness.run.estimate import estimate, sampled
from harness.run.planning import choose_arms, open_subjects
from harness.sampling.worker import Worker
from tests.conftest import TINY, allow


def free(monkeypatch, nbytes: int) -> None:
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda path: type("Usage", (), {"free": nbytes})())


COMPRESSING = ("synthetic:layers=4,heads=2,hidden_dim=16,pair_dim=16",)


def disk_of(folder: Path) -> dict[str, object]:
    return json.loads((folder / "environment.json").read_text())["sessions"][-1]["disk"]


@pytest.mark.slow
def test_archives_are_estimated_where_their_bound_does_not_fit(measure, monkeypatch, tmp_path):
    asked = {"traces": COMPRESSING, "sizes": (64,), "suites": ("size",), "rounds": 1, "formats": ("hdf5", "zarr-slim")}
    roomy, _ = measure(tmp_path / "roomy", **asked)
    assert disk_of(roomy)["basis"] == "bound"
    bound = disk_of(roomy)["archives_bytes"]
    free(monkeypatch, bound - 1)
    folder, _ = measure(**asked)
    disk = disk_of(folder)
    assert (disk["basis"], disk["archives_bound_bytes"], disk["free_bytes"]) == ("estimate", bound, bound - 1)
    sizes = read_samples(folder / "samples.csv").query("access == 'archive'")["size_bytes"].sum()
    assert sizes < disk["archives_bytes"] < bound
    assert sorted(path.name for path in tmp_path.iterdir()) == ["roomy", "run"]  # nothing of the sample is left


def test_a_trace_that_does_not_compress_is_not_estimated_to_fit(measure, monkeypatch, tmp_path):
    noise = ("synthetic:values=noise,layers=4,heads=2,hidden_dim=16,pair_dim=16",)
    config = dataclasses.replace(TINY, traces=noise, sizes=(64,))
    (subject,) = open_subjects(config)
    found = disk_space.space(tmp_path, [subject], choose_arms(config))
    free(monkeypatch, found.archives - 1)
    said: list[str] = []
    with pytest.raises(UsageError, match=r"take about .* estimated from the first layer, with 10% to spare.* MB free"):
        disk_space.require_space(tmp_path / "run", [subject], choose_arms(config), tell=said.append)
    assert len(said) == 1 and not list(tmp_path.iterdir())


def test_a_file_that_does_not_fit_is_refused_with_what_makes_the_run_smaller(monkeypatch, tmp_path):
    np.savez(tmp_path / "mine.npz", attention=np.zeros((9, 2, 16, 16), np.float32), mask=np.zeros(16, bool))
    config = dataclasses.replace(TINY, traces=(f"file:{tmp_path / 'mine.npz'}",))
    (subject,) = open_subjects(config)
    found = disk_space.space(tmp_path, [subject], choose_arms(config))
    free(monkeypatch, found.archives // 2)
    said: list[str] = []
    with pytest.raises(UsageError) as refused:
        disk_space.require_space(tmp_path / "run", [subject], choose_arms(config), tell=said.append)
    matched = re.search(
        r"may take .*fewer layers with --trace-bytes (\d+), fewer arrays with --map", str(refused.value)
    )
    assert matched and not said and "estimated" not in str(refused.value)
    (less,) = open_subjects(dataclasses.replace(config, trace_bytes=int(matched[1])))
    assert "(first 4 of 9 layers)" in less.label
    disk_space.require_space(tmp_path / "run", [less], choose_arms(config))


def test_layers_are_not_offered_where_there_are_none_or_the_first_does_not_fit(monkeypatch, tmp_path):
    np.save(tmp_path / "flat.npy", np.zeros((500, 20)))
    np.savez(tmp_path / "deep.npz", attention=np.zeros((9, 2, 16, 16), np.float32), z=np.zeros((16, 16, 99)))
    for name in ("flat.npy", "deep.npz"):
        config = dataclasses.replace(TINY, traces=(f"file:{tmp_path / name}",))
        (subject,) = open_subjects(config)
        free(monkeypatch, disk_space.space(tmp_path, [subject], choose_arms(config)).archives // 2)
        with pytest.raises(UsageError, match=r"choose fewer formats, fewer arrays with --map 'NAME=skip' or another"):
            disk_space.require_space(tmp_path / "run", [subject], choose_arms(config))


@pytest.mark.slow
def test_the_command_says_that_it_estimated_and_refuses_without_a_trace_of_it(sketched, monkeypatch, tmp_path, capsys):
    options = ["--trace", COMPRESSING[0], "--sizes", "64", "--formats", "hdf5", "--baseline", "hdf5", "--rounds", "1"]
    options += ["--readers", "stock"]
    run = tmp_path / "run"
    config = dataclasses.replace(TINY, traces=COMPRESSING, sizes=(64,), suites=("size",))
    (subject,) = open_subjects(config)
    bound = disk_space.space(tmp_path, [subject], choose_arms(config)).archives
    free(monkeypatch, bound - 1)
    assert main(["run", *options, "--suites", "size", "--out", str(run)]) == 0
    said = capsys.readouterr().out
    assert "estimate from a sample" in said and "estimated from the first layer, with 10% to spare), " in said
    free(monkeypatch, bound - subject.manifest.nbytes // 2)
    assert main(["run", *options, "--suites", "size", "--out", str(tmp_path / "other")]) == 2
    assert "choose fewer formats" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_belongs_to_no_layer_is_counted_as_it_is(monkeypatch, tmp_path):
    traces = ("synthetic:layers=1,recycles=3,heads=2,hidden_dim=16,pair_dim=16",)
    config = dataclasses.replace(TINY, traces=traces, sizes=(64,), suites=("size",))
    (subject,) = open_subjects(config)
    layer = sum(spec.nbytes for spec in subject.manifest.tensors if spec.layer is not None)
    apart = subject.manifest.nbytes - layer
    found = estimate(subject, choose_arms(config), tmp_path / "sample", 60)
    raw = subject.manifest.nbytes
    assert raw + apart < found < raw + apart + layer
    assert {spec.layer for spec in sampled(subject)} == {0} and not list(tmp_path.iterdir())


def test_a_format_that_cannot_write_the_sample_is_counted_as_it_is(tmp_path):
    config = dataclasses.replace(TINY, formats=("tests.liars:WritesNothing",), traces=COMPRESSING)
    allow(*config.formats)
    (subject,) = open_subjects(config)
    arms = [arm for arm in choose_arms(config) if not arm.shares]
    assert estimate(subject, arms, tmp_path / "sample", 60) >= len(arms) * subject.manifest.nbytes


def test_a_sample_is_removed_after_ctrl_c_and_when_one_is_left(monkeypatch, tmp_path):
    (subject,) = open_subjects(TINY)
    scratch = tmp_path / "sample"
    scratch.mkdir()
    (scratch / "left.raw").touch()

    def pressed(worker, task):
        assert task.destination.parent == scratch and not (scratch / "left.raw").exists()
        task.destination.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(Worker, "do", pressed)
    with pytest.raises(KeyboardInterrupt):
        estimate(subject, choose_arms(TINY), scratch, 60)
    assert not list(tmp_path.iterdir())
