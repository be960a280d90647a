"""What the machine spoilt is taken again, for all formats alike; what a format did wrong is not."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from harness.errors import HarnessError
from harness.records import Sample
from harness.row_files import SampleFile, in_force, read_samples
from harness.run.completeness import read_own_rows
from tests import liars

pytestmark = pytest.mark.slow

KEY = ["suite", "access", "format", "cache", "executor", "workers", "round"]


@pytest.fixture
def struck(measure, tmp_path, monkeypatch):
    """Run a tiny configuration with a format that meets what the words say; again on the same folder to resume."""
    file = tmp_path / "strike"
    monkeypatch.setenv(liars.STRIKE, str(file))

    def go(what: str, *suites: str, explained: bool = False) -> Path:
        file.write_text(what)
        formats = ("npz", "tests.liars:Struck")
        return measure(formats=formats, baseline="npz", suites=suites, explained=explained)[0]

    return go


def rows(folder: Path):
    """Rows in force, of the struck format and of the others, but for accesses that select nothing from the archive."""
    found = read_samples(folder / "samples.csv")
    assert not found.duplicated(KEY).any()
    found = found[~found["access"].str.endswith("_load_once")]
    mine = found["format"] == "struck"
    return found[mine], found[~mine]


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("read-killed", "its process was killed from outside (SIGKILL), as the system does when memory runs out"),
        ("read-full", "No space left on device"),
    ],
)
def test_a_sample_that_the_machine_spoilt_says_so(struck, what, reason):
    mine, others = rows(struck(what, "random_access"))
    assert set(mine["status"]) == {"failed"} and set(mine["cause"]) == {"machine"}
    assert mine["reason"].str.contains(reason, regex=False).all() and set(others["status"]) == {"ok"}


def test_a_sample_that_the_machine_spoilt_is_taken_again_beside_the_others(struck):
    mine, others = rows(struck("read-memory", "random_access", explained=True))
    assert set(mine["status"]) == {"failed"} and set(mine["cause"]) == {"machine"}
    assert mine["reason"].str.contains("ran out of memory", regex=False).all()
    assert set(others["status"]) == {"ok"} and set(others["attempt"]) == {1}
    folder = struck("", "random_access", explained=True)
    mine, others = rows(folder)
    assert set(mine["status"]) == set(others["status"]) == {"ok"} and not mine["cause"].any()
    assert set(mine["attempt"]) == set(others["attempt"]) == {2}, "what is compared was measured side by side"
    every = read_samples(folder / "samples.csv", superseded=True)
    assert not every.duplicated([*KEY, "attempt"]).any() and set(every["attempt"]) == {1, 2}
    for explained in map(in_force, read_own_rows(folder).values()):
        assert set(explained["status"]) == {"ok"} and not explained["cause"].any()
    before = (folder / "samples.csv").read_bytes()
    struck("", "random_access", explained=True)
    assert (folder / "samples.csv").read_bytes() == before, "once all is well, nothing is taken again"


def test_an_archive_that_a_full_disk_refused_is_written_again(struck):
    mine, _ = rows(struck("write-full", "size", "write", "full_read"))
    assert set(mine["status"]) == {"failed"} and set(mine["cause"]) == {"machine"}
    assert mine["reason"].str.contains("No space left on device").all()
    mine, _ = rows(struck("write-full", "size", "write", "full_read"))
    assert set(mine["status"]) == {"failed"}, "still full"
    mine, others = rows(struck("", "size", "write", "full_read"))
    assert set(mine["status"]) == {"ok"} and set(others["status"]) <= {"ok", "skipped"}
    of_one = mine[mine["access"] == "all_tensors"].groupby("cache")["round"].apply(sorted)
    assert of_one.map(lambda rounds: rounds == [0, 1]).all()


def test_a_fault_of_the_format_is_not_taken_again(struck):
    folder = struck("read-wrong", "random_access")
    mine, _ = rows(folder)
    assert set(mine["status"]) == {"failed"} and not mine["cause"].any()
    before = (folder / "samples.csv").read_bytes()
    struck("", "random_access")
    assert (folder / "samples.csv").read_bytes() == before


def test_what_the_format_did_wrong_stays_when_its_round_is_taken_again_for_another(struck):
    folder = struck("read-wrong", "random_access")
    path = folder / "samples.csv"
    recorded = pd.read_csv(path, dtype=str, keep_default_na=False)
    spoilt = recorded.index[recorded["format"] == "raw"][0]
    recorded.loc[spoilt, ["status", "cause", "verified", "seconds"]] = ["failed", "machine", "False", ""]
    recorded.to_csv(path, index=False)
    mine, others = rows(struck("", "random_access"))
    assert set(mine["status"]) == {"failed"}
    assert set(others["status"]) == {"ok"} and set(others["attempt"]) == {1, 2}


def test_a_reading_process_that_is_killed_is_started_again(struck):
    mine, others = rows(struck("read-killed", "parallel_access"))
    processes = mine[mine["executor"] == "processes"]
    assert len(processes) and set(processes["cause"]) == {"machine"}
    assert processes["reason"].str.contains("a reading process was killed").all()
    assert set(others["status"]) <= {"ok", "skipped"}


def test_a_round_that_was_cut_off_is_taken_again_whole(measure):
    folder, _ = measure(suites=("full_read",), explained=False)
    path = folder / "samples.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3]))  # two of three formats of the first round
    measure(folder, suites=("full_read",), explained=False)
    found = read_samples(path)
    assert sorted(zip(found["round"], found["attempt"], strict=True)) == [(0, 2)] * 3 + [(1, 1)] * 3
    assert len(read_samples(path, superseded=True)) == 8


def test_rows_of_earlier_versions_are_first_attempts(tmp_path):
    path = tmp_path / "samples.csv"
    file = SampleFile(path)
    file.add(Sample(run_id="r", suite="s", access="a", trace="t", n_res=1, format="f", profile="p", cache="warm",
                    executor="main", workers=1, round=0, position=0))  # fmt: skip
    file.close()
    lines = [line.rsplit(",", 3) for line in path.read_text().splitlines()]
    path.write_text(
        "\n".join(f"{start},{end}" for (start, *_), end in zip(lines, ["schema_version", "2"], strict=True))
    )
    assert read_samples(path)[["cause", "attempt"]].to_numpy().tolist() == [["", 1]]
    with pytest.raises(HarnessError, match="written by another version"):
        SampleFile(path)
