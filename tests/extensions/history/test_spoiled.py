"""A spoiled document or row of a run is refused in one sentence, or says the same; `make attack` tries many more."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.attacks.documents import spoiled, spoiled_rows
from harness.errors import HarnessError
from harness.row_files import read_samples
from harness.run.archives import read_archives
from harness.run.config import RunConfig
from harness.run.machine import read_environment
from harness.run.plan import read_plan, replan


@pytest.mark.parametrize("name", ["run.json", "plan.json", "archives.json", "environment.json", "samples.csv"])
def test_what_is_spoiled_is_refused_in_one_sentence(folder: Path, name: str) -> None:
    def read() -> None:
        config = RunConfig.read(folder / "run.json")
        for described in read_plan(folder / "plan.json"):
            replan(described, config)
        read_archives(folder / "archives.json")
        read_environment(folder / "environment.json")
        read_samples(folder / "samples.csv")

    read()
    refused = 0
    spoil = spoiled_rows if name.endswith(".csv") else spoiled
    for text in spoil((folder / name).read_bytes(), random.Random(5), 6):
        (folder / name).write_bytes(text)
        try:
            read()
        except HarnessError as error:
            refused += 1
            assert "\n" not in str(error) and "\x1b" not in str(error)
    assert refused > 10
