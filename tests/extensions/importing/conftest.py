"""Importing from the command line, and reading back what it wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.formats.archive import open_archive, verify_archive
from harness.trace.manifest import Manifest

Imported = tuple[dict[str, np.ndarray], Manifest]


@pytest.fixture
def bring(tmp_path: Path) -> Callable[..., Imported]:
    """Import a source into an archive, check that, and return its tensors and its manifest."""

    def go(source: Path, *options: str, name: str = "imported.h5") -> Imported:
        archive = tmp_path / name
        assert main(["convert", str(source), str(archive), *options]) == 0
        assert verify_archive(archive) == []
        with open_archive(archive) as (_, reader, manifest):
            return {spec.path: reader.read(spec.path) for spec in manifest.tensors}, manifest

    return go


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Import a source that cannot be: one sentence with the given parts, that exit code, and nothing left."""

    def go(source: Path, code: int, *parts: str, options: tuple[str, ...] = ()) -> str:
        folder = tmp_path / "refused"
        folder.mkdir(exist_ok=True)
        assert main(["convert", str(source), str(folder / "a.h5"), *options]) == code
        said = capsys.readouterr().err
        for part in parts:
            assert part in said, said
        assert "Traceback" not in said and len(said.strip().splitlines()) == 1
        assert not any(folder.iterdir())
        return said

    return go
