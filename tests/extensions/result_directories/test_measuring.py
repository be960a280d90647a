"""Result directories are slimmed in copies, counted, read as before, brought back, and shown beside other figures."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.directories import MODELS, af2, af3, digests, openfold3
from harness.analysis.report_options import find_options
from harness.cli import main
from harness.errors import HarnessError, UsageError
from harness.evidence.bundle import read_bundle, write_bundle
from harness.evidence.check import check
from harness.evidence.rerun import compare_runs, rerun_config
from harness.extensions.result_directories import measuring as directories
from harness.extensions.result_directories.disk import copy_folder, sizes
from harness.extensions.result_directories.measurement import measurement
from harness.extensions.result_directories.measuring import SlimTask, open_directories
from harness.extensions.result_directories.run_options import AskedDirectories, asked_of
from harness.extensions.result_directories.section import PUBLISHED, modes_of
from harness.extensions.result_directories.slimming import slim
from harness.report.write import write_report
from harness.row_files import read_samples
from harness.run import disk_space
from harness.run.config import RunConfig
from harness.run.experiment import run as take_samples
from harness.run.measurement import copies, open_measurements
from harness.run.planned_run import PlannedRun
from tests.conftest import TINY, Counted, plain
from tests.evidence.conftest import repack
from tests.report import page_checks

BOUND = 0.2


def asking(*directories: object) -> dict[str, object]:
    """The part of a configuration that asks for directories."""
    return {"result-directories": {"directories": [str(path) for path in directories], "modes": ["vanilla", "slim"]}}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder of result directories; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    for make in (af2, af3, openfold3):
        make(folder / make.__name__, 24)
    return folder


@pytest.fixture(scope="module")
def run(made) -> Path:
    """The folder of a run of them, alone, as the command makes it; not to be changed."""
    folder = made.parent / "results" / "alone"
    names = [f"--directory={made / name}" for name in ("af2", "af3", "openfold3")]
    assert main(["run", *names, "--directory-bound", str(BOUND), "--quiet", "--out", str(folder)]) == 0
    return folder


def size_of(folder: Path) -> tuple[int, int]:
    files = sizes(folder).values()
    return sum(files), len(files)


@pytest.mark.parametrize("name", ["af2", "af3", "openfold3"])
def test_sizes_are_those_of_a_directory_slimmed_by_hand(tmp_path, made, run, name):
    samples, cells = read_samples(run / "samples.csv"), pd.read_csv(run / "summary.csv")
    for mode, bound, readable in (
        ("vanilla", None, ""),
        ("slim", None, "best"),
        ("slim-plain-none", None, "none"),
        ("minimal", BOUND, "best"),
    ):
        copy_folder(made / name, tmp_path / mode)
        if readable:
            slim(tmp_path / mode, mode.removesuffix("-plain-none"), bound=bound, plain=readable)
        (row,) = samples[(samples["trace"] == name) & (samples["format"] == mode)].to_dict("records")
        assert (row["size_bytes"], row["files"]) == size_of(tmp_path / mode)
        assert (row["suite"], row["access"], row["status"], row["verified"]) == ("size", "result_directory", "ok", True)
        (cell,) = cells.query("trace == @name and format == @mode").to_dict("records")
        assert cell["size_bytes"] == row["size_bytes"]
        if mode == "vanilla":
            assert pd.isna(cell["ratio"])
        else:
            ratio = row["size_bytes"] / size_of(made / name)[0]
            assert cell["ratio"] == pytest.approx(ratio, rel=1e-9) and cell["baseline"] == "vanilla"


def test_the_table_says_what_came_back_and_what_was_read(made, run):
    table = pd.read_csv(run / "directories.csv", keep_default_na=False)
    for name in ("af2", "af3", "openfold3"):
        modes = modes_of(table, name)
        files = len(digests(made / name))
        assert modes["slim"]["files_restored"] == str(files) and modes["slim"]["files_given_up"] == "0"
        assert modes["slim"]["values_same"] == modes["slim"]["values_compared"] != "0"
        assert modes["slim-plain-none"]["files_restored"] == str(files)
        assert int(modes["slim"]["files_need_unslim"]) < int(modes["slim-plain-none"]["files_need_unslim"])
        assert 0 < float(modes["minimal"]["largest_error_angstrom"]) <= BOUND
        assert int(modes["minimal"]["files_restored"]) + int(modes["minimal"]["files_given_up"]) == files
    published = table[table["source"] != "this run"]
    assert dict(zip(published["program"], published["change_percent"].astype(float), strict=True)) == {
        "AlphaFold2": -42,
        "AlphaFold3": -83,
    }
    assert set(published["size_bytes"]) == {""}  # nobody counted them to the byte


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("| ").split(" | ")]


def test_the_page_shows_each_directory_beside_the_published_figure_of_its_program(run):
    page, markdown = (run / "report.html").read_text(), (run / "report.md").read_text()
    assert page_checks.static_problems(page) == []
    for text in (page, markdown):
        assert "on its directory plasmodium_hap2: other data" in text
    rows = {line.split(" | ")[0].strip("| "): line for line in markdown.splitlines() if line.startswith("| ")}
    for name, kind in (("af2", "af2"), ("af3", "af3")):
        assert f"{PUBLISHED[kind].before} to {PUBLISHED[kind].after}" in rows[name]
    assert "none for this program" in rows["openfold3"]
    for name in ("af2", "af3", "openfold3"):
        written, smaller = (
            int(cell.split(" bytes")[0].split()[-1].replace(",", "")) for cell in cells(rows[name])[2:4]
        )
        assert cells(rows[name])[3].startswith(f"-{100 * (1 - smaller / written):.1f} %")
    assert "## The grades" not in markdown and "No format was measured" in markdown


def test_directories_are_as_they_were_and_nothing_else_is_left(made, run, tmp_path):
    for make in (af2, af3, openfold3):
        assert digests(make(tmp_path / make.__name__, 24)) == digests(made / make.__name__)
    assert not (run / ".archives").exists()


def test_a_bundle_of_them_is_checked_and_a_forged_size_is_named(run, tmp_path):
    write_bundle(run, tmp_path / "a.zip")
    bundle = read_bundle(tmp_path / "a.zip")
    assert {"directories.json", "directories.csv"} <= set(bundle.files)
    assert [p for result in check(bundle, tmp_path / "again") for p in result.problems] == []
    files = dict(bundle.files)
    size = size_of_slim(run, "af2")
    files["samples.csv"] = files["samples.csv"].replace(f",{size},".encode(), f",{size - 100},".encode())
    forged = read_bundle(repack(tmp_path / "a.zip", files, tmp_path / "forged.zip"))
    found = [f"{r.what}: {p}" for r in check(forged, tmp_path / "forged") for p in r.problems]
    assert any(text.startswith(f"directories.json: af2, slim: the sample says {size - 100} bytes") for text in found)
    assert any(text.startswith("directories.csv: af2 slim/size_bytes is") for text in found)


def test_a_run_of_an_earlier_version_keeps_its_modes_and_its_table(run, tmp_path):
    earlier = tmp_path / "alone"
    shutil.copytree(run, earlier)
    config = json.loads((earlier / "run.json").read_text())
    asked = config.pop("measurements")["result-directories"]
    config |= {"directories": asked["directories"], "directory_bound": asked["bound"]}
    (earlier / "run.json").write_text(json.dumps(config))
    record = json.loads((earlier / "directories.json").read_text())
    for directory in record["directories"]:
        del directory["modes"]["slim-plain-none"]
        for mode in directory["modes"].values():
            mode.pop("files_need_unslim", None)
    (earlier / "directories.json").write_text(json.dumps(record))
    rows = (earlier / "samples.csv").read_text().splitlines(keepends=True)
    (earlier / "samples.csv").write_text("".join(row for row in rows if "plain-none" not in row))
    assert asked_of(RunConfig.read(earlier / "run.json")).modes == ("vanilla", "slim", "minimal")
    write_report(earlier, find_options(earlier))
    assert "files_need_unslim" not in (earlier / "directories.csv").read_text()
    assert "| As written | Mode slim | Mode minimal | Published" in (earlier / "report.md").read_text()
    assert list(measurement.check(earlier)) == [("directories.json", [])]


def size_of_slim(run: Path, name: str) -> int:
    (entry,) = (d for d in json.loads((run / "directories.json").read_text())["directories"] if d["directory"] == name)
    return sum(file["size"] for file in entry["modes"]["slim"]["contents"].values())


def test_a_second_run_with_another_size_is_named(run, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(run, again)
    assert compare_runs(run, again).holds
    record = json.loads((again / "directories.json").read_text())
    modes = record["directories"][0]["modes"]
    modes["slim"]["contents"]["slim-manifest.json"]["size"] += 8
    modes["vanilla"]["contents"]["ranked_0.pdb"]["sha256"] = "0" * 64
    del record["directories"][1]["modes"]["minimal"]
    (again / "directories.json").write_text(json.dumps(record))
    found = compare_runs(run, again)
    assert len(found.sizes) == 2 and found.sizes[0].startswith("af2, slim: ") and "no such directory" in found.sizes[1]
    assert found.digests[0].startswith("af2, vanilla: ") and not found.holds


def test_without_a_bound_minimal_is_skipped_and_the_page_says_so(made, tmp_path):
    assert main(["run", "--directory", str(made / "af3"), "--quiet", "--out", str(tmp_path / "run")]) == 0
    samples = read_samples(tmp_path / "run" / "samples.csv")
    assert samples["status"].tolist() == ["ok", "ok", "ok", "skipped"]
    assert "was given no bound: name one with --directory-bound" in (tmp_path / "run" / "report.md").read_text()
    before = (tmp_path / "run" / "samples.csv").read_bytes()
    assert main(["run", "--resume", "--quiet", "--out", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "samples.csv").read_bytes() == before


def test_a_directory_with_a_damaged_file_fails_by_name_and_the_others_are_measured(capsys, made, tmp_path):
    copy_folder(made / "af2", tmp_path / "damaged")
    (tmp_path / "damaged" / f"result_{MODELS[0]}.pkl").write_bytes(b"\x80\x04")
    names = ["--directory", str(tmp_path / "damaged"), "--directory", str(made / "af3")]
    assert main(["run", *names, "--quiet", "--out", str(tmp_path / "run")]) == 1
    said = plain(capsys.readouterr().err)
    assert "slim failed in 1 cell (size/result_directory)" in said and f"result_{MODELS[0]}.pkl was left" in said
    samples = read_samples(tmp_path / "run" / "samples.csv").set_index(["trace", "format"])
    assert samples.loc[("damaged", "slim"), "status"] == "failed"
    assert pd.isna(samples.loc[("damaged", "slim"), "size_bytes"])
    assert samples.loc[("af3", "slim"), "status"] == "ok"
    assert "failed: result_" in (tmp_path / "run" / "report.md").read_text()


def test_beside_a_trace_they_change_nothing_of_the_formats(made, measure):

    folder, _ = measure(suites=("size",))
    assert not (folder / "directories.json").exists() and "measurements" not in (folder / "run.json").read_text()
    write_report(folder, find_options(folder))
    alone = {name: (folder / name).read_text() for name in ("summary.csv", "report.md")}
    config = dataclasses.replace(TINY, suites=("size",), measurements=asking(made / "af2"))
    config.save(folder / "run.json")
    progress = Counted()

    take_samples(PlannedRun.of(config), folder, progress)
    assert progress.steps == progress.planned
    write_report(folder, find_options(folder))
    both = {name: (folder / name).read_text() for name in alone}
    assert both["summary.csv"].startswith(alone["summary.csv"])
    lines = both["report.md"].splitlines()
    assert "## Result directories" in lines
    tables = [line for line in alone["report.md"].splitlines() if line.startswith("| synthetic")]
    assert tables and all(line in lines for line in tables)


def test_directories_of_one_name_are_told_apart_by_their_parents(tmp_path):
    for parent in ("a", "b"):
        af3(tmp_path / parent / "job", 8)
    af2(tmp_path / "other", 8)
    texts = tuple(str(tmp_path / name) for name in ("a/job", "b/job", "other"))
    found = open_directories(AskedDirectories(directories=texts))
    assert [each.label for each in found] == ["a/job", "b/job", f"{tmp_path.name}/other"]
    assert [each.kind for each in found] == ["af3", "af3", "af2"]


@pytest.mark.parametrize("fails", ["compare", "contents"])
def test_what_is_read_otherwise_or_does_not_come_back_has_no_size(made, tmp_path, monkeypatch, fails):
    if fails == "compare":
        real = directories.compare
        monkeypatch.setattr(
            directories, "compare", lambda a, b: dataclasses.replace(real(a, b), problems=["x is read elsewhere", "y"])
        )
        says = r"x is read elsewhere \(and 1 more\)"
    else:
        monkeypatch.setattr(directories, "unslim", lambda folder: None)
        says = "does not come back byte for byte"
    task = SlimTask(made / "af3", tmp_path / "copy", "slim", None)
    with pytest.raises(HarnessError, match=says):
        task.run(None)  # type: ignore[arg-type]
    assert not (tmp_path / "copy").exists()


def test_a_directory_that_changes_meanwhile_fails(made, tmp_path, monkeypatch):
    copy_folder(made / "af3", tmp_path / "job")
    record = directories.DirectoryRecord(tmp_path / "directories.json")
    take = lambda mode: SlimTask(tmp_path / "job", tmp_path / "copy", mode, None).run(None)  # noqa: E731
    taken = take("vanilla")
    record.add("job", "af3", "vanilla", taken.before, taken.mode)
    (tmp_path / "job" / "job_model.cif").write_text("data_other\n")
    with pytest.raises(HarnessError, match="changed while it was measured"):
        record.add("job", "af3", "slim", (taken := take("slim")).before, taken.mode)


def test_measuring_again_uses_no_directory_that_a_bundle_names_unless_allowed(run, tmp_path):
    write_bundle(run, tmp_path / "a.zip")
    bundle = read_bundle(tmp_path / "a.zip")
    for part in ({"measurements": asking("/home")}, {"directories": ["/home"], "directory_bound": None}):
        config = {k: v for k, v in json.loads(bundle.files["run.json"]).items() if k != "measurements"}
        bundle.files["run.json"] = json.dumps(config | part).encode()
        with pytest.raises(UsageError, match=r"the directory '/home'.*add --allow-outside"):
            rerun_config(bundle, "again")
        assert asked_of(rerun_config(bundle, "again", outside=True)).directories == ("/home",)


def slimmed(folder: Path) -> Path:
    slim(folder, "slim")
    return folder


def test_too_little_disk_for_a_copy_is_said_before_anything_is_copied(made, tmp_path, monkeypatch):
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    found = open_measurements(dataclasses.replace(TINY, measurements=asking(made / "af2")))
    with pytest.raises(UsageError, match="A copy of what is measured besides"):
        disk_space.require_space(tmp_path, [], [], copies(found))


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (lambda t: ["--directory", t / "no"], "There is no directory"),
        (lambda t: ["--directory", t], "is neither a result directory of AlphaFold2 nor"),
        (lambda t: ["--directory", slimmed(af3(t / "job", 8))], "is slimmed already; run harness unslim"),
        (lambda t: ["--directory", af3(t / "job", 8), "--directory", t / "job"], "named twice"),
        (lambda t: ["--directory-bound", "0.1"], "name one"),
        (lambda t: ["--directory", t, "--directory-bound", "much"], "--directory-bound has to be a number of Angstrom"),
        (lambda t: ["--directory", t, "--directory-bound", "-1"], "--directory-bound has to be a number of Angstrom"),
    ],
)
def test_bad_input_gets_one_sentence_and_leaves_no_run(capsys, tmp_path, options, part):
    given = [str(option) for option in options(tmp_path)]
    assert main(["run", *given, "--quiet", "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert part in said and len(said.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_damaged_record_is_named(capsys, run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    for text, says in (("{", "is not valid JSON"), ('{"directories_version": 9, "directories": []}', "has version 9")):
        (tmp_path / "run" / "directories.json").write_text(text)
        assert main(["report", str(tmp_path / "run")]) == 2
        assert says in capsys.readouterr().err
    (tmp_path / "run" / "directories.json").unlink()
    assert main(["report", str(tmp_path / "run")]) == 1
    assert "There is no" in capsys.readouterr().err


def test_the_command_in_the_report_asks_for_the_same_directories(run):
    config = RunConfig.read(run / "run.json")
    (line,) = (x for x in (run / "report.md").read_text().splitlines() if x.startswith(".venv/bin/harness run"))
    directories = asked_of(config).directories
    assert len(directories) == 3 and all(f"--directory {directory}" in line for directory in directories)
    assert f"--directory-bound {BOUND}" in line and "--trace" not in line


def test_real_directories(real_data, tmp_path):
    names = [f"--directory={real_data / name}" for name in ("alphapulldown_af2/P0DPR3_and_P0DPR3", "openfold3")]
    if not all(Path(name.partition("=")[2]).is_dir() for name in names):
        pytest.skip("HARNESS_DATA has not both of them; made-up directories are tested the same way")
    assert main(["run", *names, "--directory-bound", "0.05", "--quiet", "--out", str(tmp_path / "run")]) == 0
    cells = pd.read_csv(tmp_path / "run" / "summary.csv").set_index(["trace", "format"])
    assert (cells["status"] == "ok").all() and (cells["ratio"].dropna() < 0.7).all() and cells["ratio"].count() == 6
