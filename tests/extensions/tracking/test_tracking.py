"""Tracking speed: asv runs a few benchmarks of a small repository, and its pages open without a network."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import pages
from tests.report.browser import chromium, opened

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
WANTED = r"(size.track_size|full_read.(time|peakmem)_read|layer_read.track_requests)\(.*('hdf5'|'zarr-slim')"
GIT = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of one commit, where `.ci/track` has run."""
    pytest.importorskip("asv", reason="asv is not installed: pip install 'trace-format-harness[tracking]'")
    if not shutil.which("git"):
        pytest.skip("asv needs git")
    folder = tmp_path_factory.mktemp("tracked")
    for name in (".ci", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "asv.conf.json", folder)
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "a commit"]):
        subprocess.run([*GIT, *command], cwd=folder, check=True)
    settings = {"VENV": str(Path(sys.executable).parents[1]), "HOME": str(folder), "ASV_MACHINE": "tester"}
    done = subprocess.run(
        [folder / ".ci/track", folder / "site", "--bench", WANTED],
        env=os.environ | settings,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def results(tracked: Path) -> dict[str, dict[str, Any]]:
    """asv's saved figures by benchmark, and in it by parameters."""
    (path,) = (tracked / ".asv/results/tester").glob("*-existing-*.json")
    saved = json.loads(path.read_text())
    found = {}
    for name, (figures, (formats, cases), *_) in saved["results"].items():
        places = [(one, other) for one in formats for other in cases]
        measured = {place: figure for place, figure in zip(places, figures, strict=True) if not math.isnan(figure)}
        found[name] = measured  # NaN is what was not asked for; a failure would be None, and an error here
    return found


def test_figures_are_saved_for_every_case_that_was_asked_for(tracked: Path) -> None:
    found = results(tracked)
    assert set(found) == {
        "suites.full_read.peakmem_read",
        "suites.full_read.time_read",
        "suites.layer_read.track_requests",
        "suites.size.track_size",
    }
    for name, figures in found.items():
        assert {place[0] for place in figures} == {"'hdf5'", "'zarr-slim'"}, name
        assert all(figure > 0 for figure in figures.values()), name
    sizes = found["suites.size.track_size"]
    assert sizes["'zarr-slim'", "'layer_filled_both'"] < 1.05 * sizes["'zarr-slim'", "'layer_filled_one'"]
    assert sizes["'hdf5'", "'layer_filled_both'"] > 1.5 * sizes["'hdf5'", "'layer_filled_one'"]
    assert all(1e-6 < figure < 10 for figure in found["suites.full_read.time_read"].values())


def test_the_page_without_scripts_shows_what_asv_saved(tracked: Path) -> None:
    text = (tracked / "site/asv" / pages.PAGE).read_text()
    assert text.rstrip().endswith("</html>") and "<script" not in text and "http" not in text
    for name in results(tracked):
        assert name in text
    for shown in ("zarr-slim", "layer_filled_both", "attention_layer", "tester, branch main"):
        assert shown in text


def test_asvs_pages_lead_to_it_where_there_is_no_network(tracked: Path) -> None:
    with chromium() as browser:
        with opened(browser, tracked / "site/asv" / pages.PAGE) as found:
            assert found.console == [] and found.outside == []
            assert found.page.locator("table").count() == len(results(tracked))
            assert len(found.page.screenshot(full_page=True)) > 10_000
        with opened(browser, tracked / "site/asv/error.html") as found:
            href = found.page.evaluate("document.querySelector('a').href")
            assert href == (tracked / "site/asv" / pages.PAGE).as_uri()


INDEX = {
    "project": "p",
    "hash_length": 8,
    "revision_to_hash": {"4": "a" * 40, "11": "b" * 40, "12": "c" * 40},
    "graph_param_list": [{"machine": "m", "branch": "main", "python": "3.12"}],
    "benchmarks": {
        "s.track": {
            "name": "s.track",
            "unit": "bytes",
            "version": "1",
            "params": [["'a'", "'<b>'"], ["'x'", "'y'"]],
            "param_names": ["format", "case"],
        },
        "s.time": {"name": "s.time", "unit": "seconds", "version": "1", "params": [], "param_names": []},
    },
}


def published(folder: Path, figures: dict[str, Any]) -> Path:
    """Lay out what ``asv publish`` writes."""
    (folder / "index.json").write_text(json.dumps(INDEX))
    place = folder / "graphs/branch-main/machine-m/python-3.12"
    place.mkdir(parents=True)
    for name, points in figures.items():
        (place / f"{name}.json").write_text(json.dumps(points))
    return folder


def test_a_page_has_the_newest_figure_its_change_and_the_way(tmp_path: Path) -> None:
    pytest.importorskip("asv", reason="asv is not installed: pip install 'trace-format-harness[tracking]'")
    points = [[4, [1000, 7, None, 5]], [11, [2000, 7, 3, 5]], [12, [1000, 7, 3, None]]]
    text = pages.write_page(published(tmp_path, {"s.track": points, "s.time": [[4, 0.25], [12, 0.5]]})).read_text()
    assert "3 commits, newest cccccccc" in text and "&lt;b&gt;" in text and "<b>" not in text
    cells = [cell.split("</td>")[0] for cell in text.split('<td class="figure">')[1:]]
    whole, first, second, third, last = cells
    assert whole.startswith("500") and "+100.0%" in whole
    assert first.startswith("1k") and "-50.0%" in first and "<polyline" in first
    assert "equal" in second and "equal" in third
    assert last.startswith("n/a") and "%" not in last
    assert (tmp_path / "error.html").read_text().count(pages.PAGE) == 1


def test_a_folder_without_published_figures_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("asv", reason="asv is not installed: pip install 'trace-format-harness[tracking]'")
    assert pages.main([str(tmp_path)]) == 2
    assert "run 'asv publish' first" in capsys.readouterr().err
    assert pages.main([str(published(tmp_path, {}))]) != 0
    assert "Nothing is published" in capsys.readouterr().err
    assert not (tmp_path / pages.PAGE).exists()
