"""How archives are warmed is decided for all formats of a trace together, and every task keeps to it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.run import preparation
from harness.run.planning import choose_arms, open_subjects
from harness.run.preparation import Prepared
from harness.sampling import cache
from harness.sampling.reading import ReadTask
from harness.sampling.verify import Expected, read_id
from harness.workload import Read, ReadAccess
from tests.conftest import TINY

READ = Read(path="pair/layer_0")


def prepared(nbytes: int) -> Prepared:
    """Archives of 10, 20 and 30 bytes, of which a read asks for some."""
    config = dataclasses.replace(TINY, formats=("hdf5", "zarr-slim"), baseline="hdf5")
    arms = [arm for arm in choose_arms(config) if not arm.shares]
    found = Prepared(Path("t.raw"), open_subjects(config)[0].manifest)
    found.expected[read_id(READ)] = Expected("0", "float32", (nbytes // 4,), nbytes)
    for number, arm in enumerate(arms, 1):
        found.archives[arm] = Path(f"t.{arm.label}")
        found.writes[arm] = SimpleNamespace(size_bytes=10 * number)
    return found


@pytest.mark.parametrize(
    ("memory", "nbytes", "executor", "by_reading"),
    [
        (100, 12, "main", True),  # the largest takes more than a quarter of memory, and less than half of it is read
        (100, 16, "main", False),
        (120, 12, "main", False),
        (100, 12, "processes", True),
        (100, 12, "uncounted", False),
    ],
)
def test_all_formats_are_warmed_alike(monkeypatch, memory, nbytes, executor, by_reading):
    """Not by reading where the executor's workers fetch what cannot be counted here."""
    monkeypatch.setattr(preparation, "load_executor", lambda name: SimpleNamespace(counted=name != "uncounted"))
    monkeypatch.setattr(cache, "capacity", lambda: SimpleNamespace(memory_usable_bytes=memory))
    access = ReadAccess(name="pair_layer", reads=(READ,), executor=executor)
    archives = prepared(nbytes)
    assert len(archives.archives) == 3
    assert {archives.about(arm, access)["by_reading"] for arm in archives.archives} == {by_reading}


@pytest.mark.parametrize("by_reading", [True, False])
def test_a_task_warms_as_it_is_told(monkeypatch, by_reading):
    asked = []

    def warm(path, read=None):
        asked.append(read)
        return 0.5, "not warm"

    monkeypatch.setattr(cache, "warm", warm)
    access = ReadAccess(name="pair_layer", reads=(READ,))
    about = {"backend": "hdf5", "profile": "tuned", "archive": Path("t.h5"), "access": access, "expected": {}}
    assert "not warm" in ReadTask(**about, by_reading=by_reading, cache="warm").run(None).rejected
    assert [callable(read) for read in asked] == [by_reading]
