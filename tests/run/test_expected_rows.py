"""The rows that a run has to have follow from its plan, its seed and the rows it has; every other set is named."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from harness.analysis.findings import find
from harness.analysis.report_options import find_options
from harness.errors import HarnessError
from harness.row_files import read_samples
from harness.run.completeness import SAMPLES, read_own_rows, required_rows
from harness.run.config import RunConfig
from tests import liars
from tests.conftest import TINY, measured

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SUITES = ("size", "write", "full_read", "random_access")
WHOLE = {"formats": ("hdf5", "npz"), "suites": SUITES, "rounds": 3}


def faults(folder: Path, changed: pd.DataFrame | None = None) -> list[str]:
    """Everything that is wrong with the rows of a run, or with other samples in their place."""
    samples = read_samples(folder / SAMPLES, superseded=True) if changed is None else changed
    sessions = len(json.loads((folder / "environment.json").read_text())["sessions"])
    frames = {SAMPLES: samples, **read_own_rows(folder)}
    found = required_rows(folder / "plan.json", RunConfig.read(folder / "run.json"), frames, sessions=sessions)
    return [line for name, required in found.items() for line in required.summary(name)]


@pytest.mark.parametrize("run", ["reference", "long-sequences"])
def test_every_committed_run_has_the_rows_that_its_plan_asks_for(run):
    assert faults(ROOT / "results" / run) == []


def test_formats_that_fail_have_all_their_rows(measure):
    formats = ("hdf5", "npz", "tests.liars:Flipped", "tests.liars:Fickle", "tests.liars:Half")
    folder = measure(formats=formats, suites=SUITES, profiles=("tuned", "matched"), rounds=3)[0]
    samples = read_samples(folder / SAMPLES)
    assert {"ok", "failed", "skipped"} <= set(samples["status"]), "npz has no matched profile, and liars fail"
    assert faults(folder) == []
    failed = samples["status"] == "failed"
    assert "rows that the plan asks for are missing" in faults(folder, samples[~failed])[0]
    assert faults(folder, samples.drop(samples.index[failed][-1]))


def test_what_the_machine_spoilt_is_missing_until_it_is_taken_again(measure, tmp_path, monkeypatch):
    strike = tmp_path / "strike"
    monkeypatch.setenv(liars.STRIKE, str(strike))
    strike.write_text("read-memory")
    made = {"formats": ("hdf5", "tests.liars:Struck"), "suites": ("random_access",)}
    folder = measure(**made)[0]
    assert "the machine failed: resume the run" in faults(folder)[0]
    strike.write_text("")
    measure(folder, **made)
    assert faults(folder) == []
    samples = read_samples(folder / SAMPLES, superseded=True)
    spoilt = samples["cause"] == "machine"
    plain = samples.assign(cause=samples["cause"].where(~spoilt, ""))
    assert faults(folder, plain), "rows that nothing spoilt are not taken again"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    """A run that is complete; not to be changed."""
    folder = measured(tmp_path_factory.mktemp("whole") / "run", dataclasses.replace(TINY, **WHOLE))
    assert faults(folder) == []
    return folder, read_samples(folder / SAMPLES)


@pytest.mark.parametrize("keep", [1, 9, 33])
def test_a_run_that_was_cut_off_lacks_rows_until_it_is_resumed(whole, measure, tmp_path, keep):
    folder = tmp_path / "run"
    shutil.copytree(whole[0], folder)
    lines = (folder / SAMPLES).read_bytes().splitlines(keepends=True)
    (folder / SAMPLES).write_bytes(b"".join(lines[:keep]))
    total = len(lines) - 1
    missing = f"{total - keep + 1} of {total} rows that the plan asks for are missing"
    assert any(missing in line for line in faults(folder))
    with (folder / SAMPLES).open("ab") as file:
        file.write(lines[keep][:17])  # the last line cut in two
    measure(folder, run_id="run", **WHOLE)
    assert faults(folder) == [] and len(read_samples(folder / SAMPLES)) == total


def test_a_deleted_row_is_named_whichever_it_is(whole):
    folder, samples = whole
    for number in range(0, len(samples), 4):
        row = samples.iloc[number]
        (line,) = faults(folder, samples.drop(index=number))
        assert f"1 of {len(samples)} rows that the plan asks for are missing: {row['suite']} {row['access']}" in line
        assert line.endswith(f"round {row['round']}.")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"round": 7}, "beyond all rounds"),
        ({"position": 9}, "not in the order that the seed gives"),
        ({"status": "rejected", "reason": "because"}, "rejected, and has a figure"),
        ({"status": "rejected", "reason": "", "seconds": None}, "rejected, and has no reason"),
        ({"status": "failed", "reason": "because", "seconds": None}, "after the row that ends the cell"),
        ({"status": "skipped", "reason": "because", "seconds": None}, "skipped, though"),
        ({"seconds": None}, "ok, and has no figure"),
        ({"access": "head"}, "not in the plan"),
        ({"format": "zarr"}, "not in the plan"),
    ],
)
def test_a_changed_row_is_named(whole, change, said):
    folder, samples = whole
    first = samples.index[(samples["access"] == "all_tensors") & (samples["round"] == 1)][0]
    for name, value in change.items():
        samples = samples.assign(**{name: samples[name].where(samples.index != first, value)})
    assert any(said in line for line in faults(folder, samples))


def test_a_doubled_row_and_a_round_that_was_taken_again_for_no_reason_are_named(whole):
    folder, samples = whole
    one = samples[(samples["access"] == "all_tensors") & (samples["round"] == 1)]
    assert "1 rows are there more than once" in faults(folder, pd.concat([samples, one.iloc[:1]]))[0]
    again = pd.concat([samples, one.assign(attempt=2)], ignore_index=True)
    (line,) = faults(folder, again)
    assert "attempt 1 of this round is whole" in line
    (line,) = faults(folder, again.drop(index=one.index[-1]))
    assert "cut off, in a run of 1 sessions" in line


@pytest.mark.parametrize("name", ["slower half", "access", "format"])
def test_deleting_what_does_not_please_is_named_on_the_page(whole, tmp_path, name):
    copy = tmp_path / "run"
    shutil.copytree(whole[0], copy)
    samples = pd.read_csv(copy / SAMPLES, dtype=str, keep_default_na=False)
    if name == "slower half":
        mine = samples[(samples["access"] == "all_tensors") & (samples["format"] == "npz")]
        gone = mine.index[mine["seconds"].astype(float) > mine["seconds"].astype(float).median()]
    else:
        gone = samples.index[samples["access" if name == "access" else "format"].isin(["window_pair", "npz"])]
    samples.drop(gone).to_csv(copy / SAMPLES, index=False)
    said = f"samples.csv: {len(gone)} of"
    assert len(gone) and any(line.startswith(said) for line in find(copy, find_options(copy)).incomplete)


def test_without_a_plan_the_page_says_that_nobody_can_tell(whole, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(whole[0], copy)
    (copy / "plan.json").unlink()
    assert find(copy, find_options(copy)).incomplete[0].startswith("The run has no plan.json")
    (copy / "plan.json").write_text('{"plan_version": 1, "subjects": [{}]}')
    with pytest.raises(HarnessError, match=r"plan\.json"):
        find(copy, find_options(copy))
