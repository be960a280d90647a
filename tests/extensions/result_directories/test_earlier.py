"""Directories that were slimmed by an earlier version, whose samples are in ``.json.slim``, are read and restored.

``slimmed_by_version_0.1.zip`` holds what commit e8c6e48 made of the directories of `benchmarks.directories`:
slimmed, slimmed within a bound of 0.2, and killed after it had packed one sample.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from benchmarks.directories import af3, digests
from harness.cli import main
from harness.extensions.result_directories import reading
from harness.extensions.result_directories.disk import digest
from harness.extensions.result_directories.manifest import NAME, load_manifest
from harness.extensions.result_directories.restoring import unslim
from harness.extensions.result_directories.slimming import slim


@pytest.fixture
def earlier(tmp_path) -> Path:
    with zipfile.ZipFile(Path(__file__).with_name("slimmed_by_version_0.1.zip")) as made:
        made.extractall(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["af2-slim", "af3-slim", "openfold3-slim"])
def test_they_are_read_and_restored(earlier, capsys, name):
    folder = earlier / name
    assert list(folder.rglob("*.slim"))
    before = {path: entry.before["sha256"] for path, entry in load_manifest(folder).items.items()}
    for path, sha256 in before.items():
        assert digest(reading.read_file(folder, path).data) == sha256
    state = {**digests(folder), NAME: None}
    assert main(["slim", str(folder), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "Nothing to change" in said and f"Tools need harness unslim {folder} first for " in said
    assert {**digests(folder), NAME: None} == state
    assert not unslim(folder).problems
    assert digests(folder) == before


def test_what_was_given_up_is_read_within_its_bound(earlier):
    folder = earlier / "openfold3-minimal"
    for path, entry in load_manifest(folder).items.items():
        found = reading.read_file(folder, path)
        assert found.exact == (not entry.arrays) and found.original == entry.before["sha256"]
    assert len(unslim(folder).problems) == 2 and (folder / NAME).exists()


@pytest.mark.parametrize("then", ["slim", "unslim"])
def test_one_that_was_killed_is_finished(earlier, then):
    folder, written = earlier / "af3-killed", af3(earlier / "written", 16)
    assert (folder / "seed-1_sample-2" / "confidences.json.slim").exists()
    if then == "slim":
        assert not slim(folder, "slim").problems
        assert [path.name for path in (folder / "seed-1_sample-2").glob("conf*")] == ["confidences.json.xz"]
    assert not unslim(folder).problems
    assert digests(folder) == digests(written)
