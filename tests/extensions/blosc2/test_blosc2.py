"""Blosc2 archives hold b2nd files of the library, and conform in every profile and with every reader."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from harness.capacity import capacity
from harness.errors import HarnessError, UsageError
from harness.extensions.blosc2.format import Blosc2Format
from harness.formats.archive import check_bytes, open_archive, verify_archive, write_archive
from harness.formats.base import load_format
from harness.formats.seal import seal
from harness.formats.settings import UnsupportedProfile
from harness.testing import FormatConformance
from harness.testing.samples import sample_arrays
from harness.trace.schema import tensor
from tests.formats.samples import put, trace_of

library = pytest.importorskip("blosc2", reason="pip install 'trace-format-harness[blosc2]'")
arrays = pytest.importorskip("harness.extensions.blosc2.arrays")


class Mapped(Blosc2Format):
    """The harness opens with the reader that maps."""

    readers: ClassVar = {"blosc2-mmap": Blosc2Format.readers["blosc2-mmap"]}


class TestBlosc2(FormatConformance):
    format = Blosc2Format


class TestMapped(FormatConformance):
    format = Mapped


@pytest.mark.parametrize(("profile", "reader"), Blosc2Format.candidates)
def test_every_candidate_reads_every_bit(profile: str, reader: str, tmp_path: Path) -> None:
    backend, given = Blosc2Format(), sample_arrays()
    path = tmp_path / "a.b2"
    write_archive(trace_of(given), backend, path, backend.alternative(profile) if profile else "tuned")
    with backend.reader(path, reader) as opened:
        for name, array in given.items():
            assert opened.read(name).tobytes() == array.tobytes(), name


def test_the_library_reads_the_files(tmp_path: Path) -> None:
    given = {"pair/layer_0": np.random.default_rng(0).random((40, 40, 8), np.float32), "structure/ptm": np.float32(3)}
    path = put(tmp_path, "blosc2", {name: np.asarray(array) for name, array in given.items()})
    for name, array in given.items():
        assert library.open(str(path / f"{name}.b2nd"), mode="r")[...].tobytes() == array.tobytes()


@pytest.mark.parametrize("profile", ["tuned", "matched", "large-chunks"])
def test_what_is_set_is_what_the_files_say(profile: str, tmp_path: Path) -> None:
    backend = Blosc2Format()
    settings = backend.alternative(profile) if profile in backend.alternatives else profile
    given = {
        "pair/layer_0": np.ones((150, 150, 8), np.float32),
        "attention/layer_0": np.ones((2, 150, 150), np.float32),
    }
    write_archive(trace_of(given), backend, tmp_path / "a.b2", settings)
    with backend.reader(tmp_path / "a.b2") as reader:
        for name, array in given.items():
            spec = tensor(name, array.shape)
            layout, found = backend.layout(spec, settings), reader.opened(name)
            assert found.chunks == layout.chunks
            assert found.codec == str(layout.codec)
            blocks = backend.blocks(spec, settings, layout)
            assert blocks is None or found.reader.endswith(f"blocks of {'x'.join(map(str, blocks))}")


@pytest.mark.parametrize("budget", [1, 3])
@pytest.mark.parametrize("name", Blosc2Format.readers)
def test_a_reader_has_the_threads_of_the_budget(
    name: str, budget: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path, "blosc2", {"single/layer_0": np.ones((9, 3), np.float32)})
    monkeypatch.setattr(arrays, "capacity", lambda: dataclasses.replace(capacity(), cores_usable=budget))
    with Blosc2Format().reader(path, name) as reader:
        assert f"{budget} threads" in reader.opened("single/layer_0").reader


def test_an_array_that_states_far_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "blosc2", {"single/layer_0": np.ones((9, 3), np.float32)})
    shape = (1 << 28,)
    library.zeros(shape, dtype="f4", chunks=shape, urlpath=str(path / "single/layer_0.b2nd"), mode="w")
    resealed(path)
    assert "chunks of 1 GiB" in check_bytes(path, Blosc2Format())


def test_what_is_no_array_is_refused_and_not_evaluated(tmp_path: Path) -> None:
    """A b2nd file may name expressions and other files, which the library would follow."""
    path = put(tmp_path, "blosc2", {"single/layer_0": np.ones((9, 3), np.float32)})
    file = path / "single/layer_0.b2nd"
    ones = library.ones((9, 3), dtype="f4", urlpath=str(tmp_path / "other.b2nd"), mode="w")
    (ones + 1).save(urlpath=str(file), mode="w")
    resealed(path)
    (problem,) = verify_archive(path)
    assert "single/layer_0.b2nd holds no array alone; nothing of it was evaluated" in problem
    with pytest.raises(HarnessError, match="no array alone"), open_archive(path) as (_, reader, _):
        reader.read("single/layer_0")


def resealed(path: Path) -> None:
    """Seal an archive again, as whoever made a hostile one would."""
    document = path / "manifest.json"
    document.write_text(re.sub(r"(?<=seal:)[0-9a-f]{64}", "0" * 64, document.read_text()))
    seal(path)


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "blosc2", None)
    with pytest.raises(UsageError, match=r"'blosc2': pip install 'trace-format-harness\[blosc2\]'"):
        load_format("blosc2")


def test_a_chunk_beyond_the_librarys_is_skipped_with_a_reason() -> None:
    backend = Blosc2Format()
    with pytest.raises(UnsupportedProfile, match="takes no chunk as large"):
        backend.layout(tensor("outputs/all", (4096, 100_000)), "matched")
