"""A contender that is decided leaves its cell: by its recorded times alone, which a check replays."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from harness.records import Mark
from harness.run.early_decision import LEAVES, LEAVES_AFTER, RACE_LEAVES, stays
from harness.run.planning import choose_arms, open_subjects
from harness.run.turns import access_turns, race_turns
from harness.workload import ReadAccess
from tests.conftest import TINY

CONFIG = dataclasses.replace(
    TINY, formats=("hdf5", "npz"), baseline="hdf5", suites=("layer_read",), rounds=10, readers=("stock",)
)


@pytest.fixture(scope="module")
def turns():
    (subject,) = open_subjects(CONFIG)
    suite, access = next((s, a) for s, a in subject.plans if isinstance(a, ReadAccess))
    return access_turns(CONFIG, choose_arms(CONFIG), subject, suite, access)[0]


def marks(turns, times, rounds=10):
    """Give every arm a time in each round, by its format's name, with noise of 1 %."""
    rng = np.random.default_rng(1)
    return {
        key: {n: Mark("ok", "", 1, times[key.format] * rng.lognormal(0, 0.01)) for n in range(rounds)}
        for key in turns.block
    }


def test_one_that_is_far_slower_in_every_round_leaves_soon(turns):
    found = stays(turns, marks(turns, {"hdf5": 1.0, "a/a": 1.0, "npz": 20.0, "raw": 0.1}))
    assert {key.format: rounds for key, rounds in found.items()} == {"npz": LEAVES_AFTER}


@pytest.mark.parametrize("times", [{"npz": 1.0}, {"npz": 1.9}, {"npz": 0.1}])
def test_equal_slightly_slower_and_faster_ones_stay(turns, times):
    assert not stays(turns, marks(turns, {"hdf5": 1.0, "a/a": 1.0, "raw": 0.1} | times))


def test_what_is_no_format_never_leaves(turns):
    assert not stays(turns, marks(turns, {"hdf5": 1.0, "a/a": 20.0, "npz": 1.0, "raw": 50.0}))


def test_one_disturbed_round_keeps_it_longer(turns):
    recorded = marks(turns, {"hdf5": 1.0, "a/a": 1.0, "npz": 3.0, "raw": 0.1})
    (npz,) = (key for key in turns.block if key.format == "npz")
    (base,) = (key for key in turns.block if key.format == "hdf5")
    assert stays(turns, recorded) == {npz: max(LEAVES)}
    recorded[base][2] = recorded[base][2]._replace(seconds=4.0)
    assert not stays(turns, recorded)


def test_one_leaves_by_the_baseline_of_its_own_settings_too():
    """NPZ takes 20 times as long as HDF5 in the first settings, and 4 times as long as HDF5 in its own."""
    config = dataclasses.replace(CONFIG, profiles=("seed", "tuned"))
    (subject,) = open_subjects(config)
    suite, access = next((s, a) for s, a in subject.plans if isinstance(a, ReadAccess))
    both = access_turns(config, choose_arms(config), subject, suite, access)[0]
    recorded = marks(both, {"hdf5": 1.0, "a/a": 1.0, "npz": 20.0, "raw": 0.1})
    assert {(key.format, key.profile) for key in stays(both, recorded)} == {("npz", "seed"), ("npz", "tuned")}
    (own,) = (key for key in both.block if (key.format, key.profile) == ("hdf5", "tuned"))
    recorded[own] = {n: mark._replace(seconds=5.0) for n, mark in recorded[own].items()}
    found = {(key.format, key.profile): rounds for key, rounds in stays(both, recorded).items()}
    assert found == {("npz", "seed"): LEAVES_AFTER, ("npz", "tuned"): max(LEAVES)}


def test_nobody_leaves_where_a_round_was_taken_again_or_lacks_a_control(turns):
    recorded = marks(turns, {"hdf5": 1.0, "a/a": 1.0, "npz": 20.0, "raw": 0.1})
    (control,) = (key for key in turns.block if key.format == "a/a")
    again = {**recorded, control: {**recorded[control], 3: recorded[control][3]._replace(attempt=2)}}
    assert not stays(turns, again)
    assert not stays(turns, {key: value for key, value in recorded.items() if key != control})


def test_a_run_of_too_few_rounds_for_a_verdict_keeps_everyone(turns):
    short = dataclasses.replace(turns, rounds=9)
    assert not stays(short, marks(turns, {"hdf5": 1.0, "a/a": 1.0, "npz": 20.0, "raw": 0.1}, rounds=9))


def test_a_candidate_far_behind_the_fastest_of_its_format_is_out_of_the_race_after_one_round():
    config = dataclasses.replace(CONFIG, formats=("npz", "hdf5"), readers=("best",))
    (subject,) = open_subjects(config)
    (race, *_) = race_turns(config, choose_arms(config), subject)
    slow, *others = [arm for arm in race.cells if arm.label == "npz" and arm not in race.told]
    recorded = marks(race, {"hdf5": 100.0, "npz": 1.0}, rounds=race.rounds)
    (key,) = race.cells[slow]
    assert not stays(race, recorded) and len(others) > 1
    for number in range(race.rounds):
        recorded[key][number] = recorded[key][number]._replace(seconds=1.1 * RACE_LEAVES)
    assert stays(race, recorded) == {key: 1}
    recorded[key][0] = recorded[key][0]._replace(seconds=1.0)  # the first round alone decides
    assert not stays(race, recorded)
