"""The README keeps its word: its commands run, its numbers are the committed reference run's, its links exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from outputs import af2_result, attention_folder, pickled

from harness.backends.archive import open_archive
from harness.cli import main
from harness.evidence import compare
from harness.report.findings import find_options
from harness.report.write import write_report
from suites.tracking.directories import af2, digests

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.S)
COMMANDS = [line.partition(" #")[0].strip() for block in BLOCKS for line in block.splitlines() if line.strip()]

# What takes minutes, or is this very test run, is run by .ci/run or by hand; each stands there word for word.
ELSEWHERE = {"make bench", "make test", "make capture-demo"}

# Where the exit code is the answer.
ANSWERS = {"harness history show": 3}


def test_commands_that_are_not_run_here_stand_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    assert set(COMMANDS) & ELSEWHERE == ELSEWHERE
    for command in ELSEWHERE:
        assert re.search(rf"^{command.split()[1]}:", makefile, re.M)


OF_A_RUN = re.compile(r"results/first|first\.bundle|history")  # of the README's first run and what follows from it


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """Run commands of the README in an empty folder."""
    monkeypatch.chdir(tmp_path)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def run(commands: list[str]) -> None:
        for written in commands:
            command = written.replace(".venv/bin/", "")
            if "HARNESS_DATA=" in command:  # real data of the reader's; here it is refused with what to do
                result = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True)
                assert result.returncode == 2 and "needs the file" in result.stderr, result.stderr
                continue
            words = shlex.split(command)
            assert words[0] == "harness", command
            result = subprocess.run(words, env=environment, capture_output=True, text=True)
            assert result.returncode == ANSWERS.get(command, 0), f"{command}: {result.stderr}"

    return run


def test_every_command_on_a_run_works(shell):
    shell([command for command in COMMANDS if OF_A_RUN.search(command)])


def test_every_other_command_works(shell, tmp_path):
    before = digests(af2(tmp_path / "predictions" / "job"))
    (tmp_path / "attention").mkdir()
    attention_folder(tmp_path / "attention" / "1UBQ_1")
    pickled(tmp_path / "result_model_1.pkl", af2_result())
    shell([command for command in COMMANDS if command not in ELSEWHERE and not OF_A_RUN.search(command)])
    assert digests(tmp_path / "predictions" / "job") == before  # slimmed and brought back
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.S)
    found: dict[str, Any] = {}
    exec(snippet, found)  # reads the archive that a command above wrote
    with open_archive(tmp_path / "trace.h5") as (_, reader, _):
        np.testing.assert_array_equal(found["stored"], reader.read("activations/layer_1/pair_repr"))


def test_every_subcommand_is_in_the_readme(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    known = set(re.findall(r"^    ([a-z]+)  ", capsys.readouterr().out, re.M))
    assert {"run", "report", "convert"} <= known
    shown = set(re.findall(r"\bharness ([a-z-]+)", README))
    assert known - shown == set()


def summary_of(run: str = "reference") -> pd.DataFrame:
    return pd.read_csv(ROOT / "results" / run / "summary.csv")


def rows_of(heading: str) -> list[list[str]]:
    table = README[README.index(heading) :]
    lines = re.search(r"\n(\|.*?)\n\n", table, re.S).group(1).splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize(
    ("run", "trace"),
    [
        ("reference", "synthetic:values=protein,layers=1"),
        ("reference", "af2-1ubq"),
        ("long-sequences", "synthetic:values=protein,layers=1"),
    ],
)
def test_the_result_tables_are_those_of_the_committed_runs(run, trace):
    summary = summary_of(run)
    part = summary[summary["trace"] == trace]
    part = part[part["n_res"] == part["n_res"].max()]
    header, _, *rows = rows_of(f"<!-- {run}: {trace} -->")
    assert len(rows) >= 4
    for row in rows:
        suite, access, cache = re.search(r"`(\w+)/(\w+)(?:/(\w+))?`", row[0]).groups()
        for name, text in zip(header[1:], row[1:], strict=True):
            found = part[(part["suite"] == suite) & (part["access"] == access) & (part["format"] == name)]
            found = found[(found["executor"] == "main") & (found["cache"].fillna("") == (cache or ""))].iloc[0]
            number = float(re.search(r"[\d.]+", text).group())
            if suite == "size":
                assert number == pytest.approx(found["ratio_to_float32"], abs=0.006), (row[0], name)
                continue
            assert number == pytest.approx(found["median_seconds"] * 1e3, rel=0.01), (row[0], name)
            if name != "zarr":
                assert found["verdict"] in text, (row[0], name)


def test_the_errors_of_the_cost_model_are_those_of_the_reference_projection():
    rows = json.loads((ROOT / "results" / "reference" / "projection.json").read_text())["rows"]
    found = [100 * row[name] for row in rows for name in ("error_by_length", "error_by_access")]
    said = re.search(r"the median error on what was left out is (\d+) to (\d+) %", README).groups()
    assert tuple(map(int, said)) == (round(min(found)), round(max(found)))


ROUTES = {
    "npz, ranges": ("npz", "tuned"),
    "npz, download": ("npz-download", "tuned"),
    "hdf5, blocks of 1 MiB kept": ("hdf5", "tuned"),
    "hdf5, by reference": ("hdf5-reference", "tuned"),
    "zarr, as the seed wrote it": ("zarr", "seed"),
    "zarr": ("zarr", "tuned"),
    "zarr-slim": ("zarr-slim", "tuned"),
    "one GET of what zarr-slim read": ("one GET", ""),
}


def test_the_table_of_object_storage_is_that_of_its_samples():
    pytest.importorskip("obstore", reason="the extra 's3' is not installed")
    from suites.tracking.object_store import goals

    samples = pd.read_csv(ROOT / "results" / "object-storage" / "samples.csv", keep_default_na=False)
    samples["total"] = samples["seconds"] + samples["open_seconds"]
    _, _, *rows = rows_of("<!-- object-storage -->")
    assert [row[0] for row in rows] == list(ROUTES)
    for label, *cells in rows:
        for access, text in zip(("50 windows", "one pair layer"), cells, strict=True):
            arm = samples[(samples["format"] == ROUTES[label][0]) & (samples["profile"] == ROUTES[label][1])]
            arm = arm[(arm["latency_ms"] == 20) & (arm["access"] == access)]
            said = [float(number) for number in re.findall(r"[\d.]+", text)]
            total, requests, nbytes = arm[["total", "requests", "bytes_read"]].median()
            assert len(arm) == 10, (label, access)
            assert said == [pytest.approx(total * 1e3, abs=0.51), requests, pytest.approx(nbytes / 1e6, abs=0.051)]
    windows, _, layer = (found.value for found in goals(samples))
    said = re.search(r"the windows ([\d.]+) times as fast as the seed's Zarr, and a layer in ([\d.]+) of", README)
    assert tuple(map(float, said.groups())) == (round(windows, 1), round(layer, 2))


def test_the_answer_is_that_of_the_reference_report():
    report = (ROOT / "results" / "reference" / "report.md").read_text()
    answer = re.search(r"^\*\*(.+)\*\*$", report, re.M).group(1)
    quoted = " ".join(line.removeprefix("> ") for line in README.splitlines() if line.startswith("> "))
    assert quoted == answer


@pytest.mark.parametrize("run", ["reference", "long-sequences"])
def test_a_committed_report_follows_from_the_committed_samples(run, tmp_path):
    """All but the drawings, whose bytes depend on the version of matplotlib."""
    committed, copy = ROOT / "results" / run, tmp_path / "results" / run
    shutil.copytree(committed, copy)
    write_report(copy, find_options(copy))
    made = {name: (copy / name).read_bytes() for name in ("summary.csv", "report.json", "report.md")}
    kept = {name: (committed / name).read_bytes() for name in made}
    assert compare.tables(kept["summary.csv"], made["summary.csv"], ["suite", "access", "trace", "format"]) == []
    assert compare.documents(kept["report.json"], made["report.json"]) == []
    assert compare.texts(kept["report.md"], made["report.md"]) == []


@pytest.mark.parametrize(
    ("cache", "said"),
    [
        ("warm", r"in (?P<faster>\d+) of (?P<all>\d+) comparisons"),
        ("cold", r"in (?P<faster>\d+) of (?P<all>\d+), `slower` in (?P<slower>\d+)"),
    ],
)
def test_the_counts_of_verdicts_are_those_of_the_reference_run(cache, said):
    summary = summary_of()
    words = summary.loc[(summary["format"] == "hdf5") & (summary["cache"] == cache), "verdict"].dropna()
    found = {name: int(n) for name, n in re.search(said, README).groupdict().items()}
    assert found.pop("all") == len(words)
    assert found == {name: int((words == name).sum()) for name in found}


def test_the_other_figures_of_the_result_are_those_of_the_reference_run():
    summary = summary_of()
    windows = summary[(summary["format"] == "zarr-slim") & summary["access"].isin(["window_attention", "window_pair"])]
    words = windows["verdict"].dropna()
    said = re.search(r"its windows are `faster` than\s+Zarr's in (\d+) of (\d+)", README)
    assert tuple(map(int, said.groups())) == (int((words == "faster").sum()), len(words))
    warm = summary[(summary["format"] == "hdf5") & (summary["cache"] == "warm")].dropna(subset="verdict")
    factor = float(re.search(r"factor of ([\d.]+) at the median", README).group(1))
    assert factor == pytest.approx(1 / warm["ratio"].median(), abs=0.05)


@pytest.mark.parametrize("name", ["hdf5", "zarr-slim"])
def test_the_counts_for_long_sequences_are_those_of_their_run(name):
    summary = summary_of("long-sequences")
    reads = ("full_read", "layer_read", "random_access", "parallel_access")
    words = summary.loc[(summary["format"] == name) & summary["suite"].isin(reads), "verdict"].dropna()
    said = re.search(r"are `faster` than Zarr in (\d+) of (\d+) reads of that length each", README)
    assert tuple(map(int, said.groups())) == (int((words == "faster").sum()), len(words))


def test_the_table_of_chunk_shapes_is_that_of_their_search():
    found = pd.read_csv(ROOT / "results" / "long-sequences" / "tune-hdf5" / "candidates.csv")
    found = found[(found["role"] == "pair") & (found["choice"] != "twin") & found["codec"].str.startswith("blosc-lz4")]
    _, _, *rows = rows_of("<!-- tune -->")
    for label, windows, part, cost in rows:
        (candidate,) = found[found["chunks"] == label.partition(",")[0]].to_dict("records")
        assert ("present" in str(candidate["choice"])) is ("present" in label)
        assert float(windows) == pytest.approx(candidate["window_pair warm"] * 1e3, abs=0.051)
        assert float(part) == pytest.approx(candidate["pair_layer warm"] * 1e3, abs=0.51)
        ratios = (
            [candidate["ratio"]] if "present" in label else [candidate[f"ratio{end}"] for end in ("", "_low", "_high")]
        )
        assert [float(number) for number in re.findall(r"[\d.]+", cost)] == pytest.approx(ratios, abs=0.0051)
        assert candidate["rounds"] in (3, 4)


def test_every_local_link_exists():
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README):
        assert (ROOT / target).exists(), target


def test_the_reference_run_is_whole():
    summary = summary_of()
    assert (summary["status"].isin(["ok", "skipped"])).all()
    assert summary.loc[summary["suite"].eq("full_read"), "samples"].ge(10).all()
    for name in ("storage_size", "full_read", "layer_read", "random_access", "parallel_access"):
        for kind in ("png", "svg"):
            assert (ROOT / "plots" / "reference" / f"{name}.{kind}").stat().st_size > 1000
