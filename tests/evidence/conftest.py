"""The bundle of a run: made once, and changed only in copies."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import pytest

from harness.evidence.bundle import read_bundle, row_digests, write_bundle


@pytest.fixture(scope="session")
def packed(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its bundle; not to be changed."""
    path = tmp_path_factory.mktemp("bundle") / "small.bundle.zip"
    write_bundle(small, path)
    return path


@pytest.fixture
def copied(small: Path, tmp_path: Path) -> Path:
    """The run's folder and plots, to be changed."""
    shutil.copytree(small.parent.parent, tmp_path / "copy")
    return tmp_path / "copy" / "results" / "small"


def repack(path: Path, files: dict[str, bytes], destination: Path, **stated: object) -> Path:
    """Write a bundle whose manifest agrees with changed files, as a careful forger would, and states more besides."""
    manifest = {**read_bundle(path).manifest, **stated}
    manifest["sha256"] = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    manifest["sample_rows"] = row_digests(files["samples.csv"])
    with zipfile.ZipFile(destination, "w") as archive:
        archive.writestr("small/manifest.json", json.dumps(manifest))
        for name, data in files.items():
            archive.writestr(f"small/{name}", data)
    return destination
