"""Bad input gets one clear sentence, the right exit code and no traceback, and leaves nothing that looks whole."""

from __future__ import annotations

import errno
import os
import shutil

import pytest

from harness.cli import main, running
from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.run.measurement import Measurement
from harness.trace.sources import open_trace

TRACE = "synthetic:layers=1,heads=2,hidden_dim=8,pair_dim=4"


def refused(capsys, arguments, code, *parts):
    assert main(arguments) == code
    said = capsys.readouterr().err
    for part in parts:
        assert part in said, said
    assert "Traceback" not in said and len(said.strip().splitlines()) == 1
    return said


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--formats", "zar"], ["no format named 'zar'", "'zarr'"]),
        (["--formats", ","], ["names separated by commas"]),
        (["--suites", "full_raed"], ["no suite named", "'full_read'"]),
        (["--trace", "synthetik"], ["no trace named", "'synthetic'"]),
        (["--trace", "synthetic:layer=3"], ["no parameter 'layer'"]),
        (["--trace", "synthetic:layers=-1"], ["layers"]),
        (["--trace", "synthetic:layers"], ["key=value"]),
        (["--preset", "quik"], ["no preset named", "'quick'"]),
        (["--sizes", "64,-2"], ["--sizes", "positive integer"]),
        (["--sizes", "1.5"], ["--sizes", "positive integer"]),
        (["--sizes", ""], ["--sizes", "positive integer"]),
        (["--rounds", "0"], ["--rounds", "positive integer"]),
        (["--rounds", "3,4"], ["--rounds", "a positive integer"]),
        (["--workers", "1000"], ["--workers may be at most"]),
        (["--seed", "x"], ["--seed", "non-negative integer"]),
        (["--trace-bytes", "much"], ["--trace-bytes", "a number of bytes, or one of MiB"]),
        (["--trace-bytes", "0"], ["--trace-bytes", "bytes of at least 1"]),
        (["--decoded-cache", "64MB"], ["--decoded-cache", "64MB"]),
        (["--sizes", "100000"], ["archives of synthetic", "GB free", "a smaller trace", "another --out"]),
        (["--timeout", "0"], ["--timeout", "positive integer"]),
        (["--cache", "hot"], ["no cache state named"]),
        (["--profile", "fastest"], ["no profile", "named 'fastest'"]),
        (["--baseline", "npy"], ["no measured format for --baseline", "'npz'"]),
        (["--backend", "no_such_module:Thing"], ["cannot be imported"]),
        (["--backend", "tests.liars:NotAFormat"], ["is not a format"]),
        (["--backend", "tests.liars:Missing"], ["cannot be imported"]),
        (["--formats", "npz,raw"], ["'raw' is measured in every run", "leave it out"]),
        (["--suite", "json:dumps"], ["is not a suite", "harness.suite.Suite"]),
        (["--suites", "size", "--suite", "harness.suites.size:suite"], ["The suite name 'size' is taken"]),
        (["--resume", "--sizes", "3"], ["leave out --sizes"]),
        (["--trace", "file:"], ["needs a path"]),
        (["--trace", "file:/no/such/archive"], ["There is no file or folder"]),
    ],
)
def test_a_run_that_cannot_be_is_refused(capsys, tmp_path, options, parts):
    refused(capsys, ["run", "--quiet", "--out", str(tmp_path / "run"), *options], 2, *parts)
    assert not (tmp_path / "run").exists()


def test_resume_needs_a_run(capsys, tmp_path):
    refused(capsys, ["run", "--resume"], 2, "--out DIR")
    refused(capsys, ["run", "--resume", "--out", str(tmp_path)], 1, "no run at")
    (tmp_path / "run.json").write_text("{")
    refused(capsys, ["run", "--resume", "--out", str(tmp_path)], 2, "run.json: is not valid JSON")
    (tmp_path / "run.json").write_text('{"config_version": 99}')
    refused(capsys, ["run", "--resume", "--out", str(tmp_path)], 2, "version 99")


OF_A_RUN = (
    ("--preset", "quick"), ("--trace", TRACE), ("--formats", "npz"), ("--suites", "size"), ("--sizes", "3"),
    ("--trace-bytes", "9"), ("--profile", "tuned"), ("--profile-file", "f"), ("--cache", "warm"), ("--workers", "2"),
    ("--executors", "threads"), ("--rounds", "3"), ("--seed", "0"), ("--baseline", "npz"), ("--timeout", "600"),
)  # fmt: skip


@pytest.mark.parametrize("given", OF_A_RUN, ids=lambda given: given[0])
def test_resume_takes_no_option_that_the_run_has_settled_whatever_its_default(capsys, tmp_path, given):
    refused(capsys, ["run", "--resume", "--out", str(tmp_path), *given], 2, f"leave out {given[0]}.")


def test_every_option_of_a_measurement_that_was_given_is_refused_and_no_default_is(capsys, tmp_path, monkeypatch):
    class Counting(Measurement):
        name = "counting"

        def add_options(self, add):
            add("--counts", default="one")

    monkeypatch.setattr(running, "installed", lambda: [Counting()])
    refused(capsys, ["run", "--resume", "--out", str(tmp_path), "--counts", "two"], 2, "leave out --counts.")
    refused(capsys, ["run", "--resume", "--out", str(tmp_path)], 1, "no run at")


def test_an_output_folder_in_use_or_out_of_reach_is_refused(capsys, tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(capsys, ["run", "--out", str(tmp_path / "file")], 2, "not an empty folder")
    refused(capsys, ["run", "--out", str(tmp_path)], 2, "not an empty folder")
    refused(capsys, ["run", "--out", str(tmp_path / "file" / "run")], 2, "cannot be written to")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_is_said_and_keeps_what_was_measured(capsys, tmp_path, monkeypatch):
    from harness.row_files import SampleFile

    add, calls = SampleFile.add, [0]

    def full(self, sample):
        calls[0] += 1
        if calls[0] > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        add(self, sample)

    monkeypatch.setattr(SampleFile, "add", full)
    options = ["--preset", "quick", "--trace", TRACE, "--sizes", "16", "--formats", "hdf5", "--suites", "full_read"]
    options += ["--readers", "stock"]
    run = tmp_path / "run"
    refused(capsys, ["run", "--quiet", "--out", str(run), *options], 1, "No space left", "--resume")
    assert len((run / "samples.csv").read_text().splitlines()) == 4
    assert not (run / ".archives").exists() and not (run / "summary.csv").exists()


@pytest.mark.parametrize(
    ("number", "said"), [(errno.ENOMEM, "Free some memory"), (errno.ENOSPC, "Free some space"), (errno.EDQUOT, "space")]
)
def test_want_of_memory_or_space_says_what_to_do(capsys, monkeypatch, number, said):
    def wanting(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("harness.cli.options.max_inflated", wanting)
    refused(capsys, ["list"], 1, os.strerror(number), said, "run the same command again")


def test_real_data_that_is_missing_says_what_to_set(capsys, tmp_path, monkeypatch):
    run = ["run", "--out", str(tmp_path / "run"), "--trace", "af2-1ubq"]
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    refused(capsys, run, 2, "set HARNESS_DATA")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    refused(capsys, run, 2, "needs the file")


def test_cold_reads_in_memory_are_refused(capsys, tmp_path, monkeypatch):
    from harness.sampling import cache

    monkeypatch.setattr(cache, "filesystem", lambda path: "tmpfs")
    refused(capsys, ["run", "--quiet", "--cache", "cold", "--out", str(tmp_path / "run")], 2, "tmpfs", "--cache warm")


@pytest.mark.parametrize("name", ["npz", "hdf5", "zarr", "zarr-slim"])
def test_archives_that_are_not_are_refused(capsys, tmp_path, name):
    backend = load_format(name)
    path = tmp_path / f"a{backend.suffix}"
    refused(capsys, ["inspect", str(path)], 2, "no archive at")
    refused(capsys, ["verify", str(path)], 2, "no archive at")
    (tmp_path / "text").write_text("not an archive")
    refused(capsys, ["inspect", str(tmp_path / "text")], 1, "not an archive of any format")
    write_archive(open_trace(TRACE, 16), backend, path)
    victim = path if path.is_file() else path / "zarr.json"
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    refused(capsys, ["inspect", str(path)], 1, "damaged")
    assert main(["verify", str(path)]) == 1
    refused(capsys, ["convert", str(path), str(tmp_path / "b.raw")], 1, "damaged")
    assert not (tmp_path / "b.raw").exists()


def test_conversions_that_cannot_be_are_refused(capsys, tmp_path):
    source = tmp_path / "a.h5"
    write_archive(open_trace(TRACE, 16), load_format("hdf5"), source)
    refused(capsys, ["convert", str(source), str(tmp_path / "b.xyz")], 2, "does not say which format")
    refused(capsys, ["convert", str(source), str(source)], 2, "exists already")
    refused(capsys, ["convert", str(source), str(tmp_path / "no" / "b.npz")], 2, "does not exist")
    refused(capsys, ["convert", str(source), str(tmp_path / "b.npz"), "--profile", "matched"], 1, "matched settings")
    refused(capsys, ["convert", str(source), str(tmp_path / "b.npz"), "--profile", "best"], 2, "no profile named")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5"]


def test_a_flipped_bit_stops_a_conversion(capsys, tmp_path):
    source = tmp_path / "a.raw"
    write_archive(open_trace(TRACE, 16), load_format("raw"), source)
    data = bytearray(source.read_bytes())
    data[5000] ^= 4
    source.write_bytes(data)
    refused(capsys, ["convert", str(source), str(tmp_path / "b.h5")], 1, "at least one bit changed")
    assert not (tmp_path / "b.h5").exists()
    assert main(["verify", str(source)]) == 1
    assert "at least one bit changed" in capsys.readouterr().out


def test_plot_needs_a_run(capsys, tmp_path):
    refused(capsys, ["plot", str(tmp_path)], 1, "no run at")


def test_an_unknown_command_or_option_is_a_usage_error(capsys):
    refused(capsys, ["measure"], 2, "invalid choice: 'measure'", "see 'harness --help'")
    refused(capsys, ["run", "--fast"], 2, "no option of 'harness run' named '--fast'")
    refused(capsys, ["run", "--prof", "tuned"], 2, "did you mean '--profile'")  # no name is taken short
    refused(capsys, ["inspect", "a.h5", "b.h5"], 2, "no place for 'b.h5'")
    refused(capsys, ["tune", "a.h5"], 2, "required: --format", "see 'harness tune --help'")
    refused(capsys, ["list", "format"], 2, "'formats'")


def test_debug_shows_the_traceback(capsys, monkeypatch):
    monkeypatch.setenv("HARNESS_DEBUG", "")
    assert main(["--debug", "inspect", "/no/such"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_nothing_is_left_behind_in_the_working_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["run", "--formats", "zar"])
    assert not any(tmp_path.iterdir())
    shutil.rmtree(tmp_path)
