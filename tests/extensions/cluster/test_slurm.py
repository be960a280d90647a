"""``--cluster slurm`` with stand-ins for the commands of Slurm: states, refusals, nodes, interruption."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import HarnessError, UsageError
from harness.extensions.cluster.campaign import Campaign
from harness.extensions.cluster.document import notes, read_cluster
from harness.extensions.cluster.jobs import Jobs
from harness.row_files import read_samples
from harness.run.machine import read_environment
from harness.sampling import cache
from tests.conftest import TINY
from tests.extensions.cluster import stand_in

submitit = pytest.importorskip("submitit", reason="the extra 'cluster' is not installed")

SMALL = ["run", "--quiet", "--preset", "quick", "--trace", TINY.traces[0], "--formats", "hdf5", "--baseline", "hdf5",
         "--suites", "size,layer_read", "--rounds", "2", "--readers", "stock", "--sizes", "24,40"]  # fmt: skip


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the jobs of a stand-in for Slurm."""
    from submitit.slurm.slurm import SlurmInfoWatcher

    state = tmp_path / "slurm"
    state.mkdir()
    monkeypatch.setenv("PATH", f"{stand_in.install(tmp_path / 'bin')}:{os.environ['PATH']}")
    monkeypatch.setenv(stand_in.STATE, str(state))
    monkeypatch.setattr(submitit.SlurmJob, "watcher", SlurmInfoWatcher(delay_s=1))
    monkeypatch.setattr(submitit.SlurmJob, "_results_timeout_s", 0)  # a job that has failed leaves no answer
    return state


@pytest.fixture
def jobs(slurm: Path, tmp_path: Path) -> Jobs:
    """Tasks on it."""
    found = Jobs("slurm", tmp_path / "jobs", 5, {"partition": "long"})
    found.require()
    return found


def test_a_task_gives_its_answer_and_is_asked_for_once(jobs, slurm):
    assert jobs.wait(jobs.start("t", divmod, 7, 2, exclude="node1")).value == (3, 1)
    lines = (slurm / "1.sh").read_text().splitlines()
    assert {"#SBATCH --no-requeue", "#SBATCH --exclude=node1", "#SBATCH --partition=long"} <= set(lines)
    assert (slurm / "1.state").read_text().endswith("|node2")


@pytest.mark.parametrize("state", ["NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT", "CANCELLED"])
def test_a_task_that_slurm_ended_is_told_with_its_state(jobs, slurm, state):
    (slurm / "next").write_text(state)
    problem = jobs.wait(jobs.start("t", divmod, 7, 2)).problem
    assert problem.startswith(f"the task ended without an answer (state {state})")


def test_a_task_that_was_preempted_is_given_up_and_cancelled(jobs, slurm):
    (slurm / "next").write_text("PREEMPTED")
    assert jobs.wait(jobs.start("t", divmod, 7, 2)).problem == "the task was pre-empted"
    assert (slurm / "1.state").read_text().startswith("CANCELLED")


def test_what_a_task_raises_is_told(jobs):
    assert "division" in jobs.wait(jobs.start("t", divmod, 7, 0)).problem


def test_a_task_that_sbatch_refuses_is_one_sentence(jobs, slurm):
    (slurm / "next").write_text("REFUSE")
    with pytest.raises(HarnessError, match=r"^The task t could not be started: .*Invalid partition name specified\."):
        jobs.start("t", divmod, 7, 2)


def test_a_slurm_without_accounting_is_refused(jobs, slurm):
    (slurm / "no-accounting").touch()
    with pytest.raises(UsageError, match=r"sacct fails \(Slurm accounting storage is disabled\)"):
        jobs.require()


def test_tasks_are_ended_and_waited_for(jobs, slurm):
    jobs.start("t", time.sleep, 600)
    jobs.cancel()
    assert (slurm / "1.state").read_text().startswith("CANCELLED")


@pytest.mark.slow
def test_a_run_is_written_and_read_on_nodes_apart_and_is_continued_in_the_same_way(slurm, sketched, tmp_path, capsys):
    if cache.filesystem(tmp_path) in ("tmpfs", "ramfs"):
        pytest.skip("the temporary folder is in memory, where nothing can be evicted")
    (slurm / "next").write_text("run\nNODE_FAIL\n")  # of the first task that measures
    folder = tmp_path / "run"
    assert main([*SMALL, "--cache", "both", "--cluster", "slurm", "--at-once", "1", "--out", str(folder)]) == 0
    document = read_cluster(folder)
    assert [(t["part"], not t["problem"]) for t in document["tasks"]] == [
        ("write", True), ("measure", False), ("measure", True), ("write", True), ("measure", True),
    ]  # fmt: skip
    assert "Every archive was read on another node than the one that wrote it." in notes(document)
    nodes = [task["node"]["host"] for task in document["tasks"] if task["part"] == "measure" and task["node"]]
    assert [s["node"] for s in read_environment(folder / "environment.json")["sessions"]] == nodes
    rows = read_samples(folder / "samples.csv")
    assert set(rows["cache"]) - {""} == {"warm", "lukewarm"} and set(rows["status"]) <= {"ok", "skipped"}
    capsys.readouterr()
    assert main(["run", "--quiet", "--resume", "--cluster", "local", "--out", str(folder)]) == 2
    assert "was begun with --cluster slurm: continue it so." in capsys.readouterr().err
    assert main(["run", "--quiet", "--resume", "--cluster", "slurm", "--out", str(folder)]) == 0
    assert len(read_cluster(folder)["tasks"]) == 5


@pytest.mark.slow
def test_a_run_whose_task_is_refused_ends_with_what_was_said(slurm, tmp_path, capsys):
    (slurm / "next").write_text("REFUSE")
    assert main([*SMALL, "--cache", "warm", "--cluster", "slurm", "--out", str(tmp_path / "run")]) == 1
    assert "Invalid partition name specified. Check --sbatch, and resume the run." in capsys.readouterr().err


@pytest.mark.slow
def test_an_interrupted_run_says_how_to_continue_it(tmp_path, monkeypatch, capsys):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Campaign, "measure", interrupted)
    folder = tmp_path / "run"
    command = [*SMALL, "--cache", "warm", "--cluster", "local", "--task-minutes", "7", "--out", str(folder)]
    assert main(command) == 130
    said = capsys.readouterr().err
    onward = f"Continue with: harness run --resume --out {folder} --cluster local --task-minutes 7"
    assert "Interrupted; blocks that were measured are kept." in said and onward in said
    assert not (folder / "report.md").exists()


@pytest.mark.slow
def test_a_strangers_pickles_are_removed_and_links_refused(run_copied, sketched, tmp_path, capsys):
    planted = run_copied / "tasks" / "jobs" / "1_0_result.pkl"
    planted.parent.mkdir()
    planted.write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    resume = ["run", "--quiet", "--resume", "--cluster", "local", "--out", str(run_copied)]
    assert main(resume) == 0 and not planted.exists()
    block = next(path for path in (run_copied / "tasks").iterdir())
    elsewhere = block.rename(tmp_path / "elsewhere")
    block.symlink_to(elsewhere)
    before = (run_copied / "samples.csv").read_bytes()
    capsys.readouterr()
    assert main(resume) == 2 and f"{block} is a link: remove it" in capsys.readouterr().err
    assert (run_copied / "samples.csv").read_bytes() == before and json.loads((elsewhere / "1/run.json").read_text())
