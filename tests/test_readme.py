"""The README keeps its word: its commands run, its numbers are the committed reference run's, its links exist."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from harness.analysis.asked import find_options
from harness.cli import main
from harness.evidence.compare import differences
from harness.report.write import write_report

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_every_subcommand_is_in_the_readme(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    known = set(re.findall(r"^    ([a-z]+)  ", capsys.readouterr().out, re.M))
    assert {"run", "report", "convert"} <= known
    shown = set(re.findall(r"\bharness ([a-z-]+)", README))
    assert known - shown == set()


def summary_of(run: str = "reference") -> pd.DataFrame:
    return pd.read_csv(ROOT / "results" / run / "summary.csv")


def rows_of(heading: str) -> list[list[str]]:
    table = README[README.index(heading) :]
    lines = re.search(r"\n(\|.*?)\n\n", table, re.S).group(1).splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize(
    ("run", "trace"),
    [
        ("reference", "synthetic:values=protein,layers=1"),
        ("reference", "af2-1ubq"),
        ("long-sequences", "synthetic:values=protein,layers=1"),
    ],
)
def test_the_result_tables_are_those_of_the_committed_runs(run, trace):
    summary = summary_of(run)
    part = summary[summary["trace"] == trace]
    part = part[part["n_res"] == part["n_res"].max()]
    header, _, *rows = rows_of(f"<!-- {run}: {trace} -->")
    assert rows
    for row in rows:
        suite, access, cache = re.search(r"`(\w+)/(\w+)(?:/(\w+))?`", row[0]).groups()
        for name, text in zip(header[1:], row[1:], strict=True):
            found = part[(part["suite"] == suite) & (part["access"] == access) & (part["format"] == name)]
            found = found[(found["executor"] == "main") & (found["cache"].fillna("") == (cache or ""))].iloc[0]
            number = float(re.search(r"[\d.]+", text).group())
            assert suite == "size" and number == pytest.approx(found["ratio_to_float32"], abs=0.006), (row[0], name)


@pytest.mark.parametrize("run", ["reference", "long-sequences"])
def test_no_committed_report_ranks_formats_by_reads_of_unequal_effort(run):
    report = json.loads((ROOT / "results" / run / "report.json").read_text())
    assert report["decisions"] == report["headlines"] == []
    graded = {row["criterion"] for row in report["grades"] if row["grade"]}
    assert graded == {"storage efficiency"}
    assert "withdrawn" in (ROOT / "results" / run / "report.md").read_text()
    assert not re.search(r"`(faster|slower)` than|other way round", README)


@pytest.mark.slow
@pytest.mark.parametrize("run", ["reference", "long-sequences"])
def test_a_committed_report_follows_from_the_committed_samples(run, sketched, tmp_path):
    """All but the drawings, whose bytes depend on the version of matplotlib."""
    committed, copy = ROOT / "results" / run, tmp_path / "results" / run
    shutil.copytree(committed, copy)
    shutil.copytree(ROOT / "plots" / run, tmp_path / "plots" / run)
    write_report(copy, find_options(copy))
    made = {name: (copy / name).read_bytes() for name in ("summary.csv", "report.json", "report.md")}
    kept = {name: (committed / name).read_bytes() for name in made}
    key = ["suite", "access", "trace", "format"]
    assert not [text for name in made for text in differences(name, kept[name], made[name], key=key)]


def test_every_local_link_exists():
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README):
        assert (ROOT / target).exists(), target


def test_the_reference_run_is_whole():
    summary = summary_of()
    assert (summary["status"].isin(["ok", "skipped"])).all()
    assert summary.loc[summary["suite"].eq("full_read"), "samples"].ge(10).all()
    for name in ("storage_size", "full_read", "layer_read", "random_access", "parallel_access"):
        for kind in ("png", "svg"):
            assert (ROOT / "plots" / "reference" / f"{name}.{kind}").stat().st_size > 1000
