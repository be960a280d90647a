"""A large JSON takes memory of its arrays, and not of as many Python objects as it has numbers."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.extensions.importing import file_contents
from harness.extensions.importing.file_contents import FileContent, read_json
from harness.foreign.source import SourceError
from tests.program_outputs import json_file


def read(path: Path, content: Any) -> tuple[dict[str, np.ndarray], FileContent]:
    found = read_json(json_file(path, content))
    return {name: array.load() for name, array in found.arrays.items()}, found


LISTS: dict[str, list[Any]] = {
    "integers": list(range(-50, 50)),
    "numbers": [0.1 * k for k in range(100)],
    "first integers, then others": [*range(50), *(k + 0.5 for k in range(50))],
    "no whole numbers at first": [*(k + 0.5 for k in range(50)), *range(50)],
    "without a sign": [2**63] * 20,
    "without a sign and others": [*range(20), *[2**63] * 20],
    "truths": [True, False] * 20,
    "truths and integers": [*[True] * 40, 2],
    "with infinities": [*range(30), float("inf"), -float("inf"), 0.5],
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("piece", [1, 40, 1 << 24])
def test_a_long_list_is_what_numpy_makes_of_it_however_it_is_cut(tmp_path, monkeypatch, name, piece):
    monkeypatch.setattr(file_contents, "_PIECE", piece)
    arrays, _ = read(tmp_path / "x.json", {"flat": LISTS[name], "rows": [LISTS[name]] * 2})
    expected = np.array(LISTS[name])
    assert (arrays["flat"].dtype, arrays["flat"].tobytes()) == (expected.dtype, expected.tobytes())
    assert arrays["rows"].tobytes() == np.stack([expected] * 2).tobytes()


def test_null_in_a_long_list_is_nan(tmp_path, monkeypatch):
    monkeypatch.setattr(file_contents, "_PIECE", 10)
    arrays, content = read(tmp_path / "x.json", {"flat": [1, 2, None, *range(20)]})
    assert np.array_equal(arrays["flat"], [1, 2, np.nan, *range(20)], equal_nan=True)
    assert content.notes == ["null in the file is NaN in flat"]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([*range(40), "x"], "no numbers"),
        ([*range(40), {"A": 1}], "no numbers"),
        ([*range(40), [1]], "rows of unequal lengths"),
        ("x" * 50, "no numbers"),
        ({f"{k}": k for k in range(20)}, "a dictionary of more than 30 bytes"),
        ([*range(40), 2**70], "integers of more than 64 bits"),
        ([[k] for k in range(20)], "more than 20 lists"),
    ],
)
def test_of_what_is_no_list_of_numbers_the_reason_is_told(tmp_path, monkeypatch, value, why):
    monkeypatch.setattr(file_contents, "_PIECE", 30)
    monkeypatch.setattr(file_contents, "_MOST_LISTS", 20)
    arrays, content = read(tmp_path / "x.json", {"x": value, "y": [1]})
    assert list(arrays) == ["y"] and content.left == [(why, "x")]


@pytest.mark.parametrize("numbers", [[k % 10 + 0.5 for k in range(300_000)], [float("nan")] * 300_000])
def test_a_long_list_takes_memory_of_its_array(tmp_path, monkeypatch, numbers):
    monkeypatch.setattr(file_contents, "_PIECE", 1 << 16)
    path = json_file(tmp_path / "x.json", {"x": numbers})
    read_json(path)  # loads the libraries
    tracemalloc.start()
    try:
        array = read_json(path).arrays["x"].load()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.array_equal(array, numbers, equal_nan=True)
    assert peak < array.nbytes + 5 * path.stat().st_size  # five bytes each; as Python's objects, more than 50


@pytest.mark.parametrize("text", ['{"a": ["", "", ""]}', '[{"a": 1}, {}, {}, {}]', '{"a": {}, "b": {}, "c": 1}'])
def test_texts_and_dictionaries_beyond_a_number_are_refused_before_they_are_made(tmp_path, monkeypatch, text):
    (tmp_path / "x.json").write_text(text)
    monkeypatch.setattr(file_contents, "_MOST_TEXTS", 10)
    read_json(tmp_path / "x.json")
    monkeypatch.setattr(file_contents, "_MOST_TEXTS", 4)
    with pytest.raises(SourceError, match=r"x\.json: it holds more than 4 texts and dictionaries"):
        read_json(tmp_path / "x.json")


def test_real_tables_are_alike_however_they_are_cut(real_data, monkeypatch):
    path = real_data / "af3_pdl1" / "seed-1_sample-0" / "confidences.json"
    expected = {name: np.array(value) for name, value in json.loads(path.read_text()).items() if "chain" not in name}
    monkeypatch.setattr(file_contents, "_PIECE", 100)
    arrays = {name: array.load() for name, array in read_json(path).arrays.items()}
    assert {name: array.tobytes() for name, array in arrays.items()} == {
        name: array.tobytes() for name, array in expected.items()
    }
