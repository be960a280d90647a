"""Slimming above any format: every bit comes back, what is equal or narrow costs little, records are checked."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from harness.errors import ArchiveError, HarnessError
from harness.formats.archive import archive_size, detect, open_archive, verify_archive, write_archive
from harness.formats.archive_trace import ArchiveTrace
from harness.formats.base import load_format
from harness.formats.slimmed import SlimmedFormat
from harness.slimming import slimmer
from harness.slimming.narrowing import by_name, ladder
from harness.slimming.record import Places, places_in, unslimmed
from harness.slimming.slimmer import Slimmer, narrowest
from harness.testing.samples import StepTrace, bfloat16_exact, specials
from harness.trace import manifest as manifests
from harness.trace.manifest import Manifest, Provenance
from harness.trace.schema import SchemaError, tensor
from harness.trace.sources import open_trace
from tests.formats.samples import assert_holds, assert_same, trace_of

Arrays = Mapping[str, np.ndarray]


class RawSlim(SlimmedFormat):
    """All that it takes to have slimming above a format; this one finds its tensors by its manifest alone."""

    name, description, suffix, inner = "raw-slim", "raw, slimmed", ".slim.raw", "raw"


ABOVE = [*(pytest.param(partial(load_format, name), id=name) for name in ("hdf5-slim", "npz-slim")), RawSlim]
Make = Callable[[], SlimmedFormat]


def settle(arrays: Arrays, folder: Path, rows: int = 7, **options: bool) -> dict[str, tuple[str, str]]:
    """Say of each tensor which one is stored for it and how, and check the values that are handed on."""
    decide, found = Slimmer(folder, **options), {}
    for path, array in arrays.items():
        parts = [array[k : k + rows] for k in range(0, len(array), rows)] if array.ndim else [array]
        kept = decide.take(tensor(path, array.shape, array.dtype), parts)
        found[path] = kept.of, kept.narrowing.name
        blocks = list(decide.blocks(4))
        assert all(len(block) % 4 == 0 for block in blocks[:-1] if block.ndim)
        assert b"".join(block.tobytes() for block in blocks) == array.tobytes()
    decide.close()
    return found


@pytest.mark.parametrize("held", [1, 1 << 20])
def test_what_is_stored_is_decided_by_every_bit(held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slimmer, "MOST_HELD", held)  # in a file, and in memory
    wide = bfloat16_exact(np.random.default_rng(0).normal(size=(50, 3)) * 1e30)
    last = wide.copy()
    last[-1, -1] = 1.1
    negative = np.zeros((50, 3), np.float32)
    negative[49, 2] = -0.0
    arrays = {
        "pair/layer_0": wide.reshape(50, 1, 3),
        "outputs/wide": wide,
        "outputs/last": last,
        "outputs/again": wide.copy(),
        "outputs/zeros": np.zeros((50, 3), np.float32),
        "outputs/negative": negative,
        "outputs/integers": np.zeros((50, 3), np.int32),
        "outputs/one": np.array(1.0, np.float32),
        "outputs/one_again": np.array(1.0, np.float32),
        "outputs/empty": np.zeros((0, 3), np.float64),
        "outputs/empty_again": np.zeros((0, 3), np.float64),
    }
    assert settle(arrays, tmp_path) == {
        "pair/layer_0": ("", "bfloat16"),
        "outputs/wide": ("", "bfloat16"),
        "outputs/last": ("", "none"),
        "outputs/again": ("outputs/wide", "bfloat16"),
        "outputs/zeros": ("", "bfloat16"),
        "outputs/negative": ("", "bfloat16"),
        "outputs/integers": ("", "int8"),
        "outputs/one": ("", "none"),
        "outputs/one_again": ("outputs/one", "none"),
        "outputs/empty": ("", "float16"),
        "outputs/empty_again": ("", "float16"),
    }
    assert set(settle(arrays, tmp_path, once=False, narrows=False).values()) == {("", "none")}
    assert list(tmp_path.iterdir()) == []


def test_values_that_come_in_another_order_of_bytes_or_axes_are_the_same(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    decide = Slimmer(tmp_path)
    for block in (values, np.asfortranarray(values), values.astype(">f4")):
        kept = decide.take(tensor("outputs/values", values.shape), [block])
        assert_same(np.concatenate(list(decide.blocks())), values)
    assert kept.of == "outputs/values"
    decide.close()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_narrowest_dtype_returns_special_values_bit_for_bit(dtype: str) -> None:
    for value in specials(dtype):
        array = np.full((3, 2), value, dtype)
        found = narrowest(dtype, lambda: [array])  # noqa: B023 - called at once
        assert found.fits(array)
        assert_same(found.widen(found.narrow(array)), array)
        for step in ladder(dtype)[: [s.name for s in ladder(dtype)].index(found.name)]:
            assert not step.fits(array)


@pytest.mark.parametrize("make", ABOVE)
def test_every_bit_comes_back_from_above_any_format(make: Make, sample: Arrays, tmp_path: Path) -> None:
    above = make()
    path = tmp_path / f"a{above.suffix}"
    specs = {tensor(name, array.shape, array.dtype): array for name, array in sample.items()}
    written = write_archive(StepTrace(specs, rows=7), above, path)
    assert list(tmp_path.iterdir()) == [path]
    assert verify_archive(path, above) == verify_archive(path) == []
    assert_holds(path, sample)
    with open_archive(path, above) as (_, reader, manifest):
        assert manifest == written
        assert reader.manifest_text() == written.to_json()
        assert_same(reader.read("pair/layer_0", np.s_[3:9, 0:45, 1:3]), sample["pair/layer_0"][3:9, :, 1:3])
    with load_format(above.inner).reader(path) as below:
        stored = Manifest.from_json(below.manifest_text())
        assert "pair/layer_0" not in stored.tensor_dtypes and stored.digests.keys() == stored.tensor_dtypes.keys()
        kept = below.read("activations/layer_0/pair_repr")
        assert_same(kept, (sample["pair/layer_0"].view(np.uint32) >> 16).astype(np.uint16))
    back = tmp_path / "back.h5"
    write_archive(ArchiveTrace(path), load_format("hdf5"), back)
    assert verify_archive(back) == [] and detect(back).name == "hdf5"
    assert_holds(back, sample)


@pytest.mark.parametrize("make", ABOVE)
def test_matched_settings_narrow_nothing(make: Make, sample: Arrays, tmp_path: Path) -> None:
    above = make()
    if above.inner == "npz":
        pytest.skip("npz has no matched settings")
    write_archive(trace_of(sample), above, tmp_path / "a", "matched")
    assert_holds(tmp_path / "a", sample)
    with load_format(above.inner).reader(tmp_path / "a") as below:
        stored = Manifest.from_json(below.manifest_text()).tensor_dtypes
    assert len(stored) < len(sample) and stored == {name: sample[name].dtype.name for name in stored}


@pytest.mark.parametrize("make", ABOVE)
def test_slimming_halves_what_is_exactly_bfloat16_and_stored_twice(make: Make, tmp_path: Path) -> None:
    trace = open_trace("synthetic:layers=1,filled=both", 40)
    above, sizes = make(), {}
    for backend in (above, above.of):
        write_archive(trace, backend, tmp_path / backend.name)
        sizes[backend.name] = archive_size(tmp_path / backend.name)[0]
    assert sizes[above.name] < 0.6 * sizes[above.inner]


@pytest.mark.skipif(not os.environ.get("HARNESS_DATA"), reason="HARNESS_DATA names no folder of real data")
@pytest.mark.parametrize("trace", ["openfold-1ubq", "af2-1ubq"])
@pytest.mark.parametrize("make", ABOVE)
def test_real_values_come_back_and_are_no_larger(make: Make, trace: str, tmp_path: Path) -> None:
    above, sizes = make(), {}
    for backend in (above, above.of):
        write_archive(open_trace(trace), backend, tmp_path / backend.name)
        assert verify_archive(tmp_path / backend.name, backend) == []
        sizes[backend.name] = archive_size(tmp_path / backend.name)[0]
    assert sizes[above.name] < 1.01 * sizes[above.inner]  # the record, where nothing is equal or narrow
    # Its values are exactly bfloat16. A codec that shuffles bits has found most of that before.
    assert trace != "af2-1ubq" or sizes[above.name] < sizes[above.inner]


STORED = Manifest(
    tensors=(tensor("pair/layer_0", (4, 4, 2), "uint16"), tensor("outputs/scores", (4,))),
    provenance=Provenance(source="made for a test"),
    digests={"pair/layer_0": "00", "outputs/scores": "11"},
)
RECORD: list[dict[str, Any]] = [
    {"path": "pair/layer_0", "dtype": "float32", "narrowing": "bfloat16", "digest": "22"},
    {"path": "outputs/scores"},
    {"path": "recycle/step_0/pair_repr", "of": "pair/layer_0", "axes": list(STORED.tensors[0].axes), "role": "pair"},
]


def restored(record: Any) -> tuple[Manifest, Places]:
    """Read a manifest with a record as it would be in an archive."""
    text = json.dumps({**json.loads(STORED.to_json()), "slimming": record})
    return unslimmed(Manifest.from_json(text)), places_in(text)


def test_a_record_gives_back_the_manifest_of_the_trace() -> None:
    manifest, places = restored(RECORD)
    assert [(spec.path, spec.dtype, spec.shape) for spec in manifest.tensors] == [
        ("pair/layer_0", "float32", (4, 4, 2)),
        ("outputs/scores", "float32", (4,)),
        ("recycle/step_0/pair_repr", "float32", (4, 4, 2)),
    ]
    assert manifest.slimming == () and dict(manifest.digests) == {
        "pair/layer_0": "22", "outputs/scores": "11", "recycle/step_0/pair_repr": "22",
    }  # fmt: skip
    bfloat16 = by_name("float32", "bfloat16")
    assert places["pair/layer_0"] == places["recycle/step_0/pair_repr"] == ("pair/layer_0", bfloat16)


@pytest.mark.parametrize(
    ("row", "change", "message"),
    [
        (0, {"path": "pair/layer_1"}, "pair/layer_1 is not stored"),
        (0, {"narrowing": "float64"}, "narrowed from 'float32' as 'float64', which is not known"),
        (0, {"narrowing": "float16"}, "is stored as uint16, which is not how 'float16' is stored"),
        (0, {"dtype": "object"}, "is stored as uint16, which is not how|is not known"),
        (0, {"dtype": ""}, "narrowed from 'uint16' as 'bfloat16'"),
        (0, {"narrowing": ""}, "is stored as uint16, which is not how 'none' is stored"),
        (1, {"path": "pair/layer_0"}, "is named twice"),
        (2, {"path": "outputs/scores"}, "is named twice"),
        (2, {"of": "recycle/step_0/pair_repr"}, "which is not stored before it"),
        (2, {"of": "pair/layer_7"}, "which is not stored before it"),
        (2, {"role": "king"}, "has the role 'king', which is not known"),
        (2, {"axes": ["residue"]}, "expected one axis name for each of 3 axes"),
        (2, {"path": "../../etc/passwd"}, "climb out of the archive"),
        (2, {"path": "pair/layer_0/x"}, "expected"),
        (2, {"shape": [9, 9]}, "no such field"),
        (2, {"of": 3}, "expected str"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(row: int, change: dict[str, Any], message: str) -> None:
    record = [{**found, **(change if number == row else {})} for number, found in enumerate(RECORD)]
    with pytest.raises(HarnessError, match=message):
        restored(record)


def test_a_record_names_all_that_is_stored_and_no_chain_of_equals(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArchiveError, match="does not name outputs/scores, which is stored"):
        restored(RECORD[:1])
    chain = {**RECORD[2], "path": "recycle/step_1/pair_repr", "of": "recycle/step_0/pair_repr"}
    with pytest.raises(ArchiveError, match="which is not stored before it"):
        restored([*RECORD, chain])
    with pytest.raises(ArchiveError, match="not stored before it"):
        restored([RECORD[2], *RECORD[:2]])
    monkeypatch.setattr(manifests, "MOST_TENSORS", 2)
    with pytest.raises(SchemaError, match="at most 2 tensors"):
        restored(RECORD)


def test_a_format_above_another_reads_no_plain_archive_of_that(small: Arrays, tmp_path: Path) -> None:
    write_archive(trace_of(small), load_format("hdf5"), tmp_path / "plain.h5")
    assert detect(tmp_path / "plain.h5").name == "hdf5"
    with pytest.raises(ArchiveError, match="It is not slimmed"):
        load_format("hdf5-slim").reader(tmp_path / "plain.h5")


def test_an_archive_whose_values_are_not_as_its_record_says_is_refused(small: Arrays, tmp_path: Path) -> None:
    path = tmp_path / "a.slim.h5"
    write_archive(trace_of(small), load_format("hdf5-slim"), path)
    with h5py.File(path, "r+") as file:
        del file["outputs/labels"]
        file["outputs/labels"] = np.zeros(40, np.int32)
    with pytest.raises(ArchiveError, match="dtype int32, the manifest says"), open_archive(path):
        pass
