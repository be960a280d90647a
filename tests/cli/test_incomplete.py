"""The commands say of an incomplete archive that it is, and how far it came."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from harness.cli import main
from harness.formats.archive import write_archive
from harness.formats.base import load_format
from harness.trace.sources import open_trace
from tests.conftest import plain

TRACE = "synthetic:n_res=16,layers=3,heads=2,hidden_dim=8,pair_dim=4"


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """An archive of three layers whose writing ended in the last."""
    trace = open_trace(TRACE)
    blocks = trace.blocks

    def failing(path: str):
        if path == "attention/layer_2":
            raise RuntimeError("the model failed")
        return blocks(path)

    trace.blocks = failing
    with pytest.raises(RuntimeError, match="the model failed"):
        write_archive(trace, load_format("zarr-slim"), tmp_path / "trace.slim.zarr", keep_incomplete=True)
    return tmp_path / "trace.slim.zarr.incomplete"


FAR = "7 of 15 tensors, whole up to layer_1"


def test_inspect_says_how_far_it_came(cut, capsys):
    assert main(["inspect", str(cut)]) == 0
    out = plain(capsys.readouterr().out)
    assert f"INCOMPLETE {FAR} format zarr-slim" in out
    assert "7 tensors" in out and "attention/layer_1" in out and "layer_2" not in out


def test_verify_checks_what_is_whole_and_fails(cut, capsys):
    assert main(["verify", str(cut)]) == 1
    assert capsys.readouterr().out == f"{cut} is INCOMPLETE: {FAR}. What it holds is as it was written.\n"


def test_a_converted_archive_still_says_so(cut, tmp_path, capsys):
    copy = tmp_path / "copy.h5"
    assert main(["convert", str(cut), str(copy)]) == 0
    out = capsys.readouterr().out
    assert "7 tensors" in out and f"It is INCOMPLETE, as {cut} is: {FAR}." in out
    assert main(["verify", str(copy)]) == 1
    assert f"{copy} is INCOMPLETE: {FAR}" in capsys.readouterr().out
    assert main(["inspect", str(copy)]) == 0
    assert f"INCOMPLETE {FAR} format hdf5" in plain(capsys.readouterr().out)


def test_a_run_shows_it_wherever_the_trace_is_named(cut, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--suites", "size", "--formats", "npz", "--baseline", "npz", "--rounds", "1", "--out", "run"]
    assert main(["run", "--preset", "quick", "--readers", "stock", "--trace", f"file:{cut.name}", *options]) == 0
    assert f"file:{cut.name} (incomplete)" in plain(capsys.readouterr().out)
    summary = pd.read_csv("run/summary.csv")
    assert set(summary["trace"]) == {f"file:{cut.name} (incomplete)"} and "failed" not in set(summary["status"])
    for page in ("run/report.md", "run/report.html"):
        text = Path(page).read_text()
        assert "(incomplete)" in text and "is incomplete: its layers end before the model" in text
