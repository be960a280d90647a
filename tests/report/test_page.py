"""The report: one page that needs nothing else, that anyone can read, and that says what the samples say."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

import harness
from harness.analysis.findings import Findings, find
from harness.analysis.formatting import subject
from harness.analysis.report_options import Options
from harness.cli import main
from harness.records import SCHEMA_VERSION
from harness.report.page import conclusions
from harness.report.page.answer import answer, flips
from harness.report.page.conclusions import said
from harness.report.page.render import inline_svg, render
from harness.report.write import core_drawings, write_report
from tests.evidence.conftest import draw_from
from tests.report import page_checks as checks


@pytest.fixture(scope="module")
def findings(small) -> Findings:
    return find(small, Options(baseline="hdf5"))


@pytest.fixture(scope="module")
def text(small) -> str:
    return (small / "report.html").read_text()


def test_the_page_has_no_static_problem(text):
    assert checks.static_problems(text) == []


def test_the_samples_shown_are_those_of_the_cell_from_a_closed_archive(small, text):
    shown = json.loads(re.search(r'id="samples">(.*?)</script>', text, re.S).group(1))
    cells = re.findall(r'data-cell="(\d+)" data-name="([^"]+)"', text)
    assert len(cells) == len(shown)
    samples = pd.read_csv(small / "samples.csv")
    number = next(int(n) for n, name in cells if name.startswith("hdf5, one attention head, warm"))
    rows = samples[
        (samples["access"] == "head") & (samples["format"] == "hdf5") & (samples["cache"] == "warm")
    ].sort_values("round")
    assert shown[number] == [float(f"{s:.4g}") for s in rows["seconds"] + rows["open_seconds"]]


def test_the_drawings_are_inline_with_names_and_distinct_identifiers(text, small):
    names = re.findall(r'<svg[^>]*role="img" aria-label="([^"]+)"', text)
    drawn = [path.stem for path in (small / "plots").glob("*.svg")]
    assert len(names) == len(drawn) >= 7 and len(set(names)) == len(names)
    assert sum(name in core_drawings() for name in drawn) >= 6, "the others are of extensions"
    identifiers = re.findall(r'\bid="([^"]+)"', text)
    assert len(identifiers) == len(set(identifiers))


def test_a_drawing_keeps_all_its_references():
    svg = (
        '<?xml version="1.0"?><svg width="9pt" height="9pt" viewBox="0 0 9 9" xmlns="x"><metadata>m</metadata>'
        '<defs><style type="text/css">*{a: b}</style><path id="p"/><clipPath id="c"/></defs><g id="unused">'
        '<use xlink:href="#p"/><g clip-path="url(#c)"/></g></svg>'
    )
    out = inline_svg(svg, "x", 'a "name" <b>')
    assert 'href="#x-p"' in out and 'id="x-p"' in out and "url(#x-c)" in out and 'id="x-c"' in out
    assert "unused" not in out and "metadata" not in out and "<style" not in out and "9pt" not in out
    assert 'aria-label="a &quot;name&quot; &lt;b&gt;"' in out


def test_a_drawing_is_painted_in_the_colours_of_the_page():
    paints = ("fill: #ffffff", "stroke: #000000", "fill: #333333", "stroke: #e2e2e2", "fill: #0072b2", "fill: #332288")
    shapes = "".join(f'<path style="{paint}"/>' for paint in paints)
    out = inline_svg(f'<svg viewBox="0 0 9 9">{shapes}</svg>', "x", "a")
    drawn = re.findall(r'<path style="([^"]+)"', out)
    assert drawn[:5] == [
        "fill: var(--paper)", "stroke: var(--ink)", "fill: var(--soft)", "stroke: var(--line)", "fill: #0072b2",
    ]  # fmt: skip
    assert drawn[5] == "fill: #332288; fill: light-dark(#332288, #847ab7)"  # a format's, too dark for a dark page
    style = (Path(harness.__file__).parent / "report/page/templates/style.css").read_text()
    used = set(re.findall(r"var\(--(\w+)\)", out))
    assert used == {"paper", "ink", "soft", "line"} and all(style.count(f"--{name}:") >= 2 for name in used)


def test_the_markdown_says_the_same(small, findings):
    said = (small / "report.md").read_text()
    sentence = answer(findings)
    assert sentence in said and sentence in (small / "report.html").read_text()
    for target in re.findall(r"!\[[^]]*\]\(([^)]+)\)", said):
        assert (small / target).is_file(), target
    for line in said.splitlines():
        if line.startswith("| ") and "<br>" in line:
            assert line.count("|") - line.count("\\|") >= 5


def test_a_folded_table_is_of_one_trace_and_length(small, findings):
    page = (small / "report.html").read_text()
    found = re.findall(
        r"<details><summary>([^<]*)</summary>\n<div [^>]*><table data-samples[^>]*>(.*?)</table>", page, re.S
    )
    cells = findings.summary[findings.summary["status"] != "skipped"]
    subjects = {subject(*key) for key in zip(cells["trace"], cells["n_res"], strict=True)}
    assert {title for title, _ in found} == subjects and page.count("<table data-samples") == len(found)
    for title, table in found:
        named = re.findall(r'data-name="([^"]*)"', table)
        assert "rowgroup" not in table and all(name.endswith(f", {title}") for name in named)


def test_what_a_report_begins_with_is_worked_out_once(small, tmp_path, monkeypatch):
    copy = tmp_path / "results" / "small"
    shutil.copytree(small, copy)
    draw_from(small, monkeypatch)
    answered = []
    plain = conclusions.answer
    monkeypatch.setattr(conclusions, "answer", lambda found: answered.append(found) or plain(found))
    write_report(copy, Options(baseline="hdf5"))
    assert len(answered) == 1


@pytest.mark.slow
def test_the_same_files_give_the_same_bytes(small, tmp_path, monkeypatch):
    copy = tmp_path / "results" / "small"
    shutil.copytree(small, copy)
    for name in ("report.html", "report.md", "report.json", "summary.csv"):
        (copy / name).unlink()
    draw_from(small, monkeypatch)  # test_plots.py draws twice
    write_report(copy, Options(baseline="hdf5"))
    for name in ("report.html", "report.md", "report.json", "summary.csv"):
        assert (copy / name).read_bytes() == (small / name).read_bytes(), name


def test_names_of_strangers_cannot_break_the_page(small, findings, tmp_path):
    samples = findings.samples.assign(trace="file:<script>alert(1)</script>|a.h5")
    summary = findings.summary.assign(trace="file:<script>alert(1)</script>|a.h5")
    odd = dataclasses.replace(findings, samples=samples, summary=summary)
    page, markdown = render(odd, tmp_path, small, "plots", [], said(odd))
    assert "<script>alert(1)" not in page and "&lt;script&gt;alert(1)" in page
    assert "\\|a.h5" in markdown


@pytest.fixture
def copied(small, tmp_path):
    copy = tmp_path / "results" / "small"
    shutil.copytree(small, copy)
    return copy


def test_a_baseline_of_the_users_choice(copied, sketched, capsys):
    assert main(["report", str(copied), "--baseline", "npz"]) == 0
    summary = pd.read_csv(copied / "summary.csv")
    timed = summary[summary["median_seconds"].notna() & (summary["format"] == "hdf5")]
    assert set(timed["baseline"].dropna()) == {"npz (tuned)"}
    assert "the ratio to npz" in (copied / "report.html").read_text()
    assert main(["report", str(copied), "--baseline", "zarr"]) == 2
    error = capsys.readouterr().err
    assert "zarr" in error and "npz" in error and "Traceback" not in error


def test_a_mix_of_the_users_own_leaves_the_runs_page_as_it_is(copied, sketched, capsys, tmp_path):
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    assert main(["report", str(copied), "--mix", "head=0.5,full_read=0.5,storage_price=0"]) == 0
    out = capsys.readouterr().out
    assert "for own, on synthetic" in out
    assert "**own** (" in (copied / "uses" / "own" / "report.md").read_text()  # flags describe nobody's use
    document = json.loads((copied / "uses" / "own" / "report.json").read_text())
    assert document["options"]["mix"]["shares"]["head"] == 0.5
    assert {path: path.read_bytes() for path in before} == before
    assert main(["report", str(copied), "--mix", "head=0.5,full_read=0.6"]) == 2
    assert "sum to 1.1, which is 0.1 too much" in capsys.readouterr().err
    (tmp_path / "use.toml").write_text('description = "mine"\n[shares]\npair_layer = 1.0\n')
    mine = tmp_path / "mine"
    assert main(["report", str(copied), "--mix", str(tmp_path / "use.toml"), "--out", str(mine)]) == 0
    assert "for use, on synthetic" in capsys.readouterr().out
    said = (mine / "report.md").read_text()
    for target in re.findall(r"!\[[^]]*\]\(([^)]+)\)", said):
        assert (mine / target).is_file(), target
    assert main(["report", str(copied), "--mix", str(tmp_path / "use.toml"), "--out", str(copied)]) == 2
    assert "whose page would be overwritten" in capsys.readouterr().err


def test_what_a_run_needs_and_nobody_typed_is_said(copied, sketched, capsys):
    document = json.loads((copied / "run.json").read_text())
    document["suites"].append("mine:suite")
    (copied / "run.json").write_text(json.dumps(document))
    assert main(["report", str(copied), "--mix", "residue=1"]) == 2
    error = capsys.readouterr().err
    assert "residue" in error and "if you trust them, add --suite mine:suite." in error
    assert main(["report", str(copied), "--mix", "head=1"]) == 0


@pytest.mark.parametrize("given", [["--suite", "none:such"], ["--suite", "ful_read"], ["--backend", "none:such"]])
def test_a_plug_in_that_is_not_there_is_refused(copied, capsys, given):
    assert main(["report", str(copied), *given]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and given[1] in error
    assert "cannot be imported" in error or "did you mean 'full_read'?" in error


def test_too_few_rounds_say_which_verdicts_cannot_be_given(copied, sketched, capsys):
    samples = pd.read_csv(copied / "samples.csv", dtype=str, keep_default_na=False)
    samples[samples["round"].astype(int) < 4].to_csv(copied / "samples.csv", index=False)
    assert main(["report", str(copied)]) == 0
    out = capsys.readouterr().out
    assert "No answer: a verdict needs 10 rounds, this run has 4." in out
    page = (copied / "report.html").read_text()
    assert re.search(r"\d+ comparisons have fewer than 10 rounds, so they have no verdict: write, full read", page)
    assert "no grade" in page


def test_a_failed_format_is_named_and_has_no_grade(copied, sketched):
    samples = pd.read_csv(copied / "samples.csv", dtype=str, keep_default_na=False)
    bad = (samples["format"] == "npz") & (samples["suite"] == "layer_read") & (samples["round"] == "3")
    samples.loc[bad, ["status", "reason", "seconds"]] = ["failed", "returned values that differ from the source", ""]
    samples.to_csv(copied / "samples.csv", index=False)
    findings = find(copied, Options(baseline="hdf5"))
    write_report(copied, Options(baseline="hdf5"))
    page = (copied / "report.html").read_text()
    assert "npz failed in 6 cells (layer read): returned values that differ from the source." in page
    grades = findings.grades.table.set_index(["criterion", "format"])
    assert not grades.loc[("layer read", "npz"), "grade"] and grades.loc[("full read", "npz"), "grade"]


def test_an_older_schema_is_refused_by_name(copied, capsys):
    samples = pd.read_csv(copied / "samples.csv", dtype=str, keep_default_na=False)
    samples.assign(schema_version="0").to_csv(copied / "samples.csv", index=False)
    assert main(["report", str(copied)]) == 2
    assert (
        f"has schema version 0; this reader knows version {SCHEMA_VERSION} and those before it"
        in capsys.readouterr().err
    )


def test_two_machines_mixed_are_refused_by_name(copied, capsys):
    document = json.loads((copied / "environment.json").read_text())
    document["sessions"].append({**document["sessions"][0], "cpu": "Another CPU", "cores": 64})
    (copied / "environment.json").write_text(json.dumps(document))
    assert main(["report", str(copied)]) == 2
    error = capsys.readouterr().err
    assert "Another CPU" in error and "cores" in error and "Traceback" not in error


def test_two_runs_mixed_are_refused_by_name(copied, capsys):
    samples = pd.read_csv(copied / "samples.csv", dtype=str, keep_default_na=False)
    samples.loc[samples.index[-1], "run_id"] = "other"
    samples.to_csv(copied / "samples.csv", index=False)
    assert main(["report", str(copied)]) == 2
    assert "mixes samples of the runs small, other" in capsys.readouterr().err


def test_a_run_cannot_be_continued_on_another_machine(copied, capsys):
    document = json.loads((copied / "environment.json").read_text())
    document["sessions"][0]["cpu"] = "Another CPU"
    (copied / "environment.json").write_text(json.dumps(document))
    before = (copied / "samples.csv").read_bytes()
    assert main(["run", "--quiet", "--resume", "--out", str(copied)]) == 2
    assert "was measured elsewhere" in capsys.readouterr().err
    assert (copied / "samples.csv").read_bytes() == before


def test_a_damaged_report_is_named(copied, capsys):
    (copied / "report.json").write_text("{")
    assert main(["bundle", str(copied)]) == 2
    assert "report.json: is not valid JSON" in capsys.readouterr().err


def test_no_run_at_all(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 1
    assert "There is no run" in capsys.readouterr().err


def test_what_would_change_the_answer_is_said(findings):
    said = flips(findings)
    assert said and all(": " in text for text in said)
