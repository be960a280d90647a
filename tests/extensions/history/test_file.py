"""A history keeps every run once and whole, whatever happens to the file, and never mixes machines."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os

import pytest

from harness.errors import HarnessError, UsageError
from harness.extensions.history import file as history_file
from harness.extensions.history import record
from harness.extensions.history.file import append, read_history
from harness.extensions.history.record import CorruptLine, RunRecord, kind_of
from tests.extensions.history.made import MACHINE, key, ratios, run, sized, timed


def made(number, **changes):
    return run(number, [timed(key(), 0.01), sized(100 + number)], **changes)


def test_a_line_gives_back_the_run():
    for was in (made(1), made(2, commit=None), run(3, [])):
        assert RunRecord.from_line(was.to_line()) == was


def test_a_line_of_an_earlier_version_has_figures_that_nothing_reads_any_more():
    document = json.loads(made(1).to_line())
    document.pop("digest")
    document["cells"]["columns"].append("twin_ratio")
    for row in document["cells"]["rows"]:
        row.append(1.02)
    line = json.dumps({**document, "digest": record._digest(document)})
    assert RunRecord.from_line(line).cells.keys() == made(1).cells.keys()


@pytest.mark.parametrize("value", ["fast", -1.0, True])
def test_a_figure_that_is_none_is_refused_behind_a_digest_that_fits(value):
    document = json.loads(made(1).to_line())
    document.pop("digest")
    document["cells"]["rows"][0][document["cells"]["columns"].index("median_seconds")] = value
    with pytest.raises(CorruptLine):
        RunRecord.from_line(json.dumps({**document, "digest": record._digest(document)}))


def test_runs_come_back_in_order(tmp_path):
    path = tmp_path / "deep" / "h.jsonl"
    for number in range(3):
        assert len(append(path, made(number)).records) == number + 1
    assert read_history(path).records == tuple(made(n) for n in range(3))
    assert all(json.loads(line)["kind"] == MACHINE.name for line in path.read_text().splitlines())


def _append_some(path, first):
    for number in range(first, first + 8):
        append(path, made(number))


def test_concurrent_appenders_lose_nothing(tmp_path):
    path = tmp_path / "h.jsonl"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_append_some, args=(path, 100 * i)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = read_history(path)
    assert not found.corrupt
    assert sorted(r.run_id for r in found.records) == sorted(
        made(100 * i + n).run_id for i in range(4) for n in range(8)
    )


@pytest.mark.parametrize("cut", [1, 10, 400])
def test_a_torn_last_line_is_counted_and_kept_and_the_next_run_begins_behind_it(tmp_path, cut):
    path = tmp_path / "h.jsonl"
    append(path, made(1))
    line = made(2).to_line().encode()
    torn = path.read_bytes() + line[: len(line) - 1 - cut]
    path.write_bytes(torn)
    assert (len(read_history(path).records), read_history(path).corrupt) == (1, (2,))
    append(path, made(3))
    assert path.read_bytes() == torn + b"\n" + made(3).to_line().encode()
    assert [r.run_id for r in read_history(path).records] == ["run01", "run03"]


def test_a_last_line_that_lacks_only_its_end_counts(tmp_path):
    path = tmp_path / "h.jsonl"
    path.write_bytes(made(1).to_line().encode()[:-1])
    append(path, made(2))
    assert read_history(path).corrupt == () and len(read_history(path).records) == 2


@pytest.mark.parametrize("at", [5, 200, -30])
def test_a_changed_byte_is_noticed(tmp_path, at):
    path = tmp_path / "h.jsonl"
    for number in range(3):
        append(path, made(number))
    lines = path.read_bytes().splitlines(keepends=True)
    changed = bytearray(lines[1])
    changed[at] = ord("7") if changed[at] != ord("7") else ord("8")
    path.write_bytes(lines[0] + bytes(changed) + lines[2])
    found = read_history(path)
    assert [r.run_id for r in found.records] == ["run00", "run02"] and found.corrupt == (2,)


@pytest.mark.parametrize("line", [b"not json", b"{}", b"[]", b"null", b"\xff\xfe", b'{"digest": 3}'])
def test_other_lines_are_counted(tmp_path, line):
    path = tmp_path / "h.jsonl"
    path.write_bytes(line + b"\n" + made(1).to_line().encode())
    assert read_history(path).corrupt == (1,)


def test_a_version_that_is_not_known_is_refused_by_name(tmp_path, monkeypatch):
    path = tmp_path / "h.jsonl"
    monkeypatch.setattr("harness.extensions.history.record.HISTORY_VERSION", 99)
    path.write_text(made(1).to_line())
    monkeypatch.undo()
    with pytest.raises(HarnessError, match=r"line 1: .*version 99.*version 1"):
        read_history(path)


def test_another_machine_is_refused_naming_the_difference(tmp_path):
    path, other = tmp_path / "h.jsonl", dataclasses.replace(MACHINE, cores=8, python="CPython 3.12")
    append(path, made(1))
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"cores \(2, then 8\), python \(CPython 3.11, then CPython 3.12\)"):
        append(path, made(2, machine=other))
    assert path.read_bytes() == before
    append(tmp_path / "other.jsonl", made(2, machine=other))
    with pytest.raises(UsageError, match=r"of different kinds of machine: cores \(2, then 8\)"):
        read_history(path, tmp_path / "other.jsonl")
    path.write_bytes(before + made(2, machine=other).to_line().encode())
    with pytest.raises(UsageError, match="mixes machines"):
        read_history(path)


def test_two_files_of_one_machine_are_read_as_one(tmp_path):
    for name, numbers in (("a", (1, 2)), ("b", (2, 3))):
        for number in numbers:
            append(tmp_path / name, made(number))
    assert len(read_history(tmp_path / "a", tmp_path / "b").records) == 3


def test_a_run_is_added_once(tmp_path):
    append(tmp_path / "h.jsonl", made(1))
    with pytest.raises(UsageError, match="holds the run run01"):
        append(tmp_path / "h.jsonl", made(1))


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "h.jsonl"
    append(path, made(1))
    before, write = path.read_bytes(), os.write
    monkeypatch.setattr(history_file.os, "write", lambda fd, data: write(fd, data[:100]))
    with pytest.raises(HarnessError, match=r"disk is full.*as it was"):
        append(path, made(2))
    monkeypatch.undo()
    assert path.read_bytes() == before


def test_what_cannot_be_written_or_read_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="choose another --file"):
        append(tmp_path / "file" / "h.jsonl", made(1))
    with pytest.raises(UsageError, match="choose another --file"):
        append(tmp_path, made(1))
    with pytest.raises(UsageError, match="There is no history"):
        read_history(tmp_path / "none")


def test_a_kind_has_a_name_that_can_be_read():
    session = {
        "cpu": "Intel(R) Xeon(R) Gold 6230", "machine": "x86_64", "cores": 80, "cores_usable": 40, "system": "Linux",
        "memory_bytes": 202_000_000_000, "filesystem": "xfs", "kernel": "6.8.0-40-generic", "python": "3.12.4",
        "implementation": "CPython", "virtual_machine": False,
    }  # fmt: skip
    kind = kind_of(session)
    assert kind.name == "intel-xeon-gold-6230-40c-192g-xfs-linux-6-cpython-3.12-bare"
    assert kind_of({**session, "memory_bytes": 201_000_000_000, "kernel": "6.9.1", "python": "3.12.9"}) == kind
    free = kind_of({**session, "interpreter_lock": False})
    assert free.python == f"{kind.python}t" and kind_of({**session, "interpreter_lock": True}) == kind
    assert len({r.machine for r in ratios([1, 1])}) == 1
