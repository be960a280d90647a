"""``harness tune`` and what takes its profile file: run, resume, convert, bundle and check."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from harness.cli import main
from harness.extensions.tune.command import _read_by, _reader
from harness.formats.archive import open_archive
from harness.formats.base import load_format
from harness.formats.profile_file import read_profile_file
from harness.row_files import read_samples
from harness.run.config import RunConfig
from harness.trace.schema import Role
from tests.conftest import plain

pytestmark = pytest.mark.slow

TRACE = "synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4"
QUICK = ["--n-res", "40", "--rounds", "2", "--candidates", "3"]
FILES = {"samples.csv", "candidates.csv", "environment.json", "front.png", "front.svg"}

PROFILE = """version = 1
name = "mine"

[formats.hdf5.pair]
edge = 10
codec = "none"
"""


def refused(capsys, arguments, code, *parts):
    assert main(arguments) == code
    said = capsys.readouterr().err
    assert all(part in said for part in parts) and "Traceback" not in said, said
    assert len(said.strip().splitlines()) == 1


def test_a_search_leaves_its_samples_its_table_its_picture_and_a_profile_that_a_run_takes(tmp_path, capsys):
    out = tmp_path / "search"
    assert main(["tune", TRACE, "--format", "hdf5", *QUICK, "--name", "found", "--out", str(out)]) == 0
    said = plain(capsys.readouterr().out)
    assert "Read by h5py, the stock reader" in said and "--reader h5py" in (out / "found.toml").read_text()
    assert "cost against present" in said and "pair (3 candidates, 2 rounds" in said and "found.toml" in said
    assert {p.name for p in out.iterdir()} == FILES | {"found.toml"}
    table = pd.read_csv(out / "candidates.csv", keep_default_na=False)
    assert set(table["role"]) == {"pair", "attention", "single"} and set(table["status"]) == {"ok"}
    assert table.groupby("role")["choice"].apply(lambda c: c.str.contains("chosen").sum()).eq(1).all()
    file = read_profile_file(out / "found.toml")
    chosen = table[table["choice"].str.contains("chosen")].set_index("role")["candidate"]
    (settings,) = file.settings
    for role in (Role.PAIR, Role.ATTENTION, Role.SINGLE):
        assert ", ".join(f"{k}={v}" for k, v in settings.values(role).items()) in _sorted(chosen[role.value])
    run = [
        "run",
        "--quiet",
        "--preset",
        "quick",
        "--readers",
        "stock",
        "--trace",
        TRACE,
        "--sizes",
        "16",
        "--formats",
        "hdf5",
    ]
    run += ["--suites", "size", "--profile-file", str(out / "found.toml"), "--out", str(tmp_path / "run")]
    assert main(run) == 0
    assert set(read_samples(tmp_path / "run" / "samples.csv")["profile"]) >= {"tuned", "found"}


@pytest.mark.parametrize("name", ["zarr-slim", "npz", "hdf5"])
def test_candidates_are_read_by_the_stock_reader_unless_one_is_named(name):
    backend = load_format(name)
    assert _reader(backend, None) == backend.stock and not backend.readers[backend.stock].own
    own = next((reader for reader, spec in backend.readers.items() if spec.own), None)
    assert own is None or "a decoder of this project" in _read_by(backend, _reader(backend, own))


def _sorted(candidate):
    return ", ".join(sorted(candidate.split(", ")))


def test_an_archive_can_be_tuned_on(tmp_path, capsys):
    archive = tmp_path / "a.npz"
    assert main(["convert", f"{TRACE},n_res=20", str(archive)]) == 0
    options = ["--mix", "head=1", "--rounds", "1", "--candidates", "2", "--json", "--out", str(tmp_path / "search")]
    capsys.readouterr()
    assert main(["tune", str(archive), "--format", "npz", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["profile"] == str(tmp_path / "search" / "own.toml")
    assert all(role["settings"] and role["sentence"] for role in found["roles"])
    text = (tmp_path / "search" / "own.toml").read_text()
    assert "head=1.0" in text and 'trace = "file:a.npz"' in text and "n_res = 20" in text


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--format", "hdf6"], ["no format named 'hdf6'", "'hdf5'"]),
        (["--format", "raw"], ["'raw' has nothing to tune"]),
        (["--format", "hdf5", "--mix", "interactiv"], ["no mix named", "'interactive-viewer'"]),
        (["--format", "hdf5", "--mix", "head=2"], ["sum to 2"]),
        (["--format", "hdf5", "--rounds", "0"], ["--rounds", "a positive integer"]),
        (["--format", "hdf5", "--sample", "-1"], ["--sample", "a positive integer"]),
        (["--format", "hdf5", "--reader", "h5pie"], ["no reader of hdf5 named 'h5pie'", "'h5py'"]),
        (["--format", "hdf5", "--threads", "100000"], ["A budget of 100000 threads is too large"]),
        (["--format", "hdf5", "--name", "tuned"], ["cannot be named 'tuned'"]),
        (["--format", "hdf5", "--name", "a/b"], ["cannot be named 'a/b'"]),
    ],
)
def test_a_search_that_cannot_be_is_refused(capsys, tmp_path, options, parts):
    refused(capsys, ["tune", TRACE, "--n-res", "16", "--out", str(tmp_path / "search"), *options], 2, *parts)
    assert not (tmp_path / "search").exists()


def test_traces_that_cannot_be_tuned_on_are_refused(capsys, tmp_path):
    out = ["--format", "hdf5", "--out", str(tmp_path / "search")]
    refused(capsys, ["tune", "synthetik", *out], 2, "There is no file or folder synthetik")
    refused(capsys, ["tune", str(tmp_path / "none.h5"), *out], 2, "There is no file or folder")
    archive = tmp_path / "a.h5"
    main(["convert", f"{TRACE},n_res=16", str(archive)])
    capsys.readouterr()
    refused(capsys, ["tune", str(archive), "--n-res", "32", *out], 2, "--n-res is for traces")
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "mine").touch()
    refused(capsys, ["tune", str(archive), *out], 2, "not an empty folder")


def test_a_run_holds_its_profile_files_whole(tmp_path, capsys):
    """It is resumed, packed and checked from its folder alone."""
    file = tmp_path / "mine.toml"
    file.write_text(PROFILE)
    run = tmp_path / "results" / "r"
    options = [
        "--preset",
        "quick",
        "--readers",
        "stock",
        "--trace",
        TRACE,
        "--sizes",
        "16",
        "--formats",
        "hdf5,npz",
        "--suites",
        "size",
    ]
    assert main(["run", "--quiet", *options, "--profile-file", str(file), "--out", str(run)]) == 0
    file.unlink()
    rows = read_samples(run / "samples.csv")
    arms = set(zip(rows["format"], rows["profile"], strict=True))
    assert arms == {("hdf5", "tuned"), ("hdf5", "mine"), ("npz", "tuned"), ("raw", "")}
    ledger = pd.read_csv(run / "ledger.csv", keep_default_na=False)
    pair = ledger[(ledger["role"] == "pair") & (ledger["profile"] == "mine") & (ledger["read_by"] == "h5py")]
    assert pair[["chunks", "codec", "origin", "why"]].values.tolist() == [
        ["8x8x4", "none", "chosen", "profile file mine"]
    ]
    assert RunConfig.read(run / "run.json").profile_files[0].text == PROFILE
    (run / "samples.csv").write_text("".join((run / "samples.csv").read_text().splitlines(keepends=True)[:3]))
    assert main(["run", "--quiet", "--resume", "--out", str(run)]) == 0
    assert len(read_samples(run / "samples.csv")) == len(rows)
    refused(capsys, ["run", "--resume", "--profile-file", "x", "--out", str(run)], 2, "leave out --profile-file")
    assert main(["bundle", str(run), "--out", str(tmp_path / "b.zip")]) == 0
    shutil.rmtree(run)
    assert main(["check", str(tmp_path / "b.zip")]) == 0
    assert main(["check", str(tmp_path / "b.zip"), "--rerun", "--quiet", "--out", str(tmp_path / "again")]) == 0
    assert "mine" in set(read_samples(tmp_path / "again" / "samples.csv")["profile"])


def test_a_damaged_profile_in_a_run_is_said(tmp_path, capsys):
    file = tmp_path / "mine.toml"
    file.write_text(PROFILE)
    run = tmp_path / "r"
    options = [
        "--preset",
        "quick",
        "--readers",
        "stock",
        "--trace",
        TRACE,
        "--sizes",
        "16",
        "--formats",
        "hdf5",
        "--suites",
        "size",
    ]
    main(["run", "--quiet", *options, "--profile-file", str(file), "--out", str(run)])
    document = json.loads((run / "run.json").read_text())
    document["profile_files"][0] = document["profile_files"][0].replace("edge", "egde")
    (run / "run.json").write_text(json.dumps(document))
    refused(capsys, ["report", str(run)], 2, "run.json", "no key of formats.hdf5.pair named 'egde'")


def test_profile_files_that_do_not_fit_are_refused(tmp_path, capsys):
    file = tmp_path / "mine.toml"
    file.write_text(PROFILE)
    run = ["run", "--quiet", "--trace", TRACE, "--out", str(tmp_path / "run"), "--profile-file"]
    refused(capsys, [*run, str(file), "--formats", "npz"], 2, "'mine' is made for hdf5, which the run does not measure")
    refused(capsys, [*run, str(file), "--profile-file", str(file)], 2, "Two profile files have the name 'mine'")
    refused(capsys, [*run, str(tmp_path / "none.toml")], 2, "cannot be read")
    (tmp_path / "bad.toml").write_text(PROFILE.replace("edge = 10", "edge = -1"))
    refused(capsys, [*run, str(tmp_path / "bad.toml")], 2, "bad.toml", "formats.hdf5.pair", "edge is -1")
    convert = ["convert", f"{TRACE},n_res=16", str(tmp_path / "a.npz"), "--profile-file", str(file)]
    refused(capsys, convert, 2, "is made for hdf5, not for npz")
    refused(capsys, [*convert, "--profile", "seed"], 2, "not both")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.toml", "mine.toml"]


def test_a_conversion_is_written_with_a_profile_file(tmp_path):
    file, archive = tmp_path / "mine.toml", tmp_path / "a.h5"
    file.write_text(PROFILE)
    assert main(["convert", f"{TRACE},n_res=40", str(archive), "--profile-file", str(file)]) == 0
    with open_archive(archive) as (_, reader, _):
        assert reader._file["activations/layer_0/pair_repr"].chunks == (10, 10, 4)


def test_ctrl_c_keeps_the_samples_and_leaves_nothing_else(tmp_path):
    out = tmp_path / "search"
    command = [sys.executable, "-m", "harness", "tune", TRACE, "--format", "hdf5", "--n-res", "40", "--rounds", "200"]
    process = subprocess.Popen(
        [*command, "--quiet", "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background inherit an ignored SIGINT, and would pass it on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (out / "samples.csv").exists() or (out / "samples.csv").read_bytes().count(b"\n") < 5:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)  # how long it takes decides nothing
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate()
    assert process.returncode == 130 and "Traceback" not in errors
    assert "samples taken so far" in plain(errors) and not said
    assert {p.name for p in out.iterdir()} == {"samples.csv", "environment.json"}
    assert len(read_samples(out / "samples.csv")) >= 4


def test_help_shows_a_command_of_an_extension_with_what_it_is_for() -> None:
    done = subprocess.run([sys.executable, "-m", "harness", "--help"], capture_output=True, text=True)
    assert "tune search chunks and codecs of a format for one use" in " ".join(done.stdout.split())
