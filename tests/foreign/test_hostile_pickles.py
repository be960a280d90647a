"""Pickles that would make a reader take memory or time without end are refused, or read within limits."""

from __future__ import annotations

import pickle
from collections import OrderedDict

import numpy as np
import pytest

from benchmarks.attacks import _pickles
from harness.foreign import pickles

HOSTILE = _pickles.hostile("/nowhere/witness")
HARMLESS = (
    *("colliding floats", "frame of 2**55", "arrays by the thousand", "results by the thousand"),
    *("one array a million times", "ordered dictionaries", "number of 2**31 bytes"),
)


@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in HARMLESS])
def test_each_is_refused_in_one_sentence(name):
    with pytest.raises(pickles.PickleRefused) as refused:
        pickles.load(HOSTILE[name])
    assert str(refused.value).startswith("the pickle is") and len(str(refused.value)) < 300


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "content",
    [
        {
            "a": [1, 2.5, None, True, "text", b"bytes", 10**30, (1,), (), {}],
            "b": {1, 2, "x"},
            3: frozenset({1, (2, 3)}),
        },
        OrderedDict([("x", 1), ("y", OrderedDict())]),
        [[[]] * 3, {"shared": "text"}] * 2,
        {"name": complex(1, 2), "again": -1, (1, "two"): False},
        bytearray(b"changeable"),
    ],
)
def test_plain_content_is_read_as_python_reads_it(content, protocol):
    assert pickles.plain(pickles.load(pickle.dumps(content, protocol))) == content


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_are_read_as_numpy_wrote_them(protocol):
    arrays = [
        np.arange(6.0).reshape(2, 3),
        np.array(["a", "bc"]),
        np.float32(2),
        np.zeros((0, 4)),
        np.array([None, (1, 2), "x"], dtype=object),
    ]
    found = pickles.plain(pickles.load(pickle.dumps(arrays, protocol)))
    for array, made in zip(arrays, found, strict=True):
        assert (made.dtype, made.shape) == (array.dtype, array.shape) and made.tolist() == array.tolist()


def test_bfloat16_is_read_as_its_bits():
    bits = np.array([0x3F80, 0xC000, 0x0001], np.uint16)
    # As ml_dtypes stores it: its type stands where numpy's own have a name.
    data = pickle.dumps(bits, 2).replace(b"X\x02\x00\x00\x00u2", b"cml_dtypes\nbfloat16\n")
    leaf = pickles.load(data)
    assert leaf.bfloat16 and leaf.array().tolist() == bits.tolist()
    assert pickles.plain(leaf).tolist() == [1.0, -2.0, 2.0**-133]
    with pytest.raises(pickles.PickleRefused, match="a scalar of ml_dtypes"):
        pickles.load(b"\x80\x02cml_dtypes\nbfloat16\n)R.")


@pytest.mark.parametrize("protocol", range(6))
def test_bfloat16_of_ml_dtypes_is_read(protocol):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.array([[1, -2.5, 3e-40]], order="F").astype(ml_dtypes.bfloat16)
    arrays, number = pickles.load(pickle.dumps(([array, array.T], array[0, 1]), protocol))
    for leaf, judge in zip(arrays, (array, array.T), strict=True):
        assert leaf.bfloat16 and leaf.array().tobytes() == judge.tobytes()
        assert pickles.plain(leaf).tolist() == judge.astype(np.float32).tolist()
    assert pickles.plain(number) == np.float32(-2.5)
