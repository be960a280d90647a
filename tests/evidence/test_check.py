"""A bundle says nothing that its samples do not: every change in it is named."""

from __future__ import annotations

import json
import re
import shutil
import zipfile

import pytest

from harness.analysis.report_options import find_options
from harness.cli import evidence, main
from harness.errors import HarnessError, UsageError
from harness.evidence.bundle import Bundle, read_bundle, write_bundle
from harness.evidence.check import Result, check
from harness.report.write import write_report
from tests.evidence.conftest import draw_from, repack


def problems(bundle: Bundle, tmp_path) -> str:
    """Everything that is wrong, as one text; empty when nothing is."""
    found = [f"{r.what}: {p}" for r in check(bundle, tmp_path / "again") for p in r.problems]
    return "\n".join(found)


@pytest.mark.slow
def test_an_honest_bundle_follows_from_its_samples_in_every_part(whole, tmp_path):
    with pytest.MonkeyPatch.context() as patch:  # what the run drew is packed, and drawn again by the check
        draw_from(whole, patch)
        bundle = write_bundle(whole, tmp_path / "whole.zip")
    results = check(bundle, tmp_path / "again")
    assert [(r.what, r.problems, r.unchecked) for r in results if r.problems or r.unchecked] == []
    checked = {r.what for r in results}
    assert {"summary.csv", "report.json", "report.html", "report.md", "plots/full_read.png"} <= checked


@pytest.mark.slow
def test_a_run_that_lies_elsewhere_is_checked_alike(small, drawn, tmp_path):
    copy = tmp_path / "elsewhere" / small.name
    shutil.copytree(small, copy)
    write_report(copy, find_options(copy))
    assert (copy / "plots" / "full_read.png").is_file()
    write_bundle(copy, tmp_path / "a.zip")
    assert problems(read_bundle(tmp_path / "a.zip"), tmp_path) == ""


@pytest.mark.slow
def test_equal_runs_give_equal_bundles(small, packed, tmp_path):
    write_bundle(small, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == packed.read_bytes()


def with_time(samples: bytes, suite: str, factor: float) -> bytes:
    """Make one format's times of a suite shorter, as someone would who wants it to win."""
    lines = samples.decode().splitlines()
    header = lines[0].split(",")
    where, name, kind = (header.index(c) for c in ("seconds", "format", "suite"))
    for number, line in enumerate(lines[1:], start=1):
        parts = line.split(",")
        # The label of this trace has commas, so fields are counted from where it ends.
        shift = len(parts) - len(header)
        if parts[kind] == suite and parts[name + shift] == "npz" and parts[where + shift]:
            parts[where + shift] = repr(float(parts[where + shift]) * factor)
            lines[number] = ",".join(parts)
    return ("\r\n".join(lines) + "\r\n").encode()


def test_a_changed_sample_is_named_by_its_row(packed, drawn, tmp_path):
    bundle = read_bundle(packed)
    rows = bundle.files["samples.csv"].splitlines(keepends=True)
    number = next(k for k, row in enumerate(rows) if b",layer_read," in row or b"layer_read,head" in row)
    rows[number] = rows[number].replace(b"True", b"False", 1)
    bundle.files["samples.csv"] = b"".join(rows)
    found = problems(bundle, tmp_path)
    assert "samples.csv was changed after packing" in found
    assert re.search(rf"samples.csv, row {number}: layer_read", found)


def test_a_forger_who_also_mends_the_manifest_is_caught_by_the_figures(packed, tmp_path):
    files = dict(read_bundle(packed).files)
    files["samples.csv"] = with_time(files["samples.csv"], "full_read", 0.01)
    found = problems(read_bundle(repack(packed, files, tmp_path / "forged.zip")), tmp_path)
    assert "changed after packing" not in found
    assert "summary.csv: full_read all_tensors" in found and "median_seconds is" in found
    assert "report.json: /grades/full read hdf5/figure is" in found
    assert "plots/full_read.svg: it is not what the samples draw" in found
    assert "plots/full_read.png: its pixels" in found
    assert "report.html: " in found and "report.md: line" in found


def test_a_changed_plan_is_named(packed, drawn, tmp_path):
    files = dict(read_bundle(packed).files)
    plan = json.loads(files["plan.json"])
    access = next(a for a in plan["subjects"][0]["accesses"] if a["name"] == "window_pair")
    access["reads"][0]["selection"][0] = [0, 32]
    files["plan.json"] = json.dumps(plan).encode()
    found = problems(read_bundle(repack(packed, files, tmp_path / "forged.zip")), tmp_path)
    assert "random_access/window_pair is not what the seed gives" in found


def test_another_seed_does_not_give_the_order_that_was_run(packed, drawn, tmp_path):
    files = dict(read_bundle(packed).files)
    run = json.loads(files["run.json"])
    run["seed"] = 1
    files["run.json"] = json.dumps(run).encode()
    found = problems(read_bundle(repack(packed, files, tmp_path / "forged.zip")), tmp_path)
    assert "formats took turns in the order that the seed gives" in found and "position" in found


def test_a_read_of_other_bytes_than_planned_is_named(packed, drawn, tmp_path):
    files = dict(read_bundle(packed).files)
    lines = files["samples.csv"].decode().splitlines()
    header = lines[0].split(",")
    number = next(k for k, line in enumerate(lines) if "layer_read,head" in line)
    parts = lines[number].split(",")
    place = header.index("bytes_requested") + len(parts) - len(header)
    parts[place] = "1"
    lines[number] = ",".join(parts)
    files["samples.csv"] = ("\r\n".join(lines) + "\r\n").encode()
    found = problems(read_bundle(repack(packed, files, tmp_path / "forged.zip")), tmp_path)
    assert re.search(r"layer_read head main 1: the plan asks for \d+ bytes, bytes_requested of a sample says 1", found)


def test_a_changed_grade_size_drawing_and_page_are_named_and_nothing_else(packed, drawn, tmp_path):
    files = dict(read_bundle(packed).files)
    report = json.loads(files["report.json"])
    row = next(r for r in report["grades"] if r["criterion"] == "random access" and r["format"] == "npz")
    before = row["grade"]
    row["grade"] = "Strong" if before != "Strong" else "Poor"
    files["report.json"] = json.dumps(report).encode()
    record = json.loads(files["archives.json"])
    record["subjects"][0]["archives"][0]["size_bytes"] += 1
    files["archives.json"] = json.dumps(record).encode()
    files["plots/layer_read.png"] = files["plots/full_read.png"]
    files["plots/layer_read.svg"] = re.sub(rb"M (\d+)\.", rb"M 9\1.", files["plots/layer_read.svg"], count=1)
    for name in ("report.html", "report.md"):
        files[name] = files[name].replace(b"hdf5", b"zarr", 1)
    found = problems(read_bundle(repack(packed, files, tmp_path / "forged.zip")), tmp_path)
    assert f"/grades/random access npz/grade is '{row['grade']}', the samples give '{before}'" in found
    assert "archives.json: " in found and "the record of the archive differs" in found
    named = {line.partition(": ")[0] for line in found.splitlines()}
    plots = {"plots/layer_read.png", "plots/layer_read.svg"}
    assert named == {"report.json", "archives.json", *plots, "report.html", "report.md"}


@pytest.mark.parametrize("lost", ["samples.csv", "plan.json", "report.html", "plots/full_read.svg"])
def test_a_lost_file_is_named(packed, drawn, tmp_path, lost):
    bundle = read_bundle(packed)
    del bundle.files[lost]
    assert f"{lost} is missing" in problems(bundle, tmp_path)


def test_a_file_that_was_put_in_is_named(packed, drawn, tmp_path):
    bundle = read_bundle(packed)
    bundle.files["extra.txt"] = b"x"
    assert "extra.txt is not in the manifest" in problems(bundle, tmp_path)


def test_a_damaged_bundle_is_refused(packed, tmp_path):
    data = packed.read_bytes()
    (tmp_path / "cut.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(HarnessError, match="not a complete bundle"):
        read_bundle(tmp_path / "cut.zip")
    (tmp_path / "flipped.zip").write_bytes(data[:3000] + bytes([data[3000] ^ 1]) + data[3001:])
    with pytest.raises(HarnessError, match="not a complete bundle"):
        read_bundle(tmp_path / "flipped.zip")
    with pytest.raises(UsageError, match="'harness bundle RUN' writes one"):
        read_bundle(tmp_path / "none.zip")


@pytest.mark.parametrize("name", ["../outside.txt", "/outside.txt", "alone.txt"])
def test_a_bundle_that_reaches_out_of_its_folder_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("run/manifest.json", "{}")
        archive.writestr(name, "x")
    with pytest.raises(HarnessError, match="are not in one folder"):
        read_bundle(tmp_path / "b.zip")


def test_a_bundle_of_another_version_is_refused_by_name(packed, tmp_path):
    files = read_bundle(packed)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("run/manifest.json", json.dumps({**files.manifest, "bundle_version": 9}))
    with pytest.raises(HarnessError, match=r"manifest\.json has version 9; this reader knows version 1"):
        read_bundle(tmp_path / "b.zip")


def test_a_run_without_a_plan_cannot_be_packed(copied, tmp_path):
    (copied / "plan.json").unlink()
    with pytest.raises(HarnessError, match=r"no plan\.json"):
        write_bundle(copied, tmp_path / "b.zip")
    assert not list(tmp_path.glob("*.zip*"))


def test_the_commands_pack_and_check(copied, drawn, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bundle", str(copied)]) == 0
    cited = re.search(r"[0-9a-f]{64}", capsys.readouterr().out).group()
    assert main(["check", "small.bundle.zip"]) == 0
    out = capsys.readouterr().out
    assert cited in out and "Every published figure follows from the samples." in out
    data = (tmp_path / "small.bundle.zip").read_bytes()
    bundle = read_bundle(tmp_path / "small.bundle.zip")
    files = dict(bundle.files)
    files["samples.csv"] = with_time(files["samples.csv"], "layer_read", 0.5)
    repack(tmp_path / "small.bundle.zip", files, tmp_path / "forged.zip")
    assert main(["check", "forged.zip"]) == 1
    said = capsys.readouterr()
    assert "WRONG  summary.csv" in said.out and "does not follow" in said.err
    assert (tmp_path / "small.bundle.zip").read_bytes() == data
    monkeypatch.setattr(evidence, "check", lambda *_: [Result("plan.json"), Result("summary.csv", ["it differs"])])
    assert main(["check", "--json", "small.bundle.zip"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["sha256"], document["sound"]) == (cited, False)
    assert [(one["what"], one["problems"]) for one in document["checks"]] == [
        ("plan.json", []), ("summary.csv", ["it differs"]),
    ]  # fmt: skip
