"""A value that slimming changed or lost is found, and a declared one is not called a loss."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.directories import MODELS, af2, af3, openfold3
from harness.extensions.result_directories import reading
from harness.extensions.result_directories.comparing import compare
from harness.extensions.result_directories.disk import copy_folder
from harness.extensions.result_directories.manifest import NAME, load_manifest
from harness.extensions.result_directories.slimming import slim


@pytest.fixture(params=[af2, af3, openfold3])
def written(request, tmp_path):
    return request.param(tmp_path / "written", 8)


@pytest.mark.parametrize("plain", ["best", "none"])
@pytest.mark.parametrize(("mode", "bound"), [("slim", None), ("minimal", 0.2)])
def test_what_slimming_leaves_is_what_was_written_or_declared(tmp_path, written, mode, bound, plain):
    copy_folder(written, tmp_path / "job")
    slim(tmp_path / "job", mode, bound=bound, plain=plain)
    found = compare(written, tmp_path / "job")
    assert not found.problems and found.values >= 10
    declared = [e for entry in load_manifest(tmp_path / "job").items.values() for e in entry.largest_errors.values()]
    assert found.largest_error == pytest.approx(max(declared, default=0.0), abs=1e-9)
    lossy = mode == "minimal"
    assert (found.same < found.values) == lossy and (0 < found.largest_error <= 0.2) == lossy
    assert bool(found.dropped) == (lossy and bool(list(written.glob("*.pkl"))))


@pytest.fixture
def two(tmp_path):
    written = af2(tmp_path / "written", 8)
    copy_folder(written, tmp_path / "job")
    slim(tmp_path / "job", "slim")
    return written, tmp_path / "job"


def changed(monkeypatch, folder, change):
    """Let a reader of one directory return something else."""
    real = reading.read_values

    def read(where, name):
        found = real(where, name)
        return change(name, found) if where == folder else found

    monkeypatch.setattr(reading, "read_values", read)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (lambda v: v + np.float32(0.01), "differs by 0.01"),
        (lambda v: v.astype(np.float64), "differs by 0"),
        (lambda v: np.where(np.eye(8), np.nan, v), "is not the same"),
        (lambda v: v[:4], "is not the same"),
        (lambda v: "x", "is not the same"),
        (None, "is missing"),
    ],
)
def test_a_value_that_is_not_the_same_is_named(monkeypatch, two, value, says):
    key, name = "predicted_aligned_error", f"result_{MODELS[0]}.pkl"

    def change(read, found):
        if read == name:
            found = {k: value(v) if k == key else v for k, v in found.items() if k != key or value}
        return found

    changed(monkeypatch, two[1], change)
    (problem,) = compare(*two).problems
    assert problem.startswith(f"{name}, {key}: it ") and says in problem


def test_an_error_beyond_what_the_manifest_says_is_named(tmp_path, two):
    copy_folder(two[0], tmp_path / "minimal")
    slim(tmp_path / "minimal", "minimal", bound=0.2)
    facts = json.loads((tmp_path / "minimal" / NAME).read_text())
    for array in (array for entry in facts["items"].values() for array in entry["arrays"]):
        array |= {"largest_error": array.get("largest_error", 0) / 2}
    (tmp_path / "minimal" / NAME).write_text(json.dumps(facts))
    problems = compare(two[0], tmp_path / "minimal").problems
    assert problems and all("its manifest says" in problem for problem in problems)


def test_a_best_prediction_that_tools_cannot_read_as_it_is_is_named(two):
    (model,) = load_manifest(two[1]).best
    (two[1] / f"pae_{model}.json").unlink()
    problems = compare(*two).problems
    assert any(f"pae_{model}.json is not there as it was" in problem for problem in problems)


def test_another_best_prediction_is_named(two):
    facts = json.loads((two[1] / "ranking_debug.json").read_text())
    facts["order"].reverse()
    (two[1] / "ranking_debug.json").write_text(json.dumps(facts))
    assert "the best prediction is not the same" in compare(*two).problems


def test_a_damaged_file_that_always_stays_is_compared_by_its_bytes(tmp_path):
    written = af2(tmp_path / "written", 8)
    (written / "timings.json").write_text("{")
    copy_folder(written, tmp_path / "job")
    slim(tmp_path / "job", "slim")
    assert not compare(written, tmp_path / "job").problems
    (tmp_path / "job" / "timings.json").write_text("{}")
    assert compare(written, tmp_path / "job").problems == ["timings.json, : it is not the same"]
