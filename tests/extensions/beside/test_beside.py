"""What earlier versions kept of other runs in a run's folder is shown, bundled, and refused where it is damaged."""

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

ROOT = Path(__file__).parents[3]


@pytest.fixture
def run(small: Path, sketched: None, tmp_path: Path) -> Path:
    """A run with what was kept in the folder of the reference run."""
    folder = tmp_path / "first"
    shutil.copytree(small, folder)
    shutil.copy(ROOT / "results" / "reference" / FILE, folder)
    return folder


@pytest.mark.slow
def test_what_was_kept_of_other_runs_is_shown_and_only_claimed(run: Path, tmp_path: Path, capsys) -> None:
    assert main(["report", str(run)]) == 0
    page = (run / "report.md").read_text()
    kept = json.loads((run / FILE).read_text())["runs"]
    assert "## Comparison with other runs" in page and all(f"| {other['run']} |" in page for other in kept)
    assert main(["bundle", str(run), "--out", str(tmp_path / "b.zip")]) == 0
    capsys.readouterr()
    assert main(["check", str(tmp_path / "b.zip")]) == 0
    assert f"what other runs found, in {FILE}" in capsys.readouterr().out


@pytest.mark.slow
def test_a_damaged_file_is_refused_by_the_report(run: Path, capsys) -> None:
    (run / FILE).write_text('{"beside_version": 1, "runs": [{"run": 3}]}')
    assert main(["report", str(run)]) == 2
    assert FILE in capsys.readouterr().err


def test_make_reference_compares_the_runs_that_it_makes(tmp_path: Path) -> None:
    """The commands of docs/cluster.md, which take hours, are parsed and not run."""
    command = ["make", "-n", "reference", "NAME=here", "BESIDE=results/reference", f"HARNESS_DATA={tmp_path}"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "af2-1ubq" not in made, "without the file its trace is left out"
    (tmp_path / "af2_1ubq").mkdir()
    (tmp_path / "af2_1ubq" / "1ubq_af2_model_1_ptm.f32.npz").touch()
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert made.count("--trace af2-1ubq") == 2
    lines = [shlex.split(line)[1:] for line in made.replace("\\\n", " ").splitlines() if "bin/harness " in line]
    *runs, compared = [_parser().parse_args(words, argparse.Namespace(debug=False)) for words in lines]
    assert [run.out for run in runs] == compared.runs[:-1] and len(runs) == 3
    assert compared.runs[-1] == Path("results/reference") and compared.out == Path("results/here-side-by-side")
    assert "make reference NAME=" in (ROOT / "docs" / "cluster.md").read_text()
