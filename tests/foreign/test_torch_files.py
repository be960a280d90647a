"""Torch files without torch: tensors bit for bit, nothing run, damage told. Where torch is there, it is the judge."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.foreign import torch_files
from harness.foreign.opening import Asked, take_arrays
from harness.foreign.source import SourceError
from harness.trace.stream import read_whole
from tests.outputs import torch_file, torch_pickle, values

PATH = "x.pt"


@pytest.mark.parametrize(
    "array",
    [
        values(1, 3, 4, 5),
        values(2, 7, dtype="float16"),
        values(3, 2, 2, dtype="float64"),
        np.arange(5),
        np.array(1.5, np.float32),
        np.zeros((0, 4), np.float32),
    ],
)
def test_a_tensor_is_read_bit_for_bit(tmp_path, array):
    leaf = torch_files.load_tensor(torch_file(tmp_path / PATH, array))
    assert (leaf.shape, leaf.dtype) == (array.shape, array.dtype.name)
    assert leaf.array().tobytes() == array.tobytes() and leaf.array().shape == array.shape


def test_bfloat16_keeps_its_two_bytes(tmp_path):
    bits = np.array([0x3F80, 0xC000, 0x7FC0, 0x0001], np.uint16)  # 1, -2, NaN, the smallest
    leaf = torch_files.load_tensor(torch_file(tmp_path / PATH, bits))
    assert leaf.dtype == "bfloat16" and leaf.array().dtype == np.uint16
    assert (leaf.array() == bits).all()


def test_a_view_of_a_storage_is_read_by_its_strides(tmp_path):
    storage = values(1, 4, 5)
    data = torch_pickle((5, 2), (1, 10), 5, 20, "FloatStorage")
    leaf = torch_files.load_tensor(torch_file(tmp_path / PATH, storage, data))
    assert (leaf.array() == storage.T[:, 1::2]).all()


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (torch_pickle((9, 5), (5, 1), 0, 20, "FloatStorage"), r"shape \(9, 5\) in a storage of 20"),
        (torch_pickle((4, 5), (5, 1), 1, 20, "FloatStorage"), "in a storage of 20"),
        (torch_pickle((4, 5), (-5, 1), 19, 20, "FloatStorage"), "which is not supported"),
        (torch_pickle((4, 5), (5,), 0, 20, "FloatStorage"), "which is not supported"),
        (torch_pickle((4, 5), (5, 1), 0, 20, "QInt8Storage"), "asks for torch.QInt8Storage"),
        (torch_pickle((4, 5), (5, 1), 0, 10**6, "FloatStorage"), "is damaged: 80 bytes of a storage of 1000000"),
        (torch_pickle((4, 5), (5, 1), 0, 20, "FloatStorage")[:-20], "truncated or damaged"),
        (b"cos\nsystem\n(S'true'\ntR.", "asks for os.system"),
        (b"\x80\x02ctorch.nn\nLinear\n.", "asks for torch.nn.Linear"),
        (b"\x80\x02U\x01xQ.", "not a storage of a tensor"),
        (
            torch_pickle((4, 5), (5, 1), 0, 20, "FloatStorage")[:-1] + b"}X\x05\x00\x00\x00shape(tsb.",
            "changes a tensor",
        ),
        (pickle.dumps({"a": 1}, 2), "holds a dict where one tensor is expected"),
    ],
)
def test_hostile_and_broken_pickles_are_refused(tmp_path, data, part):
    path = torch_file(tmp_path / PATH, values(1, 4, 5), data)
    with pytest.raises(HarnessError, match=part):
        torch_files.load_tensor(path).array()


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (lambda data: data[: len(data) // 2], "truncated, damaged, or not a file of torch.save"),
        (lambda data: b"", "truncated, damaged"),
        (lambda data: b"\x80\x02\x8a\nl\xfc", "truncated, damaged"),  # how the format before torch 1.6 starts
        (lambda data: data.replace(b"data/0", b"data/9"), "holds no data/0"),
        (lambda data: data.replace(b"little", b"bigger"), "byteorder"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, damage, part):
    path = torch_file(tmp_path / PATH, values(1, 4, 5))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(HarnessError, match=part):
        torch_files.load_tensor(path).array()


def test_any_flipped_bit_of_the_values_is_found(tmp_path):
    array = values(1, 4, 5)
    path = torch_file(tmp_path / PATH, array)
    data = bytearray(path.read_bytes())
    data[data.index(array.tobytes()) + 7] ^= 1
    path.write_bytes(data)
    with pytest.raises(HarnessError, match="data/0 cannot be read"):
        torch_files.load_tensor(path).array()


def test_big_endian_files_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / PATH, "w") as file:
        file.writestr("x/data.pkl", torch_pickle((1,), (1,), 0, 1, "FloatStorage"))
        file.writestr("x/byteorder", b"big")
    with pytest.raises(HarnessError, match="big-endian"):
        torch_files.load(tmp_path / PATH)


def test_a_real_file_of_weights_is_read(real_data):
    content = torch_files.load(real_data / "vit_mnist" / "vit_mnist_weights.pt")
    arrays = {name: leaf.array() for name, leaf in content.items()}
    assert arrays["cls_token"].shape == (1, 1, 64) and len(arrays) == 80
    assert all(np.isfinite(array).all() and array.dtype == np.float32 for array in arrays.values())


def test_torch_reads_the_same(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")
    base = torch.randn(5, 6, 7)
    cases = [
        base, base[1:, ::2].transpose(0, 2), base.half(), base.double(), base.bfloat16(), torch.tensor(3.0),
        torch.zeros(0, 4), torch.arange(5), torch.arange(5, dtype=torch.uint8), torch.tensor([True, False]),
        torch.nn.Parameter(base), base.expand(2, 5, 6, 7),
    ]  # fmt: skip
    for case in cases:
        torch.save(case, tmp_path / PATH)
        judge = torch.load(tmp_path / PATH, weights_only=True).detach()
        judge = (judge.view(torch.uint16) if judge.dtype is torch.bfloat16 else judge).numpy()
        array = torch_files.load_tensor(tmp_path / PATH).array()
        assert (array.shape, array.dtype) == (judge.shape, judge.dtype) and array.tobytes() == judge.tobytes()
    # What the tests above make without torch is what torch takes for its own.
    made = values(1, 3, 4)
    assert (torch.load(torch_file(tmp_path / "y.pt", made), weights_only=True).numpy() == made).all()
    torch.save(torch.nn.Linear(3, 2), tmp_path / PATH)
    with pytest.raises(HarnessError, match=r"asks for torch\.nn"):
        torch_files.load(tmp_path / PATH)


def test_nothing_in_a_file_is_run(tmp_path):
    class Runs:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'witness'}",)

    path = torch_file(tmp_path / PATH, values(1, 3), pickle.dumps(Runs(), 2))
    with pytest.raises(HarnessError, match=r"asks for posix\.system"):
        torch_files.load(path)
    assert not (tmp_path / "witness").exists()


MADE = Path(__file__).with_name("made_by_torch_2.13.pt")
"""One item of each kind that torch 2.13 stores; `BASE` is the tensor that most are made of."""
BASE = np.arange(24, dtype=np.float32).reshape(4, 6)


def test_every_kind_of_item_is_an_array_or_listed():
    taken = take_arrays(Asked(paths=(MADE,)))
    found = {spec.path: read_whole(taken.trace, spec.path) for spec in taken.trace.manifest.tensors}
    expected = {
        "c64": BASE - 1j * BASE, "c128": (BASE + 1j * BASE).astype(np.complex128),
        "u16": np.arange(5, dtype=np.uint16), "u32": np.arange(5, dtype=np.uint32),
        "u64": np.arange(6, dtype=np.uint64).reshape(2, 3).T, "size": np.array([2, 3]), "losses": np.arange(300.0),
        "view": BASE[1:, ::2], "same": BASE, "scalar": np.float32(2.5), "nested/0": BASE, "nested/1/x": BASE.T,
        "ragged/0": np.array([1, 2]), "ragged/1": np.array([3]), "step": np.array(3), "cplx": np.array(1 + 2j),
        "param": BASE, "expand": np.repeat(BASE[:1], 3, 0), "bf": (BASE.view(np.uint32) >> 16).astype(np.uint16),
    }  # fmt: skip
    assert {name: (array.dtype, array.tolist()) for name, array in found.items()} == {
        name: (array.dtype, array.tolist()) for name, array in expected.items()
    }
    lazily = "conjugated or negated when it is read: save x.resolve_conj().resolve_neg()"
    assert taken.left_out == {
        "device": "a device", "dtype": "a type or function", "layout": "a layout", "fp8": "a tensor of float8_e4m3fn",
        "conj": lazily, "neg": lazily, "sparse": "a sparse tensor", "none": "nothing", "text": "text",
        "mixed": "a list that is not of numbers alone", "empty": "a list that is not of numbers alone",
    }  # fmt: skip


def test_an_array_of_numpy_is_taken_too(tmp_path):
    array = np.arange(12.0).reshape(3, 4)
    path = torch_file(tmp_path / PATH, values(1, 3), pickle.dumps({"x": array, "y": np.float32(2)}, 2))
    taken = take_arrays(Asked(paths=(path,)))
    assert (read_whole(taken.trace, "x") == array).all() and read_whole(taken.trace, "y") == 2 and not taken.left_out


@pytest.mark.parametrize("content", [{1: 2.5, "1": 3.5}, {"a": {"b": 2.5}, "a/b": 3.5}])
def test_two_items_of_one_name_are_refused(content, tmp_path):
    path = torch_file(tmp_path / PATH, values(1, 3), pickle.dumps(content, 2))
    with pytest.raises(SourceError, match=r"holds two items named '(1|a/b)': rename or remove one of the two"):
        take_arrays(Asked(paths=(path,)))


def test_views_of_one_storage_are_read_where_they_lie(tmp_path):
    array = values(1, 64, 1 << 12)
    path = torch_file(tmp_path / PATH, array)
    leaf = torch_files.load_tensor(path)
    view = leaf.view()
    assert not view.flags.owndata and not view.flags.writeable and leaf.view().ctypes.data == view.ctypes.data
