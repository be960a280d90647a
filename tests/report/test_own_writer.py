"""The ledger and the table of writing say where code of this project writes the files."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pandas as pd

from harness.report.page.sections import warnings
from harness.report.page.tables import _own_writers
from harness.run.ledger import OWN_WRITER, ledger
from harness.run.planning import choose_arms, open_subjects
from tests.conftest import TINY

COLUMNS = "format suite access verdict samples status reason why flag decoded_cache decided_after"
CELLS = pd.DataFrame(columns=COLUMNS.split())


def test_the_ledger_says_which_formats_compare_a_checksum():
    config = dataclasses.replace(TINY, formats=("npz", "hdf5", "zarr", "zarr-slim"))
    subject = open_subjects(config)[0]
    told = ledger([(subject.label, subject.manifest)], choose_arms(config), config)
    assert set(told["format"][told["checked"] == "yes"]) == {"npz", "zarr-slim"}
    findings = SimpleNamespace(
        summary=CELLS, cells=CELLS, ledger=told, has_efforts=True, incomplete=(),
        noise=SimpleNamespace(spread={}, aa_different=None, aa_median=None),
    )  # fmt: skip
    said = " ".join(warnings(findings))
    assert "npz and zarr-slim compare a checksum of all that they read. hdf5 and zarr have none" in said
    assert "zarr-slim is written by code of this project" in said
    findings.ledger = told.drop(columns=["checked", "writer"])
    assert "checksum" not in " ".join(warnings(findings)), "a run of before did not record it"


def test_a_reader_that_compares_no_checksum_is_not_said_to():
    config = dataclasses.replace(TINY, formats=("npz", "hdf5"), readers=("all",))
    subject = open_subjects(config)[0]
    told = ledger([(subject.label, subject.manifest)], choose_arms(config), config)
    stored = told[(told["format"] == "npz") & (told["role"] != "")]
    assert {reader: set(part["checked"]) for reader, part in stored.groupby("read_by")} == {
        "numpy.load": {"yes"}, "offset": {""},
    }  # fmt: skip


def test_the_ledger_says_who_writes_and_the_table_of_writing_names_those_of_this_project():
    config = dataclasses.replace(TINY, formats=("hdf5", "zarr-slim"))
    subject = open_subjects(config)[0]
    told = ledger([(subject.label, subject.manifest)], choose_arms(config), config)
    found = {name: set(part["writer"]) for name, part in told.groupby("format")}
    assert found == {"hdf5": {"its library"}, "zarr-slim": {OWN_WRITER}, "raw": {OWN_WRITER}}
    cells = pd.DataFrame({"format": ["hdf5", "zarr-slim", "raw"], "cache": "", "median_seconds": 1.0})
    assert _own_writers(cells, told) == ["zarr-slim"]
    assert _own_writers(cells.assign(cache="warm"), told) == []
    assert _own_writers(cells, told.drop(columns="writer")) == [], "a run of before did not record it"
