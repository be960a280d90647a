"""Slimmed Zarr saves by storing equal tensors once and values narrow, and loses no bit by either."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import zarr

from harness.errors import ArchiveError, UsageError
from harness.formats import layout
from harness.formats.archive import archive_size, open_archive, verify_archive, write_archive
from harness.formats.base import load_format
from harness.formats.layout import in_eights
from harness.testing.samples import StepTrace, bfloat16_exact
from harness.trace.schema import Role, tensor
from tests.formats.samples import assert_holds, assert_same, put, slim_place, slim_shard

ROWS = 34  # rows of a chunk of a tensor of shape SHAPE, which is three chunks long
SHAPE = (100, 100, 1)


def piece(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Make one row of chunks whose values fit bfloat16, or only float16, or neither."""
    shape = (ROWS, *SHAPE[1:])
    if kind == "zero":
        return np.zeros(shape, np.float32)
    if kind == "bfloat16":  # too large for float16
        return bfloat16_exact(rng.normal(size=shape) * 1e30)
    if kind == "float16":  # eleven significant bits: too many for bfloat16
        return (1 + rng.integers(1, 512, shape) * 2.0**-9 + 2.0**-10).astype(np.float32)
    return rng.normal(size=shape).astype(np.float32)


def join(kinds: tuple[str, ...], seed: int = 0) -> np.ndarray:
    """Join rows of chunks; equal kinds at the same place are equal values."""
    parts = [piece(kind, np.random.default_rng((seed, place))) for place, kind in enumerate(kinds)]
    return np.concatenate(parts)[: SHAPE[0]]


def narrowing(path: Path, name: str) -> str:
    return str(zarr.open_group(path, mode="r")[slim_place(path, name)[0]].attrs["narrowing"])


def test_equal_tensors_are_stored_once_and_read_under_every_name(tmp_path: Path) -> None:
    pair = np.random.default_rng(0).normal(size=(20, 20, 4)).astype(np.float32)
    names = ["activations/layer_0/pair_repr", "pair/layer_0", "recycle/step_0/pair_repr"]
    once, thrice = tmp_path / "once", tmp_path / "thrice"
    once.mkdir()
    thrice.mkdir()
    single = put(once, "zarr-slim", {names[0]: pair})
    path = put(thrice, "zarr-slim", {name: pair.copy() for name in names})
    assert_holds(path, dict.fromkeys(names, pair))
    with open_archive(path) as (_, reader, _):
        for name in names:
            assert_same(reader.read(name, np.s_[3:9, 0:20, 1:3]), pair[3:9, :, 1:3])
    assert {slim_place(path, name) for name in names} == {(names[0], None)}
    assert sorted(file.name for file in path.iterdir()) == ["activations", "metadata", "zarr.json"]
    assert archive_size(path)[0] < archive_size(single)[0] + pair.nbytes // 4


def test_tensors_that_only_look_equal_are_kept_apart(tmp_path: Path) -> None:
    zeros = np.zeros((6, 6, 1), np.float32)
    negative = zeros.copy()
    negative[-1, -1] = -0.0
    arrays = {
        "pair/layer_0": zeros,
        "pair/layer_1": negative,
        "outputs/integers": np.zeros((6, 6, 1), np.int32),
        "outputs/longer": np.zeros((7, 6, 1), np.float32),
        "outputs/one": np.array(1.0, np.float32),
        "outputs/two": np.array(2.0, np.float32),
        "outputs/two_again": np.array(2.0, np.float32),
        "outputs/two_wide": np.array(2.0, np.float64),
        "outputs/empty": np.zeros((0, 6, 1), np.float32),
        "outputs/empty_too": np.zeros((0, 6, 1), np.float32),
    }
    path = put(tmp_path, "zarr-slim", arrays)
    assert_holds(path, arrays)
    assert not (path / "outputs/two_again").exists()


@pytest.mark.parametrize("profile", ["tuned", "matched"])
@pytest.mark.parametrize("rows", [None, 13])
def test_every_order_of_widths_and_every_shared_beginning(profile: str, rows: int | None, tmp_path: Path) -> None:
    kinds = list(product(["zero", "bfloat16", "float16", "float32"], repeat=3))
    arrays = {f"recycle/step_{k}/pair_repr": join(kind) for k, kind in enumerate(kinds)}
    specs = {tensor(path, array.shape, array.dtype): array for path, array in arrays.items()}
    path = tmp_path / "all.slim.zarr"
    write_archive(StepTrace(specs, rows=rows), load_format("zarr-slim"), path, profile)  # type: ignore[arg-type]
    assert_holds(path, arrays)
    assert verify_archive(path) == []


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (("bfloat16", "bfloat16", "zero"), "bfloat16"),
        (("zero", "zero", "zero"), "bfloat16"),
        (("zero", "zero", "float16"), "float16"),
        (("float16", "zero", "float16"), "float16"),
        (("float16", "float16", "bfloat16"), "none"),
        (("bfloat16", "bfloat16", "float16"), "none"),
        (("bfloat16", "float16", "float32"), "none"),
        (("float16", "float16", "float32"), "none"),
        (("float32", "bfloat16", "bfloat16"), "none"),
    ],
)
def test_a_tensor_is_as_narrow_as_its_widest_value(kinds: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    arrays = {"pair/layer_0": join(kinds, seed=1)}
    path = put(tmp_path, "zarr-slim", arrays)
    assert narrowing(path, "pair/layer_0") == expected
    assert_holds(path, arrays)
    assert slim_place(path, "pair/layer_0") == ("pair/layer_0", None)
    assert sorted(file.name for file in (path / "pair" / "layer_0").iterdir()) == ["c.0.0.0", "zarr.json"]
    assert sorted(file.name for file in path.iterdir()) == ["metadata", "pair", "zarr.json"]


def test_widening_for_one_value_late_in_a_chunk(tmp_path: Path) -> None:
    array = join(("bfloat16", "bfloat16", "bfloat16"), seed=2)
    array[70, 8, 0] = np.array(0x7F800001, np.uint32).view(np.float32)  # a NaN that neither narrow type can carry
    arrays = {"pair/layer_0": array}
    path = put(tmp_path, "zarr-slim", arrays)
    assert narrowing(path, "pair/layer_0") == "none"
    assert_holds(path, arrays)


@pytest.mark.parametrize(
    ("dtype", "values", "stored"),
    [
        ("int64", [-128, 127], "int8"),
        ("int64", [0, 128], "int16"),
        ("int64", [-32769], "int32"),
        ("int64", [2**31], "int64"),
        ("uint64", [255], "uint8"),
        ("uint64", [256], "uint16"),
        ("uint64", [2**32], "uint64"),
        ("int32", [-1], "int8"),
        ("uint32", [65535], "uint16"),
        ("int16", [-129], "int16"),
        ("uint16", [7], "uint8"),
        ("float64", [0.5, -np.inf], "float16"),
        ("float64", [2.0**-40], "float32"),
        ("float64", [0.1], "float64"),
        ("float16", [0.5], "float16"),
        ("bool", [True, False], "bool"),
    ],
)
def test_integers_and_doubles_are_stored_narrow(dtype: str, values: list[float], stored: str, tmp_path: Path) -> None:
    arrays = {"outputs/values": np.tile(np.array(values, dtype), 50)}
    path = put(tmp_path, "zarr-slim", arrays)
    array = zarr.open_group(path, mode="r")["outputs/values"]
    assert (array.dtype.name, array.attrs["dtype"]) == (stored, dtype)
    assert_holds(path, arrays)


def test_any_zarr_reader_finds_what_the_attributes_document(tmp_path: Path) -> None:
    pair = join(("bfloat16", "bfloat16", "bfloat16"))
    half = join(("float16", "float16", "float16"))
    numbers = np.arange(300, dtype=np.int64)
    path = put(
        tmp_path, "zarr-slim", {"pair/layer_0": pair, "recycle/step_0/pair_repr": half, "outputs/numbers": numbers}
    )
    group = zarr.open_group(path, mode="r")
    stored = {name: group[name] for name in ("pair/layer_0", "recycle/step_0/pair_repr", "outputs/numbers")}
    assert [dict(array.attrs) for array in stored.values()] == [
        {"narrowing": "bfloat16", "dtype": "float32"},
        {"narrowing": "float16", "dtype": "float32"},
        {"narrowing": "int16", "dtype": "int64"},
    ]
    assert_same(stored["pair/layer_0"][...], (pair.view(np.uint32) >> 16).astype(np.uint16))
    assert_same(stored["recycle/step_0/pair_repr"][...], half.astype(np.float16))
    assert_same(stored["outputs/numbers"][20:290], numbers[20:290].astype(np.int16))
    assert json.loads(str(group["metadata"].attrs["tensor_dtypes"]))["pair/layer_0"] == "float32"


def test_a_constant_costs_next_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "zeros").mkdir()
    arrays = {
        "pair/layer_0": np.zeros((200, 200, 8), np.float32),
        "pair/layer_1": np.full((200, 200, 8), 1.1, np.float32),
        "pair/layer_2": np.full((200, 200, 8), -0.0, np.float32),
    }
    path = put(tmp_path, "zarr-slim", arrays)
    assert_holds(path, arrays)
    assert max(slim_shard(path, name).stat().st_size for name in arrays) < arrays["pair/layer_0"].nbytes / 100
    alone = put(tmp_path / "zeros", "zarr-slim", {"pair/layer_0": arrays["pair/layer_0"]})
    assert slim_shard(alone, "pair/layer_0").stat().st_size == 25 * 16 + 4  # the shard's index, its checksum, no chunk


@pytest.mark.parametrize("role", list(Role))
def test_one_shard_for_each_tensor_whatever_its_role(role: Role, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = {"activations/one": (9000,), "activations/two": (70, 70), "activations/three": (70, 70, 3)}
    arrays = {tensor(p, s, "float32", role=role): rng.random(s).astype(np.float32) for p, s in shapes.items()}
    path = tmp_path / "roles"
    write_archive(StepTrace(arrays), load_format("zarr-slim"), path)
    assert_holds(path, {spec.path: array for spec, array in arrays.items()})
    for spec in arrays:
        assert len([file for file in (path / spec.path).iterdir() if file.name != "zarr.json"]) == 1


def test_a_large_tensor_is_in_several_shards_along_its_first_axis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "SHARD_BYTES", 2 * 34 * 102 * 4)  # two rows of chunks of three
    arrays = {"pair/layer_0": join(("float32", "zero", "bfloat16")), "pair/layer_1": join(("bfloat16",) * 3)}
    path = put(tmp_path, "zarr-slim", arrays)
    assert_holds(path, arrays)
    assert verify_archive(path) == []
    files = sorted(file.relative_to(path).as_posix() for file in path.rglob("c.*"))
    assert files == [f"pair/layer_{k}/c.{n}.0.0" for k in (0, 1) for n in (0, 1)]
    group = zarr.open_group(path, mode="r")
    assert_same(group["pair/layer_0"][...], arrays["pair/layer_0"])
    with open_archive(path) as (_, reader, _):
        for part in (np.s_[60:75, 3:9, 0:1], np.s_[68:69, 0:100, 0:1], np.s_[0:0, 0:1, 0:1], np.s_[99:100, 0:0, 0:1]):
            assert_same(reader.read("pair/layer_0", part), arrays["pair/layer_0"][part])


def test_cold_takes_for_each_tensor_what_needs_the_fewest_bytes(tmp_path: Path) -> None:
    """A channel that differs in scale from its neighbours suits streams of one channel; text-like repeats suit zstd."""
    rng = np.random.default_rng(0)
    channels = bfloat16_exact((rng.normal(size=(64, 64, 16)) * 10.0 ** np.arange(-8, 8)).astype(np.float32))
    repeats = np.tile(rng.random((1, 8, 64, 64)).astype(np.float32), (4, 1, 1, 1)).reshape(4 * 8, 64, 64)
    arrays = {"pair/layer_0": channels, "attention/layer_0": repeats, "outputs/numbers": np.arange(300)}
    path = put(tmp_path, "zarr-slim", arrays, "cold")
    assert_holds(path, arrays)
    assert verify_archive(path) == []
    group = zarr.open_group(path, mode="r")
    assert group["pair/layer_0"].chunks == (64, 64, 1)
    codecs = {name: (path / name / "zarr.json").read_text() for name in arrays}
    assert "numcodecs.pcodec" in codecs["pair/layer_0"] and "numcodecs.shuffle" in codecs["attention/layer_0"]
    sizes = {}
    for profile in ("tuned", "cold"):
        (tmp_path / profile).mkdir()
        sizes[profile] = archive_size(put(tmp_path / profile, "zarr-slim", arrays, profile))[0]
    assert sizes["cold"] < 0.5 * sizes["tuned"]


def test_an_unknown_version_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "zarr-slim", {"outputs/values": np.arange(3)})
    document = json.loads((path / "zarr.json").read_text())
    document["attributes"]["trace_format_harness"]["slim"]["version"] = 3
    (path / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(ArchiveError, match="slimmed by version 3; this reader knows version 2"), open_archive(path):
        pass


@pytest.mark.parametrize("edge", [45, 171])
def test_fast_shuffles_the_bits_of_chunks_of_odd_extent_too(edge: int, tmp_path: Path) -> None:
    weights = np.random.default_rng(0).random((2, edge, edge)).astype(np.float32) / 1000
    path = put(tmp_path, "zarr-slim", {"attention/layer_0": weights}, "fast")
    assert_holds(path, {"attention/layer_0": weights})
    assert slim_shard(path, "attention/layer_0").stat().st_size < weights.nbytes * 0.95


@pytest.mark.parametrize("chunks", [(1,), (7,), (8,), (1, 171, 171), (40, 40, 128), (3, 1, 2), (76, 37, 3), (5, 6)])
def test_chunks_in_eights_are_hardly_larger(chunks: tuple[int, ...]) -> None:
    found = in_eights(chunks)
    assert np.prod(found) % 8 == 0
    assert max(found) - max(chunks) < 8
    assert sum(a != b for a, b in zip(found, chunks, strict=True)) <= 1


def test_the_projects_reader_is_named_and_reads_every_setting(tmp_path: Path) -> None:
    pair = join(("bfloat16", "zero", "bfloat16"))
    for setting in ("tuned", *load_format("zarr-slim").alternatives):  # type: ignore[attr-defined]
        (tmp_path / setting).mkdir()
        path = put(tmp_path / setting, "zarr-slim", {"pair/layer_0": pair}, setting)
        with load_format("zarr-slim").readers["own"].open(path) as reader:
            assert_same(reader.read("pair/layer_0"), pair)


def test_names_of_settings_are_those_of_the_format(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no profile named 'warm'"):
        put(tmp_path, "zarr-slim", {"outputs/values": np.arange(3)}, "warm")
    with pytest.raises(UsageError, match="no profile named 'cold'"):
        put(tmp_path, "npz", {"outputs/values": np.arange(3)}, "cold")
