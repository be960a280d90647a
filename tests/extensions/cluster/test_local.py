"""``harness run --cluster local`` from its first task to the check, through submitit, in processes of this machine."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from harness.cli import main
from harness.row_files import read_samples
from tests.conftest import TINY
from tests.extensions.cluster.killing import KILL
from tests.extensions.test_readme_commands import ROOT, commands

pytestmark = pytest.mark.slow
pytest.importorskip("submitit", reason="the extra 'cluster' is not installed")

SMALL = ["--trace", TINY.traces[0], "--formats", "hdf5", "--baseline", "hdf5", "--suites", "size,layer_read",
         "--rounds", "2", "--readers", "stock"]  # fmt: skip


def _tasks(folder: Path) -> list[tuple[str, int, bool]]:
    return [
        (t["part"], t["attempt"], not t["problem"]) for t in json.loads((folder / "cluster.json").read_text())["tasks"]
    ]


def test_the_commands_of_the_page_run_end_to_end(sketched, tmp_path, monkeypatch, capsys):
    """They stand in docs/cluster.md; here on a trace that is small, and cold reads too."""
    (command,) = commands(ROOT / "docs" / "cluster.md")
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command.replace(".venv/bin/", ""))[1:]
    assert main([*words, *SMALL, "--cache", "both"]) == 0
    said = capsys.readouterr().out
    folder = tmp_path / words[words.index("--out") + 1]
    assert _tasks(folder) == [("write", 1, True), ("measure", 1, True)] * 2
    rows = read_samples(folder / "samples.csv")
    assert set(rows["status"]) <= {"ok", "skipped"} and set(rows["n_res"]) == {64, 128}
    assert {"warm"} < set(rows["cache"]) - {""} <= {"warm", "cold", "lukewarm"}
    assert "statements of the merged run follow from its samples" in said
    assert "2 of 2 blocks were read on the node that wrote their archives" in said
    assert main(["bundle", str(folder), "--out", str(tmp_path / "b.zip")]) == 0
    assert main(["check", str(tmp_path / "b.zip"), "--quiet"]) == 0
    before = (folder / "samples.csv").read_bytes()
    assert main(["run", "--quiet", "--resume", "--cluster", "local", "--out", str(folder)]) == 0
    assert (folder / "samples.csv").read_bytes() == before and len(_tasks(folder)) == 4


def test_a_task_that_is_killed_is_run_again(sketched, tmp_path, monkeypatch):
    mark = tmp_path / "kill"
    mark.touch()
    monkeypatch.setenv(KILL, str(mark))
    monkeypatch.chdir(ROOT)
    folder, backend = tmp_path / "run", "tests.extensions.cluster.killing:Killing"
    command = ["run", "--quiet", "--preset", "quick", *SMALL, "--sizes", "24", "--cache", "warm", "--backend", backend]
    assert main([*command, "--cluster", "local", "--out", str(folder)]) == 0
    assert _tasks(folder) == [("write", 1, False), ("write", 2, True), ("measure", 1, True)]
    problem = json.loads((folder / "cluster.json").read_text())["tasks"][0]["problem"]
    assert problem.startswith("the task ended without an answer")
    assert "killing" in set(read_samples(folder / "samples.csv")["format"])
