"""A read is taken apart into steps that add up, are checked, and are taken once."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from harness import registry
from harness.analysis.report_options import find_options
from harness.errors import HarnessError
from harness.extensions.breakdown import measurement
from harness.extensions.breakdown.flat import FlatReplayer
from harness.extensions.breakdown.measurement import ROUNDS
from harness.extensions.breakdown.replay import Replay
from harness.extensions.breakdown.rows import read_breakdown
from harness.extensions.breakdown.sampling import NO_REPLAY, BreakdownTask, dissect
from harness.formats.archive import write_archive
from harness.formats.base import Format, load_format
from harness.formats.raw import RawFormat, RawReader
from harness.report.write import write_report
from harness.row_files import read_samples
from harness.sampling.verify import Expected, expectations
from harness.trace.sources import open_trace
from harness.workload import Read, ReadAccess
from tests import liars
from tests.conftest import TINY, measured

pytestmark = pytest.mark.slow

TRACE = "synthetic:layers=1,heads=2,hidden_dim=16,pair_dim=8"
PAIR = "activations/layer_0/pair_repr"
WINDOW = (slice(3, 11), slice(5, 13), slice(0, 8))
READS = (Read(path=PAIR), Read(path=PAIR, selection=WINDOW))
ACCESS = ReadAccess(name="pair", reads=READS)
KEY = ["suite", "access", "format", "profile", "round"]


@pytest.fixture
def archive(tmp_path: Path) -> tuple[Path, dict[str, Expected]]:
    path = tmp_path / "trace.raw"
    manifest = write_archive(open_trace(TRACE, 40), RawFormat(), path)
    return path, expectations(path, manifest, READS)


class Clock:
    """Stands still but for what the steps of a read are said to take, in nanoseconds."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def passing(self, nanoseconds: int, call: Callable) -> Callable:
        def slowed(*args: object) -> object:
            self.now += nanoseconds
            return call(*args)

        return slowed


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[type], None]:
    """Register what takes the reads of raw archives apart."""
    return lambda replayer: monkeypatch.setattr(registry, "of_format", lambda group, kind: replayer)


@pytest.fixture
def slowed(register: Callable[[type], None]) -> Callable[..., Format]:
    return lambda clock, read=0, **steps: _slowed(register, clock, read, steps)


def _slowed(register: Callable[[type], None], clock: Clock, read: int, steps: Mapping[str, int]) -> Format:
    """Make a backend whose steps take the time that is named."""

    class Slow(RawReader):
        def read(self, path, selection=None):
            clock.now += read
            return super().read(path, selection)

    class SlowReplayer(FlatReplayer):
        def locate(self, path):
            clock.now += steps.get("locate", 0)

        def replay(self, path, selection=None):
            clock.now += 999_999_999  # finding out is not timed
            found = super().replay(path, selection)
            named = {name: clock.passing(steps.get(name, 0), getattr(found, name)) for name in ("decode", "place")}
            return dataclasses.replace(found, load=clock.passing(888_888_888, found.load), **named)

    class SlowFormat(RawFormat):
        def reader(self, path):
            clock.now += 7_000_000
            return Slow(path)

    register(SlowReplayer)
    return SlowFormat()


def test_the_steps_add_up_to_the_nanosecond(archive, slowed):
    path, expected = archive
    clock = Clock()
    backend = slowed(clock, read=20_000_000, locate=1_000_000, decode=5_000_000, place=2_000_000)
    parts = dissect(backend, path, READS, expected, clock=clock)
    assert parts.status == "ok"
    assert (parts.open_seconds, parts.total_seconds) == (0.007, 0.040)
    assert (parts.metadata_seconds, parts.decode_seconds, parts.copy_seconds) == (0.002, 0.010, 0.004)
    assert (parts.file_read_seconds, parts.rest_seconds) == (0.0, 0.024)


def test_what_reading_files_takes_is_counted(archive, monkeypatch, slowed):
    from harness.extensions.breakdown import sampling as breakdown

    path, expected = archive
    clock = Clock()
    monkeypatch.setattr(breakdown.os, "pread", clock.passing(1_000_000, breakdown.os.pread))
    parts = dissect(slowed(clock), path, READS[1:], expected, clock=clock)
    assert parts.file_read_seconds == 8 * 0.001  # one for each row of the window
    assert (parts.extents, parts.files, parts.stored_bytes) == (8, 1, 8 * 8 * 8 * 4)
    assert parts.bytes_requested == parts.stored_bytes


def test_a_pause_in_every_read_is_the_librarys(archive, slowed):
    path, expected = archive
    clock = Clock()
    pause = round(liars.PAUSE * 1e9)
    parts = dissect(slowed(clock, read=pause), path, READS, expected, clock=clock)
    assert parts.rest_seconds == parts.total_seconds == len(READS) * liars.PAUSE
    assert dissect(liars.Sleepy(), path, READS, expected).rest_seconds > 0


def test_a_library_that_overlaps_its_work_leaves_a_negative_rest(archive, slowed):
    path, expected = archive
    clock = Clock()
    parts = dissect(slowed(clock, read=3_000_000, decode=5_000_000), path, READS, expected, clock=clock)
    assert parts.rest_seconds == -0.004


class ChangedFormat(RawFormat):
    name = "changed"


@pytest.fixture
def replaying(register: Callable[[type], None]) -> Callable[..., Format]:
    """Make backends whose replay is changed."""

    def changed(change: Callable[[Replay], Replay | None]) -> Format:
        class Changed(FlatReplayer):
            def replay(self, path, selection=None):
                return change(super().replay(path, selection))

        register(Changed)
        return ChangedFormat()

    return changed


def test_a_format_without_replay_is_skipped_with_its_total(archive, replaying):
    path, expected = archive
    parts = dissect(replaying(lambda replay: None), path, READS, expected)
    assert (parts.status, parts.reason) == ("skipped", NO_REPLAY)
    assert parts.total_seconds > 0 and parts.open_seconds > 0
    assert parts.decode_seconds is None and parts.rest_seconds is None and parts.stored_bytes is None


def flip(array: np.ndarray) -> np.ndarray:
    changed = array.copy()
    changed.reshape(-1).view(np.uint8)[-1] ^= 1
    return changed


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: dataclasses.replace(r, place=lambda p: flip(r.place(p))), "returned values that differ"),
        (lambda r: dataclasses.replace(r, place=lambda p: r.place(p)[:1].copy()), "returned shape"),
        (lambda r: dataclasses.replace(r, place=lambda p: r.place(p).astype(np.float64)), "returned dtype float64"),
        (
            lambda r: dataclasses.replace(
                r, extents=tuple(dataclasses.replace(e, offset=1 << 40) for e in r.extents), place=lambda p: np.zeros(3)
            ),
            "names bytes that lie behind the end of a file",
        ),
    ],
)
def test_a_replay_that_lies_is_failed_and_has_no_times(archive, change, reason, replaying):
    path, expected = archive
    parts = dissect(replaying(change), path, READS, expected)
    assert parts.status == "failed" and parts.reason.startswith(f"the replay {reason}")
    assert parts.total_seconds is None and parts.decode_seconds is None


def test_a_read_that_lies_is_failed(archive):
    path, expected = archive
    parts = dissect(liars.Flipped(), path, READS, expected)
    assert (parts.status, parts.reason) == ("failed", "returned values that differ from the source")


def test_a_replay_that_raises_is_named(archive, replaying):
    path, expected = archive

    def broken(stored: object) -> list[np.ndarray]:
        raise RuntimeError("no such codec")

    with pytest.raises(HarnessError, match=r"changed failed replaying the reads of trace.raw: RuntimeError: no such"):
        dissect(replaying(lambda r: dataclasses.replace(r, decode=broken)), path, READS, expected)


@pytest.mark.parametrize("name", ["npz", "hdf5", "hdf5-slim", "zarr", "zarr-slim"])
def test_every_format_has_a_breakdown(archive, name, tmp_path):
    _, expected = archive
    backend = load_format(name)
    path = tmp_path / f"archive{backend.suffix}"
    write_archive(open_trace(TRACE, 40), backend, path)
    task = BreakdownTask(backend=name, profile="tuned", archive=path, access=ACCESS, expected=expected)
    parts = task.run(None)
    assert parts.status == "ok" and parts.reason == ""
    sum_of_parts = sum(
        getattr(parts, f"{part}_seconds") for part in ("metadata", "file_read", "decode", "copy", "rest")
    )
    assert sum_of_parts == pytest.approx(parts.total_seconds, abs=2e-9)
    assert parts.stored_bytes > 0 and parts.extents >= parts.files > 0


def test_an_archive_that_does_not_stay_warm_is_rejected(archive, monkeypatch):
    from harness.sampling import cache

    path, expected = archive
    monkeypatch.setattr(cache, "residency", lambda path, every_file: 0.5)
    task = BreakdownTask(backend="raw", profile="tuned", archive=path, access=ACCESS, expected=expected)
    parts = task.run(None)
    assert parts.status == "rejected" and "memory is too small" in parts.reason
    assert parts.total_seconds is None


def test_a_run_takes_a_breakdown_of_warm_reads_by_one_thread(measure):
    suites = ("size", "write", "layer_read", "random_access", "parallel_access")
    folder, progress = measure(suites=suites, caches=("warm", "cold"), formats=("hdf5", "npz"))
    rows = read_breakdown(folder / "breakdown.csv")
    assert (rows["status"] == "ok").all()
    assert set(rows["format"]) == {"hdf5", "npz", "raw"}  # no twin
    assert set(rows["cache"]) == {"warm"} and set(rows["executor"]) == {"main"}
    assert set(rows["access"]) == {"attention_layer", "head", "pair_layer", "window_attention", "window_pair"}
    assert rows.groupby(["access", "format"])["round"].apply(sorted).map(lambda r: r == [0, 1, 2]).all()
    assert ROUNDS == 3
    samples = read_samples(folder / "samples.csv").groupby(["access", "format"])["bytes_requested"].first()
    asked = rows.groupby(["access", "format"])["bytes_requested"].first()
    assert (asked == samples[asked.index]).all()
    assert progress.steps == progress.planned


def test_a_run_of_one_round_is_explained_once(measure):
    folder, progress = measure(suites=("layer_read",), rounds=1)
    assert set(read_breakdown(folder / "breakdown.csv")["round"]) == {0}
    assert progress.steps == progress.planned
    _, again = measure(folder, suites=("layer_read",), rounds=1)
    assert again.steps == again.planned and len(read_breakdown(folder / "breakdown.csv")) == 6


def test_a_read_of_very_much_is_not_explained(measure, monkeypatch):
    monkeypatch.setattr(measurement, "MOST_BYTES", 40 * 40 * 8 * 4)  # a pair layer, and no more
    folder, progress = measure(suites=("full_read", "layer_read"), rounds=1)
    rows = read_breakdown(folder / "breakdown.csv").set_index("access")
    assert set(rows.loc["all_tensors", "status"]) == {"skipped"} and set(rows.loc["pair_layer", "status"]) == {"ok"}
    assert rows.loc["all_tensors", "reason"].str.contains("would take too long").all()
    assert progress.steps == progress.planned
    _, again = measure(folder, suites=("full_read", "layer_read"), rounds=1)
    assert again.steps == again.planned
    write_report(folder, find_options(folder))


def test_a_run_without_warm_reads_has_none(measure):
    folder, progress = measure(suites=("layer_read",), caches=("cold",))
    assert len(read_breakdown(folder / "breakdown.csv")) == 0
    assert progress.steps == progress.planned


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of layer_read; to be changed only in copies."""
    return measured(tmp_path_factory.mktemp("run") / "complete", dataclasses.replace(TINY, suites=("layer_read",)))


@pytest.mark.parametrize("keep", [0, 1, 8, 17, None])
def test_a_run_continues_its_breakdown_without_a_gap_or_a_repeat(complete, measure, tmp_path, keep):
    folder = tmp_path / "run"
    shutil.copytree(complete, folder)
    file = folder / "breakdown.csv"
    samples, before = (folder / "samples.csv").read_bytes(), file.read_bytes()
    whole, lines = read_breakdown(file), before.splitlines(keepends=True)
    if keep is not None:
        file.write_bytes(b"".join(lines[:keep]) + lines[keep][:17])  # the last line cut in two
    _, progress = measure(folder, suites=("layer_read",), run_id="complete")
    again = read_breakdown(file)
    assert not again.duplicated(KEY).any()
    assert sorted(map(tuple, again[KEY].to_numpy())) == sorted(map(tuple, whole[KEY].to_numpy()))
    assert file.read_bytes().splitlines(keepends=True)[:keep] == lines[:keep]
    assert (folder / "samples.csv").read_bytes() == samples
    assert progress.steps == progress.planned


def test_an_arm_that_failed_is_left_out_with_its_reason(measure):
    names = ("Zeros", "Caching", "WritesNothing")
    folder, progress = measure(formats=("hdf5", *(f"tests.liars:{name}" for name in names)), suites=("layer_read",))
    rows = read_breakdown(folder / "breakdown.csv")
    said = rows[rows["status"] != "ok"].groupby("format")["reason"].agg(lambda reasons: " ".join(set(reasons)))
    assert set(said.index) == {"zeros", "caching", "nothing"}
    assert "wrote nothing" in said["nothing"]
    assert "kept from an earlier reader" in said["caching"]
    assert rows[rows["format"].isin(said.index)]["total_seconds"].isna().all()
    assert (rows.loc[rows["format"].isin(["hdf5", "raw"]), "status"] == "ok").all()
    assert progress.steps == progress.planned


def test_formats_with_profiles_that_are_refused_are_skipped(measure):
    folder, progress = measure(formats=("hdf5", "npz"), profiles=("matched",), suites=("layer_read",))
    rows = read_breakdown(folder / "breakdown.csv")
    npz = rows[rows["format"] == "npz"]
    assert set(npz["status"]) == {"skipped"} and npz["reason"].str.contains("matched").all()
    assert len(npz) == npz["access"].nunique()
    assert progress.steps == progress.planned
