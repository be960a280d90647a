"""Backends that do their work outside the timer, or that disturb others, are caught or measured for what they are."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from harness import registry
from harness.errors import HarnessError
from harness.formats.archive import write_archive
from harness.formats.raw import RawFormat
from harness.sampling import process_groups, verify
from harness.sampling.budget import TICK, beyond_budget, own_processors
from harness.sampling.contenders import ContenderProcesses
from harness.sampling.parallel_sample import combine, take_share, take_threads
from harness.sampling.reading import ReadTask
from harness.sampling.sample import Reading, take
from harness.sampling.self_test import rehearsed
from harness.sampling.verify import LATER, MAPPED, asked_bytes, check, expectations, mapped
from harness.trace.sources import open_trace
from harness.workload import Read, ReadAccess
from tests.liars import timing
from tests.tasks import Who

PAIR = "activations/layer_0/pair_repr"
READS = (Read(path=PAIR), Read(path=PAIR, selection=(slice(3, 11), slice(5, 13), slice(0, 8))))


@pytest.fixture
def asked(tmp_path: Path):
    path = tmp_path / "trace.raw"
    manifest = write_archive(open_trace("synthetic:layers=1,heads=2,hidden_dim=16,pair_dim=8", 40), RawFormat(), path)
    return path, READS, expectations(path, manifest, READS)


def taken(backend, asked, **settings) -> dict[str, Reading]:
    """Take a sample in every way in which samples are taken."""
    return {
        "main": take(backend, *asked, **settings),
        "threads": take_threads(backend, *asked, 2, shared=False, **settings),
        "threads-shared": take_threads(backend, *asked, 2, shared=True, **settings),
        "processes": combine([take_share(backend, *asked, lambda: None, **settings)]),
    }


def test_a_liar_that_fills_its_arrays_in_close_is_caught_everywhere(asked):
    problems = {how: reading.problem for how, reading in taken(timing.FillsWhenClosed(), asked).items()}
    assert problems == dict.fromkeys(problems, "returned values that differ from the source")
    assert "differ" in take(timing.FillsWhenClosed(), *asked, load_once=True).problem


def test_a_liar_that_fills_its_arrays_after_they_were_returned_is_caught(asked, monkeypatch):
    """It is in time for the digest, as a thread is that fills a large array ahead of it."""
    ranges = verify._mapped_ranges

    def fill_first():
        timing.FillsLater.fill()
        return ranges()

    monkeypatch.setattr(verify, "_mapped_ranges", fill_first)
    assert taken(timing.FillsLater(), asked)["main"].problem == LATER


def test_a_liar_that_decodes_in_open_is_slow_from_a_closed_archive(asked):
    class Clock:
        now = 0

        def __call__(self):
            return self.now

    clock, liar = Clock(), timing.DecodesInOpen()

    def spend():
        clock.now += 90_000_000

    liar.spend = spend
    for how, reading in taken(liar, asked, clock=clock).items():
        assert reading.problem == ""
        assert reading.open_seconds >= 0.09, how
        assert reading.seconds + reading.open_seconds >= 0.09, how


def test_nothing_is_waited_for_between_opening_and_reading(asked):
    """What a reader's own thread did meanwhile would be counted nowhere."""
    steps = []

    class Watched(RawFormat):
        def reader(self, path, name="", *, cache_bytes=None):
            steps.append("opened")
            return super().reader(path)

    take_share(Watched(), *asked, lambda: steps.append("waited"))
    assert steps == ["waited", "opened"]
    now = [0]

    class Staggered(RawFormat):
        def reader(self, path, name="", *, cache_bytes=None):
            now[0] += 1_000_000_000
            return super().reader(path)

    reading = take_threads(Staggered(), *asked, 2, shared=False, clock=lambda: now[0])
    assert (reading.open_seconds, reading.seconds) == (2.0, 0.0), "the first waits for the second, in no dark time"


@pytest.mark.parametrize("liar", [timing.MappedInterface, timing.MappedPointer])
def test_mapped_files_behind_plain_arrays_are_named(asked, liar):
    problems = {how: reading.problem for how, reading in taken(liar(), asked).items()}
    assert problems == dict.fromkeys(problems, MAPPED)


def test_memory_that_is_no_file_is_no_mapped_file(tmp_path):
    import mmap

    shared = np.frombuffer(mmap.mmap(-1, 4096), np.float32)
    assert not mapped(shared) and not mapped(np.zeros(1 << 20)) and not mapped(np.zeros(0)) and not mapped(None)
    (tmp_path / "file").write_bytes(bytes(8192))
    assert mapped(np.memmap(tmp_path / "file", np.uint8)[4096:]) and not mapped(np.fromfile(tmp_path / "file"))


def test_looking_for_mapped_files_is_counted_as_no_read(asked):
    path, _, expected = asked
    reads = (Read(path=PAIR), Read(path=PAIR))
    nbytes = asked_bytes(reads, expected)
    readings = taken(RawFormat(), (path, reads, expected))
    overhead = readings["main"].bytes_read - nbytes
    assert 0 < overhead < 1 << 16, "its trailer"
    assert [readings[how].bytes_read for how in ("threads", "threads-shared", "processes")] == [
        nbytes + 2 * overhead, nbytes + overhead, nbytes + overhead,
    ]  # fmt: skip
    assert check(np.fromfile(path, np.float32)[:1], next(iter(expected.values()))) != ""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinities")
def test_more_processor_time_than_a_budget_has_is_a_fault():
    honest = Reading(seconds=1.0, open_seconds=0.0, cpu_seconds=len(own_processors()) * (1.0 + TICK / 2))
    assert beyond_budget(honest) == "" == beyond_budget(dataclasses.replace(honest, cpu_seconds=None))
    greedy = dataclasses.replace(honest, cpu_seconds=len(own_processors()) * 1.5)
    assert "more than its budget of" in beyond_budget(greedy)


@pytest.mark.parametrize(
    ("liar", "lost"),
    [(timing.LosesSigns, "attention/layer_0: it returned"), (timing.LosesPayloads, "a part of attention/layer_0: it")],
)
def test_a_liar_that_does_not_keep_every_bit_fails_its_rehearsal(liar, lost):
    name = f"tests.liars.timing:{liar.__name__}"
    registry.allow(("formats", name))
    with pytest.raises(HarnessError, match=f"^{liar.name} failed a rehearsal on a tiny archive: {lost}"):
        rehearsed(name, "tuned")


def task(asked, liar) -> ReadTask:
    path, reads, expected = asked
    name = f"tests.liars.timing:{liar.__name__}"
    registry.allow(("formats", name))
    access = ReadAccess(name="pair_layer", reads=reads)
    return ReadTask(backend=name, profile="tuned", archive=path, access=access, expected=expected)


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is no processor beyond the budget")
def test_a_liar_that_gives_itself_more_processors_is_caught(asked):
    with ContenderProcesses(60, 1) as processes:
        sample = dataclasses.replace(task(asked, timing.WidensItself), cache="warm")
        reading = processes.do("liar", sample).reading
        assert reading.problem == "gave itself other processors than its budget of 1 threads"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the states of threads are read from Linux's /proc")
def test_a_liar_that_spins_between_its_turns_takes_nothing_from_the_others(asked):
    with ContenderProcesses(60, None) as processes:
        assert processes.do("liar", task(asked, timing.SpinsBetweenTurns)).reading.problem == ""
        pid = processes.do("liar", Who())
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        assert processes.do("honest", Who()) != pid
        assert set(process_groups.thread_states(pid)) == {"T"}
        assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13] == fields[11:13]
