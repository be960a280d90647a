"""The ledger and the table of writing say where code of this project writes the files."""

from __future__ import annotations

import dataclasses

import pandas as pd

from harness.report.page.tables import _own_writers
from harness.run.ledger import OWN_WRITER, ledger
from harness.run.planning import choose_arms, open_subjects
from tests.conftest import TINY


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
