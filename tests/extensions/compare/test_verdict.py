"""The rule from rounds to words, on simulated timings: what it calls, how often, and how many rounds it asks for."""

from __future__ import annotations

import numpy as np
import pytest

from harness.extensions.compare.question import Cell
from harness.extensions.compare.record import Block
from harness.extensions.compare.verdict import confirm, decide, pair, rounds_needed, settle

CELLS = [Cell("layer_read", f"case_{k}", "hdf5", "synthetic", 64) for k in range(8)]


def blocks(rng, *, noise, ratio=1.0, rounds=10, first=0, cells=CELLS):
    """Simulate a comparison: an offset for each process, which its blocks share, and disturbances that only add."""
    found = []
    for cell in cells:
        for number in range(first, first + rounds):
            for side, factor in (("base", 1.0), ("head", ratio)):
                offset = rng.normal(0, noise)
                for block in range(4):
                    late = rng.exponential(0.3) if rng.random() < 0.3 else 0.0
                    seconds = 1e-3 * factor * np.exp(offset) * (1 + late)
                    found.append(
                        Block(cell=cell, round=number, number=block, side=side, seconds=seconds, repetitions=20)
                    )
    return found


def compared(rng, *, rounds=10, **how):
    """Go through a whole comparison."""

    def take(numbers, only):
        cells = CELLS if only is None else [cell for cell in CELLS if cell in only]
        return blocks(rng, **how, rounds=len(numbers), first=numbers[0], cells=cells)

    return settle(take, rounds)


def test_no_change_is_hardly_ever_red():
    rng = np.random.default_rng(1)
    red = sum(any(one.verdict == "slower" for one in compared(rng, noise=0.06)) for _ in range(150))
    assert red <= 1


@pytest.mark.parametrize(("ratio", "noise", "least"), [(1.10, 0.03, 0.95), (1.25, 0.06, 1.0)])
def test_a_slowdown_is_found(ratio, noise, least):
    rng = np.random.default_rng(2)
    found = [any(one.verdict == "slower" for one in compared(rng, noise=noise, ratio=ratio)) for _ in range(60)]
    assert np.mean(found) >= least


def test_a_quiet_comparison_of_equals_is_green():
    judged = compared(np.random.default_rng(3), noise=0.02)
    assert {one.verdict for one in judged} <= {"no regression", "faster"}


def test_disturbances_that_only_add_do_not_move_a_round():
    cell = CELLS[0]
    times = {"base": [1.0, 1.0, 5.0, 9.0], "head": [7.0, 1.1, 3.0, 1.1]}
    made = [
        Block(cell=cell, round=0, number=k, side=side, seconds=seconds, repetitions=1)
        for side, all_of_it in times.items()
        for k, seconds in enumerate(all_of_it)
    ]
    assert pair(made)[cell].tolist() == [[1.0, 1.1]]


def test_a_round_that_lacks_a_side_is_left_out():
    made = blocks(np.random.default_rng(4), noise=0.01, cells=CELLS[:1])
    made = [block for block in made if (block.round, block.side) != (3, "head")]
    assert len(pair(made)[CELLS[0]]) == 9
    assert decide(pair(made))[0].verdict == "inconclusive"  # nine rounds give no verdict


def test_a_suspicion_needs_fresh_rounds():
    rng = np.random.default_rng(5)
    suspected = decide(pair(blocks(rng, noise=0.01, ratio=1.2)))
    assert {one.verdict for one in suspected} == {"slower"}
    fresh = blocks(rng, noise=0.01, first=10)
    both = decide(pair(blocks(rng, noise=0.01, ratio=1.2) + fresh))
    settled = confirm(suspected, decide(pair(fresh)), both)
    assert "slower" not in {one.verdict for one in settled}
    assert all(one.note for one in settled)


def test_what_stays_open_is_looked_at_twice_more():
    rng, asked = np.random.default_rng(7), []

    def take(numbers, only):
        asked.append((len(numbers), numbers[0], only))
        # Half of the first rounds do not show that it is slower.
        split = max(0, min(len(numbers), 5 - numbers[0]))
        how = {"noise": 0.005, "cells": CELLS[:1]}
        hidden = blocks(rng, ratio=0.99, rounds=split, first=numbers[0], **how)
        return hidden + blocks(rng, ratio=1.2, rounds=len(numbers) - split, first=numbers[0] + split, **how)

    (settled,) = settle(take, 10)
    assert asked == [(10, 0, None), (10, 10, set(CELLS[:1])), (20, 20, set(CELLS[:1]))]
    assert settled.verdict == "slower" and settled.rounds == 40


def test_nothing_more_is_looked_at_once_a_slowdown_is_confirmed():
    rng, asked = np.random.default_rng(8), []

    def take(numbers, only):
        asked.append(numbers)
        # One cell is slower, another stays as noisy as it is.
        made = blocks(rng, noise=0.01, ratio=1.2, rounds=len(numbers), first=numbers[0], cells=CELLS[:1])
        return made + blocks(rng, noise=0.5, rounds=len(numbers), first=numbers[0], cells=CELLS[1:2])

    words = [one.verdict for one in settle(take, 10)]
    assert words == ["slower", "inconclusive"] and asked == [range(10), range(10, 20)]


def test_noise_asks_for_a_number_of_rounds_that_then_settles_it():
    rng = np.random.default_rng(6)
    asked = []
    for _ in range(40):
        logs = rng.normal(0, 0.15, 10)
        needed = rounds_needed(logs, 0.10)
        if needed:
            asked.append(needed)
    assert asked and 15 <= np.median(asked) <= 120
    settled = 0
    for _ in range(60):
        made = blocks(rng, noise=0.15, rounds=int(np.median(asked)) * 2, cells=CELLS[:1])
        settled += decide(pair(made))[0].verdict != "inconclusive"
    assert settled >= 30


def test_what_no_practical_number_of_rounds_settles_is_said_to_be_so():
    assert rounds_needed(np.array([-1.0, 1.0, 2.0, -2.0, 0.4, 0.0, 3.0, -3.0, 0.1, 0.1]), 0.10) is None
