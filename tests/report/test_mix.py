"""Mixes: what is written comes back, a preset can be changed, and what cannot be is refused in one sentence."""

from __future__ import annotations

import pytest
import tomli_w

from harness.analysis.choice.mix import Mix, parse_mix, presets
from harness.errors import UsageError
from harness.suite import mix_reads

USUAL = [name for name, (_, info) in mix_reads().items() if not info.in_place_of]


@pytest.mark.parametrize("name", sorted(presets()))
def test_a_preset_has_a_name_a_reason_and_shares_of_all_accesses(name):
    mix = parse_mix(name)
    assert mix is presets()[name] and mix.name == name and mix.description
    assert list(mix.shares) == USUAL and sum(mix.shares.values()) == pytest.approx(1)


def test_flags_give_what_they_say_and_defaults_for_the_rest():
    mix = parse_mix("full_read=0.2, head=0.8,cold=0.3,readers=4")
    assert (mix.shares["full_read"], mix.shares["head"], mix.shares["pair_layer"]) == (0.2, 0.8, 0)
    assert (mix.cold, mix.readers, mix.reads_per_write, mix.storage_price) == (0.3, 4, 100, 0)


def test_flags_change_a_preset_and_shares_replace_all_of_its_shares():
    mix = parse_mix("interactive-viewer,readers=3")
    assert mix.readers == 3 and mix.shares == presets()["interactive-viewer"].shares
    assert mix.name == "interactive-viewer, changed"
    assert parse_mix("interactive-viewer,head=1").shares == {a: float(a == "head") for a in USUAL}


@pytest.mark.parametrize(
    "mix",
    [
        *presets().values(),
        Mix(name='a "b" \\ ü\n\x7f\U0001d6fc', shares={"head": 1 / 3, "full_read": 2 / 3}, storage_price=1e-7),
    ],
    ids=lambda mix: mix.name[:8],
)
def test_files_and_records_hold_the_same_mix(tmp_path, mix):
    path = tmp_path / "own.toml"
    path.write_text(tomli_w.dumps(mix.to_dict()), encoding="utf-8")
    assert parse_mix(path) == parse_mix(str(path)) == mix
    assert Mix(**mix.to_dict()) == mix


def test_a_file_without_a_name_is_called_as_its_file(tmp_path):
    path = tmp_path / "lab.toml"
    path.write_text("cold = 1\n[shares]\nhead = 1\n")
    assert parse_mix(path).name == "lab" and parse_mix(path).cold == 1.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("full_read=0.2,head=0.7", "sum to 0.9, which is 0.1 too little"),
        ("full_read=0.5,head=0.7", "sum to 1.2, which is 0.2 too much"),
        ("cold=0.5", "sum to 0, which is 1 too little"),
        ("head=1,readers=0", "readers is 0 in the mix"),
        ("head=1,readers=1.5", "readers is 1.5 in the mix"),
        ("head=1,cold=1.2", "cold is 1.2 in the mix"),
        ("head=2,full_read=-1", "full_read is -1 in the mix; it cannot be negative"),
        ("head=1,storage_price=-1", "storage_price is -1 in the mix; it cannot be negative"),
        ("head=1,reads_per_write=0", "reads_per_write is 0"),
        ("head=much", "head is 'much' in the mix; give a number"),
        ("head=nan", "head is nan in the mix; give a number"),
        ("head=1,storage_price=inf", "storage_price is inf in the mix; give a number"),
        ("head=1,coldness=1", "did you mean 'cold'"),
        ("head=1,head=1", "head is given twice"),
        ("head=1,cold", "'cold' in the mix is not KEY=VALUE"),
        ("interactive-view", "did you mean 'interactive-viewer'"),
        ("nowhere/lab.toml", "cannot be read"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(text, said):
    with pytest.raises(UsageError) as caught:
        parse_mix(text)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cold =", "is not TOML"),
        ("shares = 3", "make it a table"),
        ("[shares]\nhaed = 1", "did you mean 'head'"),
        ("[shares]\nhead = true", "head is True in the mix; give a number"),
        ("name = 3\n[shares]\nhead = 1", "name is 3 in the mix"),
        ("cold = '1'\n[shares]\nhead = 1", "cold is '1' in the mix; give a number"),
    ],
)
def test_a_file_that_says_nonsense_is_refused(tmp_path, text, said):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        parse_mix(path)
    assert said in str(caught.value)
