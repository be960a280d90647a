"""The commands do what they say, in a terminal or not."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from harness.cli import main
from harness.formats.archive import verify_archive
from harness.report.section import installed
from harness.row_files import read_samples
from harness.run.config import RunConfig
from harness.run.defaults import complete
from harness.run.presets import OWN, PRESETS
from harness.workload import PlanOptions
from tests.conftest import UNDRAWN, plain

TRACE = "synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4"
SMALL = ["--preset", "quick", "--trace", TRACE, "--sizes", "16", "--formats", "hdf5,npz", "--rounds", "2",
         "--readers", "stock"]  # fmt: skip
RECORDS = {
    "run.json", "plan.json", "environment.json", "archives.json", "ledger.csv", "samples.csv",
    "summary.csv", "report.json", "report.md", "report.html",
}  # fmt: skip


def records(run: Path) -> set[str]:
    """What a run leaves, without the files of extensions."""
    theirs = {name for section in installed() for name in (*section.measured, *section.published)}
    return {path.name for path in run.iterdir()} - theirs - {"plots"}


@pytest.mark.slow
def test_a_run_leaves_its_records_its_report_and_its_plots(tmp_path, capsys):
    run = tmp_path / "results" / "mine"
    assert main(["run", *SMALL, "--workers", "2", "--executors", "threads", "--out", str(run)]) == 0
    out = plain(capsys.readouterr().out)
    assert (
        "No verdict on times: it needs 10 rounds, and this run has 2." in out
        and "as measured size" in out
        and str(run / "report.html") in out
    )
    assert records(run) == RECORDS | {"scaling.csv"}
    names = ("criteria", "storage_size", "full_read", "layer_read", "random_access", "parallel_access")
    plots = run / "plots"
    drawn = {
        p.name for p in plots.iterdir() if p.stem not in {name for section in installed() for name in section.drawn}
    }
    assert drawn == {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    before = {p: p.read_bytes() for p in (*plots.iterdir(), run / "summary.csv")}
    assert main(["plot", str(run)]) == 0
    assert all(p.read_bytes() == data for p, data in before.items())
    ledger = pd.read_csv(run / "ledger.csv")
    assert set(ledger["format"]) == {"hdf5", "npz", "raw"} and ledger["origin"].notna().all()


@pytest.mark.slow
def test_the_seed_preset_measures_in_the_seeds_settings(sketched, tmp_path):
    run = tmp_path / "run"
    trace = "synthetic:values=noise,layers=1,heads=2,hidden_dim=8,pair_dim=4"
    options = ["--trace", trace, "--sizes", "16", "--rounds", "1", "--formats", "zarr", "--suites", "full_read"]
    assert main(["run", "--quiet", "--preset", "seed", "--readers", "stock", *options, "--out", str(run)]) == 0
    assert not (run / "benchmark_results.csv").exists()
    ledger = pd.read_csv(run / "ledger.csv")
    zarr = ledger[(ledger["format"] == "zarr") & (ledger["role"] == "attention")].set_index("profile")
    assert zarr.loc["seed", "codec"] == "blosc-zstd-3 byte shuffle" and set(zarr.index) == {"seed", "tuned"}


def test_a_preset_leaves_out_a_trace_whose_data_are_missing_and_says_so(sketched, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    options = ["--preset", "parallel", "--formats", "hdf5", "--baseline", "hdf5", "--readers", "stock"]
    options += ["--sizes", "16", "--rounds", "1", "--cache", "warm", "--workers", "1", "--executors", "threads"]
    assert main(["run", *options, "--out", str(tmp_path / "run")]) == 0
    assert "the trace af2-1ubq needs real data: set HARNESS_DATA" in plain(capsys.readouterr().out)
    rows = read_samples(tmp_path / "run" / "samples.csv")
    assert rows["trace"].nunique() == 1 and "window_pair" in set(rows["access"])


def test_quiet_says_nothing(sketched, tmp_path, capfd):
    assert main(["run", "--quiet", *SMALL, "--suites", "size", "--out", str(tmp_path / "run")]) == 0
    assert capfd.readouterr() == ("", "")


def test_quiet_commands_on_runs_and_archives_say_nothing(sketched, tmp_path, capfd):
    run, archive = str(tmp_path / "run"), str(tmp_path / "a.npz")
    assert main(["run", "--quiet", *SMALL, "--suites", "size", "--out", run]) == 0
    for command in (
        ["report", run],
        ["plot", run],
        ["bundle", run, "--out", str(tmp_path / "run.bundle.zip")],
        ["convert", f"{TRACE},n_res=20", archive],
        ["convert", "--in-place", archive],
    ):
        assert main([*command, "--quiet"]) == 0
        assert capfd.readouterr() == ("", ""), command


def test_failed_cells_are_named_and_give_exit_code_one(sketched, tmp_path, capsys):
    options = [*SMALL, "--suites", "full_read", "--backend", "tests.liars:Zeros"]
    assert main(["run", "--quiet", *options, "--out", str(tmp_path / "run")]) == 1
    said = plain(capsys.readouterr().err)
    assert "zeros failed in 1 cell (full_read/all_tensors)" in said and "Traceback" not in said
    summary = pd.read_csv(tmp_path / "run" / "summary.csv")
    assert (summary.loc[summary["format"] != "zeros", "status"] == "ok").all()


def test_archives_are_converted_inspected_and_verified(tmp_path, capsys):
    chain = [tmp_path / name for name in ("a.npz", "b.h5", "c.zarr", "d.slim.zarr", "e.raw", "f.h5")]
    assert main(["convert", f"{TRACE},n_res=20", str(chain[0])]) == 0
    for source, destination in pairwise(chain):
        assert main(["convert", str(source), str(destination)]) == 0
    assert "verified bit for bit" in capsys.readouterr().out
    assert main(["verify", *map(str, chain)]) == 0
    assert all(verify_archive(path) == [] for path in chain)
    capsys.readouterr()
    shown = set()
    for path in chain:
        assert main(["inspect", str(path)]) == 0
        out = capsys.readouterr().out
        shown.add(plain(re.search(r"\n *\d+ tensors.*", re.sub(r"\n[^\n]* opens it[^\n]*", "", out), re.S).group()))
        assert "attention/layer_0" in out and "(2, 20, 20)" in out and "synthetic" in out
    assert len(shown) == 1  # the same tensors with the same digests in every format


def test_an_archive_is_a_trace(sketched, tmp_path):
    archive = tmp_path / "a.h5"
    main(["convert", f"{TRACE},n_res=20", str(archive)])
    options = ["--preset", "quick", "--trace", f"file:{archive}", "--formats", "npz", "--baseline", "npz"]
    options += ["--readers", "stock"]
    assert (
        main(["run", "--quiet", *options, "--suites", "full_read", "--rounds", "1", "--out", str(tmp_path / "r")]) == 0
    )
    rows = read_samples(tmp_path / "r" / "samples.csv")
    assert set(rows["trace"]) == {"file:a.h5"} and set(rows["n_res"]) == {20} and set(rows["status"]) == {"ok"}


def test_list_says_what_is_there_and_what_is_missing(capsys, monkeypatch):
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    assert main(["list"]) == 0
    out = plain(capsys.readouterr().out)
    assert "zarr-slim" in out and "parallel_access" in out and "HARNESS_DATA" not in out
    assert main(["list", "--check"]) == 0
    out = plain(capsys.readouterr().out)
    assert "zarr-slim" in out and "parallel_access" in out and "set HARNESS_DATA" in out


def start(tmp_path, *options):
    run = tmp_path / "results" / "run"
    command = [*UNDRAWN, "run", "--quiet", *SMALL, *options]
    return run, subprocess.Popen(
        [*command, "--out", str(run)],
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background inherit an ignored SIGINT, and would pass it on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for_samples(process, run, count):
    """Wait until a run has recorded something; how long that takes decides nothing."""
    while not (run / "samples.csv").exists() or (run / "samples.csv").read_bytes().count(b"\n") <= count:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 30])
def test_ctrl_c_keeps_what_was_measured_and_resume_finishes(sketched, tmp_path, count):
    run, process = start(tmp_path, "--suites", "write,full_read", "--rounds", "12")
    wait_for_samples(process, run, count)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert "Traceback" not in errors
    assert process.returncode == 130
    kept = len(read_samples(run / "samples.csv"))
    assert kept >= count and (run / "summary.csv").exists() and not (run / ".archives").exists()
    assert main(["run", "--quiet", "--resume", "--out", str(run)]) == 0
    rows = read_samples(run / "samples.csv")
    assert len(rows) > kept
    key = ["suite", "access", "format", "round"]
    assert not rows.duplicated(key).any()
    counts = rows[rows["access"] != "archive"].query("access != 'archive_durable'").groupby(["access", "format"]).size()
    assert (counts.drop("npz", level="format") == 12).all() and counts.min() >= 5  # npz may be decided after five


@pytest.mark.slow
def test_a_killed_run_leaves_no_process_and_no_half_row_and_continues(sketched, tmp_path):
    run, process = start(tmp_path, "--suites", "size,full_read", "--rounds", "12")
    wait_for_samples(process, run, 5)
    children = [int(p) for p in children_of(process.pid)]
    process.kill()
    process.communicate()
    for pid in children:
        while Path(f"/proc/{pid}").exists() and state(pid) != "Z":
            time.sleep(0.01)  # a worker ends when its connection closes
    assert main(["run", "--quiet", "--resume", "--out", str(run)]) == 0
    rows = read_samples(run / "samples.csv")
    assert not rows.duplicated(["suite", "access", "format", "round"]).any() and (rows["status"] != "failed").all()
    assert records(run) == RECORDS


def children_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


@pytest.mark.slow
@pytest.mark.parametrize(("formats", "bound"), [("hdf5,zarr-slim", None), ("hdf5,npz", PlanOptions.parallel_bytes)])
def test_windows_are_bounded_for_a_format_that_reads_whole_tensors(sketched, tmp_path, formats, bound):
    options = ["--trace", "synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4", "--sizes", "16", "--suites", "size"]
    options += ["--readers", "stock"]
    argv = ["run", "--quiet", *options, "--rounds", "1", "--formats", formats, "--baseline", "hdf5"]
    assert main([*argv, "--out", str(tmp_path / "run")]) == 0
    file = tmp_path / "run" / "run.json"
    assert RunConfig.read(file).options.parallel_bytes == bound
    document = json.loads(file.read_text())
    del document["options"]["parallel_bytes"]  # as in runs from before there was a choice
    file.write_text(json.dumps(document))
    assert RunConfig.read(file).options.parallel_bytes == 256 << 20


@pytest.mark.parametrize(("formats", "bound"), [(("hdf5",), None), (("hdf5", "npz"), PlanOptions.parallel_bytes)])
def test_a_run_without_a_number_of_windows_keeps_the_bound(tmp_path, formats, bound):
    config = complete(PRESETS[OWN] | {"run_id": "r", "preset": OWN, "formats": formats})
    assert config.options.parallel_windows is None and config.options.parallel_bytes == bound
    config.save(tmp_path / "run.json")
    assert RunConfig.read(tmp_path / "run.json").options == config.options
