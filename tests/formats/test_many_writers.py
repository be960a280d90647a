"""Several processes write at once: where a format allows it nothing is lost, and every block is accounted for."""

from __future__ import annotations

import pytest

from benchmarks.many_writers import BLOCKS, CASES, _state, try_case, values

SAFE = {
    ("zarr", "an array for each block"),
    ("zarr", "one array, each block a chunk"),
    ("zarr", "one array, each block a shard"),
    ("hdf5", "one file, tried until free"),
    ("hdf5", "a file for each writer, linked"),
    ("icechunk", "one array, a commit for each block"),
}


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{case.format}: {case.name}" for case in CASES])
def test_every_block_is_whole_lost_torn_unreadable_or_refused(number, tmp_path):
    case = CASES[number]
    if case.needs:
        pytest.importorskip(case.needs, reason=f"comes with the extra {case.needs}")
    found = try_case(number, 2, tmp_path)
    assert found.written + found.lost + found.torn + found.unreadable + found.refused == 2 * BLOCKS
    if (case.format, case.name) in SAFE:
        assert found.written == 2 * BLOCKS, found
    assert not list(tmp_path.iterdir())


def test_a_block_of_another_writer_or_of_nothing_is_not_taken_for_whole():
    mine, other = values(0, 1), values(1, 1)
    assert _state(mine, mine) == "whole"
    assert _state(other, mine) == "absent" and _state(mine * 0, mine) == "absent"
    half = mine.copy()
    half[5:] = 0
    assert _state(half, mine) == "torn" and _state(mine[:3], mine) == "absent"
