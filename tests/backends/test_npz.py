"""What is special about NPZ: one open zip file, whose members some versions of Python let disturb each other."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest
from backends.samples import put

from harness.backends import npz
from harness.backends.base import load_backend

ARRAYS = {f"pair/layer_{k}": np.random.default_rng(k).normal(size=(24, 24, 8)).astype(np.float32) for k in range(6)}


def read_together(path, workers=8, times=6):
    """Read with one reader on several threads; return what went wrong."""
    wrong = []
    with load_backend("npz").reader(path) as reader:

        def work(first):
            for k in range(times * len(ARRAYS)):
                name = f"pair/layer_{(first + k) % len(ARRAYS)}"
                try:
                    if not np.array_equal(reader.read(name), ARRAYS[name]):
                        wrong.append(name)
                except Exception as error:  # noqa: BLE001 - whatever it raises is wrong
                    wrong.append(repr(error))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return wrong


@pytest.mark.parametrize("apart", [None, False])
def test_threads_that_share_a_reader_read_what_was_written(tmp_path, monkeypatch, apart):
    if apart is not None:  # as in a Python whose members disturb each other, whatever this one's do
        monkeypatch.setattr(npz, "members_are_apart", lambda: apart)
    path = put(tmp_path, "npz", ARRAYS)
    assert read_together(path) == []


def test_a_python_whose_members_disturb_each_other_is_recognised():
    version = sys.version_info[:3]
    broken = (3, 12, 0) <= version < (3, 12, 9) or (3, 13, 0) <= version < (3, 13, 2)
    assert npz.members_are_apart() is not broken
