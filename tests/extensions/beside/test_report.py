"""Several checked runs in one report: what holds on all, what is compared, and what is refused by name."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from benchmarks.schemas import FOLDER
from harness.analysis.report_options import find_options
from harness.cli import main
from harness.report.write import write_report
from tests.conftest import TINY, measured, once, plain
from tests.report.browser import chromium
from tests.report.page_checks import browser_problems, static_problems

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
HERE = dataclasses.replace(TINY, formats=("hdf5", "npz"), suites=("size", "layer_read"), rounds=10)
THERE = dataclasses.replace(HERE, formats=("hdf5", "npz", "zarr"), sizes=(40, 48), seed=1)


@pytest.fixture
def runs(tmp_path_factory: pytest.TempPathFactory, sketched: None, tmp_path: Path) -> tuple[Path, Path]:
    """Two runs with reports; the second has a further format and length, and says that it is of another machine."""

    def make(folder: Path) -> None:
        measured(folder / "here", HERE)
        there = measured(folder / "there", THERE)
        change(there / "environment.json", cpu="Another CPU", cores_usable=48, filesystem="xfs", mount_options="rw,dax")
        for run in (folder / "here", there):
            write_report(run, find_options(run))

    made = once(tmp_path_factory, "side-by-side", make)
    for name in ("here", "there"):
        shutil.copytree(made / name, tmp_path / name)
    return tmp_path / "here", tmp_path / "there"


def change(path: Path, **fields: object) -> None:
    """Let every session of a run say something else."""
    document = json.loads(path.read_text())
    for session in document["sessions"]:
        session |= fields
    path.write_text(json.dumps(document))


def side_by_side(runs: tuple[Path, ...], out: Path, *more: str) -> dict:
    """Report on runs; return what is said for a program."""
    assert main(["report", *map(str, runs), "--out", str(out), *more]) == 0
    return json.loads((out / "verdicts.json").read_text())


def test_two_runs_are_compared_in_what_they_share(runs, tmp_path: Path, capsys) -> None:
    found = side_by_side(runs, tmp_path / "both")
    assert [run["name"] for run in found["runs"]] == ["here", "there"] and found["baseline"] == "hdf5"
    assert found["runs"][0]["further_cells"] == 0 and found["runs"][1]["further_cells"] == found["shared_cells"]
    assert {one["format"] for one in found["verdicts"]} <= {"hdf5", "npz", ""}, "zarr was measured by one alone"
    assert any("zarr" in note for note in found["notes"])
    assert all("48 residues" not in one["of"] for one in found["verdicts"])
    assert {one["kind"] for one in found["verdicts"]} >= {"standing", "grade", "cell"}
    sizes = [one for one in found["verdicts"] if one["of"] == "storage efficiency" and one["kind"] == "standing"]
    assert sizes and all(one["agreement"] == "holds" for one in sizes), "sizes of the same values are exact"
    assert all(one["runs"][0]["ratio"] == one["runs"][1]["ratio"] for one in sizes)
    out = capsys.readouterr().out.splitlines()
    *screen, where = out
    assert len(screen) <= 25 and max(map(len, screen)) <= 80 and str(tmp_path / "both" / "report.html") in where
    assert "not compared: here none and there" in plain("\n".join(out))


def test_the_document_fits_its_schema_and_has_no_times(runs, tmp_path: Path) -> None:
    found = side_by_side(runs, tmp_path / "both")
    jsonschema = pytest.importorskip("jsonschema", reason="comes with check-jsonschema, of the extra test")
    jsonschema.validate(found, json.loads((FOLDER / "verdicts.schema.json").read_text()))
    assert "seconds" not in json.dumps(found["verdicts"])
    again = side_by_side(runs, tmp_path / "again")
    assert again == found, "the same runs give the same document"


def test_what_differs_between_the_runs_is_a_table(runs, tmp_path: Path) -> None:
    facts = {one["label"]: one for one in side_by_side(runs, tmp_path / "both")["facts"]}
    assert facts["Processor"]["texts"][1] == "Another CPU" and facts["Processor"]["differs"]
    assert facts["Mount options"]["texts"][1] == "rw,dax" and facts["File system"]["texts"][1] == "xfs"
    assert facts["Seed"]["texts"] == ["0", "1"] and facts["Sizes"]["texts"] == ["40", "40, 48"]
    assert not facts["Rounds"]["differs"] and not facts["Harness"]["differs"]
    page = (tmp_path / "both" / "report.md").read_text()
    assert "| Processor |" in page and "| Another CPU |" in page


def test_the_page_says_what_holds_and_is_sound(runs, tmp_path: Path) -> None:
    found = side_by_side(runs, tmp_path / "both")
    page, markdown = ((tmp_path / "both" / name).read_text() for name in ("report.html", "report.md"))
    assert static_problems(page) == []
    for text in (
        "What holds on all runs",
        "The runs, and how they differ",
        "Formats by criterion, as measured",
        "On all runs",
    ):
        assert text in page and text in markdown
    assert "further cells, not compared: here none" in markdown
    counts = [one["agreement"] for one in found["verdicts"] if one["kind"] == "standing"]
    row = next(line for line in markdown.splitlines() if line.startswith("| Formats by criterion, as measured |"))
    assert row.split(" | ")[1] == str(counts.count("holds"))


def test_the_page_has_no_problem_in_a_browser(runs, tmp_path: Path) -> None:
    side_by_side(runs, tmp_path / "both")
    with chromium() as browser:
        assert browser_problems(browser, tmp_path / "both" / "report.html") == []


def test_runs_of_one_name_are_told_apart_by_their_paths(runs, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first = shutil.copytree(runs[0], tmp_path / "a" / "run")
    second = shutil.copytree(runs[1], tmp_path / "b" / "run")
    for path in (*second.glob("*.json"), *second.glob("*.csv")):
        path.write_text(path.read_text().replace("there", "here"))
    write_report(second, find_options(second))
    found = side_by_side((first, second), tmp_path / "both")
    assert [run["name"] for run in found["runs"]] == [f"here ({first})", f"here ({second})"]


def test_a_bundle_counts_as_its_run(runs, tmp_path: Path) -> None:
    bundle = tmp_path / "there.bundle.zip"
    assert main(["bundle", str(runs[1]), "--out", str(bundle)]) == 0
    assert side_by_side((runs[0], bundle), tmp_path / "both") == side_by_side(runs, tmp_path / "again")


def test_traces_of_other_values_are_not_compared(runs, tmp_path: Path, capsys) -> None:
    path = runs[1] / "archives.json"
    document = json.loads(path.read_text())
    for subject in document["subjects"]:
        subject["tensor_digests"] = {name: digest[::-1] for name, digest in subject["tensor_digests"].items()}
    path.write_text(json.dumps(document))
    assert main(["report", *map(str, runs), "--out", str(tmp_path / "both")]) == 2
    said = capsys.readouterr().err
    assert "no cell that can be compared" in said and "values differ" in said and not (tmp_path / "both").exists()


def _twice(here: Path, there: Path) -> list[Path]:
    return [here, there, here]


def _bundled(here: Path, there: Path) -> list[Path]:
    bundle = here.parent / "here.bundle.zip"
    assert main(["bundle", str(here), "--out", str(bundle)]) == 0
    return [here, bundle]


def _no_run(here: Path, there: Path) -> list[Path]:
    return [here, here.parent]


def _missing(here: Path, there: Path) -> list[Path]:
    return [here, here.parent / "none"]


def _other_schema(here: Path, there: Path) -> list[Path]:
    lines = (there / "samples.csv").read_text().splitlines()
    changed = [lines[0], *(f"{line.rpartition(',')[0]},99" for line in lines[1:])]
    (there / "samples.csv").write_text("\n".join(changed) + "\n")
    return [here, there]


def _other_config(here: Path, there: Path) -> list[Path]:
    (there / "run.json").write_text(
        (there / "run.json").read_text().replace('"config_version": 1', '"config_version": 7')
    )
    return [here, there]


def _changed(here: Path, there: Path) -> list[Path]:
    text = (there / "summary.csv").read_text()
    (there / "summary.csv").write_text(text.replace("npz", "zarr"))
    return [here, there]


def _lost_row(here: Path, there: Path) -> list[Path]:
    (there / "samples.csv").write_text("\n".join((there / "samples.csv").read_text().splitlines()[:-1]) + "\n")
    return [here, there]


def _without_report(here: Path, there: Path) -> list[Path]:
    (there / "report.json").unlink()
    return [here, there]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_twice, "hold the same samples"), (_bundled, "hold the same samples"), (_no_run, "run.json"),
        (_missing, "There is no"), (_other_schema, "version"), (_other_config, "version 7"),
        (_changed, "summary.csv"), (_lost_row, "samples.csv"), (_without_report, "report.json"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_by_name(runs, spoil, said: str, tmp_path: Path, capsys) -> None:
    named = spoil(*runs)
    capsys.readouterr()
    assert main(["report", *map(str, named), "--out", str(tmp_path / "both")]) in (1, 2)
    error = capsys.readouterr().err.strip().splitlines()
    error = [line for line in error if line.startswith("harness: ")]
    assert len(error) == 1 and said in error[0] and str(named[-1]) in error[0], error
    assert not (tmp_path / "both").exists(), "nothing is left of a report that was refused"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "--out"), (["--mix", "interactive-viewer", "--out", "both"], "--mix"),
        (["--earlier", "--out", "both"], "--earlier"), (["--baseline", "zarr", "--out", "both"], "named 'zarr'"),
    ],
    ids=["no out", "mix", "earlier", "baseline"],
)  # fmt: skip
def test_options_that_do_not_fit_several_runs_are_refused(
    runs, more: list[str], said: str, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(runs[0].parent)
    assert main(["report", "here", "there", *more]) == 2
    assert said in capsys.readouterr().err and not Path("both").exists()


def test_the_folder_of_a_run_is_not_written_over(runs, capsys) -> None:
    page = (runs[0] / "report.html").read_bytes()
    assert main(["report", *map(str, runs), "--out", str(runs[0])]) == 2
    assert "holds a run" in capsys.readouterr().err and (runs[0] / "report.html").read_bytes() == page


def test_committed_runs_of_two_machines_are_compared(tmp_path: Path) -> None:
    """Their processors, traces and readers differ; what both measured by stock readers is compared."""
    found = side_by_side((ROOT / "results" / "readers.bundle.zip", ROOT / "results" / "reference"), tmp_path / "both")
    assert found["shared_cells"] > 0 and {one["effort"] for one in found["verdicts"]} == {"stock"}
    assert any("at their best are not compared: readers" in note for note in found["notes"])
    for one in found["verdicts"]:
        if one["kind"] == "standing":
            assert len({bool(run["word"]) for run in one["runs"]}) == 1, "formats are held against the same others"
