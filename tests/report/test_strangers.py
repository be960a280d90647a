"""A stranger's suite and format, written from the docs alone, get all that the harness's own have."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from harness import registry
from harness.cli import main
from harness.formats.style import styles

pytestmark = pytest.mark.slow  # each makes a run with enough rounds for verdicts

PAGE = Path(__file__).parents[2] / "docs" / "suites.md"
TINY = [
    "--readers",
    "stock",
    "--trace",
    "synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4",
    "--sizes",
    "16",
    "--rounds",
    "10",
    "--cache",
    "warm",
    "--quiet",
    "--suites",
    "size,write,full_read",
    "--baseline",
    "hdf5",
]
FORMAT = """
from harness.formats.hdf5 import Hdf5Format


class Mine(Hdf5Format):
    name = "mine"
    description = "HDF5, as I like it"
    suffix = ".mine.h5"
    standing = "optional"
"""


def code(kind: str) -> str:
    """Return the blocks of one language on the page."""
    return "\n".join(re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(), re.S))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a stranger works in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # processes of workers take it over
    for name in ("my_suite", "my_format"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    Path("my_suite.py").write_text(code("python"))
    Path("my_format.py").write_text(FORMAT)
    return tmp_path


def commands() -> list[list[str]]:
    """Return the commands of the page, a tiny trace and two formats in place of the standard ones."""
    run, report = (line.split() for line in code("sh").splitlines())
    asked = run.index("--suites")
    return [[*run[1:asked], *run[asked + 2 :], *TINY, "--formats", "hdf5,npz"], report[1:]]


def grades(report: Path) -> dict[tuple[str, str], str]:
    """Return the grades of a report by criterion and format."""
    return {(row["criterion"], row["format"]): row["grade"] for row in json.loads(report.read_text())["grades"]}


def test_a_suite_by_the_page_and_a_format_get_all_that_the_harnesss_own_have(
    folder: Path, request: pytest.FixtureRequest
) -> None:
    run, report = commands()
    assert main([*run, "--backend", "my_format:Mine"]) == 0
    results = folder / "results" / "rows"
    # The suite: its table, plot, grade and place in the decision.
    assert (results / "plots" / "row_read.svg").is_file()
    assert grades(results / "report.json")["row read", "hdf5"] in ("Strong", "Good", "Limited", "Poor")
    page = (results / "report.md").read_text()
    assert "<summary>Row read</summary>" in page and "| pairs of one residue, warm |" in page
    # The format: its style, verdicts and grades.
    cells = pd.read_csv(results / "summary.csv")
    mine = cells[(cells["format"] == "mine") & (cells["suite"] == "full_read")]
    assert len(mine) and mine["verdict"].notna().all()
    assert grades(results / "report.json")["full read", "mine"]
    assert "| Trace | Residues | Case | npz | hdf5 | mine | raw |" in page
    found = styles(["npz", "hdf5", "mine"])
    assert list(found) == ["npz", "hdf5", "mine"] and len({style.colour for style in found.values()}) == 3
    assert found["mine"] == styles(["mine", "hdf5"])["mine"], "it does not depend on what else is drawn"
    request.getfixturevalue("sketched")  # the drawing was made once
    assert main([*report, "--backend", "my_format:Mine"]) == 0
    decided = json.loads((results / "uses" / "own" / "report.json").read_text())["decisions"][0]
    assert decided["preferred"] in ("hdf5", "npz", "mine") and decided["use"]["shares"]["residue"] == 0.5
    assert "residue" in [flip["weight"] for flip in decided["flips"]]
    registry.forget_allowed()
    assert main(["report", "results/rows"]) == 0, "without the option the suite has its table, with plain names"
    page = (results / "report.md").read_text()
    assert "<summary>Row read</summary>" in page and "| residue, warm |" in page
    assert "row read" not in {criterion for criterion, _ in grades(results / "report.json")}


def test_what_an_entry_point_registers_needs_no_option(folder: Path) -> None:
    package = folder / "stranger-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    points = code("toml").replace("project.entry-points.", "").replace('"', "")
    (package / "entry_points.txt").write_text(f"{points}\n[harness.formats]\nmine = my_format:Mine\n")
    asked = [*TINY, "--suites", "row_read", "--formats", "hdf5,mine", "--out", "results/both"]
    program = f"import sys; from harness.cli import main; sys.exit(main({['run', *asked]!r}))"
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "-c", program], cwd=folder, env={**os.environ, "PYTHONPATH": path}, check=True)
    assert (folder / "results" / "both" / "plots" / "row_read.svg").is_file()
    assert grades(folder / "results" / "both" / "report.json")["row read", "mine"]
