"""What is told of nodes: clocks that disagree, memory, caches that cannot be emptied; and what is refused before."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import UsageError
from harness.extensions.cluster import node
from harness.extensions.cluster.document import notes
from harness.extensions.cluster.jobs import Jobs
from harness.run.config import RunConfig
from harness.sampling import cache
from tests.conftest import TINY

NODE = {
    "host": "a", "memory_bytes": 10**9, "filesystem": "lustre", "storage": "lustre", "stripe_count": 4,
    "clock_offset_seconds": 0.01,
}  # fmt: skip


def task(part="measure", host="a", *, outside=0.0, **changes):
    return {
        "block": "b", "trace": "t", "n_res": 8, "part": part, "attempt": 1, "job": "1", "problem": "",
        "node": NODE | {"host": host} | changes, "seconds": 1.0, "files": 3 if part == "write" else 0,
        "archive_bytes": 5 * 10**9 if part == "write" else 0, "clock_outside_seconds": outside,
    }  # fmt: skip


def document(*tasks, **changes):
    return {
        "cluster": "slurm", "at_once": 2, "minutes": 9, "files_budget": 50, "lukewarm": False, "tasks": list(tasks),
    } | changes  # fmt: skip


def test_a_node_is_described_as_far_as_programs_tell(tmp_path, monkeypatch):
    found = node.describe_node(tmp_path)
    assert found["host"] and found["filesystem"] and found["stripe_count"] is None
    assert abs(found["clock_offset_seconds"]) < 60 and not list(tmp_path.iterdir())
    lfs = tmp_path / "lfs"
    lfs.write_text("#!/bin/sh\necho 4\n")
    lfs.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURMD_NODENAME", "node7")
    found = node.describe_node(tmp_path)
    assert (found["stripe_count"], found["host"]) == (4, "node7")
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert node.describe_node(tmp_path)["storage"] == ""


def test_a_clock_that_is_behind_the_filesystem_shows(tmp_path, monkeypatch):
    now = time.time
    monkeypatch.setattr(node.time, "time", lambda: now() - 100)
    assert node.describe_node(tmp_path)["clock_offset_seconds"] == pytest.approx(100, abs=30)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"clock_offset_seconds": -7.5}, "the shared filesystem differ by 7.5 s"), ({"outside": 3.0}, "differ by 3.0 s")],
)
def test_clocks_that_disagree_are_told(changes, said):
    assert any(said in note and "clock of a" in note for note in notes(document(task(**changes))))
    assert not any("clock" in note for note in notes(document(task())))


def test_memory_of_all_hosts_and_the_data_are_stated_and_readers_apart():
    said = notes(document(task("write", "a"), task("measure", "b"), lukewarm=True))
    assert "Every archive was read on another node than the one that wrote it." in said
    assert any(
        "All archives have 5 GB. The memory of 1 host that read them: 1 GB; the data are 5 times" in s for s in said
    )
    assert any("lukewarm" in note and "No grade uses them" in note for note in said)


def test_a_script_for_slurm_asks_for_a_node_alone_and_not_for_the_one_that_wrote(tmp_path):
    pytest.importorskip("submitit", reason="the extra 'cluster' is not installed")
    jobs = Jobs("slurm", tmp_path / "jobs", 90, {"partition": "long", "exclude": "broken1"})
    lines = jobs.script("002-t-8-measure", "node7").splitlines()
    for line in ("--exclusive", "--no-requeue", "--nodes=1", "--ntasks-per-node=1", "--mem=0", "--partition=long",
                 "--time=90", "--exclude=broken1,node7"):  # fmt: skip
        assert f"#SBATCH {line}" in lines
    assert any(line.startswith("srun ") and "submitit.core._submit" in line for line in lines)
    assert not any("wckey" in line for line in lines)


def test_without_submitit_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=r"needs the package 'submitit': pip install 'trace-format-harness\[cluster\]'"
    ):
        Jobs("local", Path("jobs"), 1).require()


SMALL = ["--preset", "quick", "--trace", TINY.traces[0], "--formats", "hdf5", "--suites", "size", "--readers", "stock"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--cluster", "slrm"], "There is no cluster named 'slrm'; did you mean 'slurm'?"),
        (["--task-minutes", "5"], "--task-minutes is an option of --cluster"),
        (["--cluster", "local", "--at-once", "2"], "one task after the other on this machine"),
        (["--cluster", "local", "--task-minutes", "x"], "--task-minutes takes a positive integer"),
        (["--cluster", "slurm", "--sbatch", "partition"], "--sbatch takes options as KEY=VALUE"),
        (["--cluster", "slurm", "--sbatch", "A b=c"], "--sbatch takes options as KEY=VALUE"),
        (["--cluster", "slurm", "--sbatch", "partition=a,array=0-3"], "--sbatch cannot set array, which --cluster"),
        (["--cluster", "slurm", "--sbatch", "requeu=1"], "--sbatch cannot set requeu, which --cluster sets itself"),
        (["--cluster", "local", "--trace-bytes", "9999999"], "cuts a trace at all its lengths alike"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence_before_anything_is_written(tmp_path, capsys, options, said):
    assert main(["run", "--quiet", *SMALL, "--sizes", "16,24", *options, "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert said in told and len(told.splitlines()) == 1 and not (tmp_path / "run").exists()


def test_without_slurm_it_is_said_and_its_script_is_written(tmp_path, capsys, monkeypatch):
    pytest.importorskip("submitit", reason="the extra 'cluster' is not installed")
    monkeypatch.setenv("PATH", str(tmp_path))
    run = ["run", "--quiet", *SMALL, "--sizes", "16", "--cluster", "slurm", "--out", str(tmp_path / "run")]
    assert main(run) == 2 and "There is no Slurm here" in capsys.readouterr().err
    assert main([*run, "--script", str(tmp_path / "task.sbatch")]) == 0
    assert "Nothing was submitted" in capsys.readouterr().out and not (tmp_path / "run").exists()
    assert "#SBATCH --exclude=WRITER" in (tmp_path / "task.sbatch").read_text()


def test_a_run_that_was_begun_in_tasks_is_continued_in_tasks(tmp_path, capsys):
    TINY.save(tmp_path / "run.json")
    (tmp_path / "cluster.json").write_text("{}")
    assert main(["run", "--resume", "--out", str(tmp_path)]) == 2
    assert "continue it with --cluster" in capsys.readouterr().err


def test_only_a_filesystem_that_keeps_nothing_elsewhere_proves_a_cold_read(monkeypatch, tmp_path):
    for kind, proven in {
        "ext4": True,
        "xfs": True,
        "nfs4": False,
        "lustre": False,
        "zfs": False,
        "overlay": False,
    }.items():
        monkeypatch.setattr(cache, "filesystem", lambda path, kind=kind: kind)
        assert cache.cold_is_proven(tmp_path) is proven


def test_cold_reads_that_cannot_be_proven_are_asked_for_as_lukewarm(monkeypatch, tmp_path):
    from argparse import Namespace

    from harness.extensions.cluster.launcher import ClusterLauncher

    given = Namespace(task_minutes=None, at_once=None, files_budget=None, sbatch=None, script=None)
    launcher, told = ClusterLauncher("local", given), list[str]()
    config: RunConfig = dataclasses.replace(TINY, caches=("warm", "cold"))
    monkeypatch.setattr(cache, "filesystem", lambda path: "ext4")
    assert launcher.settled(config, tmp_path, told.append) == config and not told
    # A login node may be the server of what it sees as ext4.
    given.sbatch = "partition=long,constraint=a&b"
    on_nodes, of_threads = ClusterLauncher("slurm", given), list[str]()
    assert on_nodes.settled(config, tmp_path, of_threads.append).caches == ("warm", "lukewarm")
    assert of_threads[0].startswith("Threads of each contender: ") and "give --threads" in of_threads[0]
    assert on_nodes.typed == " --cluster slurm --sbatch 'partition=long,constraint=a&b'"
    monkeypatch.setattr(cache, "filesystem", lambda path: "nfs4")
    assert launcher.settled(config, tmp_path, told.append).caches == ("warm", "lukewarm")
    assert "called lukewarm" in told[0]
