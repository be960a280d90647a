"""Which cells of several runs are compared, and what is said of those that are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.analysis.table import CaseKey
from harness.errors import UsageError
from harness.extensions.beside.runs import CheckedRun
from harness.extensions.beside.shared import share
from tests.conftest import TINY

READ = CaseKey("full_read", "all_tensors", "t", 40, "warm", "main", 1)
WINDOW = READ._replace(suite="random_access", access="window_pair")
OTHER = READ._replace(trace="u")
VALUES = {("t", 40): {"pair/0": "ab"}, ("u", 40): {"pair/0": "cd"}}
BYTES = frozenset((1000.0,))


def run(name: str, formats: dict[CaseKey, str], **changes: Any) -> CheckedRun:
    """Make a run of the formats of each cell, separated by blanks, without efforts; its baseline is hdf5."""
    found: dict[str, Any] = {
        "name": name, "folder": Path(name), "samples_sha256": name, "config": TINY, "session": {"cores_usable": 2},
        "cells": dict.fromkeys(formats, BYTES), "profiles": {}, "values": VALUES,
        "measured": {case: {(one, "tuned"): frozenset() for one in of.split()} for case, of in formats.items()},
    }  # fmt: skip
    return CheckedRun(**(found | changes))


def test_a_cell_without_what_the_control_repeats_is_left_out() -> None:
    """In the second cell there would be no noise floor, so that every difference would be called one."""
    here = run("here", {READ: "hdf5 npz", WINDOW: "hdf5 npz zarr"})
    there = run("there", {READ: "hdf5 npz", WINDOW: "npz zarr"})
    found = share([here, there])
    assert set(found.cells) == {READ} and found.further == (1, 1)
    assert found.notes == (
        "Not compared, because not all runs measured two formats and hdf5 in the same profile: 1 cell.",
    )
    with pytest.raises(UsageError, match=r"no cell that can be compared\. Not compared, because not all runs measured"):
        share([here, run("alone", {WINDOW: "npz zarr"})])


def test_a_trace_whose_values_one_run_did_not_record_is_left_out() -> None:
    cells = {READ: "hdf5 npz", OTHER: "hdf5 npz"}
    for values in ({("t", 40): VALUES["t", 40]}, {**VALUES, ("u", 40): {}}):
        found = share([run("here", cells), run("there", cells, values=values)])
        assert set(found.cells) == {READ}
        (note,) = found.notes
        assert "it is not recorded that its values are the same in all runs: u, 40 residues" in note
    (note,) = share([run("here", cells), run("there", cells, values={**VALUES, ("u", 40): {"pair/0": "ee"}})]).notes
    assert "its values differ between the runs: u, 40 residues" in note


def test_a_cell_of_which_one_run_has_rejected_reads_alone_asks_for_no_other_bytes() -> None:
    cells = {READ: "hdf5 npz", WINDOW: "hdf5 npz"}
    here, none = run("here", cells), {READ: BYTES, WINDOW: frozenset[float]()}
    assert set(share([here, run("there", cells, cells=none)]).cells) == {READ, WINDOW}
    found = share([here, run("there", cells, cells={**none, WINDOW: frozenset((2000.0,))})])
    assert set(found.cells) == {READ} and "ask for other bytes: 1 cell" in found.notes[0]
