"""The picture of flips: equal decisions give equal bytes, every part is named, no answer gives no picture."""

from __future__ import annotations

import dataclasses

import pytest

from harness.analysis.choice.mix import Mix
from harness.extensions.flips.drawing import draw_flips
from tests.report.synthetic_samples import decided, worked

HALF = Mix(name="half & half $x$", shares={"full_read": 0.5, "head": 0.5}, reads_per_write=10, storage_price=2)


def drawn(folder):
    """Return the words of a drawing: matplotlib leaves each text as a comment beside its outline."""
    svg = (folder / "decision.svg").read_text()
    return [line.strip()[5:-4] for line in svg.splitlines() if line.strip().startswith("<!-- ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a drawing; not to be changed."""
    folder = tmp_path_factory.mktemp("flips") / "new"
    assert [p.name for p in draw_flips(decided(worked(), HALF), folder)] == ["decision.svg", "decision.png"]
    return folder


def test_a_bar_for_every_weight_with_its_formats_values_and_flips(folder):
    assert sorted(p.name for p in folder.iterdir()) == ["decision.png", "decision.svg"]
    words = drawn(folder)
    assert words.count("50 %") >= 2
    assert words.count("hdf5") >= 4 and words.count("zarr") >= 4  # in the bars, not only in the legend
    assert any("hdf5 from 63.3 %" in text for text in words) and any("hdf5 below 2" in text for text in words)
    assert any("is the cheapest at every value of" in text for text in words)


def test_equal_decisions_give_equal_bytes(folder, tmp_path):
    draw_flips(decided(worked(), HALF), tmp_path)
    for kind in ("png", "svg"):
        assert (tmp_path / f"decision.{kind}").read_bytes() == (folder / f"decision.{kind}").read_bytes()


def test_formats_differ_by_hatch_too(folder):
    assert "<pattern" in (folder / "decision.svg").read_text()


def test_no_answer_gives_no_picture(tmp_path):
    assert draw_flips(decided(worked(rounds=9), HALF), tmp_path) == [] and not list(tmp_path.iterdir())


@pytest.mark.parametrize("changes", [{"storage_price": 0}, {"readers": 2, "cold": 1}, {"reads_per_write": 3e7}])
def test_values_at_the_ends_of_a_bar_can_be_drawn(tmp_path, changes):
    mix = Mix(**(HALF.to_dict() | changes))
    assert len(draw_flips(decided(worked(), mix), tmp_path)) == 2


def test_only_weights_of_which_a_flip_is_known_have_a_bar(tmp_path):
    decision = decided(worked(), HALF)
    sure = decision.flips[0]
    unsure = dataclasses.replace(
        sure, weight="opens", segments=[(0.0, 1.0, sure.segments[0][2])], stays_low=0.0, stays_high=1.0,
        low_interval=(0.0, 0.7), high_interval=(0.3, 1.0),
    )  # fmt: skip
    assert draw_flips(dataclasses.replace(decision, flips=(unsure,)), tmp_path) == []
    draw_flips(dataclasses.replace(decision, flips=(sure, unsure)), tmp_path)
    assert any("is not known for accesses that open the archive" in text for text in drawn(tmp_path))
