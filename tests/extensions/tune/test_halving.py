"""Who remains and who is chosen, from recorded times: the clock decides nothing here."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from harness.analysis.choice.mix import Mix
from harness.extensions.tune.candidates import Candidate, candidates
from harness.extensions.tune.costs import FEW, WRITE, candidate_costs, choose, stages, survivors
from harness.extensions.tune.question import TuneQuestion, questions
from harness.extensions.tune.race import Race
from harness.extensions.tune.result import find, sentence
from harness.formats.base import load_format
from harness.records import CONTROL, Sample
from harness.trace.manifest import Manifest, Metadata, Provenance
from harness.trace.schema import tensor

SPEC = tensor("pair/layer_0", (64, 64, 8))
MIX = Mix(shares={"pair_layer": 1.0}, reads_per_write=100, storage_price=10)


def question(mix: Mix = MIX) -> TuneQuestion:
    manifest = Manifest(tensors=(SPEC,), metadata=Metadata(num_residues=64), provenance=Provenance(source="a test"))
    (found,), _ = questions(load_format("hdf5"), manifest, mix, 1 << 30, 0)
    return found


@pytest.fixture(scope="module")
def entered() -> list[Candidate]:
    return candidates(load_format("hdf5"), SPEC, 9, np.random.default_rng(0))


def samples(entered, rounds, noise=0.01, **seconds):
    """Make samples: `seconds` holds, by the number of the candidate, times to read, to write, and bytes."""
    asked, rng, rows = question(), np.random.default_rng(1), []
    (read,) = asked.reads.values()
    for number, candidate in enumerate(entered):
        reading, writing, size = seconds.get(f"c{number}", (1.0, 1.0, 1000))
        control = candidate.is_control
        common = {
            "run_id": "r", "trace": "t", "n_res": 64, "format": CONTROL if control else "hdf5",
            "profile": entered[0].label if control else candidate.label, "executor": "main", "workers": 1,
            "position": 0,
        }  # fmt: skip
        for k in range(rounds):
            rows.append(
                Sample(
                    **common, suite=WRITE[0], access=WRITE[1], cache=WRITE[2], round=k, size_bytes=size,
                    seconds=writing * rng.lognormal(0, noise),
                )
            )  # fmt: skip
        for k in range(rounds * read.repeats):
            rows.append(
                Sample(
                    **common, suite=read.suite, access=read.access.name, cache="warm", round=k, open_seconds=0.0,
                    seconds=reading * rng.lognormal(0, noise),
                )
            )  # fmt: skip
    return rows


def test_the_present_setting_and_its_control_come_first_and_no_layout_twice(entered):
    assert entered[0].present and entered[1].label == CONTROL and not entered[1].present
    assert entered[0].layout.chunks == load_format("hdf5").layout(SPEC, "tuned").chunks
    laid = {(c.layout.chunks, c.layout.codec, c.layout.checked, dict(c.values)["pages"]) for c in entered}
    assert len(laid) == len(entered) - 1
    assert [c.changes for c in entered] == sorted(c.changes for c in entered)
    assert len(entered) == 10


def test_candidates_are_the_same_for_the_same_seed_and_are_all_there_is_when_there_is_room():
    backend = load_format("hdf5")
    drawn = [[c.label for c in candidates(backend, SPEC, 24, np.random.default_rng(s))] for s in (3, 3, 4)]
    assert drawn[0] == drawn[1] != drawn[2]
    edges, codecs, _, checks, pages = backend.search_space()[SPEC.role]
    layouts = {load_format("hdf5").layout(SPEC, "tuned").chunks}
    for edge in edges.values:
        layouts.add(tuple([-(-64 // -(-64 // min(edge, 64)))] * 2 + [8]))
    everything = candidates(backend, SPEC, 10_000, np.random.default_rng(0))
    chunked, contiguous = len(layouts) * len(codecs.values) * len(checks.values), 1
    assert len(everything) == (chunked + contiguous) * len(pages.values) + 1


@pytest.mark.parametrize(
    ("count", "rounds", "expected"),
    [(33, 10, [2, 3, 5, 10]), (33, 16, [2, 4, 8, 16]), (4, 10, [10]), (9, 10, [3, 5, 10]), (33, 1, [1]), (0, 2, [2])],
)
def test_stages_double_up_to_the_rounds_that_were_asked_for(count, rounds, expected):
    assert stages(count, rounds) == expected


def test_cost_is_reading_writing_and_keeping_by_the_reports_formula(entered):
    rows = samples(entered, 4, noise=0.0, c0=(2.0, 30.0, 10**9))
    found = candidate_costs(question(), rows, entered, 4)
    assert found.total[0, 0] == pytest.approx(2.0 + (30.0 + 10 * 1.0) / 100)
    assert found.wait[0, 0] == pytest.approx(2.0) and found.write[0, 0] == pytest.approx(30.0)
    assert found.gigabytes[0] == pytest.approx(1.0)


def test_a_sample_stands_for_all_layers_of_the_trace():
    specs = tuple(tensor(f"pair/layer_{k}", (64, 64, 8)) for k in range(3))
    manifest = Manifest(tensors=specs, metadata=Metadata(num_residues=64), provenance=Provenance(source="a test"))
    mix = Mix(shares={"pair_layer": 0.5, "full_read": 0.5})
    (asked,), _ = questions(load_format("hdf5"), manifest, mix, specs[0].nbytes // 4, 0)
    assert asked.part.shape == (32, 32, 8) or asked.part.shape[0] == asked.part.shape[1]
    ratio = specs[0].nbytes / asked.part.nbytes
    assert asked.factor == asked.reads["full_read"].factor == pytest.approx(3 * ratio)
    assert asked.reads["pair_layer"].factor == pytest.approx(ratio)
    assert asked.reads["pair_layer"].access is asked.reads["full_read"].access  # the same reads: measured once


def test_a_corner_ends_with_a_chunk_and_stands_for_the_whole_all_the_same():
    """What is padded at the end of a corner is not padded in the whole tensor."""
    whole = tensor("pair/layer_0", (2048, 2048, 128))
    manifest = Manifest(tensors=(whole,), metadata=Metadata(num_residues=2048), provenance=Provenance(source="a test"))
    mix = Mix(shares={"pair_layer": 0.5, "window_pair": 0.5})
    backend = load_format("hdf5")
    (asked,), _ = questions(backend, manifest, mix, 256 * 256 * 128 * 4, 0)
    entered = candidates(backend, whole, 1000, np.random.default_rng(0))
    assert asked.part.shape == (256, 256, 128)
    entered = [c for c in entered if c.layout.chunks]
    lengths = {c.layout.chunks[0]: asked.part_for(c.layout).shape for c in entered}
    assert lengths[40] == (240, 240, 128) and lengths[128] == (256, 256, 128) and lengths[94] == (188, 188, 128)
    (layer, whole_read), (window, windows) = asked.accesses(asked.part_for(entered[0].layout))
    assert layer.grows and whole_read.reads[0].selection is None and not window.grows
    for read in windows.reads:  # the same windows in every candidate, where each has something
        assert all(s.stop <= 128 for s in read.selection) and read in asked.reads["window_pair"].access.reads
    forty, thirty_two = (next(c for c in entered if c.layout.chunks[0] == edge and c.changes < 2) for edge in (40, 32))
    assert asked.scale(forty.layout) == pytest.approx((256 / 240) ** 2) and asked.scale(thirty_two.layout) == 1
    assert asked.factor * asked.scale(forty.layout) == pytest.approx(whole.nbytes / (240 * 240 * 128 * 4))


def test_a_tensor_that_fits_is_measured_as_it_is():
    asked = question()
    assert asked.part == SPEC and all(asked.part_for(c.layout) == SPEC for c in candidates(
        load_format("hdf5"), SPEC, 9, np.random.default_rng(0)
    ))  # fmt: skip


def test_the_front_is_what_nothing_is_better_than():
    entered = candidates(load_format("hdf5"), SPEC, 4, np.random.default_rng(0))
    rows = samples(
        entered, 3, noise=0.0,
        c0=(2.0, 2.0, 2000), c1=(0.1, 0.1, 10), c2=(1.0, 2.0, 2000), c3=(2.0, 1.0, 3000), c4=(3.0, 3.0, 2000),
    )  # fmt: skip
    found = candidate_costs(question(), rows, entered, 3)
    # The third reads faster than the first and is no worse in the rest; the control counts for nothing, however good.
    assert found.front().tolist() == [False, False, True, True, False]


def test_the_worse_half_is_dropped_but_not_the_front_nor_the_present_setting(entered):
    times = {f"c{k}": (float(k + 1), 1.0, 1000 + k) for k in range(2, len(entered))}
    times |= {
        "c0": (50.0, 5.0, 5000),
        "c9": (40.0, 4.0, 900),
    }  # the present one is the worst; the last one the smallest
    found = candidate_costs(question(), samples(entered, 3, noise=0.0, **times), entered, 3)
    kept = survivors(found)
    assert [c.label for c in kept] == [entered[k].label for k in (0, 1, 2, 3, 4, 5, 6, 9)]


def test_few_are_not_halved():
    entered = candidates(load_format("hdf5"), SPEC, FEW, np.random.default_rng(0))
    found = candidate_costs(question(), samples(entered, 3), entered, 3)
    assert survivors(found) == entered


def choice(entered, rows, rounds=10):
    return choose(candidate_costs(question(), rows, entered, rounds))


def test_a_clear_winner_is_chosen_with_its_interval(entered):
    found = choice(entered, samples(entered, 10, c4=(0.5, 1.0, 1000)))
    assert found.chosen == found.best == entered[4] and found.tied == ()
    assert 0.45 < found.ratio.low <= found.ratio.median <= found.ratio.high < 0.55


def test_what_is_statistically_indistinguishable_keeps_the_present_setting(entered):
    found = choice(entered, samples(entered, 10, noise=0.2, c4=(0.97, 1.0, 1000)))
    assert found.chosen == entered[0] and entered[0] in (found.best, *found.tied)


def test_a_control_that_differs_is_the_noise(entered):
    """A tenth is a difference beside a control that agrees, not beside one that differs by a fifth."""
    faster = {"c4": (0.9, 1.0, 1000)}
    assert choice(entered, samples(entered, 10, **faster)).chosen == entered[4]
    assert choice(entered, samples(entered, 10, c1=(1.2, 1.0, 1000), **faster)).chosen == entered[0]


def test_among_equals_better_than_the_present_one_the_simplest_is_chosen():
    entered = candidates(load_format("hdf5"), SPEC, 30, np.random.default_rng(0))
    simple = next(k for k, c in enumerate(entered) if c.changes == 1)
    other = next(k for k, c in enumerate(entered) if c.changes == 2)
    rows = samples(entered, 10, **{f"c{simple}": (0.501, 1.0, 1000), f"c{other}": (0.5, 1.0, 1000)})
    found = choice(entered, rows)
    assert found.chosen == entered[simple] and entered[other] in (found.best, *found.tied)


def race(entered, rows, rounds, **changes):
    made = Race(question=question(), entered=entered, remaining=list(entered), rounds=rounds, samples=rows)
    return dataclasses.replace(made, **changes)


def test_the_result_follows_from_the_samples_alone(entered):
    rows = samples(entered, 10, noise=0.05, c3=(0.6, 1.0, 1000))
    first, second = find(race(entered, rows, 10)), find(race(entered, list(rows), 10))
    assert first.table.equals(second.table) and sentence(first) == sentence(second)
    top = first.table.iloc[0]
    assert top["choice"] == "chosen best" and top["candidate"] in sentence(first) and top["rounds"] == 10
    assert first.table["pair_layer warm"].notna().all()
    assert (first.table["wait_low"] <= first.table["wait"]).all()


def test_those_that_were_dropped_keep_what_was_measured_and_those_that_failed_say_why(entered):
    dropped, failed = entered[5], entered[6]
    rows = [
        s for s in samples(entered, 10)
        if s.profile not in (dropped.label, failed.label) or (s.profile == dropped.label and s.round < 2)
    ]  # fmt: skip
    remaining = [c for c in entered if c not in (dropped, failed)]
    found = find(race(entered, rows, 10, remaining=remaining, failed={failed.label: "returned dtype float16"}))
    table = found.table.set_index("candidate")
    of = [c.name for c in (dropped, failed)]
    assert table.loc[of[0], "rounds"] == 2 and not table.loc[of[0], "front"] and table.loc[of[0], "cost"] > 0
    assert table.loc[of[1], "status"] == "failed" and table.loc[of[1], "reason"] == "returned dtype float16"
    assert "1 failed" in sentence(found)
