"""How runs differ: what was not recorded is not said to be none."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from harness.extensions.beside.runs import CheckedRun
from harness.extensions.beside.systems import UNKNOWN, describe_runs
from tests.conftest import TINY

NOW = {"cpu": "A", "cores_limit": None, "memory_limit_bytes": 2**30, "libraries": {"zarr": "3.4.2", "torch": None}}
BEFORE = {"cpu": "A", "libraries": {"zarr": "3.4.2"}}


def facts(folder: Path, **changes: object) -> dict[str, tuple[str, ...]]:
    (folder / "ledger.csv").write_text("trace\n")
    config = dataclasses.replace(TINY, **changes)  # type: ignore[arg-type]
    runs = [
        CheckedRun(
            name=name, folder=folder, samples_sha256=name, config=of, session=session, cells={}, measured={},
            profiles={}, values={},
        )
        for name, of, session in (("now", TINY, NOW), ("before", config, BEFORE))
    ]  # fmt: skip
    return {one.label: one.texts for one in describe_runs(runs, [])}


def test_what_an_older_run_did_not_record_is_said_to_be_so(tmp_path: Path) -> None:
    found = facts(tmp_path)
    assert found["Limit of cores"] == ("none", UNKNOWN) and found["Limit of memory"] == ("1.0 GiB", UNKNOWN)
    assert found["Library torch"] == ("none", UNKNOWN) and found["Library zarr"] == ("3.4.2", "3.4.2")
    assert found["Processor"] == ("A", "A") and found["Mount options"] == (UNKNOWN, UNKNOWN)


def test_races_are_settings_of_a_run(tmp_path: Path) -> None:
    found = facts(tmp_path, race_each_state=False, race_each_executor=False)
    assert found["Race each state"] == found["Race each executor"] == ("yes", "no")
