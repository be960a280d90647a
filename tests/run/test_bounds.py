"""However much a run's files ask for, planning them again stays within stated bounds, and what is beyond is named."""

from __future__ import annotations

import dataclasses
import json
import resource
import shutil
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import HarnessError
from harness.run import planning as subjects
from harness.run import turns
from harness.run.config import RunConfig
from harness.run.plan import read_plan, read_planned, replan
from harness.run.planning import choose_arms, open_subjects
from harness.run.turns import require_few_rows
from harness.trace.manifest import Manifest, Provenance, validate
from harness.trace.schema import MOST_TENSORS, SchemaError, TensorSpec, tensor

HUGE = 2**62


@pytest.fixture
def forged(small: Path, tmp_path: Path) -> Path:
    """A run, to be changed."""
    shutil.copytree(small, tmp_path / "run")
    return tmp_path / "run"


def change(path: Path, *places: tuple[list[str | int], object]) -> None:
    document = json.loads(path.read_text())
    for place, value in places:
        within = document
        for key in place[:-1]:
            within = within[key]
        within[place[-1]] = value
    path.write_text(json.dumps(document))


def refused(run: Path) -> str:
    """The one sentence with which drawing the plans again is refused, without much time and memory."""
    before, peak = resource.getrusage(resource.RUSAGE_SELF).ru_utime, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(HarnessError) as raised:
        config = RunConfig.read(run / "run.json")
        list(replan(read_plan(run / "plan.json"), config))
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime - before < 60  # seconds of this process, and not the hours that were asked for
    assert after.ru_maxrss - peak < 512 << 10
    return str(raised.value)


def spec(path: str, *shape: int) -> dict[str, object]:
    axes = [f"axis_{k}" for k in range(len(shape))]
    return {"path": path, "shape": list(shape), "dtype": "float32", "axes": axes, "role": "activation"}


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((HUGE, HUGE), "less than 2**63 bytes"),
        ((0, HUGE, HUGE), "less than 2**63 bytes"),
        ((1,) * 33, "at most 32 axes"),
        ((1 << 60,), "at most 200000 reads"),
    ],
)
def test_huge_shapes_ask_for_no_work(forged, shape, said):
    change(forged / "plan.json", (["subjects", 0, "manifest", "tensors"], [spec("recycle/x", *shape)]),
           (["subjects", 0, "manifest", "digests"], {}))  # fmt: skip
    assert said in refused(forged)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (["options", "attention_windows"], 10**6, "$.options.attention_windows expected int <= 25000"),
        (["options", "parallel_windows"], 10**6, "$.options.parallel_windows expected int"),
        (["options", "workers"], [["threads", 1]] * 65, "$.options.workers expected array of length <= 64"),
        (["rounds"], 10**6, "$.rounds expected int <= 10000"),
        (["suites"], ["full_read"] * 1000, "expected each of the suites once"),
        (["caches"], ["warm"] * 1000, "expected each of the caches once"),
    ],
)
def test_huge_counts_are_no_configuration(forged, place, value, said):
    change(forged / "run.json", (place, value))
    assert said in refused(forged)


@pytest.mark.slow
def test_windows_are_counted_over_all_accesses_and_subjects(forged, monkeypatch):
    monkeypatch.setattr(subjects, "MOST_STEPS", 500)
    change(forged / "run.json", (["options", "attention_windows"], 250), (["suites"], ["random_access"]))
    assert "at most 500 reads and tensors to write together" in refused(forged)
    change(forged / "run.json", (["options", "attention_windows"], 125))
    described = json.loads((forged / "plan.json").read_text())["subjects"][0]
    change(forged / "plan.json", (["subjects"], [described | {"n_res": n} for n in range(1, 1000)]))
    assert "at most 500 reads and tensors to write together" in refused(forged)


def test_small_blocks_are_counted_before_they_are_planned(forged):
    change(forged / "run.json", (["options", "whole_bytes"], 0), (["options", "block_bytes"], 1))
    change(forged / "plan.json", (["subjects", 0, "manifest", "tensors"], [spec("recycle/x", 10**9)]),
           (["subjects", 0, "manifest", "digests"], {}))  # fmt: skip
    assert "at most 200000 reads" in refused(forged)


def test_tensors_are_counted_over_all_traces(forged):
    many = [spec(f"recycle/x{k}") for k in range(MOST_TENSORS // 2 + 1)]
    described = json.loads((forged / "plan.json").read_text())["subjects"][0]
    described["manifest"] |= {"tensors": many, "digests": {}}
    change(forged / "plan.json", (["subjects"], [described, described]))
    assert "hold at most 50000 tensors together, not 50002" in refused(forged)


def test_a_trace_has_a_largest_number_of_tensors_and_longest_path():
    one = tensor("recycle/x", (2,))
    many = tuple(dataclasses.replace(one, path=f"recycle/x{k}") for k in range(MOST_TENSORS + 1))
    for tensors, said in ((many, "at most 50000"), ((dataclasses.replace(one, path="recycle/" + "9" * 5000),), "1024")):
        with pytest.raises(SchemaError, match=said):
            validate(Manifest(tensors=tensors, provenance=Provenance(source="x")))
    each: tuple[TensorSpec, ...] = tuple(tensor(f"recycle/x{k}", (1 << 60,)) for k in range(4))
    with pytest.raises(SchemaError, match="A trace holds less than"):
        validate(Manifest(tensors=each, provenance=Provenance(source="x")))


def test_rows_are_counted_before_they_are_listed(forged, monkeypatch, capsys):
    config = RunConfig.read(forged / "run.json")
    planned, arms, _ = read_planned(forged / "plan.json", config)
    require_few_rows(config, len(arms), planned)
    with pytest.raises(HarnessError, match="A run has at most 500000 rows, and this one asks for"):
        require_few_rows(dataclasses.replace(config, rounds=10_000), 100, planned)
    monkeypatch.setattr(turns, "MOST_ROWS", 10)
    new = forged.parent / "new"
    asked = ["run", "--quiet", "--out", str(new), "--trace", "synthetic:layers=1", "--sizes", "16"]
    assert main([*asked, "--formats", "npz", "--suites", "full_read", "--rounds", "11"]) == 1
    assert "A run has at most 10 rows" in capsys.readouterr().err and not new.exists()


def test_a_run_that_is_asked_for_is_held_to_the_same(monkeypatch, small):
    config = RunConfig.read(small / "run.json")
    assert open_subjects(config) and choose_arms(config)
    with pytest.raises(HarnessError, match="at most 1000 traces"):
        open_subjects(dataclasses.replace(config, sizes=tuple(range(16, 2000))))
    monkeypatch.setattr(subjects, "MOST_STEPS", 5)
    with pytest.raises(HarnessError, match="at most 5 reads"):
        open_subjects(config)
