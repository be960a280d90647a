"""Which chunks and which runs of bytes hold the values of a selection."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.formats.parts import parts, runs
from harness.formats.selection import Selection, lengths
from tests.formats.samples import assert_same, selections


@st.composite
def grids(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], Selection]:
    shape = tuple(draw(st.lists(st.integers(0, 9), max_size=4)))
    chunks = tuple(draw(st.integers(1, 11)) for _ in shape)
    return shape, chunks, draw(selections(shape))


@settings(max_examples=150, deadline=None)
@given(grids())
def test_a_selection_touches_each_chunk_that_holds_a_value_of_it_once(
    grid: tuple[tuple[int, ...], tuple[int, ...], Selection],
) -> None:
    shape, chunks, selection = grid
    found = parts(chunks, selection)
    asked = product(*(range(s.start, s.stop) for s in selection))
    assert {part.chunk for part in found} == {tuple(i // c for i, c in zip(at, chunks, strict=True)) for at in asked}
    assert len({part.chunk for part in found}) == len(found)
    tensor = np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape)
    out = np.full(lengths(selection), -1)
    for part in found:
        corner = tuple(slice(k * c, (k + 1) * c) for k, c in zip(part.chunk, chunks, strict=True))
        assert (out[part.target] == -1).all()
        out[part.target] = tensor[corner][part.source]
    assert_same(out, tensor[selection].copy())


@settings(max_examples=150, deadline=None)
@given(grids())
def test_the_runs_of_a_selection_are_its_bytes_in_order(
    grid: tuple[tuple[int, ...], tuple[int, ...], Selection],
) -> None:
    shape, _, selection = grid
    tensor = np.arange(int(np.prod(shape, dtype=np.int64)), dtype=np.int32).reshape(shape)
    data = tensor.tobytes()
    found = list(runs(shape, 4, selection))
    assert b"".join(data[start : start + length] for start, length in found) == tensor[selection].tobytes()
    assert all(length > 0 for _, length in found)
