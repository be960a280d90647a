"""What a stranger's bundle says chooses no place, and what it leaves out or replaces is named."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from harness.cli import main
from harness.errors import HarnessError, UsageError
from harness.evidence.bundle import read_bundle, write_bundle
from harness.evidence.check import check
from harness.evidence.compare import differences
from harness.evidence.rerun import rerun_config
from tests.evidence.conftest import repack

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("drawn")]

ELSEWHERE = {"matplotlib": "0", "numpy": "0", "freetype": "0"}


def renamed(packed: Path, name: str, destination: Path) -> Path:
    """A bundle whose run has another name wherever one is written."""
    files = dict(read_bundle(packed).files)
    files["run.json"] = json.dumps(json.loads(files["run.json"]) | {"run_id": name}).encode()
    for table in ("samples.csv", "breakdown.csv"):
        files[table] = files[table].replace(b"\nsmall,", f"\n{name},".encode())
    files["report.md"] = files["report.md"].replace(b"(plots/", f"(../../plots/{name}/".encode())
    return repack(packed, files, destination, run_id=name)


@pytest.mark.parametrize("place", ["{}/outside/run", "../../outside", "X/results/paper", "a\0b"])
def test_the_name_of_a_run_is_no_place(packed, tmp_path, place, capsys, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    kept = tmp_path / "here" / "X" / "plots" / "paper" / "full_read.png"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"mine")
    forged = renamed(packed, place.format(tmp_path), tmp_path / "here" / "forged.zip")
    before = sorted(tmp_path.rglob("*"))
    assert main(["check", str(forged), "--quiet"]) == 1  # the pages were published under another name
    assert "Traceback" not in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before and kept.read_bytes() == b"mine"


def test_a_second_run_is_named_after_the_file_that_was_typed(packed, tmp_path, monkeypatch):
    from harness.cli import evidence

    monkeypatch.chdir(tmp_path)
    made: list[Path] = []

    def held(folder: Path, new: bool) -> contextlib.nullcontext[None]:
        folder.mkdir(parents=True)
        made.append(folder)
        return contextlib.nullcontext()

    def stopped(*about: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evidence, "held", held)
    monkeypatch.setattr(evidence, "check", lambda *_: [])
    monkeypatch.setattr(evidence, "run_and_report", stopped)
    forged = renamed(packed, "../../outside", tmp_path / "their run!.bundle.zip")
    assert main(["check", str(forged), "--rerun", "--quiet"]) == 130
    assert made == [Path("results") / "their-run-rerun"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"traces": ["file:/etc/passwd"]}, "the file '/etc/passwd'"),
    ],
)
def test_measuring_again_uses_nothing_that_the_bundle_names_unless_allowed(packed, change, named):
    bundle = read_bundle(packed)
    bundle.files["run.json"] = json.dumps(json.loads(bundle.files["run.json"]) | change).encode()
    with pytest.raises(UsageError, match=re.escape(named) + r".*add --allow-outside"):
        rerun_config(bundle, "again")
    assert rerun_config(bundle, "again", outside=True).run_id == "again"


def test_a_bundle_of_a_stranger_holds_only_names_that_a_run_gives(packed, tmp_path):
    bundle = read_bundle(packed)
    for name in ("extra.txt", "plots/other.png", "plots/a/b.png"):
        forged = repack(packed, {**bundle.files, name: b"x"}, tmp_path / "forged.zip")
        with pytest.raises(HarnessError, match="which no run has"):
            read_bundle(forged)


def test_a_folder_is_to_be_packed_first(copied, capsys):
    assert main(["check", str(copied)]) == 2
    assert f"'harness bundle {copied}' first" in re.sub(r"\s+", " ", capsys.readouterr().err)


def test_packing_leaves_the_run_as_it_is(copied, tmp_path):
    (copied / "summary.csv").write_text("not of this version\n")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    write_bundle(copied, tmp_path / "out.zip")
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after.pop(tmp_path / "out.zip") and after == before


def problems(path: Path, folder: Path) -> list[str]:
    return [f"{result.what}: {text}" for result in check(read_bundle(path), folder) for text in result.problems]


def test_deleted_rows_are_named_by_a_check_of_the_bundle_that_is_made_of_the_rest(copied, tmp_path):
    samples = pd.read_csv(copied / "samples.csv", dtype=str, keep_default_na=False)
    mine = (samples["format"] == "npz") & (samples["access"] == "all_tensors")
    slow = samples.index[mine & (samples["round"].astype(int) > 4)]
    samples.drop(slow).to_csv(copied / "samples.csv", index=False)
    write_bundle(copied, tmp_path / "forged.zip")
    found = problems(tmp_path / "forged.zip", tmp_path / "again")
    assert f"{len(slow)} of {len(samples)} rows that the plan asks for are missing" in found[0]
    assert any("full_read all_tensors" in line and line.endswith("rounds 5 to 9") for line in found)
    assert (
        f"samples.csv: {len(slow)} of {len(samples)} rows"
        in read_bundle(tmp_path / "forged.zip").files["report.md"].decode()
        and b"rows that the plan asks for are missing" in read_bundle(tmp_path / "forged.zip").files["report.html"]
    )


def test_a_picture_that_was_replaced_is_named_also_when_it_is_said_to_be_drawn_elsewhere(packed, tmp_path):
    files = dict(read_bundle(packed).files)
    files["plots/layer_read.png"] = files["plots/full_read.png"]
    forged = repack(packed, files, tmp_path / "forged.zip", drawn_with=ELSEWHERE)
    assert any(line.startswith("plots/layer_read.png: it ") for line in problems(forged, tmp_path / "again"))


def test_what_was_not_checked_is_listed_as_claimed_and_fails_when_strict(packed, tmp_path, capsys):
    assert main(["check", str(packed), "--strict"]) == 0
    said = capsys.readouterr().out
    shown, claimed = said.split("Shown:")[1].split("Only claimed:")
    assert "summary.csv" in shown and "drawings as SVG" in shown and "every row that the plan asks for" in shown
    assert "archives.json" in claimed and "environment.json" in claimed and "not checked here" not in claimed
    files = dict(read_bundle(packed).files)
    files["plots/layer_read.png"] += b"\0"
    forged = repack(packed, files, tmp_path / "forged.zip", drawn_with=ELSEWHERE)
    assert main(["check", str(forged)]) == 0
    said = capsys.readouterr().out
    assert "plots/layer_read.png: not checked here" in said.split("Only claimed:")[1]
    assert main(["check", str(forged), "--strict"]) == 1
    assert "1 claims were not checked here: plots/layer_read.png" in capsys.readouterr().err


def test_pictures_of_other_versions_are_compared_by_their_likeness(packed):
    files = read_bundle(packed).files
    one, other = files["plots/full_read.png"], files["plots/layer_read.png"]
    assert differences("a.png", one, one) == [] and differences("a.png", one + b"\0", one) == []
    assert differences("a.png", one + b"\0", one, same_drawing=False) == []
    assert differences("a.png", other, one) and differences("a.png", other, one, same_drawing=False)
    assert differences("a.png", b"", one) and differences("a.png", one[:200], one, same_drawing=False)


def test_drawings_of_other_versions_may_name_their_parts_otherwise():
    ours = b'<svg><path id="m1a" d="M 1.5 2"/><use href="#m1a" x="3"/></svg>'
    theirs = ours.replace(b"m1a", b"m2b").replace(b"1.5", b"1.5000001")
    assert differences("a.svg", theirs, ours, same_drawing=False) == []
    assert differences("a.svg", theirs, ours, same_drawing=True)
    assert differences("a.svg", theirs.replace(b'"3"', b'"4"'), ours, same_drawing=False)
    assert differences("a.svg", theirs.replace(b'href="#m2b"', b'href="#m"'), ours, same_drawing=False)


def test_figures_of_another_library_agree_and_changed_ones_do_not():
    key = ["suite"]
    for theirs, ours, same in (
        ("0.1234567890123", "0.1234567890199", True),
        ("0.123456789", "0.1234567890123456", True),
        ("3e-17", "0.0", True),
        ("0.1234567", "0.1234568", False),
        ("1000000001", "1000000003", False),
        ("2000000000001", "2000000000002", False),  # bytes are whole numbers, and exact
    ):
        tables = (f"suite,figure\na,{figure}\n".encode() for figure in (theirs, ours))
        assert (differences("a.csv", *tables, key=key) == []) == same, (theirs, ours)


def test_a_run_without_verdicts_has_nothing_to_hold(copied, capsys, tmp_path):
    from harness.cli.run_messages import repeat
    from harness.evidence.rerun import compare_runs

    shutil.copytree(copied, tmp_path / "second")
    for folder in (copied, tmp_path / "second"):
        summary = pd.read_csv(folder / "summary.csv")
        summary["verdict"] = summary["verdict"].where(summary["verdict"].isna(), "inconclusive")
        summary.to_csv(folder / "summary.csv", index=False)
    found = compare_runs(copied, tmp_path / "second")
    assert found.nothing and set(found.verdicts["outcome"]) == {"untold"}
    repeat(found, tmp_path / "second")
    assert "There was no verdict to hold" in capsys.readouterr().out
