"""Runs beside a run: shown with their machines and budgets, kept in its folder, refused where they are no basis."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.cli import _parser, main
from harness.extensions.beside.section import FILE

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(small, sketched, tmp_path: Path) -> tuple[Path, Path]:
    """Two folders of one run; the second as if it were of another machine, with budgets of its own."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        shutil.copytree(small, folder)
        _rename(folder)
    config = json.loads((second / "run.json").read_text())
    (second / "run.json").write_text(json.dumps(config | {"threads": 1, "cache_bytes": 0}))
    recorded = json.loads((second / "environment.json").read_text())
    for session in recorded["sessions"]:
        session |= {"cpu": "Another CPU", "cores_usable": 48}
    (second / "environment.json").write_text(json.dumps(recorded))
    return first, second


def _rename(folder: Path) -> None:
    """Give a copied run the name of its folder."""
    config = json.loads((folder / "run.json").read_text())
    for path in (*folder.glob("*.json"), *folder.glob("*.csv")):
        path.write_text(path.read_text().replace(config["run_id"], folder.name))


def test_other_runs_are_shown_with_their_machines_and_budgets(runs, capsys):
    first, second = runs
    assert main(["beside", str(first), str(second)]) == 0
    page = (first / "report.md").read_text()
    assert "## Beside other runs" in page
    assert "| second | 48 cores, Another CPU | 1 | 0 B |" in page
    assert "Storage efficiency: second |" in page.replace(", stock", "")
    kept = json.loads((first / FILE).read_text())["runs"]
    assert [run["run"] for run in kept] == ["second"] and len(kept[0]["samples_sha256"]) == 64
    assert main(["report", str(first)]) == 0
    assert "48 cores, Another CPU" in (first / "report.md").read_text(), "a report that is made again still shows it"
    assert main(["beside", str(first)]) == 0
    assert not (first / FILE).exists() and "Beside other runs" not in (first / "report.md").read_text()


def test_a_bundle_says_that_it_is_only_claimed(runs, capsys):
    first, second = runs
    assert main(["beside", str(first), str(second)]) == 0
    assert main(["bundle", str(first), "--out", str(first.parent / "b.zip")]) == 0
    capsys.readouterr()
    assert main(["check", str(first.parent / "b.zip")]) == 0
    assert f"what other runs found, in {FILE}" in capsys.readouterr().out


@pytest.mark.parametrize("spoil", ["same name", "no run", "damaged"])
def test_what_is_no_basis_is_refused_in_one_sentence(runs, capsys, spoil):
    first, second = runs
    other = {"same name": first, "no run": first.parent, "damaged": second}[spoil]
    if spoil == "damaged":
        (second / "samples.csv").write_text("run_id\n")
    assert main(["beside", str(first), str(other)]) in (1, 2)
    said = capsys.readouterr().err.strip()
    assert said.startswith("harness: ") and len(said.splitlines()) == 1 and not (first / FILE).exists()


def test_a_damaged_file_is_refused_by_the_report(runs, capsys):
    first, _ = runs
    (first / FILE).write_text('{"beside_version": 1, "runs": [{"run": 3}]}')
    assert main(["report", str(first)]) == 2
    assert FILE in capsys.readouterr().err


def test_make_reference_shows_the_runs_that_it_makes(tmp_path):
    """The commands of docs/cluster.md, which take hours, are parsed and not run."""
    root = Path(__file__).parents[3]
    command = ["make", "-n", "reference", "NAME=here", "BESIDE=results/reference", f"HARNESS_DATA={tmp_path}"]
    made = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    assert "af2-1ubq" not in made, "without the file its trace is left out"
    (tmp_path / "af2_1ubq").mkdir()
    (tmp_path / "af2_1ubq" / "1ubq_af2_model_1_ptm.f32.npz").touch()
    made = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    assert made.count("--trace af2-1ubq") == 2
    lines = [shlex.split(line)[1:] for line in made.splitlines() if "bin/harness " in line]
    *runs, beside = [_parser().parse_args(words, argparse.Namespace(debug=False)) for words in lines]
    assert [run.out for run in runs] == [beside.run, *beside.others[:-1]] and len(runs) == 3
    assert beside.others[-1] == Path("results/reference")
    assert "make reference NAME=" in (root / "docs" / "cluster.md").read_text()
