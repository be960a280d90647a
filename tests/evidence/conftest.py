"""The bundle of a run: made once, and changed only in copies."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import pytest

from harness.evidence.bundle import read_bundle, row_digests, write_bundle
from harness.report.write import Target
from tests.conftest import VERDICTS, once, reported

FEW = dataclasses.replace(VERDICTS, suites=("size", "full_read", "layer_read", "random_access"), caches=("warm",))


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of every suite, warm and cold; to be changed only in copies."""
    return reported(tmp_path_factory, "small", VERDICTS)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with few drawings, for these tests check it again and again; to be changed only in copies."""
    return reported(tmp_path_factory, "few", FEW)


@pytest.fixture(scope="session")
def packed(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its bundle; not to be changed."""
    name = "small.bundle.zip"
    with pytest.MonkeyPatch.context() as patch:
        draw_from(small, patch)
        return once(tmp_path_factory, "bundle", lambda folder: write_bundle(small, folder / name)) / name


def draw_from(run: Path, patch: pytest.MonkeyPatch) -> None:
    """Have reports take the drawings of a run for their own, which are the same wherever its samples are."""

    def copy(findings: object, parts: object, target: Target) -> list[Path]:
        shutil.copytree(run / "plots", target.plots, dirs_exist_ok=True)
        return sorted(target.plots.iterdir())

    patch.setattr("harness.report.write._draw", copy)


@pytest.fixture
def drawn(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave drawing out in tests that only look at what else follows from the samples of the run."""
    draw_from(small, monkeypatch)


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
