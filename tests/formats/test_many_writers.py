"""Several processes write at once: what goes wrong is found, and what a format promises is kept."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import many_writers
from benchmarks.many_writers import WritersOutcome, lacking, state_of, try_case
from benchmarks.writer_cases import CASES
from benchmarks.writers_load import WritersLoad
from tests.liars import writing

ROOT = Path(__file__).parents[2]
LITTLE = WritersLoad(writers=8, blocks=3, rows=4, width=64)
TWO = WritersLoad(writers=2, blocks=4, rows=4, width=8)
KEPT = [case for case in CASES if case.promise != "none"]
COUNTS = ("whole", *many_writers.STATES, "refused", "crashed")


def counts(found: WritersOutcome) -> dict[str, int]:
    return {name: count for name in COUNTS if (count := getattr(found, name))}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "expected", "why"),
    [
        (writing.HONEST, {"whole": 8}, ""),
        (writing.LOSES, {"whole": 6, "lost": 2}, ""),
        (writing.TEARS, {"whole": 6, "torn": 2}, ""),
        (writing.DOUBLES, {"whole": 6, "doubled": 2}, ""),
        (writing.GARBLES, {"whole": 6, "unreadable": 2}, ""),
        (writing.REFUSES, {"whole": 6, "refused": 2}, "BlockingIOError: another has it"),
        (writing.DIES, {"lost": 2, "crashed": 6}, "a process ended with -9"),
        (writing.READS_BADLY, {"whole": 6, "unreadable": 2}, ""),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_goes_wrong_is_counted_as_what_it_is(case, expected, why, tmp_path):
    found = try_case(case, TWO, tmp_path)
    assert (counts(found), found.why) == (expected, why)
    assert found.keeps("all") == (case is writing.HONEST) and found.keeps("none")
    assert found.keeps("or refuses") == (case in (writing.HONEST, writing.REFUSES))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_writer_that_hangs_is_stopped_and_keeps_what_was_acknowledged(tmp_path):
    found = try_case(writing.HANGS, TWO, tmp_path, patience=30)
    assert (counts(found), found.why) == ({"whole": 5, "crashed": 3}, "a process hung")


@pytest.mark.slow
@pytest.mark.parametrize("case", KEPT, ids=[f"{case.format}: {case.title}" for case in KEPT])
def test_eight_writers_lose_nothing_where_the_format_promises_it(case, tmp_path):
    if missing := lacking(case):
        pytest.skip(f"needs the package {missing}")
    load = WritersLoad(**vars(LITTLE) | {"unit": case.unit})
    found = try_case(case, load, tmp_path)
    assert found.keeps(case.promise) and found.whole, found
    assert found.whole + found.refused == len(load.keys)


def test_what_is_in_the_place_of_a_block_is_named():
    mine, other = TWO.values(0, 1), TWO.values(1, 1)
    assert state_of(mine, TWO, 0, 1) == "whole"
    assert state_of(other, TWO, 0, 1) == "doubled"
    assert state_of(mine * 0, TWO, 0, 1) == "lost" and state_of(mine[:3], TWO, 0, 1) == "lost"
    half, mixed = mine.copy(), mine.copy()
    half[2:], mixed[2:] = 0, other[2:]
    assert state_of(half, TWO, 0, 1) == state_of(mixed, TWO, 0, 1) == "torn"


@pytest.mark.parametrize("unit", ["layers", "proteins"])
def test_blocks_fill_one_array_without_a_gap_and_no_value_is_in_two(unit):
    load = WritersLoad(writers=3, blocks=5, rows=8, width=4, unit=unit)
    whole = np.zeros(load.shape, np.float32)
    for key in load.keys:
        assert not whole[load.part(*key)].view(np.uint32).any()
        whole[load.part(*key)] = load.values(*key)
        assert load.owner(load.values(*key)) == key
    numbers = whole.view(np.uint32)
    assert numbers.all() and len(np.unique(numbers)) == numbers.size
    assert len({load.rows_of(*key) for key in load.keys}) == (1 if unit == "layers" else 8)


@pytest.mark.slow
def test_the_command_writes_a_table_and_fails_where_a_promise_is_broken(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    argv = ["many_writers", "--writers", "2", "--rounds", "1", "--counts", "--out", "table.csv"]
    monkeypatch.setattr(sys, "argv", argv)
    for case, code in ((writing.HONEST, 0), (writing.DIES, 1)):
        monkeypatch.setattr(many_writers, "CASES", (case,))
        assert many_writers.main() == code
        rows = list(csv.DictReader((tmp_path / "table.csv").open()))
        assert [row["writers"] for row in rows] == ["1", "2"] and "MB_per_s" not in rows[0]
        assert ("promises" in capsys.readouterr().err) == bool(code)
    monkeypatch.setattr(sys, "argv", ["many_writers", "--writers", "0"])
    with pytest.raises(SystemExit):
        many_writers.main()
    assert "expected a whole number from 1 to 64" in capsys.readouterr().err


def test_the_table_in_the_docs_is_the_committed_one():
    with (ROOT / "results" / "many-writers" / "counts.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["writers"] == "8"]
    assert [(row["format"], row["shared"], row["promise"]) for row in rows] == [
        (case.format, case.title, case.promise) for case in CASES
    ]
    lines = (ROOT / "docs" / "corpus.md").read_text().splitlines()
    (start,) = (number for number, line in enumerate(lines) if line.startswith("| library "))
    shown = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start : start + 2 + len(rows)]]
    names = ["library", "shared", "promise", "blocks", *COUNTS]
    assert shown[0] == names and shown[2:] == [[row[name] for name in names] for row in rows]
    assert not lines[start + 2 + len(rows)].startswith("|")
    kept = [row for row in rows if row["promise"] != "none"]
    assert all(int(row["whole"]) + int(row["refused"]) == int(row["blocks"]) for row in kept)
