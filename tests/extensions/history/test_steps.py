"""A step names its cell, its size and its commits; exact figures step with every change, series are never mixed."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from benchmarks.step_power import found
from harness.extensions.history.series import arrange
from harness.extensions.history.steps import MACHINE, SECONDS, Step, find_steps, regressions
from tests.extensions.history.made import SAME, key, ratios, run, sized, timed

STEP = [1.0] * 12 + [1.25] * 6


def steps_of(records):
    (series,) = arrange(records)
    return find_steps(series)


def test_a_step_says_where_and_by_how_much():
    records = ratios(STEP)
    (step,) = steps_of(records)
    assert (step.key, step.figure, step.place) == (key(), SECONDS, 12)
    assert (step.before.run_id, step.after.run_id) == ("run11", "run12")
    assert step.ratio == pytest.approx(1.25, rel=0.02) and step.regression
    assert step.level_before == pytest.approx(0.01, rel=0.02)


def test_runs_are_in_the_order_of_time_whatever_the_order_of_lines():
    (step,) = steps_of(ratios(STEP)[::-1])
    assert (step.before.run_id, step.after.run_id) == ("run11", "run12")


def test_an_improvement_is_no_regression():
    (step,) = steps_of(ratios([1.0] * 12 + [0.7] * 6))
    assert not step.regression and not regressions([step])


def test_a_step_of_the_whole_machine_is_the_machines():
    records = [
        dataclasses.replace(r, cells={k: {**c, "median_seconds": c["median_seconds"] * v} for k, c in r.cells.items()})
        for r, v in zip(ratios([1.0] * 18), STEP, strict=True)
    ]
    (step,) = steps_of(records)
    assert step.key is None and step.figure == MACHINE and step.ratio == pytest.approx(1.25, rel=0.02)
    assert not regressions([step])


def test_a_step_of_the_raw_ceiling_alone_is_no_cells():
    records = [
        dataclasses.replace(
            r,
            cells={
                k: {**c, "median_seconds": c["median_seconds"] * (v if k.format == "raw" else 1)}
                for k, c in r.cells.items()
            },
        )
        for r, v in zip(ratios([1.0] * 18), STEP, strict=True)
    ]
    assert all(step.key is None for step in steps_of(records))


@pytest.mark.parametrize("values", [[100, 100, 101], [100, 99, 99]])
def test_every_change_of_an_exact_figure_is_a_step(values):
    (step,) = steps_of([run(i, [sized(v)]) for i, v in enumerate(values)])
    assert step.figure == "size_bytes" and step.regression == (values[-1] > 100)
    assert bool(regressions([step])) == (values[-1] > 100)


def test_more_files_and_requests_are_steps_and_a_return_ends_the_regression():
    runs = [run(i, [sized(9, files), timed(key(), 1.0, requests=5)]) for i, files in enumerate((1, 2, 1))]
    steps = steps_of(runs)
    assert [step.regression for step in steps] == [True, False] and not regressions(steps)
    runs = [run(i, [timed(key(), 1.0, requests=n)]) for i, n in enumerate((5, 6))]
    assert [step.figure for step in steps_of(runs)] == ["requests"]


def test_another_definition_begins_a_series_and_nothing_is_compared_across():
    other = dataclasses.replace(SAME, seed=1)
    records = [dataclasses.replace(r, definition=other if i >= 12 else SAME) for i, r in enumerate(ratios(STEP))]
    first, second = arrange(records)
    assert (len(first.records), len(second.records)) == (12, 6)
    assert (first.changed, second.changed) == ("", "seed (0, then 1)")
    assert find_steps(first) == find_steps(second) == []


def test_runs_of_two_definitions_in_turn_are_two_series():
    other = dataclasses.replace(SAME, rounds=3)
    records = [dataclasses.replace(r, definition=other if i % 2 else SAME) for i, r in enumerate(ratios([1.0] * 6))]
    assert [len(series.records) for series in arrange(records)] == [3, 3]


def test_versions_and_loads_that_changed_with_it_are_named():
    records = [
        dataclasses.replace(r, libraries={"zarr": "3.4.2" if i > 11 else "3.1.6"}, load_average=3.5 if i > 11 else 1.0)
        for i, r in enumerate(ratios(STEP))
    ]
    (step,) = steps_of(records)
    assert step.meanwhile == ["load average 1.0 to 3.5", "zarr 3.1.6 to 3.4.2"]


def commit_range(before, after, repository=Path("none")):
    step = Step(key=None, figure="files", place=1, before=before, after=after, level_before=1.0, level_after=2.0)
    return step.commits(repository)


def test_a_range_names_the_commits_and_counts_them_where_git_has_them(tmp_path):
    def git(*words):
        return subprocess.run(
            ["git", "-c", "user.name=n", "-c", "user.email=e@e", *words],
            cwd=tmp_path, check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip

    git("init", "-q")
    commits = []
    for number in range(4):
        git("commit", "-q", "--allow-empty", "-m", str(number))
        commits.append(git("rev-parse", "HEAD"))
    before, after = run(1, [], commit=commits[0]), run(2, [], commit=commits[3], dirty=True)
    assert commit_range(before, after, tmp_path) == f"{commits[0][:7]}..{commits[3][:7]}+changes (3 commits)"
    assert commit_range(before, after, tmp_path / "none") == f"{commits[0][:7]}..{commits[3][:7]}+changes"
    assert commit_range(run(1, []), run(2, []), tmp_path) == "0000001..0000002"
    assert commit_range(before, run(2, [], commit=None)) == "run01..run02 (no commits recorded)"
    assert commit_range(before, before) == f"{commits[0][:7]} both times"


def test_a_quarter_more_after_five_runs_is_found_under_noise():
    """25 % after 5 runs, in cells with 2 % noise of their own on a machine that drifts and is disturbed."""
    hits, exact, slowed = found(1, 30, 1.25, 0.02)
    assert exact <= hits <= slowed == 20 and exact >= 0.7 * slowed
