"""The examples of docs/api.md run, in order, and print what they say; so do those of the notebook."""

from __future__ import annotations

import gc
import json
import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from harness.run.presets import PRESETS
from harness.workload import PlanOptions

ROOT = Path(__file__).parents[2]
FOUND = re.findall(r"(?:<!-- (.*?) -->\n)?```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.S)
PLAIN = [block for mark, block in FOUND if not mark]
MARKED = {mark.removeprefix("needs: "): block for mark, block in FOUND if mark}
PRINTED = re.compile(r"^ *print\(.*\)  # (.+)$", re.M)


def run(blocks: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/api.md", "exec"), names)
        said = capsys.readouterr().out
        for expected in PRINTED.findall(block):
            assert expected in said.splitlines()
    return names


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the presets small, and the current folder an empty one."""
    monkeypatch.chdir(tmp_path)
    asked = {"caches": ("warm",), "readers": ("stock",), "rounds": 1, "suites": ("size", "full_read")}
    plan = PlanOptions(attention_windows=2, pair_windows=1, parallel_windows=2, workers=(("threads", 1),))
    for preset in PRESETS:
        monkeypatch.setitem(PRESETS, preset, PRESETS[preset] | asked | {"options": plan})
    monkeypatch.setattr("harness.run.planned_run.open_measurements", lambda config: [])  # no process more for them
    monkeypatch.setattr("harness.api.comparing.default_formats", lambda tell: ("hdf5", "zarr"))


def test_the_examples_run_and_print_what_they_say(small, capsys):
    assert len(PLAIN) == 6 and set(MARKED) == {"xarray", "dask", "slow"}
    assert len(PRINTED.findall("".join(PLAIN))) == 4
    run(PLAIN, capsys)


@pytest.mark.parametrize("needed", ["xarray", "dask"])
def test_the_examples_with_a_library_run(small, capsys, needed):
    pytest.importorskip(needed, reason=f"the extra {needed!r} is not installed")
    if needed == "xarray" and not entry_points(group="xarray.backends", name="trace-harness"):
        pytest.skip("the extension with the engine of xarray is not installed")
    run([PLAIN[0], MARKED[needed]], capsys)


@pytest.mark.slow
def test_the_example_that_measures_runs(small, capsys, tmp_path):
    found = run([PLAIN[0], MARKED["slow"]], capsys)["found"]
    report = json.loads((found.folder / "report.json").read_text())
    shown = found.figures["storage_size"]._repr_png_()  # by which a notebook shows a picture, not its name
    assert shown.startswith(b"\x89PNG") and len(shown) > 1000
    assert "No answer: a verdict needs 10 rounds" in found.verdict and (found.folder / "report.html").exists()
    assert report["options"]["baseline"] == "zarr" and set(found.tables["grades"]["format"]) == {"hdf5", "zarr"}
    assert {"storage_size", "full_read"} <= set(found.figures) and (tmp_path / "size.png").stat().st_size > 1000
    folder = found.folder
    del found
    gc.collect()  # tables and figures may hold each other
    assert not folder.exists()


@pytest.mark.slow
def test_the_notebook_runs(small, sketched, capsys):
    pytest.importorskip("xarray", reason="the extra 'xarray' is not installed")
    cells = json.loads((ROOT / "examples" / "own_arrays.ipynb").read_text())["cells"]
    run(["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"], capsys)
