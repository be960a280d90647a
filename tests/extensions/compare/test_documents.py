"""What an outcome says: the exit code, one sentence, JSON, JUnit XML, Markdown and the picture."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from harness.extensions.compare.documents import to_json, to_junit, to_markdown
from harness.extensions.compare.exact import figures
from harness.extensions.compare.outcome import Entry, Outcome
from harness.extensions.compare.question import Cell
from harness.extensions.compare.ratios import draw_ratios

CELL = Cell("layer_read", "head", "hdf5", "synthetic:layers=1", 64)


def judged(word="no regression", ratio=1.01, needed=None):
    return Entry(
        kind="times", cell=CELL, ratio=ratio, ratio_low=ratio - 0.02, ratio_high=ratio + 0.02, rounds=10,
        log_ratios=(0.0,) * 10, base=1e-3, head=ratio * 1e-3, verdict=word, rounds_needed=needed,
    )  # fmt: skip


def figure(base, head):
    (found,) = figures({(CELL, "base", "bytes"): base, (CELL, "head", "bytes"): head})
    return found


def reading(problem="", reader="head", writer="base"):
    about = {"kind": "readable", "cell": CELL._replace(format="zarr"), "writer": writer, "reader": reader}
    return Entry(**about, verdict="unreadable" if problem else "read", note=problem)


@pytest.mark.parametrize(
    ("base", "head", "change"),
    [([9, 9], [9, 9], "equal"), ([9], [10], "grew"), ([9], [8], "shrank"), ([9, 10], [9, 10], "varies"),
     ([9], [9, 10], "varies"), ([9, 10], [11, 14], "grew"), ([9, 10], [8], "shrank")],
)  # fmt: skip
def test_figures_are_compared_exactly(base, head, change):
    assert figure(base, head).verdict == change


@pytest.mark.parametrize(
    ("entries", "code", "sentence"),
    [
        ([judged()], 0, "No regression: a slowdown of 10 % is ruled out in all 1 cells"),
        ([judged("faster", 0.8), figure([9], [8])], 0, "No regression"),
        ([figure([9], [10]), judged("inconclusive")], 1, "bytes 9 to 10"),
        ([judged("slower", 1.25)], 1, "+25.0 % (+23.0 to +27.0)"),
        ([reading("3 of 4 tensors differ")], 1, "written by base cannot be read by head: 3 of 4"),
        ([reading("unknown codec", "base", "head"), judged()], 0, "No regression"),
        ([judged("inconclusive", 1.08, 60)], 3, "about 60 rounds would settle it (--rounds 15"),
        ([judged("inconclusive", 1.08)], 3, "no practical number of rounds"),
    ],
)
def test_an_outcome_is_a_code_and_a_sentence(entries, code, sentence):
    outcome = Outcome(base="a", head="b", entries=entries)
    assert outcome.exit_code == code and sentence in outcome.sentence
    document = json.loads(to_json(outcome))
    assert document["exit_code"] == code and document["sentence"] == outcome.sentence
    root = ElementTree.fromstring(to_junit(outcome))
    assert (int(root.get("failures")) > 0) == (code == 1) == bool(root.findall(".//failure"))
    assert int(root.get("skipped")) == len(root.findall(".//skipped"))
    assert int(root.get("tests")) == len(root.findall("testcase"))
    assert to_markdown(outcome).startswith(f"**{outcome.sentence.split('(')[0].split('_')[0]}")


def test_markdown_folds_the_table_and_names_cannot_break_it():
    content = Entry(kind="exact", cell=CELL._replace(format="zarr"), name="content", verdict="equal")
    outcome = Outcome(base="a|b <i>", head="*x*", entries=[reading(), judged(), content])
    text = to_markdown(outcome)
    assert text.count("<details>") == text.count("</details>") == 1
    assert "a&#124;b &lt;i&gt;" in text and r"\*x\*" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1
    assert "write the same bytes in zarr" in text


def test_the_picture_has_every_cell_and_the_same_bytes_each_time(tmp_path):
    words = ("slower", "inconclusive", "no regression", "faster")
    points = [judged(word, 0.5 + k / 2) for k, word in enumerate(words)]
    outcome = Outcome(base="$a", head="b", entries=points, notes=["A note."])
    first, picture = draw_ratios(outcome, tmp_path)
    before = first.read_bytes()
    assert "log axis" in before.decode() and "<!-- b (head) against $a (base): regression -->" in before.decode()
    draw_ratios(outcome, tmp_path)
    assert first.read_bytes() == before and picture.stat().st_size > 5000


def test_a_figure_knows_its_cell():
    assert str(figure([1], [1]).cell).startswith("hdf5 layer_read/head")


def test_names_do_nothing_to_a_terminal_and_leave_xml_whole():
    outcome = Outcome(base="a\x1b[31m\x9b\u202eb", head="c\x07", refused="the run a\x1b[31m\u202eb is gone")
    for text in (to_junit(outcome), to_markdown(outcome)):
        assert all(character.isprintable() for line in text.split("\n") for character in line)
    ElementTree.fromstring(to_junit(outcome))
