"""Readers and settings are contenders: which take part, how a format's best is chosen, and that a check finds out."""

from __future__ import annotations

import dataclasses
import itertools
import shutil

import pytest

from harness.analysis.efforts import BEST, STOCK, at, has_best
from harness.analysis.report_options import find_options
from harness.analysis.table import SampleTable
from harness.errors import UsageError
from harness.evidence.bundle import write_bundle
from harness.evidence.check import check
from harness.formats.base import load_format
from harness.records import RaceSample
from harness.report.write import write_report
from harness.row_files import read_rows, read_samples
from harness.run.completeness import RACES, race_times, read_own_rows, required_rows
from harness.run.config import RunConfig
from harness.run.planning import choose_arms, open_subjects
from harness.run.subject import groups
from harness.run.turns import RACE_ROUNDS, access_turns, between, race_turns, winners
from harness.sampling.contenders import ContenderProcesses
from harness.workload import ReadAccess
from tests.conftest import TINY, measured

RACED = dataclasses.replace(TINY, formats=("hdf5", "npz"), suites=("layer_read", "size", "write"), threads=1)


def arms(*readers: str, **more: object):
    return choose_arms(dataclasses.replace(RACED, readers=readers, **more))


def test_stock_readers_take_part_in_every_round_and_candidates_in_races_alone():
    found = arms("stock", "best")
    hdf5 = [arm for arm in found if arm.label == "hdf5"]
    assert [arm.reader for arm in hdf5 if arm.always] == [load_format("hdf5").stock]
    candidates = {(name or "tuned", reader) for name, reader in load_format("hdf5").candidates}
    assert {(arm.profile, arm.reader) for arm in hdf5 if arm.raced} == candidates
    assert all(arm.threads == 1 for arm in found)
    assert [arm.reader for arm in found if arm.label == "a/a"] == [hdf5[0].reader]


def test_each_archive_is_written_once_however_many_readers_it_has():
    found = [arm for arm in arms("all", "best") if not arm.shares]
    assert len({(arm.backend, arm.profile) for arm in found}) == len(found)


def test_named_readers_take_part_and_unknown_ones_are_refused():
    assert {arm.reader for arm in arms("h5py-reopened") if arm.label == "hdf5"} == {"h5py-reopened"}
    with pytest.raises(UsageError, match="reader 'no-such'"):
        arms("stock", "no-such")


def test_a_run_that_names_no_readers_has_one_contender_a_format():
    found = choose_arms(TINY)
    assert {(arm.reader, arm.raced, arm.threads) for arm in found} == {("", False, None)}


def test_the_lowest_median_wins_and_a_candidate_that_lacks_a_round_is_out():
    config = dataclasses.replace(RACED, readers=("stock", "best"))
    (race, *_) = race_turns(config, choose_arms(config), open_subjects(config)[0])
    mine = [arm for arm in race.cells if arm.label == "hdf5" and arm not in race.told]
    keys = [race.cells[arm][0] for arm in mine]
    times = {key: dict.fromkeys(range(race.rounds), float(10 - place)) for place, key in enumerate(keys)}
    assert winners(race, times) == [mine[-1]]
    times[keys[-1]].pop(0)
    assert winners(race, times) == [mine[-2]]
    times[keys[0]] = {0: 1.0, 1: 1.0, 2: 1000.0}  # one disturbed round does not decide
    assert winners(race, times) == [mine[0]]


def test_a_winner_of_other_settings_and_reader_has_a_contender_between_at_the_largest_length():
    """It has the winner's reader and the stock reader's settings, and so differs from each in one thing."""
    config = dataclasses.replace(RACED, formats=("zarr", "npz"), sizes=(16, 24), readers=("stock", "best"), rounds=2)
    found, subjects = choose_arms(config), open_subjects(config)
    won = next(arm for arm in found if (arm.profile, arm.reader) == ("uncompressed", "zarrs"))
    for subject in subjects:
        suite, access = next((s, a) for s, a in subject.plans if isinstance(a, ReadAccess))
        turns = access_turns(config, found, subject, suite, access, {"warm": [won]})[0]
        beside = [arm for arm in turns.cells if not arm.always and arm != won]
        assert [(a.label, a.profile, a.reader, turns.effort(a)) for a in beside] == (
            [("zarr", "tuned", "zarrs", "")] if subject.n_res == 24 else []
        )
    zarr, largest = [arm for arm in found if arm.label == "zarr"], subjects[-1]
    same = [arm for arm in zarr if arm.always or (arm.raced and arm.reader == "zarr-python")]
    assert largest.n_res == 24 and same and not between(config, found, largest, same)
    assert {arm.reader for arm in found if arm.entered == "between"} == {"zarrs", "tensorstore"}


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    config = dataclasses.replace(RACED, readers=("stock", "best"), rounds=2)
    return measured(tmp_path_factory.mktemp("raced") / "raced", config)


@pytest.mark.slow
def test_what_takes_samples_has_neither_tried_nor_raced_before_and_a_winner_lives_while_it_wins(monkeypatch, tmp_path):
    """A process that has been at rest for long is slower for good, so those that are compared are alike in that."""
    done, ended, closed, by_access = [], [], [], {}
    do, end, close = ContenderProcesses.do, ContenderProcesses.end, ContenderProcesses.close

    def noted(self, key, task):
        answer = do(self, key, task)
        pid = self._workers[key]._process.pid
        done.append((key, type(task).__name__, pid))
        if not key[1]:
            by_access.setdefault(task.access.name, {})[key] = pid
        return answer

    def noted_end(self, keys):
        keys = list(keys)
        ended.extend(key for key in keys if isinstance(key, tuple))  # those that write are known by the arm alone
        end(self, keys)

    def noted_close(self):
        closed.extend(key for key, worker in self._workers.items() if isinstance(key, tuple) and worker.running)
        close(self)

    monkeypatch.setattr(ContenderProcesses, "do", noted)
    monkeypatch.setattr(ContenderProcesses, "end", noted_end)
    monkeypatch.setattr(ContenderProcesses, "close", noted_close)
    config = dataclasses.replace(RACED, readers=("stock", "best"), rounds=1, suites=("layer_read",))
    measured(tmp_path / "raced", config)
    before = {pid for key, task, pid in done if task == "ProbeTask" or key[1]}
    sampling = {key: {pid for each, _, pid in done if each == key} for key, _, _ in done if not key[1]}
    assert before and sampling and not before & set().union(*sampling.values())
    assert all(len(pids) == 1 for (arm, _), pids in sampling.items() if arm.always)
    winners = {key for key in sampling if not key[0].always}
    assert winners and winners <= {*ended, *closed} and not any(arm.always for arm, _ in ended)
    stock = {key for key in sampling if key[0].always}
    assert stock == {(arm, what) for arm, what in closed if arm.always and not what}
    for key in winners:
        pids = [found.get(key) for found in by_access.values()]  # in the order of accesses
        assert all(one == other for one, other in itertools.pairwise(pids) if one and other)
        lives = [pid for pid, _ in itertools.groupby(pids) if pid]
        assert len(lives) == len(set(lives))


@pytest.mark.slow
def test_every_case_has_one_stock_and_one_best_contender_a_format(raced):
    rows = read_samples(raced / "samples.csv")
    reads = rows[(rows["suite"] == "layer_read") & rows["format"].isin(["hdf5", "npz"])]
    for _, cell in reads.groupby(["access", "format", "round"]):
        efforts = sorted(cell["effort"])
        assert efforts in (["both"], ["best", "stock"]), efforts
    races = read_rows(raced / RACES, RaceSample)
    counts = races.groupby(["access", "format", "profile", "reader"])["round"].count()
    assert set(counts) <= {1, RACE_ROUNDS}  # one that is far behind is out after the first
    assert (counts.groupby(["access", "format"]).max() == RACE_ROUNDS).all()
    config = RunConfig.read(raced / "run.json")
    times, subject = race_times(races), open_subjects(config)[0]
    for race in race_turns(config, choose_arms(config), subject):
        won = {race.cells[arm][0].contender for arm in winners(race, times)}
        mine = rows[(rows["suite"] == race.suite) & (rows["access"] == race.access.name)]
        mine = mine[mine["effort"].isin(["best", "both"]) & (mine["cache"] == race.state)]
        mine = mine[mine["format"] != "a/a"]
        assert set(zip(mine["format"], mine["profile"], mine["reader"], strict=True)) == {c[:2] + c[3:4] for c in won}


@pytest.mark.slow
def test_a_bundle_of_readers_that_are_missing_here_is_checked_by_what_was_there(raced, sketched, monkeypatch, tmp_path):
    """Which libraries a run had is recorded; whoever checks it may have none of them."""
    run = tmp_path / "raced"
    shutil.copytree(raced, run)
    write_report(run, find_options(run))
    bundle = write_bundle(run, tmp_path / "raced.zip")
    assert all(arm.missing == "" for arm in choose_arms(RunConfig.read(run / "run.json")))
    here = "needs a library that is not here"
    monkeypatch.setattr(
        "harness.evidence.check.choose_arms",
        lambda config: [dataclasses.replace(arm, missing=here if arm.raced else "") for arm in choose_arms(config)],
    )
    found = check(bundle, tmp_path / "scratch")
    assert not [text for result in found if result.what.startswith(("samples", "races")) for text in result.problems]


@pytest.mark.slow
def test_a_race_that_was_changed_does_not_give_the_rows_that_are_there(raced):
    config = RunConfig.read(raced / "run.json")
    frames = {"samples.csv": read_samples(raced / "samples.csv", superseded=True), **read_own_rows(raced)}
    assert not any(found.faults for found in required_rows(raced / "plan.json", config, frames, sessions=1).values())
    races = frames[RACES]
    mine = races[(races["access"] == "head") & (races["format"] == "hdf5")]
    waited = mine.assign(seconds=mine["seconds"] + mine["open_seconds"])
    winner = waited.groupby(["profile", "reader"])["seconds"].median().idxmin()
    races.loc[mine[(mine["profile"] == winner[0]) & (mine["reader"] == winner[1])].index, "seconds"] = 1e3
    found = required_rows(raced / "plan.json", config, frames, sessions=1)
    assert {fault.kind for fault in found["samples.csv"].faults} & {"missing", "extra"}


@pytest.mark.slow
def test_a_row_that_says_it_stands_for_another_effort_is_named(raced):
    config = RunConfig.read(raced / "run.json")
    rows = read_samples(raced / "samples.csv", superseded=True)
    rows.loc[rows["effort"] == "stock", "effort"] = "both"
    found = required_rows(raced / "plan.json", config, {"samples.csv": rows, **read_own_rows(raced)}, sessions=1)
    assert any("stands for both" in fault.why for fault in found["samples.csv"].faults)


@pytest.mark.slow
def test_each_format_is_seen_as_stock_and_at_its_best(raced):
    arms = choose_arms(RunConfig.read(raced / "run.json"))
    table = SampleTable.of(read_samples(raced / "samples.csv"), groups=groups(arms))
    assert has_best(table)
    for effort in (STOCK, BEST):
        seen = at(table, effort)
        formats = {c.format for c in seen.contenders() if c.competes}
        assert formats == {"hdf5", "npz"}
        for case in seen.cases:
            assert len({cell.contender for cell in case.cells}) == len(case.cells)
    sizes = [case for case in at(table, BEST).cases if case.case.access == "archive"]
    stock = [case for case in at(table, STOCK).cases if case.case.access == "archive"]
    for best, own in zip(sizes, stock, strict=True):
        for contender, cell in best.by_contender.items():
            if contender in own.by_contender:
                assert cell.known("size_bytes")[0] <= own.by_contender[contender].known("size_bytes")[0]
