"""Values that break careless codings come back bit for bit, whatever the dtype, the shape and the pickle protocol."""

from __future__ import annotations

import collections
import json
import pickle
import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from harness.errors import ArchiveError
from harness.extensions.result_directories import container, json_numbers, reducing
from harness.foreign import pickles

DTYPES = ["<f2", "<f4", "<f8", ">f4", "<i1", "<i4", "<i8", "<u2", "?", "<c8"]
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9)
SPECIAL = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 0.0, 5e-324, 1.0])
settings.register_profile("steady", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("steady")


def comes_back(content, protocol=4):
    data = pickle.dumps(content, protocol=protocol)
    unpacked = container.unpack(container.pack("result_x.pkl", data)[1])
    assert unpacked.data == data and unpacked.exact
    return container.content(unpacked)


@given(st.sampled_from(DTYPES).flatmap(lambda dtype: arrays.arrays(np.dtype(dtype), SHAPES)), st.integers(2, 5))
def test_any_array_comes_back(array, protocol):
    found = comes_back({"plddt": array, "again": [array, (array[..., :1],)] if array.ndim else array}, protocol)
    assert (found["plddt"].dtype, found["plddt"].shape) == (array.dtype, array.shape)
    assert found["plddt"].tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f8"])
@pytest.mark.parametrize("shape", [(40, 40), (1600,), (40, 40, 3)])
def test_special_values_keep_their_bits(dtype, shape):
    with np.errstate(over="ignore", under="ignore"):
        array = np.resize(SPECIAL, shape).astype(dtype)
    for made in (array, np.asfortranarray(array), array[::-1]):
        found = comes_back({"plddt": made})["plddt"]
        assert found.tobytes() == made.tobytes() and found.flags.f_contiguous >= made.flags.f_contiguous


def test_payloads_of_nan_keep_their_bits():
    words = np.arange(0x7F800001, 0x7F800001 + 4096, dtype=np.uint32)
    assert comes_back({"plddt": words.view(np.float32)})["plddt"].view(np.uint32).tolist() == words.tolist()


@pytest.mark.parametrize(
    "array", [np.float32(-0.0), np.array(7), np.empty((0, 5)), np.empty((3, 0, 2), "f4"), np.str_("x")]
)
def test_empty_and_zero_dimensional_arrays(array):
    found = comes_back({"plddt": array})["plddt"]
    assert type(found) is type(array) and (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()


def test_arrays_of_objects_and_other_containers():
    content = {
        "aatype": np.eye(21, dtype=np.float64),
        "domain_name": np.array([b"query", b"other"], dtype=object),
        "sequence": np.array([b"MKV" * 200], dtype="S600"),
        "residue_index": np.arange(300, dtype=np.int32),
        "more": [
            1,
            2.5,
            None,
            True,
            "text",
            b"bytes",
            (3, {4}),
            2 + 1j,
            collections.OrderedDict(a=1),
            bytearray(b"xy"),
        ],
    }
    for protocol in (2, 3, 4, 5):
        found = comes_back(content, protocol)
        assert found["domain_name"].tolist() == [b"query", b"other"]
        assert found["sequence"].tobytes() == content["sequence"].tobytes()
        assert found["more"] == content["more"]


class Device:
    """Pickles as an array of jax does."""

    def __init__(self, array):
        self.array = array

    def __reduce__(self):
        make, arguments, state = self.array.__reduce__()
        return sys.modules["jax._src.array"]._reconstruct_array, (make, arguments, state, {"weak_type": False})


def test_an_array_of_jax_is_read_without_jax(monkeypatch):
    module = types.ModuleType("jax._src.array")

    def _reconstruct_array(*_):
        raise AssertionError("what jax does was run")

    _reconstruct_array.__module__ = module.__name__
    _reconstruct_array.__qualname__ = "_reconstruct_array"
    module._reconstruct_array = _reconstruct_array
    for name in ("jax", "jax._src"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    array = np.random.default_rng(2).random((30, 40)).astype(np.float32)
    found = comes_back({"plddt": Device(array)})["plddt"]
    assert found.dtype == array.dtype and found.tobytes() == array.tobytes()


def test_symmetric_logits_are_stored_once():
    half = np.random.default_rng(1).normal(size=(48, 48, 16)).astype(np.float32)
    symmetric = half + half.swapaxes(0, 1)
    assert comes_back({"plddt": symmetric})["plddt"].tobytes() == symmetric.tobytes()
    sizes = [len(container.pack("r.pkl", pickle.dumps(array))[1]) for array in (symmetric, half)]
    assert sizes[0] < 0.55 * sizes[1]
    symmetric[3, 5, 7] = np.nextafter(symmetric[3, 5, 7], np.float32(9))
    assert comes_back({"plddt": symmetric})["plddt"].tobytes() == symmetric.tobytes()


def test_equal_arrays_under_two_names_are_stored_once():
    array = np.random.default_rng(1).random(9000)
    once = len(container.pack("a.pkl", pickle.dumps({"a": array}))[1])
    twice = len(container.pack("a.pkl", pickle.dumps({"a": array, "b": array.copy()}))[1])
    assert twice < 1.02 * once


NUMBERS = st.one_of(
    st.integers(-(10**20), 10**20),
    st.floats(width=32),
    st.floats(),
    st.floats(-99, 99).map(lambda value: round(value, 2)),
    st.sampled_from([-0.0, 1e-7, 1e22, 0.1, 1.0]),
)


@given(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=0, max_size=40), st.sampled_from([None, 1, 4]))
def test_any_json_comes_back(rows, indent):
    data = json.dumps(
        {"pae": rows, "text": "1, 2 [3", "flat": [value for row in rows for value in row]}, indent=indent
    ).encode()
    assert container.unpack(container.pack("pae_x.json", data)[1]).data == data


@pytest.mark.parametrize(
    "numbers",
    [
        "-0",
        "0.50",
        "1E5",
        "1e+05",
        "01.0",
        "NaN",
        "-Infinity",
        "1.10",
        "0.1000000000000000055",
        "123456789012345678901",
    ],
)
def test_numbers_written_in_other_ways_come_back(numbers):
    data = f'{{"pae": [{", ".join([numbers, "2.5"] * 100)}]}}'.encode()
    assert container.unpack(container.pack("pae_x.json", data)[1]).data == data


def test_rows_are_told_apart():
    text = json.dumps({"pae": [[1.5] * 30] * 30, "ragged": [[1] * 40, [1] * 50]}).encode()
    skeleton, streams = json_numbers.split(text)
    assert [(stream.key, stream.columns) for stream in streams] == [("pae", 30), ("ragged", 0)]
    assert json_numbers.join(skeleton, [stream.tokens for stream in streams], len(text)) == text


@pytest.mark.parametrize(("change", "said"), [(-1, "fewer numbers"), (1, "more numbers")])
def test_numbers_that_do_not_fit_the_text_are_refused(change, said):
    text = json.dumps({"pae": list(range(100))}).encode()
    skeleton, (stream,) = json_numbers.split(text)
    tokens = stream.tokens[:change] if change < 0 else [*stream.tokens, b"1"]
    with pytest.raises(ArchiveError, match=said):
        json_numbers.join(skeleton, [tokens], 2 * len(text))


@given(st.floats(1e-6, 100))
def test_a_step_keeps_its_bound(bound):
    step = reducing.step_within(bound)
    assert 0.19 * bound <= step / 2 <= bound * (1 + 1e-9)


@pytest.mark.parametrize("bound", [0.001, 0.05, 0.3, 2.0])
def test_rounding_stays_within_the_bound(bound):
    error = (31 * np.random.default_rng(3).random((90, 90))).astype(np.float32)
    content = {"plddt": error[0], "predicted_aligned_error": error, "structure_module": {"copy": error[1]}}
    data = pickle.dumps(content, protocol=4)
    reduced = reducing.reduce_pickle(data, bound)
    found = pickles.plain(pickles.load(reduced.data))
    measured = np.abs(found["predicted_aligned_error"].astype(float) - error).max()
    assert 0 < measured == reduced.arrays[0]["largest_error"] <= bound
    assert found["plddt"].tobytes() == error[0].tobytes()
    packed = container.pack("r.pkl", reduced.data, original="0" * 64, dropped=reduced.dropped, steps=reduced.steps)[1]
    assert container.unpack(packed).data == reduced.data
    assert len(packed) < len(container.pack("r.pkl", data)[1])


def test_what_is_not_finite_is_never_rounded():
    error = np.full((30, 30), 1.23, np.float32)
    error[0, 0] = np.nan
    data = pickle.dumps({"plddt": 1, "predicted_aligned_error": error}, protocol=4)
    assert reducing.reduce_pickle(data, 0.5) == reducing.Reduced(data)


def test_what_equals_something_dropped_or_kept_is_kept():
    zeros = np.zeros((20, 20), np.float32)
    content = {"plddt": zeros, "masked_msa": zeros.copy(), "predicted_aligned_error": zeros.copy()}
    data = pickle.dumps(content, protocol=4)
    assert reducing.reduce_pickle(data, 0.5) == reducing.Reduced(data)
