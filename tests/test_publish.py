"""Publishing a run replaces its figures on the pages, and nothing else."""

from __future__ import annotations

import re
import shutil

import pandas as pd
import pytest

from benchmarks import publish
from benchmarks.publish import copy_records, main, times_of, with_table
from harness.errors import UsageError

TRACE = "af2-1ubq"
PUBLISHED = publish.ROOT / "results"
PAGE = (publish.ROOT / "docs" / "results.md").read_text()
MARK = rf"(<!-- reference: {TRACE} -->\n\n)"


def summary() -> pd.DataFrame:
    return pd.read_csv(publish.ROOT / "results" / "reference" / "summary.csv")


def test_other_figures_are_replaced_in_the_marked_table_alone():
    slower = summary()
    slower["median_seconds"] *= 1000
    found = with_table(PAGE, MARK, times_of(slower, TRACE))
    changed = [(old, new) for old, new in zip(PAGE.splitlines(), found.splitlines(), strict=True) if old != new]
    assert changed and all("`" in old and old.split("|")[1] == new.split("|")[1] for old, new in changed)
    before, _, rest = found.partition(f"<!-- reference: {TRACE} -->")
    table = re.match(r"\n\n((?:\|.*\n)+)", rest).group(1)
    assert before == PAGE.partition(f"<!-- reference: {TRACE} -->")[0]
    assert all(new + "\n" in table for _, new in changed)


def test_records_are_replaced_and_what_no_run_writes_is_kept(tmp_path):
    measured, published = tmp_path / "measured", tmp_path / "published"
    for folder, name in ((measured, "samples.csv"), (measured / ".archives", "a.npz"), (published, "old.csv")):
        folder.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(name)
    for useless in (measured, published):  # no run yet; then the published one itself
        with pytest.raises(UsageError, match="holds no run to publish"):
            copy_records(useless, published)
        (published / "run.json").write_text("{}")
    assert (published / "old.csv").exists(), "nothing is lost"
    (measured / "run.json").write_text("{}")
    (published / "beside.json").write_text("kept")
    copy_records(measured, published)
    assert sorted(path.name for path in published.rglob("*")) == ["beside.json", "run.json", "samples.csv"]


@pytest.mark.slow
def test_a_run_is_published_with_report_plots_and_tables(sketched, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(publish, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    wrong = re.sub(r"(?<=`layer_read/pair_layer/warm` \| )[^|]*", "9 s / 9 s ", PAGE)
    assert wrong != PAGE
    (tmp_path / "docs" / "results.md").write_text(wrong)
    (tmp_path / "README.md").write_text("<!-- reference: the answer -->\n\n```text\nold\n```\n")
    source = tmp_path / "measured"
    shutil.copytree(PUBLISHED / "reference", source)
    main("reference", source)
    assert (tmp_path / "docs" / "results.md").read_text() == PAGE
    assert "At their best" in (tmp_path / "README.md").read_text()
    kept = {path.name for path in (tmp_path / "results" / "reference" / "plots").iterdir()}
    assert kept and kept == {path.name for path in (tmp_path / "plots" / "reference").iterdir()}
    assert "docs/results.md: figures replaced" in capsys.readouterr().out
