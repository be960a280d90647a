"""Every value of a row is held against its column's type and range; what does not fit is named by line and column."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from harness.documents import DocumentError
from harness.records import Sample, columns
from harness.row_files import SampleFile, read_samples

KEY: dict[str, Any] = {
    "run_id": "r", "suite": "s", "access": "a", "trace": "t", "n_res": 8, "format": "f", "profile": "tuned",
    "cache": "warm", "executor": "main", "workers": 1, "position": 0,
}  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three rows: a good one, one whose reason has two lines, and a good one."""
    file = SampleFile(tmp_path / "samples.csv")
    file.add(Sample(**KEY, round=0, seconds=0.5, requests=3, verified=True, worker_seconds="0.25 1e-3"))
    file.add(Sample(**KEY | {"n_res": None}, round=1, status="failed", reason="one\ntwo"))
    file.add(Sample(**KEY, round=2, seconds=0.75, requests=4, verified=False))
    file.close()
    return tmp_path / "samples.csv"


def edit(path: Path, column: str, value: str) -> None:
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    rows[2][header.index(column)] = value
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def test_good_rows_come_back(path: Path) -> None:
    found = read_samples(path)
    assert len(found) == 3 and found["seconds"].max() == 0.75 and found["requests"].max() == 4


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("seconds", value) for value in ("inf", "-inf", "abc", "-1", "nan", "1e999", "True")),
        *(("requests", value) for value in ("-3", "1.5", "x", "9" * 30, str(2**63), "inf")),
        *(("status", value) for value in ("good", "", "OK")),
        *(("verified", value) for value in ("maybe", "1", "2")),
        *(("n_res", value) for value in ("0", "-5", "x", "8.5")),
        *(("round", value) for value in ("", "-1", "x")),
        *(("workers", value) for value in ("0", "", "-1")),
        *(("worker_seconds", value) for value in ("abc", "0.1  0.2", "-1")),
        ("position", "-1"),
        ("attempt", "0"),
        ("cause", "weather"),
    ],
)
def test_a_value_that_cannot_be_is_named(path: Path, column: str, value: str) -> None:
    edit(path, column, value)
    with pytest.raises(DocumentError) as raised:
        read_samples(path)
    assert f"{path}, line 5, column {column}" in str(raised.value) and "\n" not in str(raised.value)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("rows", ["1,2\n", "{row},1\n", "{row}\n{row},3\n", "\x00\n", "\n{row}\n\ud800\n"])
def test_rows_of_another_shape_are_refused(path: Path, rows: str) -> None:
    header, row, *_ = path.read_text().splitlines()
    path.write_bytes(f"{header}\n{rows.format(row=row)}".encode(errors="surrogatepass"))
    with pytest.raises(DocumentError) as raised:
        read_samples(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_every_column_has_a_type_that_is_checked(path: Path) -> None:
    """A new column is checked without another line, and a value of no type that any column has is found in each."""
    free = {"run_id", "suite", "access", "trace", "format", "profile", "slim", "reader", "cache", "executor", "reason"}
    for column in sorted({*columns(Sample)} - free):
        before = path.read_text()
        edit(path, column, "?")
        with pytest.raises(DocumentError):
            read_samples(path)
        path.write_text(before)
