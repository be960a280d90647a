"""Safetensors files are those of the library, and its absence is said with what to install."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import harness
from harness import registry
from harness.cli import main
from harness.errors import HarnessError, UsageError
from harness.extensions.safetensors.format import SafetensorsFormat
from harness.formats.archive import detect, verify_archive, write_archive
from harness.formats.base import load_format
from harness.formats.slimmed import SlimmedFormat
from harness.trace.manifest import Manifest
from tests.formats.samples import assert_same, put, trace_of

library = pytest.importorskip("safetensors.numpy", reason="pip install 'trace-format-harness[safetensors]'")


@pytest.fixture
def uninstalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make Python find no package of this name."""
    monkeypatch.setitem(sys.modules, "safetensors", None)


def test_the_library_reads_the_file(sample: Mapping[str, np.ndarray], tmp_path: Path) -> None:
    path = put(tmp_path, "safetensors", sample)
    found = library.load_file(path)
    assert set(found) == set(sample)
    for name, array in sample.items():
        assert_same(found[name], array)


def test_the_header_holds_the_manifest_and_keeps_the_data_aligned(tmp_path: Path) -> None:
    path = put(tmp_path, "safetensors", {"outputs/values": np.arange(5.0)})
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0
    assert header["outputs/values"] == {"dtype": "F64", "shape": [5], "data_offsets": [0, 40]}
    manifest = Manifest.from_json(header["__metadata__"]["manifest"])
    assert list(manifest.digests) == ["outputs/values"]
    assert data[8 + length :] == np.arange(5.0).tobytes()


def test_a_missing_library_is_named_with_its_extra(uninstalled: None) -> None:
    needs = "needs the package 'safetensors': pip install 'trace-format-harness[safetensors]'"
    assert SafetensorsFormat.missing() == needs
    with pytest.raises(UsageError) as caught:
        load_format("safetensors")
    assert str(caught.value) == f"The format 'safetensors' {needs}."
    assert {row.name: row.missing for row in registry.listing("formats")}["safetensors"] == needs


def test_other_formats_work_without_it(uninstalled: None, small: Mapping[str, np.ndarray], tmp_path: Path) -> None:
    path = put(tmp_path, "npz", small)
    assert detect(path).name == "npz"
    assert verify_archive(path) == []


def test_an_archive_is_recognised_without_the_library(
    small: Mapping[str, np.ndarray], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = put(tmp_path, "safetensors", small)
    request.getfixturevalue("uninstalled")
    for use in (detect, verify_archive):
        with pytest.raises(UsageError, match="pip install 'trace-format-harness"):
            use(path)


class Slimmed(SlimmedFormat):
    """What cannot be: the header comes before the values."""

    name, description, suffix, inner = "safetensors-slim", "safetensors, slimmed", ".slim.safetensors", "safetensors"


def test_it_cannot_be_slimmed_and_says_so(small: Mapping[str, np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="The header of safetensors comes first"):
        write_archive(trace_of(small), Slimmed(), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_what_it_cannot_store_is_refused_when_it_is_assigned(tmp_path: Path) -> None:
    with harness.create(tmp_path / "a.safetensors") as out:
        out["outputs/x"] = [1, 2]
        with pytest.raises(HarnessError, match="safetensors has no complex64, which outputs/y has"):
            out["outputs/y"] = np.ones(2, np.complex64)
        with pytest.raises(HarnessError, match="has its metadata under the name __metadata__, which a tensor has"):
            out["__metadata__"] = [1]
    with harness.open(tmp_path / "a.safetensors", verify=True) as trace:
        assert list(trace) == ["outputs/x"]


def test_a_file_of_the_library_is_not_called_an_archive_that_is_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.safetensors"
    library.save_file({"a": np.arange(300, dtype=np.float32)}, path)
    for arguments in (["inspect", str(path)], ["verify", str(path)]):
        assert main(arguments) == 1
        said = "".join(capsys.readouterr())
        assert "not an archive of" in said and "another program wrote it" in said and "damaged" not in said
