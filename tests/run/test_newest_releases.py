"""A run records the newest releases that were known, and its report names what is older."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.analysis.findings import Findings
from harness.report.page.reproduce import reproduce
from harness.report.section import Table, Text
from harness.run.machine import describe
from harness.run.newest_releases import Newest, behind, is_older, newest
from tests.conftest import TINY

KNOWN = Newest(
    as_of="2026-11-29",
    libraries={
        "zarr": {"version": "3.4.2", "released": "2026-10-27", "python": "3.12"},
        "zarrs": {"version": "0.2.3", "released": "2026-03-27", "python": "3.11"},
    },
)


@pytest.mark.parametrize(
    ("version", "than", "older"),
    [("3.1.6", "3.4.2", True), ("3.4.2", "3.4.2", False), ("3.10.0", "3.9.9", False), ("2.5.5", "2.5.10", True)],
)
def test_versions_are_compared_by_their_numbers(version: str, than: str, older: bool) -> None:
    assert is_older(version, than) is older


def test_what_is_known_is_recorded_with_a_run(tmp_path: Path) -> None:
    recorded = describe(tmp_path)["newest"]
    assert recorded == json.loads(json.dumps(newest()))
    assert {"zarr", "h5py", "numpy", "zarrs", "tensorstore"} <= set(recorded["libraries"])


def test_what_is_behind_is_named() -> None:
    assert behind(KNOWN, {"zarr": "3.4.2", "zarrs": "0.2.1"}) == []
    (said,) = behind(KNOWN, {"zarr": "3.5.0", "zarrs": None})
    assert said == "zarr 3.4.2 in harness/run/newest.toml is behind 3.5.0, which is installed here."


def page(**session: Any) -> list[Any]:
    return reproduce(cast(Findings, SimpleNamespace(session={"commit": "abc", **session}, config=TINY)))


def test_the_report_names_what_is_older_and_shows_all() -> None:
    *_, said, table = page(newest=KNOWN, packages={"zarr": "3.1.6"})
    assert isinstance(said, Text) and isinstance(table, Table)
    assert said.text == (
        "Older than the newest release known on 2026-11-29: zarr 3.1.6 (3.4.2 of 2026-10-27, for Python 3.12 or newer)."
    )
    assert table.rows[1] == ["zarrs", "not installed", "0.2.3", "2026-03-27", "3.11 or newer"]
    *_, said, _ = page(newest=KNOWN, packages={"zarr": "3.4.2"})
    assert said.text.endswith("2026-11-29: none of these libraries.")


def test_a_run_without_that_record_has_no_such_table() -> None:
    assert not any(isinstance(block, Table) for block in page(packages={"zarr": "3.1.6"}))
