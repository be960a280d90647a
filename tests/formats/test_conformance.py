"""Every format conforms in every profile, every lying one is caught, and so are those of the page on writing one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from harness.errors import UsageError
from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.row_files import read_samples
from harness.testing import FormatConformance, failing_checks
from harness.testing.conformance import CHECKS
from harness.testing.samples import small_arrays, steps
from tests import liars
from tests.formats.samples import WRITABLE

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
TENSORS, PARTS = "every_tensor_comes_back_bit_for_bit", "every_part_comes_back_bit_for_bit"
DAMAGE, READERS = "damage_is_refused", "every_reader_in_every_setting_returns_every_bit"

for _name, _profile in (one.values for one in WRITABLE):
    _suite = f"Test_{_name}_{_profile}".replace("-", "_")
    _facts = {"format": load_format(_name), "profile": _profile}
    # Profiles differ in chunks and codecs: what depends on neither is checked in one of them.
    _kept = {f"test_{name}" for name in (TENSORS, PARTS, DAMAGE, *([READERS] if _profile == "matched" else []))}
    _left_out = () if _profile == "tuned" else {*CHECKS} - _kept
    globals()[_suite] = type(_suite, (FormatConformance,), {**_facts, **dict.fromkeys(_left_out)})


@pytest.mark.parametrize(
    ("liar", "check", "said"),
    [
        (liars.Lazy, TENSORS, "returned StoredTensor instead of an ndarray"),
        (liars.Mapped, TENSORS, "view of a mapped file"),
        (liars.Caching, "nothing_is_kept_between_readers", "read again after it was changed"),
        (liars.Zeros, TENSORS, "values that differ"),
        (liars.Flipped, TENSORS, "values that differ"),
        (liars.Half, TENSORS, "dtype float16 instead of float32"),
        (liars.Whole, PARTS, "returned shape"),
        (liars.WritesNothing, TENSORS, "wrote nothing"),
        (liars.Fickle, "handles_are_released", "not today"),
    ],
)
def test_every_lying_format_is_caught(liar, check, said, monkeypatch):
    monkeypatch.setattr(liars._FickleReader, "readers", 0)
    found = failing_checks(liar)
    assert said in found[check]
    assert liar is not liars.Caching or set(found) == {check}


@pytest.mark.slow
def test_a_reader_that_hangs_is_caught():
    assert "hung: it did not end" in failing_checks(liars.Hanging, patience=0.5)[PARTS]


@pytest.mark.slow
def test_a_reader_that_takes_its_process_down_is_caught(tmp_path):
    code = (
        "from tests.liars import Dying\nfrom harness.testing import FormatConformance\n"
        "class TestDying(FormatConformance):\n    format = Dying\n"
    )
    (tmp_path / "test_dying.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--rootdir", ".", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PAGE.parents[1], check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith(f"test_{PARTS}")


def test_slow_is_no_lie():
    assert failing_checks(liars.Tunable) == {}


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the page shows, in the current folder."""
    blocks = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for name, code in blocks:
        (tmp_path / name).write_text(code)
    assert [name for name, _ in blocks] == ["blob.py", "pile.py", "test_mine.py"]
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_formats_of_the_page_conform(page: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "passed" in done.stdout, done.stdout + done.stderr
    for name in ("blob", "pile"):
        lines = [line for line in (page / f"{name}.py").read_text().splitlines() if line.strip()]
        assert len(lines) < 50, "the page says that a format is small"


def test_the_formats_of_the_page_are_measured_from_the_current_folder(page, measure, monkeypatch):
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(page))])

    folder, _ = measure(
        formats=("hdf5", "blob:Blob", "pile:Pile"),
        suites=("size", "full_read", "layer_read"),
        rounds=1,
        explained=False,
    )
    rows = read_samples(folder / "samples.csv")
    mine = rows[rows["format"].isin(["blob", "pile"])]
    assert set(mine["format"]) == {"blob", "pile"} and (mine["status"] == "ok").all(), mine["reason"].tolist()
    ledger = pd.read_csv(folder / "ledger.csv")
    said = ledger[ledger["format"].isin(["blob", "pile"])]
    assert len(said) and set(said["chunks"]) == set(said["codec"]) == {"not stated"}
    assert "not stated" not in set(ledger[ledger["format"] == "raw"]["chunks"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((liars.Sleepy, "tuned"), "is not a format: give an instance"),
        (("raw", "tuned"), "is not a format: give an instance"),
        ((liars.Sleepy(), "Tuned"), "no profile named 'Tuned'"),
    ],
)
def test_what_is_no_format_or_profile_is_refused_where_it_comes_in(arguments, said, tmp_path):
    with pytest.raises(UsageError, match=said):
        write_archive(steps(small_arrays()), arguments[0], tmp_path / "a", arguments[1])
    assert list(tmp_path.iterdir()) == []
