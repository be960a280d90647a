"""The second look finds every broken promise of a lossy trace."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness.extensions.lossy.check import check_loss
from harness.extensions.lossy.minimal import MinimalTrace
from harness.extensions.lossy.request import parse
from harness.testing.samples import StepTrace
from harness.trace.manifest import Manifest
from harness.trace.schema import tensor
from harness.trace.stream import MemoryTrace, Trace, read_whole
from tests.formats.samples import trace_of

N = 24


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    scores = np.exp(rng.normal(size=(2, N, N)) * 2)
    positions = rng.normal(size=(N, 37, 3)).astype(np.float32)
    pair = rng.normal(size=(N, N, 3)).astype(np.float32)
    pair[0, 0] = -0.0, np.nan, np.inf
    return {
        "pair/layer_0": pair,
        "attention/layer_0": (scores / scores.sum(-1, keepdims=True)).astype(np.float32),
        "structure/atom_positions": positions,
        "structure/ptm": np.array(0.5, np.float32),
        "outputs/coordinates": positions[:, 1].copy(),
        "outputs/confidence_scores": rng.random(N).astype(np.float32),
    }


SOURCE = trace_of(arrays())
MINIMAL = MinimalTrace(SOURCE, parse(["pair=1e-2", "attention=1e-3"], "5", ["outputs/confidence_scores"]))


def tampered(path: str, change: Callable[[np.ndarray], Any], manifest: Manifest = MINIMAL.manifest) -> Trace:
    made = {spec.path: read_whole(MINIMAL, spec.path) for spec in manifest.tensors}
    if path:
        change(made[path])
    return MemoryTrace("tampered", manifest, made)


def test_a_minimal_trace_keeps_its_promises_in_whatever_blocks_it_comes() -> None:
    assert check_loss(SOURCE, MINIMAL) == []
    specs = {tensor(path, array.shape, array.dtype): array for path, array in arrays().items()}
    for rows in (1, 5, 7):
        assert check_loss(StepTrace(specs, rows), MINIMAL) == []


def nudge(index: Any, factor: float) -> Callable[[np.ndarray], None]:
    def change(array: np.ndarray) -> None:
        array[index] *= np.float32(factor)

    return change


def put(index: Any, value: float) -> Callable[[np.ndarray], None]:
    def change(array: np.ndarray) -> None:
        array[index] = value

    return change


def move(amount: float) -> Callable[[np.ndarray], None]:
    """Take from the largest weight of a row and give to the next, which keeps the sum."""

    def change(array: np.ndarray) -> None:
        row = array[0, 0]
        first, second = np.argsort(-row)[:2]
        row[first] -= np.float32(amount)
        row[second] += np.float32(amount)

    return change


def undo(array: np.ndarray) -> None:
    """Put one value back, which is within every bound but not in the record."""
    array[3, 4, 1] = arrays()["pair/layer_0"][3, 4, 1]


@pytest.mark.parametrize(
    ("path", "change", "problem"),
    [
        ("pair/layer_0", nudge((3, 4, 1), 1.02), "more than the bound"),
        ("pair/layer_0", put((0, 0, 0), 0.0), "a zero, an infinity or a NaN changed"),
        ("pair/layer_0", put((0, 0, 1), 1.0), "a zero, an infinity or a NaN changed"),
        ("pair/layer_0", put((3, 4, 1), np.inf), "a zero, an infinity or a NaN changed"),
        ("pair/layer_0", undo, "not those of the record"),
        ("attention/layer_0", move(0.01), "more than the bound"),
        ("attention/layer_0", nudge((0, 0, 3), 0.999), "the sum of a row"),
        ("structure/ptm", put((), 0.25), "where no bound applies"),
        ("structure/atom_positions", put((0, 0, 0), 9.0), "where no bound applies"),
    ],
)
def test_a_value_that_breaks_a_promise_is_found(path: str, change: Any, problem: str) -> None:
    problems = check_loss(SOURCE, tampered(path, change))
    assert len([text for text in problems if text.startswith(f"{path}: ") and problem in text]) == 1, problems


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ([0.5, 0.3, 0.2], [0.504, 0.3, 0.196], "the errors are not those of the record"),
        ([0.5, 0.252, 0.248], [0.5, 0.248, 0.252], "a weight overtook another"),
        ([0.5, 0.25, 0.25], [0.5, 0.252, 0.248], "a weight overtook another"),
        ([0.401, 0.399, 0.2], [0.4, 0.4, 0.2], "the top 2 of a row are not told apart as before"),
        ([0.4, 0.301, 0.299], [0.4, 0.3, 0.3], "the top 2 of a row are not told apart as before"),
        ([0.4, 0.4, 0.2], [0.402, 0.398, 0.2], "a weight overtook another"),
        ([0.5, 0.3, 0.2], [0.504, 0.304, 0.204], "the sum of a row moved"),
        ([0.5, 0.5, -0.0], [0.5, 0.5, 0.0], "a row with a value that is no weight changed"),
        ([1.001, 0.0, 0.0], [1.0, 0.0, 0.0], "a row with a value that is no weight changed"),
    ],
)
def test_a_row_that_breaks_a_promise_is_found(before: list[float], after: list[float], problem: str) -> None:
    path = "attention/layer_0"
    was, now = (np.array([[row] * 3], np.float32) for row in (before, after))
    source = trace_of({path: was})
    manifest = MinimalTrace(source, parse(["attention=1e-2"], "2")).manifest
    assert check_loss(source, MemoryTrace("tampered", manifest, {path: now}))[0].startswith(f"{path}: {problem}")


def test_a_dropped_tensor_that_no_longer_follows_is_found() -> None:
    problems = check_loss(SOURCE, tampered("structure/atom_positions", put((0, 1, 0), 9.0)))
    assert "outputs/coordinates: it was dropped but does not follow from the rest" in problems


def with_loss(**changes: Any) -> Manifest:
    loss = MINIMAL.manifest.loss
    assert loss is not None
    return dataclasses.replace(MINIMAL.manifest, loss=dataclasses.replace(loss, **changes))


def test_a_record_that_says_less_is_found() -> None:
    loss = MINIMAL.manifest.loss
    assert loss is not None
    smaller = tuple(dataclasses.replace(row, largest_absolute_error=1e-9) for row in loss.rounded)
    problems = check_loss(SOURCE, tampered("", put(0, 0), with_loss(rounded=smaller)))
    assert [text.partition(": ")[2] for text in problems] == ["the errors are not those of the record"] * 2
    steady = tuple(dataclasses.replace(row, largest_sum_change=0.0) for row in loss.rounded)
    assert len(check_loss(SOURCE, tampered("", put(0, 0), with_loss(rounded=steady)))) == 1
    assert len(check_loss(SOURCE, tampered("", put(0, 0), with_loss(rounded=())))) == 2
    problems = check_loss(SOURCE, tampered("", put(0, 0), with_loss(dropped=())))
    assert [text.partition(": ")[2] for text in problems] == [
        "is neither there as it was specified nor listed as dropped"
    ] * 2
    other = tuple(dataclasses.replace(row, digest="0" * 32) for row in loss.dropped)
    problems = check_loss(SOURCE, tampered("", put(0, 0), with_loss(dropped=other)))
    assert [text.partition(": ")[2] for text in problems] == ["it was dropped with another digest than it has"] * 2
