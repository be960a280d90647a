"""Executors and stores are found by entry point: a stranger's are measured, and what no extension gives is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import registry
from harness.cli import main
from harness.row_files import read_samples
from harness.run.config import RunConfig

RUN = ["run", "--quiet", "--preset", "quick", "--sizes", "32", "--trace", "synthetic:layers=1", "--rounds", "2",
       "--formats", "npz", "--baseline", "npz"]  # fmt: skip


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Install the package of a stranger, as pip would leave it."""
    folder = tmp_path / "site" / "elsewhere-1.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1\n")
    (folder / "entry_points.txt").write_text(
        "[harness.executors]\nin-turn = tests.run.elsewhere:InTurn\n"
        "[harness.stores]\nshelf = tests.run.elsewhere:Shelf\n"
    )
    monkeypatch.syspath_prepend(folder.parent)
    registry._points.cache_clear()
    yield
    registry._points.cache_clear()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave only what the core registers of executors and stores."""
    core = {name: point for name, point in registry._points("executors").items() if ".extensions." not in point.value}
    found = registry._points
    monkeypatch.setattr(registry, "_points", lambda group: {"executors": core, "stores": {}}.get(group, found(group)))


@pytest.mark.slow
def test_a_strangers_executor_reads_is_told_and_continued(installed, sketched, tmp_path, capsys):
    folder = tmp_path / "run"
    asked = ["--suites", "parallel_access", "--executors", "in-turn,threads", "--workers", "1,2"]
    assert main([*RUN, *asked, "--patience", "much", "--out", str(folder)]) == 0, capsys.readouterr().err
    rows = read_samples(folder / "samples.csv")
    assert (rows["status"] == "ok").all()
    assert {(e, n) for e, n in zip(rows["executor"], rows["workers"], strict=True)} == {
        ("threads", 1), ("threads", 2), ("in-turn", 2),
    }  # fmt: skip
    assert json.loads((folder / "run.json").read_text())["patience"] == "much"
    assert "2 guests" in (folder / "report.md").read_text()
    assert main(["run", "--resume", "--out", str(folder)]) == 2
    assert "repeat --patience much" in capsys.readouterr().err
    assert main(["run", "--quiet", "--resume", "--patience", "much", "--out", str(folder)]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--executors", "in-turn", "--workers", "4"], "no more than 3 guests"),
        (["--patience", "much"], "add --executors in-turn"),
        (["--shelf-dust", "1"], "--shelf-dust is an option of the store --store shelf:///FOLDER: add it"),
        (["--store", "shelf:///nowhere"], "no shelf shelf:///nowhere"),
        (["--store", "shelf:///x", "--executors", "in-turn"], "leave out --store or the executor in-turn"),
        (["--store", "attic://x"], "got 'attic://x'"),
        (["--executors", "nobody"], "no executor named 'nobody'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(installed, options, message, tmp_path, capsys):
    assert main([*RUN, *options, "--suites", "parallel_access", "--out", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_a_strangers_store_is_read_from_and_left_empty(installed, sketched, tmp_path, capsys):
    folder, shelf = tmp_path / "run", tmp_path / "shelf"
    shelf.mkdir()
    asked = ["--suites", "layer_read", "--store", f"shelf://{shelf}", "--shelf-dust", "7"]
    assert main([*RUN, *asked, "--out", str(folder)]) == 0, capsys.readouterr().err
    rows = read_samples(folder / "samples.csv")
    assert set(rows.loc[rows["suite"] == "layer_read", "cache"]) == {"remote"} and (rows["status"] == "ok").all()
    assert json.loads((folder / "run.json").read_text())["store"] == {"url": f"shelf://{shelf}", "dust": 7}
    assert RunConfig.read(folder / "run.json").store.describe().endswith("with 7 g of dust")
    assert "7 g of dust" in (folder / "report.md").read_text() and not list(shelf.iterdir())


def test_what_no_extension_gives_is_refused(bare, tmp_path, capsys):
    options = [*RUN, "--out", str(tmp_path / "run")]
    assert main([*options, "--store", "s3://bucket/prefix"]) == 2
    assert "No extension that reads 's3://bucket/prefix' is installed" in capsys.readouterr().err
    assert main([*options, "--executors", "dask"]) == 2
    assert "There is no executor named 'dask'" in capsys.readouterr().err
    (tmp_path / "run").mkdir()
    stored = {"config_version": 1, "run_id": "x", "preset": "quick", "traces": [], "sizes": [], "formats": ["npz"],
              "profiles": ["tuned"], "suites": ["size"], "caches": ["warm"], "rounds": 1,
              "options": {"workers": [["dask", 2]]}}  # fmt: skip
    for change, message in (
        ({}, "no executor named 'dask'"),
        ({"store": {"url": "s3://b/p"}, "options": {}}, "'s3://b/p'"),
    ):
        (tmp_path / "run" / "run.json").write_text(json.dumps(stored | change))
        assert main(["run", "--resume", "--out", str(tmp_path / "run")]) == 2
        assert message in capsys.readouterr().err
