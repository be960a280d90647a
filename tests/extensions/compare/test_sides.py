"""Real sides: changed copies of this version, in environments of their own, compared for what needs no clock."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.sides import changed_copy, slower
from harness.errors import UsageError
from harness.extensions.compare import probe
from harness.extensions.compare.comparison import compare_sides, read_each_other, require_rounds
from harness.extensions.compare.exact import figures
from harness.extensions.compare.question import Cell, CompareSettings, ask
from harness.extensions.compare.record import Record
from harness.extensions.compare.rounds import Rounds, _Round, usable_cores
from harness.extensions.compare.side import Process, Side, SideError
from harness.extensions.compare.verdict import pair
from tests.conftest import Counted

pytestmark = pytest.mark.slow

TINY = CompareSettings(
    traces=("synthetic:layers=1,heads=2,hidden_dim=16,pair_dim=8",), sizes=(40,), formats=("npz",),
    suites=("layer_read",), blocks=1, seconds=0.0, timeout=60,
)  # fmt: skip
HERE = Path(sys.executable)

# One byte more for every chunk file of an archive of plain Zarr: behind the data, where the codec does not look.
_PADDED = """

_write_archive = write_archive


def write_archive(trace, backend, destination, *arguments, **options):
    manifest = _write_archive(trace, backend, destination, *arguments, **options)
    for file in destination.rglob("*"):
        if file.is_file() and file.name.isdigit():
            file.write_bytes(file.read_bytes() + b"x")
    return manifest
"""
_OTHER_VALUES = """

_read = NpzReader.read
NpzReader.read = lambda self, path, selection=None: _read(self, path, selection) + 1
"""


# Right in every whole tensor, wrong in one way of reading a part, and ended by another.
_BROKEN_PARTS = """

import os

_read = NpzReader.read


def read(self, path, selection=None):
    if selection is not None and "pair" in path:
        os._exit(3)
    return _read(self, path, selection) + (selection is not None)


NpzReader.read = read
"""


def side(name: str, python: Path = HERE) -> Side:
    return Side(name=name, label=python.name, python=python)


def taken(sides, questions, settings, numbers, folder):
    """Take rounds, and return what they noted."""
    rounds = Rounds(sides=sides, questions=questions, settings=settings, folder=folder, step=print)
    rounds.take(numbers)
    return rounds.record


@pytest.fixture
def room(tmp_path: Path) -> Path:
    (tmp_path / "archives").mkdir()
    return tmp_path / "archives"


def test_equal_sides_agree_in_every_exact_figure_and_byte(tmp_path, room):
    settings = dataclasses.replace(TINY, suites=("write", "layer_read"), seconds=1e-4)
    questions = ask(settings, tmp_path / "data")
    sides = (side("base"), side("head"))
    assert {one.note for one in read_each_other(sides, questions, settings, room)} == {""}
    record = taken(sides, questions, settings, range(2), room)
    found = figures(record.exact)
    assert {figure.verdict for figure in found} == {"equal"}
    assert {figure.name for figure in found} == {"bytes", "files", "bytes_read", "requests", "content"}
    assert {block.round for block in record.blocks} == {0, 1}
    paired = pair(record.blocks)
    assert {(cell.suite, cell.access) for cell in paired} == {
        ("open", "archive"), ("write", "archive"), *((suite, access) for suite, access, _ in questions[0].cases)
    }  # fmt: skip
    assert {len(times) for times in paired.values()} == {2}
    assert not list(room.iterdir())


def test_a_byte_more_in_each_chunk_is_found(tmp_path, room):
    settings = dataclasses.replace(TINY, formats=("zarr",), suites=("size",), profile="seed")
    head = side("head", changed_copy(tmp_path / "head", {"harness/formats/archive.py": _PADDED}))
    record = taken((side("base"), head), ask(settings, tmp_path / "data"), settings, [0], room)
    (grown,) = [figure for figure in figures(record.exact) if figure.verdict == "grew"]
    assert grown.name == "bytes" and grown.head - grown.base > 1
    assert [one.verdict for one in figures(record.exact) if one.name == "content"] == ["other"]


def test_a_head_that_returns_other_values_is_a_regression_and_is_not_timed(tmp_path, room):
    head = side("head", changed_copy(tmp_path / "head", {"harness/formats/npz.py": _OTHER_VALUES}))
    outcome = compare_sides((side("base"), head), ask(TINY, tmp_path / "data"), TINY, room, Counted())
    assert outcome.exit_code == 1 and not outcome.of("times")
    assert "tensors differ" in outcome.sentence
    with pytest.raises(UsageError, match="The base has nothing to compare with"):
        swapped = (side("base", head.python), side("head"))
        compare_sides(swapped, ask(TINY, tmp_path / "again"), TINY, room, Counted())


def test_a_head_that_fails_at_a_cell_loses_it_and_no_other(tmp_path, room):
    settings = dataclasses.replace(TINY, suites=("layer_read", "random_access"))
    questions = ask(settings, tmp_path / "data")
    head = side("head", changed_copy(tmp_path / "head", {"harness/formats/npz.py": _BROKEN_PARTS}))
    record = taken((side("base"), head), questions, settings, range(2), room)
    lost = {cell.access: reason for cell, reason in record.failed.items()}
    assert "returned other values than were written" in lost["head"]
    assert "its process ended with exit code 3" in lost["window_pair"]
    kept = {cell.access for cell in pair(record.blocks)} - set(lost)
    assert {"attention_layer", "archive"} <= kept and len(lost) + len(kept) == len(questions[0].cases) + 1
    with pytest.raises(SideError, match=r"base .* returned other values"):
        taken((side("base", head.python), side("head")), questions, settings, [0], room)


def test_a_slowed_copy_reads_the_same_through_a_slowed_reader(tmp_path, room):
    head = side("head", changed_copy(tmp_path / "head", slower("npz", 1.1)))
    code = "from harness.formats.npz import NpzReader; print(NpzReader.read.__name__)"
    named = [subprocess.check_output([one, "-I", "-c", code], text=True).strip() for one in (HERE, head.python)]
    assert named == ["read", "slow"]
    found = read_each_other((side("base"), head), ask(TINY, tmp_path / "data"), TINY, room)
    assert {one.note for one in found} == {""}


def test_a_process_says_what_it_died_of(tmp_path):
    with Process(side("base"), tmp_path, 60) as process:
        facts = process.ask("hello")
        assert "npz" in facts["formats"] and "layer_read" in facts["suites"]
        with pytest.raises(SideError, match="There is no format named 'npy'"):
            process.ask("digests", format="npy", profile="tuned", archive="x", tensors=[])
    died = pytest.raises(SideError, match=r"head .false.: its process ended with exit code")
    with Process(side("head", Path("/bin/false")), tmp_path, 60) as process, died:
        process.ask("hello")


def test_what_cannot_be_asked_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no suite named 'layer_reed'"):
        ask(CompareSettings(suites=("layer_reed",)), tmp_path)
    with pytest.raises(UsageError, match="at least 10 rounds, got 9"):
        require_rounds(9)


def test_cells_name_their_trace_only_among_several():
    first, second = (Cell("layer_read", "head", "hdf5", "synthetic", n) for n in (64, 128))
    assert first.among([first]) == "hdf5 layer_read/head"
    assert first.among([first, second]) == "hdf5 layer_read/head of synthetic, 64 residues"


class Scripted:
    """A side's process whose blocks take the times it is given, round by round."""

    def __init__(self, name, rounds):
        self.side, self.rounds, self.now = side(name), rounds, iter(())

    def ask(self, do, *, seconds, count, **task):
        if count:
            return {"counts": [1, 1]}
        if not seconds:
            self.now = iter(self.rounds.pop(0))
            return {}
        return {"seconds": [next(self.now)]}


def blocks_of_rounds(base, head):
    cell = Cell("layer_read", "head", "npz", "trace", 32)
    question = SimpleNamespace(expected={("layer_read", "head"): []})
    running, record = [Scripted("base", base), Scripted("head", head)], Record()
    for number in range(len(base)):
        rng = np.random.default_rng(number)
        one = _Round(number, running, dataclasses.replace(TINY, blocks=2, seconds=1.0), Path(), record, rng, None)
        one._access(question, cell, (), {"base": Path(), "head": Path()})
    return [[sum((b.round, b.side) == (n, s) for b in record.blocks) for s in ("base", "head")] for n in (0, 1)]


@pytest.mark.parametrize(
    ("second", "taken"),
    [
        ([1.05, 1.0], 2),  # as before
        ([1.5, 1.4, 1.3, 1.02], 4),  # until it is as fast as before, and the other side as often
        ([1.5] * 8, 8),  # a process that is slower to the end
    ],
)
def test_a_disturbed_round_takes_more_blocks_of_both_sides(second, taken):
    calm = [1.0, 1.0]
    assert blocks_of_rounds([list(calm), second], [list(calm), [1.0] * 8]) == [[2, 2], [taken, taken]]
    assert blocks_of_rounds([list(calm), [1.0] * 8], [list(calm), second]) == [[2, 2], [taken, taken]]


def test_a_side_that_is_always_slower_is_not_disturbed():
    assert blocks_of_rounds([[1.0, 1.0], [1.0, 1.0]], [[2.0, 2.0], [2.0, 2.0]]) == [[2, 2], [2, 2]]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system lets no process choose its core")
def test_a_block_starts_on_a_core_and_may_use_all():
    usable = os.sched_getaffinity(0)
    for core in sorted(usable):
        probe.move(core)
        assert os.sched_getaffinity(0) == usable
    assert set(usable_cores()) == usable
