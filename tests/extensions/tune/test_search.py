"""A search measures what it says: every candidate verified, the slow one found slow, the lying one left out."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from harness.analysis.choice.mix import Mix, parse_mix
from harness.errors import HarnessError, UsageError
from harness.extensions.tune.question import questions
from harness.extensions.tune.race import TuneConfig, search
from harness.extensions.tune.result import find, sentence
from harness.extensions.tune.tensor_sample import Corner
from harness.formats.base import load_format
from harness.records import CONTROL
from harness.row_files import read_samples
from harness.sampling import cache
from harness.sampling.reading import ReadTask
from harness.sampling.worker import Children, WorkerError
from harness.sampling.writing import WriteTask
from harness.trace.schema import Role
from harness.trace.sources import open_trace
from tests.conftest import Counted, allow

TRACE = "synthetic:layers=2,heads=2,hidden_dim=16,pair_dim=8"
WINDOWS = Mix(shares={"window_pair": 0.5, "pair_layer": 0.5})


class Here:
    """A worker without a process of its own, which takes seconds to start; knows whose tasks it was given."""

    asked: ClassVar[list[tuple[str, object]]] = []

    def __init__(self, timeout: float, threads: int | None = None) -> None:
        pass

    def do(self, *asked):
        *whose, task = asked
        self.asked += [(label, task) for label in whose]
        try:
            with Children() as children:
                return task.run(children)
        except HarnessError as error:
            raise WorkerError(str(error)) from error

    def end(self, keys) -> None:
        assert list(keys)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture(autouse=True)
def _workers_here(request, monkeypatch):
    if "slow" not in request.keywords:  # what ends its process has one of its own
        for name in ("Worker", "ContenderProcesses"):
            monkeypatch.setattr(f"harness.extensions.tune.race.{name}", Here)


def config(backend, **changes):
    values = {
        "run_id": "search", "backend": backend, "source": TRACE, "trace": "t", "requested": 40, "n_res": 40,
        "rounds": 3, "most": 8, "seed": 0, "timeout": 60.0, "reader": load_format(backend).stock,
    }  # fmt: skip
    return TuneConfig(**(values | changes))


def go(folder, backend, mix=WINDOWS, roles=("pair",), nbytes=1 << 30, **changes):
    """Search among a tiny trace's tensors of some roles."""
    allow(backend)
    folder.mkdir(exist_ok=True)
    manifest = open_trace(TRACE, changes.get("requested", 40)).manifest
    asked, _ = questions(load_format(backend), manifest, mix, nbytes, 0)
    progress = Counted()
    kept = [question for question in asked if question.role in roles]
    return search(config(backend, **changes), kept, folder, progress), progress


def test_a_slow_setting_is_measured_for_what_it_is_and_one_that_lies_is_left_out(tmp_path):
    (race,), _ = go(tmp_path / "s", "tests.liars:Tunable")
    found = find(race)
    rows = found.table.set_index("candidate")
    assert rows.loc["mode=zeros", "status"] == "failed" and "differ from the source" in rows.loc["mode=zeros", "reason"]
    assert rows.loc["mode=slow", "window_pair warm"] > 8 * 0.005
    assert found.choice.chosen.label == "pair: mode=honest" and "1 failed" in sentence(found)
    samples = read_samples(tmp_path / "s" / "samples.csv")
    assert (samples.loc[samples["status"] == "ok", "verified"] == True).all()  # noqa: E712 - a column of text and None
    lying = samples[(samples["profile"] == "pair: mode=zeros") & (samples["status"] != "ok")]
    assert len(lying) == 1 and lying["seconds"].isna().all()  # and no further round of it was taken
    assert not (tmp_path / "s" / ".archives").exists()


def test_every_round_has_every_candidate_once_in_another_order_and_the_control_with_them(tmp_path):
    (race,), progress = go(tmp_path / "s", "hdf5", most=3)
    writes = read_samples(tmp_path / "s" / "samples.csv").query("suite == 'write'")
    assert set(writes["format"]) == {"hdf5", CONTROL} and set(writes["round"]) == {0, 1, 2}
    for _, block in writes.groupby("round"):
        assert sorted(block["position"]) == [0, 1, 2, 3]
    assert writes.groupby("round").apply(lambda b: tuple(b["format"] + b["profile"])).nunique() > 1
    assert race.rounds == 3 and progress.steps == progress.planned == 12
    read = read_samples(tmp_path / "s" / "samples.csv").query("suite == 'random_access' and format == 'hdf5'")
    assert not read.duplicated(["profile", "round"]).any()
    assert set(read["round"]) == set(range(9))  # a short read is sampled three times for each time it is written


@pytest.mark.slow
def test_a_present_setting_that_fails_ends_the_search_with_its_reason(tmp_path):
    with pytest.raises(HarnessError, match="present setting of dying failed: its process ended without an answer"):
        go(tmp_path / "s", "tests.liars:TunableDying")
    assert not (tmp_path / "s" / ".archives").exists()


def test_each_candidate_has_its_processes_and_is_read_by_the_reader_that_was_asked_for(tmp_path):
    Here.asked.clear()
    (race,), _ = go(tmp_path / "s", "zarr-slim", rounds=1, most=2, reader="fused")
    read = [(label, task.reader) for label, task in Here.asked if isinstance(task, ReadTask)]
    assert set(read) == {(candidate.label, "fused") for candidate in race.entered}
    assert {label for label, task in Here.asked if isinstance(task, WriteTask)} == {c.label for c in race.entered}
    assert {(sample.reader, sample.threads) for sample in race.samples} == {("fused", None)}


def test_the_roles_are_tuned_on_their_own_tensors(tmp_path):
    races, _ = go(tmp_path / "s", "npz", parse_mix("batch-analysis,cold=0"), ("pair", "attention", "single"), most=2)
    assert [race.question.role.value for race in races] == ["pair", "attention", "single"]
    assert [set(race.question.reads) for race in races] == [
        {"full_read", "pair_layer"}, {"full_read", "attention_layer"}, {"full_read"}
    ]  # fmt: skip
    assert all(find(race).table["cost"].notna().all() for race in races)


def test_cold_reads_are_cold_or_refused(tmp_path, monkeypatch):
    mix = Mix(shares={"pair_layer": 1.0}, cold=0.5)
    (race,), _ = go(tmp_path / "s", "hdf5", mix, most=1, rounds=1)
    assert {s.cache for s in race.samples} == {"", "warm", "cold"}
    assert all(s.resident_fraction < cache.COLD_BELOW for s in race.samples if s.cache == "cold")
    monkeypatch.setattr(cache, "filesystem", lambda path: "tmpfs")
    with pytest.raises(UsageError, match="tmpfs"):
        go(tmp_path / "t", "hdf5", mix)


def test_a_disk_that_is_too_small_is_refused(tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 100, 0))
    with pytest.raises(UsageError, match="--sample"):
        go(tmp_path / "s", "hdf5")


def test_a_corner_holds_the_first_residues_bit_for_bit():
    trace = open_trace(TRACE, 100)
    for path in ("activations/layer_0/pair_repr", "attention/layer_1", "activations/layer_0/single_repr"):
        spec = trace.manifest[path]
        whole = np.concatenate(list(trace.blocks(path)))
        shape = tuple(33 if axis == "residue" else n for axis, n in zip(spec.axes, spec.shape, strict=True))
        part = type(spec)(path=path, shape=shape, dtype=spec.dtype, axes=spec.axes, role=spec.role)
        corner = Corner(trace, part)
        assert corner.manifest.metadata.num_residues == 33
        found = np.concatenate(list(corner.blocks(path)))
        assert np.array_equal(found, whole[tuple(slice(0, n) for n in shape)])


def test_a_corner_is_measured_in_the_chunks_of_the_whole(tmp_path):
    (race,), _ = go(tmp_path / "s", "hdf5", requested=200, n_res=200, nbytes=128 * 128 * 8 * 4, most=4, rounds=1)
    assert race.question.part.shape == (128, 128, 8) and not race.failed
    asked = {
        s.profile: s.bytes_requested for s in race.samples if (s.suite, s.access) == ("layer_read", "pair_layer")
    }  # fmt: skip
    for candidate in race.entered[2:]:
        length = 128 - 128 % candidate.layout.chunks[0]
        assert asked[candidate.label] == length * length * 8 * 4
    assert find(race).table["size_bytes"].between(2e5, 4e6).all()  # of two layers of 1.28 MB each


def test_what_the_trace_lacks_is_left_out_and_said():
    backend = load_format("hdf5")
    trace = open_trace(TRACE, 40)
    pair = type(trace.manifest)(
        tensors=tuple(trace.manifest.with_role(Role.PAIR)), metadata=trace.manifest.metadata,
        provenance=trace.manifest.provenance,
    )  # fmt: skip
    asked, notes = questions(backend, pair, parse_mix("interactive-viewer"), 1 << 30, 0)
    assert [q.role.value for q in asked] == ["pair"] and "attention_layer, head, window_attention" in notes[0]
    assert sum(asked[0].use.shares.values()) == pytest.approx(1)
    with pytest.raises(UsageError, match="none of the tensors that the mix reads"):
        questions(backend, pair, Mix(shares={"head": 1.0}), 1 << 30, 0)
    with pytest.raises(UsageError, match="'raw' has nothing to tune"):
        questions(load_format("raw"), pair, WINDOWS, 1 << 30, 0)
