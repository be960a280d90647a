"""No chunk without a bound: every tensor of every role is written, read and verified in parts, each decoded once."""

from __future__ import annotations

import itertools
from math import ceil, prod

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numcodecs import blosc

from harness.formats import layout, npz_reader, npz_recovery, opening, raw, selection
from harness.formats.archive import open_archive, verify_archive, write_archive
from harness.formats.archive_trace import ArchiveTrace
from harness.formats.base import PROFILES, UnsupportedProfile, load_format
from harness.formats.parts import parts
from harness.formats.selection import in_blocks, lengths
from harness.formats.settings import Settings, search_space
from harness.testing.samples import StepTrace
from harness.trace.schema import Role, TensorSpec, tensor
from tests.formats.samples import BACKENDS, INSTALLED, assert_same
from tests.formats.test_archive import failing_at

PATHS = {
    "output": "outputs/distogram_logits",
    "activation": "activations/layer_0/triangle_update",
    "recycle": "recycle/step_0/pair_update",
    "msa": "activations/layer_0/msa_repr",
    "custom": "embeddings/language_model",
}
LARGE = {
    "distogram": (2900, 2900, 64),
    "batch": (1, 2900, 2900, 64),
    "long": (1 << 33,),
    "wide": (4, 1 << 31),
    "deep": (3, 5, 2, 7, 900, 1100),
    "channels": (300, 300, 4096),
    "many_channels": (64, 64, 1 << 20),
    "longer_than_blosc": (1, 1, (1 << 31) + 1),
}
MIB = 1 << 20


def spec_of(shape: tuple[int, ...], role: Role, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(path="own/tensor", shape=shape, dtype=dtype, axes=("a",) * len(shape), role=role)


def nbytes(chunks: tuple[int, ...], dtype: str = "float32") -> int:
    return prod(chunks) * np.dtype(dtype).itemsize


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
@pytest.mark.parametrize("shape", LARGE.values(), ids=LARGE)
@pytest.mark.parametrize("name", INSTALLED)
def test_no_chunk_of_any_format_role_or_profile_is_larger_than_its_bound(name, shape, dtype):
    backend = load_format(name)
    for role, profile in itertools.product(Role, PROFILES):
        try:
            found = backend.layout(spec_of(shape, role, dtype), profile)
        except UnsupportedProfile:
            continue
        if (chunks := found.chunks) is None:
            continue
        assert nbytes(chunks, dtype) <= blosc.MAX_BUFFERSIZE and min(chunks) >= 1
        if profile == "tuned":
            assert nbytes(chunks, dtype) <= 8 * MIB
            if name.startswith("zarr") and found.codec.shuffle == "bit":
                assert prod(chunks) % 8 == 0
            abreast = nbytes((chunks[0], *shape[1:]), dtype)
            assert abreast <= 130 * MIB or chunks[0] == 1  # 2 more for chunks that are made a little longer


@pytest.mark.parametrize("name", INSTALLED)
def test_no_chunk_of_any_profile_file_is_larger_than_the_bound(name):
    backend = load_format(name)
    for role, parameters in search_space(backend).items():
        for parameter, shape in itertools.product(parameters, LARGE.values()):
            for value in parameter.values:
                chosen = ((role, ((parameter.name, value),)),)
                profile = Settings(profile="mine", format=name, why="a test", chosen=chosen)
                chunks = backend.layout(spec_of(shape, role), profile).chunks
                assert chunks is None or nbytes(chunks) <= 8 * MIB


def test_what_is_cut_is_cut_evenly_along_all_axes_but_the_last():
    cut = {shape: layout.bounded(spec_of(shape, Role.OUTPUT), shape) for shape in LARGE.values()}
    assert cut[2900, 2900, 64] == (64, 64, 64)
    assert cut[1, 2900, 2900, 64] == (1, 64, 64, 64)
    assert cut[300, 300, 4096] == (8, 8, 4096)
    assert cut[4, 1 << 31] == (1, 1 << 18)
    for shape, chunks in cut.items():
        # Not in dust either: a quarter of the bound is full, however the axes are.
        assert MIB / 4 <= nbytes(chunks) <= MIB, shape


def test_what_a_role_or_a_profile_states_stays_up_to_the_bound():
    hdf5 = load_format("hdf5")
    for path, shape, chunks in (
        ("pair/layer_0", (2048, 2048, 128), (32, 32, 128)),
        ("attention/layer_0", (8, 2048, 2048), (1, 128, 128)),
        ("single/layer_0", (2048, 384), (2048, 384)),
        ("outputs/distogram_logits", (76, 76, 64), (76, 76, 64)),
        ("structure/atom_positions", (2048, 37, 3), (2048, 37, 3)),
    ):
        assert hdf5.layout(tensor(path, shape), "tuned").chunks == chunks
    largest = spec_of((1500, 1500, 64), Role.OUTPUT)  # 576 MB, which Blosc takes
    assert load_format("zarr").layout(largest, "seed").chunks == largest.shape
    assert hdf5.layout(largest, "matched").chunks == largest.shape
    assert layout.CODEC_BYTES == blosc.MAX_BUFFERSIZE


@pytest.fixture
def small_bound(monkeypatch):
    """Chunks of 4 KiB, and blocks of 16."""
    monkeypatch.setattr(layout, "CHUNK_BYTES", 4 << 10)
    monkeypatch.setattr(selection, "BLOCK_BYTES", 16 << 10)
    monkeypatch.setattr(selection, "MOST_BYTES", 64 << 10)
    for module in (npz_reader, npz_recovery, opening):
        monkeypatch.setattr(module, "LARGE_BYTES", 16 << 10)


def made(shape: tuple[int, ...], path: str) -> dict[TensorSpec, np.ndarray]:
    values = np.random.default_rng(1).standard_normal(shape, np.float32)
    return {tensor(path, shape): values}


def written(folder, name, arrays, profile="tuned"):
    backend = load_format(name)
    path = folder / f"a{backend.suffix}"
    write_archive(StepTrace(arrays, rows=3), backend, path, profile)
    return path


def watched(monkeypatch, kind):
    """Note every part that readers of a kind are asked for."""
    asked = []
    real = kind.read
    monkeypatch.setattr(kind, "read", lambda self, path, part=None: (asked.append(part), real(self, path, part))[1])
    return asked


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("name", BACKENDS)
def test_a_large_tensor_of_any_role_is_verified_and_converted_chunk_by_chunk(
    name, path, tmp_path, monkeypatch, small_bound
):
    arrays = made((70, 61, 24), path)
    ((spec, values),) = arrays.items()
    stored = written(tmp_path, name, arrays)
    with open_archive(stored) as (backend, reader, _):
        chunks = reader.opened(spec.path).chunks
        assert_same(reader.read(spec.path), values)
        kind = type(reader)
    if backend.layout(spec, "tuned").chunks is not None:
        chunks = chunks[-3:]
        assert nbytes(chunks) <= 6 << 10  # values in eights may add to the four
    asked = watched(monkeypatch, kind)
    assert verify_archive(stored) == []
    assert_same(np.concatenate(list(ArchiveTrace(stored).blocks(spec.path))), values)
    assert None not in asked
    row = ceil(24 * 61 * 4 * (chunks[0] if chunks else 1))
    assert max(nbytes(lengths(part)) for part in asked) <= max(16 << 10, row)
    if chunks:
        touched = sum(len(parts(chunks, part)) for part in asked)
        assert touched == 2 * prod(ceil(n / c) for n, c in zip(spec.shape, chunks, strict=True))


@pytest.mark.parametrize("name", BACKENDS)
def test_a_row_that_is_larger_than_a_block_is_verified_in_parts(name, tmp_path, monkeypatch, small_bound):
    arrays = made((2, 90, 60, 8), "outputs/batch")
    stored = written(tmp_path, name, arrays)
    with open_archive(stored) as (_, reader, _):
        asked = watched(monkeypatch, type(reader))
    assert verify_archive(stored) == []
    assert max(nbytes(lengths(part)) for part in asked) <= 24 << 10  # a row has 170


@pytest.mark.parametrize("name", ["hdf5", "zarr", "zarr-slim"])
def test_archives_in_one_large_chunk_are_still_read_once(name, tmp_path, monkeypatch):
    arrays = made((70, 61, 24), PATHS["output"])
    stored = written(tmp_path, name, arrays, "matched")  # 410 kB
    monkeypatch.setattr(selection, "BLOCK_BYTES", 16 << 10)
    monkeypatch.setattr(selection, "MOST_BYTES", 64 << 10)
    with open_archive(stored) as (_, reader, _):
        asked = watched(monkeypatch, type(reader))
    assert verify_archive(stored) == []
    assert len(asked) == 1


def members_opened(monkeypatch, kind):
    opened = []
    real = kind._opened
    monkeypatch.setattr(kind, "_opened", lambda self, path: (opened.append(path), real(self, path))[1])
    return opened


def test_a_large_member_of_an_unfinished_npz_is_decoded_once(tmp_path, monkeypatch, small_bound):
    arrays = made((70, 61, 24), "activations/layer_0/msa_repr")
    arrays |= {tensor("structure/ptm", ()): np.array(1, np.float32)}
    trace = StepTrace(arrays, before=failing_at("structure/ptm", 0, ValueError("the model failed")))
    with pytest.raises(ValueError, match="the model failed"):
        write_archive(trace, load_format("npz"), tmp_path / "a.npz", keep_incomplete=True)
    opened = members_opened(monkeypatch, npz_recovery.RecoveredNpzReader)
    assert verify_archive(tmp_path / "a.npz.incomplete") == []
    assert opened == ["activations/layer_0/msa_repr"]


def test_a_run_that_one_call_does_not_read_is_read_by_several(tmp_path, monkeypatch):
    arrays = made((40, 30, 8), PATHS["output"])
    stored = written(tmp_path, "raw", arrays)
    ((spec, values),) = arrays.items()
    real = raw.os.preadv
    monkeypatch.setattr(raw.os, "preadv", lambda file, memory, offset: real(file, [m[:1000] for m in memory], offset))
    with open_archive(stored) as (_, reader, _):
        assert_same(reader.read(spec.path, (slice(3, 39), slice(0, 30), slice(0, 8))), values[3:39])


def test_foreign_arrays_are_imported_in_blocks_of_their_chunks(monkeypatch, tmp_path, small_bound):
    values = np.random.default_rng(1).standard_normal((96, 96, 8), np.float32)
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file.create_dataset("activations/layer_0/pair", data=values, chunks=(40, 96, 8))
        for name, shape in {
            "activations/layer_0/single": (96, 4), "attention/layer_0": (2, 96, 96), "coords": (96, 3), "conf": (96,)
        }.items():  # fmt: skip
            file[name] = np.zeros(shape, np.float32)
    blocks = list(
        pytest.importorskip("harness.extensions.importing.seed_benchmark")
        .importer.read(tmp_path / "data.h5")
        .blocks("activations/layer_0/pair_repr")
    )
    assert [len(block) for block in blocks] == [40, 40, 16]
    assert_same(np.concatenate(blocks), values)


@given(st.data())
def test_blocks_follow_each_other_and_end_where_chunks_do(data):
    shape = tuple(data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=4)))
    chunks = data.draw(st.none() | st.tuples(*(st.integers(1, 5) for _ in shape)))
    size, most = data.draw(st.integers(4, 400)), data.draw(st.integers(4, 800))
    whole_rows = data.draw(st.booleans())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "BLOCK_BYTES", size)
        patch.setattr(selection, "MOST_BYTES", most)
        found = list(in_blocks(spec_of(shape, Role.OUTPUT), chunks, whole_rows=whole_rows))
    values = np.arange(prod(shape)).reshape(shape)
    assert [n for part in found for n in values[part].reshape(-1).tolist()] == list(range(prod(shape)))
    row = nbytes(shape[1:]) if whole_rows else 0
    bound = max(size, most, row, nbytes(chunks or ()))
    for part in found:
        assert nbytes(lengths(part)) <= bound
        assert not whole_rows or lengths(part)[1:] == shape[1:]
    if chunks and chunks[0] * nbytes(shape[1:]) <= max(most, size):
        assert all(part[0].start % chunks[0] == 0 for part in found)
