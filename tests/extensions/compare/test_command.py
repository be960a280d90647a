"""``harness compare`` as it is called: codes, files, and one clear sentence for what it refuses."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from harness.cli import main
from harness.extensions.compare import command as comparing
from harness.extensions.compare import comparison
from harness.extensions.compare.record import Block
from harness.extensions.compare.side import Side, SideError
from tests.conftest import TINY, measured, plain

HERE = f"existing:{sys.executable}"
PAGE = (Path(__file__).parents[3] / "docs" / "compare.md").read_text()
FACTS = {
    "python": "3.12.1", "packages": {"zarr": "3.1.6"},
    "formats": ["npz", "hdf5", "zarr", "zarr-slim"],
    "suites": ["size", "write", "full_read", "layer_read", "random_access"],
}  # fmt: skip


@pytest.fixture
def simulated(monkeypatch):
    """Replace building by nothing and measuring by simulated times; returns what the sides were built from."""
    built = []

    def build(side, cache):
        built.append(side)
        return dataclasses.replace(side, facts=FACTS)

    def take(rounds, numbers, only=None):
        sides, settings, record, known = rounds.sides, rounds.settings, rounds.record, len(rounds.record.blocks)
        for question in rounds.questions:
            cells = [question.cell(s, a, f) for s, a, _ in question.cases for f in settings.formats]
            for cell in (cell for cell in cells if only is None or cell in only):
                for number in numbers:
                    rng = np.random.default_rng([number, len(str(cell)), settings.seed])
                    for side in sides:
                        seconds = 1e-3 * simulate.ratio ** (side.name == "head") * np.exp(rng.normal(0, simulate.noise))
                        if simulate.fails == "base":
                            raise SideError(side, ": it broke.")
                        if simulate.fails == "head":
                            record.failed[cell] = "it broke"
                        record.note(cell, side.name, bytes_read=1000 + (side.name == "head") * simulate.grown)
                        record.blocks.append(
                            Block(cell=cell, round=number, number=0, side=side.name, seconds=seconds, repetitions=9)
                        )
        for number in numbers:
            rounds.step(f"round {number}")
        return record.blocks[known:]

    def simulate(ratio=1.0, noise=0.01, grown=0, fails=""):
        simulate.ratio, simulate.noise, simulate.grown, simulate.fails = ratio, noise, grown, fails
        return built

    monkeypatch.setattr(comparing, "build", build)
    monkeypatch.setattr(comparison.Rounds, "take", take)
    monkeypatch.setattr(comparison, "read_each_other", lambda *_: [])
    simulate()
    return simulate


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ({}, 0, "No regression"),
        ({"ratio": 1.25}, 1, "Regression: "),
        ({"ratio": 0.5}, 0, "No regression"),
        ({"noise": 0.5}, 3, "rounds would settle it"),
        ({"grown": 1}, 1, "bytes_read 1,000 to 1,001"),
    ],
)
def test_the_exit_code_is_the_verdict_and_every_document_says_it(simulated, tmp_path, capsys, how, code, said):
    simulated(**how)
    out = tmp_path / "out"
    command = ["compare", "--env", HERE, "--env", HERE, "--sizes", "32", "--out", str(out)]
    assert main(command) == code
    printed = plain(capsys.readouterr().out)
    assert said in printed
    assert json.loads((out / "compare.json").read_text())["exit_code"] == code
    assert bool(ElementTree.parse(out / "junit.xml").findall(".//failure")) == (code == 1)
    assert said.split(":")[0] in (out / "compare.md").read_text().replace("\\", "")
    assert (out / "ratios.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "Name what to compare"),
        (["--env", HERE], "give --env twice"),
        (["main", "HEAD", "--env", HERE, "--env", HERE], "give --env twice"),
        (["--env", HERE, "--env", "existing:/nowhere"], "no interpreter /nowhere"),
        (["--env", HERE, "--env", HERE, "--rounds", "5"], "at least 10 rounds, got 5"),
        (["--env", HERE, "--env", HERE, "--suites", "layer_reed"], "did you mean 'layer_read'"),
        (["--env", HERE, "--env", HERE, "--formats", "zar"], "did you mean 'zarr'"),
        (["--env", HERE, "--env", HERE, "--threshold", "none"], "--threshold takes a number of percent"),
        (["--env", HERE, "--env", HERE, "--profile", "best"], "--profile takes one of"),
        (["--env", HERE, "--env", HERE, "--python", "/nowhere/python"], "no interpreter /nowhere/python"),
        (["no-such-commit", "HEAD"], "no base 'no-such-commit'"),
        (["lost.bundle.zip", "found.bundle.zip"], "There is no lost.bundle.zip"),
    ],
)
def test_what_is_refused_is_refused_in_one_sentence(tmp_path, monkeypatch, capsys, options, said):
    shutil.copy(Path(__file__), tmp_path)  # anything: the folder is not empty and no checkout
    monkeypatch.chdir(tmp_path)
    if options[:1] == ["no-such-commit"]:
        options = [*options, "--repo", str(Path(__file__).parents[3])]
    assert main(["compare", *options, "--quiet"]) == 2
    text = capsys.readouterr().err
    assert said in plain(text) and text.startswith("harness: ") and "Traceback" not in text
    assert not (tmp_path / "results").exists()


def test_what_head_fails_at_is_a_regression_and_what_base_fails_at_cannot_be_compared(simulated, tmp_path, capsys):
    command = ["compare", "--env", HERE, "--env", HERE, "--sizes", "32", "--formats", "hdf5"]
    simulated(fails="head")
    assert main([*command, "--out", str(tmp_path / "head")]) == 1
    document = json.loads((tmp_path / "head" / "compare.json").read_text())
    assert document["verdict"] == "regression" and {
        one["verdict"] for one in document["entries"] if one["kind"] == "measured"
    } == {"failed"}
    assert "hdf5 layer_read/head: failed in head: it broke" in plain(capsys.readouterr().out)
    simulated(fails="base")
    assert main([*command, "--out", str(tmp_path / "base")]) == 2
    assert f"Could not compare: base ({HERE}): it broke." in plain(capsys.readouterr().out)
    assert json.loads((tmp_path / "base" / "compare.json").read_text())["verdict"] == "not-comparable"


def test_a_stored_run_is_compared_with_a_stored_run(tmp_path, capsys):
    run = str(measured(tmp_path / "run", dataclasses.replace(TINY, rounds=10, suites=("size",))))
    shutil.copytree(run, tmp_path / "again")
    assert main(["compare", run, str(tmp_path / "again"), "--out", str(tmp_path / "out")]) == 0
    printed = plain(capsys.readouterr().out)
    assert "not paired" in printed and "no times were compared" in printed
    assert main(["compare", run, str(tmp_path / "again"), "--json", "--out", str(tmp_path / "json")]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "json" / "compare.json").read_text())
    assert main(["compare", run, "HEAD", "--out", str(tmp_path / "other")]) == 2
    assert "compare two runs or two commits" in capsys.readouterr().err


def test_the_commands_of_its_page_run(simulated, tmp_path, monkeypatch, capsys):
    """Their sides are not built: that takes the network and minutes."""
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^harness (compare .*?)(?:  +#.*)?$", PAGE, re.M)
    assert len(commands) >= 2
    monkeypatch.setattr(comparing, "commit_side", lambda n, text, p, *_: Side(name=n, label=text, python=p))
    for number, command in enumerate(commands):
        words = [sys.executable if "python3.12" in word else word for word in shlex.split(command)]
        assert main([*words, "--out", f"out-{number}"]) == 0
    labels = [side.label for side in simulated()]
    assert labels[:2] == ["main", "HEAD"] and "zarr==3.4.2" in labels
