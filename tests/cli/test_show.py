"""The answer on one screen, and every cell of a run in a terminal of 80 columns."""

from __future__ import annotations

import json
import re

import pandas as pd

from harness.cli import main


def lines(capsys) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_the_answer_fits_on_a_screen(small, capsys):
    assert main(["show", str(small), "--answer"]) == 0
    shown = lines(capsys)
    assert (
        shown[-4] == "" and len(shown) <= 25 and max(map(len, shown[:-3])) <= 80
    )  # the last three are where things are, whatever that is
    heads = next(line.split() for line in shown if line.startswith("as measured"))
    assert heads[2:] == ["size", "write", "full", "layer", "windows", "parallel"]
    table = [line for line in shown if line.startswith("  ") and line[2] != " "]
    assert {line.split()[0] for line in table} == {"hdf5", "npz"} and any("best" in line for line in table)
    assert "harness show" in shown[-1] and "report.html" in shown[-3]


def test_every_cell_is_shown_with_its_contender(small, capsys):
    assert main(["show", str(small)]) == 0
    shown = lines(capsys)
    told = shown[:-3]
    assert max(map(len, told)) <= 80
    summary = pd.read_csv(small / "summary.csv")
    measured = summary[(summary["status"] == "ok") & summary["median_seconds"].notna() & (summary["format"] != "a/a")]
    assert sum(bool(re.search(r"\d (µs|ms|s)\b", line)) for line in told) >= len(measured)
    assert any("one attention head, warm" in line for line in told)


def test_a_program_gets_the_same_cells_and_criteria(small, capsys):
    assert main(["show", str(small), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    summary = pd.read_csv(small / "summary.csv")
    assert len(found["cells"]) == len(summary) and set(found["cells"][0]) == set(summary.columns)
    assert {row["format"] for row in found["criteria"]} >= {"hdf5", "npz"} and found["deciding"]


def test_cells_of_one_trace(small, capsys):
    assert main(["show", str(small), "--trace", "nothing"]) == 2
    error = capsys.readouterr().err
    assert "nothing" in error and "Traceback" not in error
    summary = pd.read_csv(small / "summary.csv")
    assert main(["show", str(small), "--trace", summary["trace"].iloc[0]]) == 0
    assert lines(capsys)


def test_what_is_no_run_is_refused(tmp_path, capsys):
    assert main(["show", str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err
