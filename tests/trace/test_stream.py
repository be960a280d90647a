"""A trace streams the same values whatever its blocks are, and digests count every bit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.trace.manifest import Manifest, Provenance
from harness.trace.schema import SchemaError, tensor
from harness.trace.stream import (
    BLOCK_BYTES,
    BLOCK_ROWS,
    Digest,
    MemoryTrace,
    TraceView,
    block_rows,
    check_array,
    digest,
    parse_parameters,
    regroup,
    split,
)

SPECS = (tensor("pair/layer_0", (4, 4, 2)), tensor("structure/ptm", ()), tensor("outputs/none", (0, 3), "int16"))
MANIFEST = Manifest(tensors=SPECS, provenance=Provenance(source="test"))
ARRAYS = {
    "pair/layer_0": np.arange(32, dtype=np.float32).reshape(4, 4, 2),
    "structure/ptm": np.array(0.5, np.float32),
    "outputs/none": np.zeros((0, 3), np.int16),
}


def test_a_memory_trace_streams_its_arrays_more_than_once() -> None:
    trace = MemoryTrace("label", MANIFEST, ARRAYS)
    assert trace.label == "label"
    for _ in range(2):
        assert np.array_equal(np.concatenate(list(trace.blocks("pair/layer_0"))), ARRAYS["pair/layer_0"])
    assert [block.shape for block in trace.blocks("structure/ptm")] == [()]
    assert sum(len(block) for block in trace.blocks("outputs/none")) == 0


@pytest.mark.parametrize(
    ("path", "array"),
    [
        ("pair/layer_0", np.zeros((4, 4, 3), np.float32)),
        ("pair/layer_0", np.zeros((4, 4, 2), np.float64)),
        ("structure/ptm", np.zeros(1, np.float32)),
    ],
)
def test_an_array_that_does_not_fit_is_refused(path: str, array: np.ndarray) -> None:
    with pytest.raises(SchemaError) as caught:
        MemoryTrace("label", MANIFEST, {**ARRAYS, path: array})
    spec = MANIFEST[path]
    assert str(caught.value) == (
        f"{path}: expected shape {spec.shape} and dtype {spec.dtype}, "
        f"got shape {array.shape} and dtype {array.dtype.name}."
    )


def test_other_byte_orders_and_memory_orders_are_brought_to_one() -> None:
    values = ARRAYS["pair/layer_0"]
    for other in (values.astype(">f4"), np.asfortranarray(values), np.repeat(values, 2, axis=2)[:, :, ::2]):
        checked = check_array(SPECS[0], other)
        assert checked.flags.c_contiguous
        assert checked.tobytes() == values.astype("<f4").tobytes()


def test_a_view_gives_the_same_values_under_other_names() -> None:
    names = {tensor("pair/layer_7", (4, 4, 2)): "pair/layer_0", tensor("activations/again", (4, 4, 2)): "pair/layer_0"}
    view = TraceView(MemoryTrace("label", MANIFEST, ARRAYS), names)
    assert [spec.path for spec in view.manifest.tensors] == ["pair/layer_7", "activations/again"]
    assert view.manifest.provenance == MANIFEST.provenance
    assert view.label == "label"
    for spec in names:
        assert np.array_equal(np.concatenate(list(view.blocks(spec.path))), ARRAYS["pair/layer_0"])


@pytest.mark.parametrize(
    ("shape", "itemsize", "rows"),
    [
        ((1000, 1 << 18), 4, 8),  # a row is a megabyte
        ((1000, 1 << 16), 4, BLOCK_ROWS),
        ((1000, 50_000), 4, BLOCK_ROWS),  # 41 rows would fit
        ((1000, 1 << 22), 4, 1),  # a row is more than a block
        ((5,), 4, BLOCK_BYTES // 4),
        ((5, 0), 4, 5),
    ],
)
def test_blocks_fill_their_bytes_in_whole_chunks(shape: tuple[int, ...], itemsize: int, rows: int) -> None:
    assert block_rows(shape, itemsize) == rows


def test_splitting_keeps_every_row_and_the_limit() -> None:
    array = np.arange(100 * 60_000, dtype=np.float32).reshape(100, 60_000)
    blocks = list(split(array))
    assert [len(block) for block in blocks] == [32, 32, 32, 4]
    assert all(block.nbytes <= BLOCK_BYTES for block in blocks)
    assert np.array_equal(np.concatenate(blocks), array)
    assert [block.shape for block in split(np.array(1.0))] == [()]
    assert list(split(np.zeros((0, 3)))) == []


@settings(deadline=None, derandomize=True)
@given(lengths=st.lists(st.integers(0, 9), max_size=8), rows=st.integers(1, 12))
def test_regrouping_keeps_every_row_in_order(lengths: list[int], rows: int) -> None:
    array = np.arange(sum(lengths) * 2).reshape(-1, 2)
    ends = np.cumsum([0, *lengths])
    grouped = list(regroup((array[a:b] for a, b in pairwise(ends)), rows))
    assert np.array_equal(np.concatenate([array[:0], *grouped]), array)
    assert all(len(block) % rows == 0 for block in grouped[:-1])
    assert all(block.flags.c_contiguous for block in grouped)


def test_regrouping_passes_a_scalar_and_a_fitting_block_as_they_are() -> None:
    scalar, block = np.array(3), np.arange(8).reshape(8, 1)
    assert next(regroup([scalar], 5)) is scalar
    assert np.shares_memory(next(regroup([block], 4)), block)


def test_the_digest_is_xxh3_of_the_bytes_however_they_come() -> None:
    array = np.random.default_rng(0).random((50, 3))
    expected = xxhash.xxh3_128_hexdigest(array.tobytes())
    state = Digest()
    for start in range(0, 50, 7):
        state.update(array[start : start + 7])
    assert state.hexdigest() == digest(array) == expected
    assert digest(np.asfortranarray(array)) == expected
    assert digest(np.zeros((0, 3))) == xxhash.xxh3_128_hexdigest(b"")


def test_the_digest_tells_values_apart_that_compare_as_equal() -> None:
    zeros = np.zeros(3, np.float32)
    nans = np.array([0x7FC00000, 0x7FC00001], np.uint32).view(np.float32)
    assert digest(zeros) != digest(-zeros)
    assert digest(nans[:1]) != digest(nans[1:])


@pytest.mark.parametrize(
    ("text", "expected"), [("", {}), ("a=1", {"a": "1"}), ("a=1,b=x=y", {"a": "1", "b": "x=y"}), ("a=1,", {"a": "1"})]
)
def test_parameters_are_split(text: str, expected: dict[str, str]) -> None:
    assert parse_parameters(text, {"a": None, "b": None}, "source") == expected


@pytest.mark.parametrize(
    ("text", "known", "message"),
    [
        ("a", "ab", "'a' of 'source' must have the form key=value"),
        ("a=", "ab", "'a=' of 'source' must have the form key=value"),
        ("c=1", "ab", "'source' has no parameter 'c'; choose among a, b"),
        ("c=1", "", "'source' has no parameter 'c'; it takes none"),
        ("a=1,a=2", "ab", "'a' of 'source' is given twice"),
    ],
)
def test_parameters_that_are_wrong_are_named(text: str, known: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_parameters(text, dict.fromkeys(known), "source")
