"""The README keeps its word: its commands run, its numbers are the committed reference run's, its links exist."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.publish import sizes_of, times_of, with_table
from harness.analysis.efforts import BEST, STOCK
from harness.analysis.formatting import stands
from harness.analysis.report_options import REPORT_VERSION, find_options
from harness.cli import main
from harness.cli.answer import screen
from harness.evidence.bundle import read_bundle
from harness.evidence.check import check
from harness.evidence.compare import differences
from harness.report.write import write_report

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_every_subcommand_is_documented(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    known = set(re.findall(r"^    ([a-z]+)  ", capsys.readouterr().out, re.M))
    assert {"run", "report", "convert"} <= known
    shown = {name for page in PAGES for name in re.findall(r"\bharness ([a-z-]+)", page.read_text())}
    assert known - shown == set()


def test_every_target_of_make_that_a_page_names_exists():
    makefile = (ROOT / "Makefile").read_text()
    named = {name for page in PAGES for name in re.findall(r"(?:`|^)make ([a-z][a-z-]*)", page.read_text(), re.M)}
    assert {"bench", "setup", "test"} <= named
    assert [name for name in sorted(named) if not re.search(rf"^{name}:", makefile, re.M)] == []


def summary_of(run: str = "reference") -> pd.DataFrame:
    return pd.read_csv(ROOT / "results" / run / "summary.csv")


def rows_of(heading: str, page: Path) -> list[list[str]]:
    text = page.read_text()
    table = text[text.index(heading) :]
    lines = re.search(r"\n(\|.*?)\n\n", table, re.S).group(1).splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


RUNS = ("reference", "earlier-settings", "long-sequences")
DECODED = ("decoded-default", "decoded-0", "decoded-64")
PRESENT = (*DECODED, "equal-settings", "parallel-0", "result-directories")  # measured with the present candidates
BUNDLES = ("parallel", "readers", "reference-one-thread", *PRESENT)


@pytest.mark.parametrize(
    ("page", "run", "trace"),
    [
        ("docs/results.md", "reference", "synthetic:values=protein,layers=6"),
        ("docs/results.md", "reference", "af2-1ubq"),
        ("docs/long-sequences.md", "long-sequences", "synthetic:values=protein,layers=1"),
    ],
)
def test_the_result_tables_are_those_of_the_committed_runs(page, run, trace):
    text, mark = (ROOT / page).read_text(), f"<!-- {run}: {trace} -->"
    assert f"{mark}\n\n|" in text
    assert with_table(text, f"({mark}\n\n)", times_of(summary_of(run), trace)) == text


def test_the_archives_of_long_sequences_are_as_large_as_they_were():
    text, mark = (ROOT / "docs" / "long-sequences.md").read_text(), "<!-- long-sequences: archives -->"
    assert f"{mark}\n\n|" in text
    assert with_table(text, f"({mark}\n\n)", sizes_of(ROOT / "results" / "long-sequences")) == text


def test_the_table_of_decoded_caches_is_that_of_its_bundles():
    _, _, *rows = rows_of("<!-- decoded caches -->", ROOT / "docs" / "results.md")
    assert len(rows) == 8
    for column, name in enumerate(DECODED, 1):
        grades = json.loads(read_bundle(ROOT / "results" / f"{name}.bundle.zip").files["report.json"])["grades"]
        by = {(f"{row['criterion']}, {row['format']}", row["effort"]): stands(row) for row in grades}
        for row in rows:
            assert row[column] == " / ".join(by[row[0], effort] for effort in (STOCK, BEST)), row[0]


def table_of(bundle: str, name: str) -> pd.DataFrame:
    files = read_bundle(ROOT / "results" / f"{bundle}.bundle.zip").files
    return pd.read_csv(io.BytesIO(files[name]))


def test_the_table_of_equal_settings_is_that_of_its_bundle():
    summary = table_of("equal-settings", "summary.csv")
    good = summary[(summary["status"] == "ok") & summary["median_seconds"].notna()]
    place = ["suite", "access", "trace", "n_res"]
    cells = {arm: part.set_index(place)["median_seconds"] for arm, part in good.groupby(["format", "profile"])}
    _, _, *rows = rows_of("<!-- equal settings -->", ROOT / "docs" / "results.md")
    assert len(rows) == 8
    for label, *figures in rows:
        one, other = compared(label)
        logs = np.log(cells[one] / cells[other])
        found = [f"{np.exp(logs.loc[suite].mean()):.2f}" for suite in ("full_read", "layer_read", "random_access")]
        assert figures == found, label


def compared(label: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return formats and profiles of a label such as "zarr over hdf5, `tuned`" or "zarr, `checked` over `tuned`"."""
    profiles = re.findall(r"`(\w+)`", label)
    formats = re.findall(r"\b(?:hdf5|zarr)(?:-slim)?", label)
    return (formats[0], profiles[0]), (formats[-1], profiles[-1])


def test_parallel_reads_without_a_cache_are_those_of_their_bundle():
    grades = json.loads(read_bundle(ROOT / "results" / "parallel-0.bundle.zip").files["report.json"])["grades"]
    by = {(row["effort"], row["format"]): stands(row) for row in grades}
    stock, best = ([by[effort, name] for name in ("hdf5", "zarr", "zarr-slim", "npz")] for effort in (STOCK, BEST))
    assert stock[0] == best[0] == "best"
    page = " ".join((ROOT / "docs" / "results.md").read_text().split())
    assert f"Zarr takes {stock[1]} times as long, zarr-slim {stock[2]} and NPZ {stock[3]} times." in page
    assert f"At their best it is {best[1]}, {best[2]} and {best[3]} times." in page


def test_the_sentences_below_the_tables_follow_from_the_reference():
    summary, races = summary_of(), pd.read_csv(ROOT / "results" / "reference" / "races.csv")
    reads = summary[(summary["status"] == "ok") & summary["suite"].str.contains("read|access")]
    best = reads[reads["effort"].isin(["best", "both"])]
    page = " ".join((ROOT / "docs" / "results.md").read_text().split())
    bare = best[best["profile"] == "uncompressed"]["format"].value_counts()
    assert (
        f"HDF5 has {bare['hdf5']} from an *uncompressed* archive, Zarr {bare['zarr']}, zarr-slim {bare['zarr-slim']}"
        in page
    )
    place = ["suite", "access", "trace", "n_res", "cache", "executor", "workers"]
    of = races[(races["format"] == "zarr") & (races["profile"] == "uncompressed") & (races["status"] == "ok")]
    times = of.groupby([*place, "reader"], dropna=False)["seconds"].median().unstack().dropna()
    ahead = int((times["zarrs"] < times["tensorstore"]).sum())
    assert f"uncompressed chunks in {ahead} of {len(times)} accesses" in page
    mine = reads[(reads["format"] == "hdf5") & reads["effort"].isin(["stock", "both"])]
    fits = mine["decoded_cache"].eq("fits").groupby(mine["suite"]).agg(["sum", "size"])
    assert fits.loc["parallel_access", "sum"] == fits.loc["parallel_access", "size"]
    assert f"In all {fits.loc['parallel_access', 'size']} cells of parallel reads" in page
    assert f"{fits.loc['random_access', 'sum']} of {fits.loc['random_access', 'size']} of random access" in page
    other = reads[(reads["format"] == "zarr") & reads["effort"].isin(["stock", "both"])]
    both = mine.merge(other, on=place)
    both = both[both["suite"] == "random_access"]
    logs = np.log(both["median_seconds_y"] / both["median_seconds_x"])
    ratio = np.exp(logs.groupby(both["decoded_cache_x"].eq("fits")).mean())
    assert f"Zarr takes {ratio[True]:.1f} times as long as HDF5 over these" in page
    assert f"{ratio[False]:.1f} times over the other" in page


@pytest.mark.parametrize("run", RUNS)
def test_no_committed_report_is_withdrawn_or_lacks_rows(run):
    report = json.loads((ROOT / "results" / run / "report.json").read_text())
    assert report["report_version"] == REPORT_VERSION and not report["withdrawn"] and "incomplete" not in report
    assert any(row["grade"] for row in report["grades"] if row["criterion"] != "storage efficiency")


@pytest.mark.slow
@pytest.mark.parametrize("name", BUNDLES)
def test_a_committed_bundle_holds(name, tmp_path):
    """Those measured with other candidates too, which are then named as what this version does not give."""
    found = check(read_bundle(ROOT / "results" / f"{name}.bundle.zip"), tmp_path)
    assert not [text for result in found for text in result.problems]
    candidates = [result.unchecked for result in found if result.what == "plan.json: the candidates"]
    assert ["h5py-direct" in text for text in candidates] == ([] if name in ("readers", *PRESENT) else [True])


@pytest.mark.slow
@pytest.mark.parametrize("run", ["reference", "long-sequences"])
def test_a_committed_report_follows_from_the_committed_samples(run, sketched, tmp_path):
    """All but the drawings, whose bytes depend on the version of matplotlib."""
    committed, copy = ROOT / "results" / run, tmp_path / "results" / run
    shutil.copytree(committed, copy)
    written = write_report(copy, find_options(copy))
    if run == "reference":
        assert "\n".join(screen(written)) == re.search(r"the answer -->\n\n```text\n(.*?)\n```", README, re.S).group(1)
    made = {name: (copy / name).read_bytes() for name in ("summary.csv", "report.json", "report.md")}
    kept = {name: (committed / name).read_bytes() for name in made}
    key = ["suite", "access", "trace", "format"]
    assert not [text for name in made for text in differences(name, kept[name], made[name], key=key)]


def links_of(page: Path) -> list[Path]:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    return [Path(os.path.normpath(page.parent / target)) for target in targets]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_local_link_exists(page):
    assert not [target for target in links_of(page) if not target.exists()]


def test_every_local_link_and_committed_run_is_in_the_repository():
    """A run that git ignores exists where it was measured, and nowhere else."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout, so no file is known to be left out; the test above asks whether each exists")
    kept = {ROOT / name for name in listed.stdout.splitlines()}
    kept |= {folder for name in tuple(kept) for folder in name.parents}
    wanted = [target for page in PAGES for target in links_of(page)]
    wanted += [ROOT / "results" / f"{name}.bundle.zip" for name in BUNDLES]
    wanted += [ROOT / kind / run for run in RUNS for kind in ("results", "plots")]
    assert not [str(path) for path in wanted if path not in kept]


def test_the_reference_run_is_whole():
    summary = summary_of()
    assert (summary["status"].isin(["ok", "skipped"])).all()
    stayed = summary["suite"].eq("full_read") & summary["decided_after"].isna() & summary["status"].eq("ok")
    assert stayed.any()
    assert summary.loc[stayed, "samples"].ge(10).all()
    for name in ("storage_size", "full_read", "layer_read", "random_access", "parallel_access"):
        for kind in ("png", "svg"):
            assert (ROOT / "plots" / "reference" / f"{name}.{kind}").stat().st_size > 1000


@pytest.mark.parametrize("run", RUNS)
def test_the_plots_of_committed_runs_are_copies(run):
    own = {path.name: path.read_bytes() for path in (ROOT / "results" / run / "plots").iterdir()}
    assert own == {path.name: path.read_bytes() for path in (ROOT / "plots" / run).iterdir()}


def test_the_badges_say_what_the_package_says():
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pythons = re.findall(r"Python :: (3\.\d+)", "\n".join(about["classifiers"]))
    truth = {"python": ", ".join(pythons), "licence": about["license"], "platform": "linux"}
    assert "Operating System :: POSIX :: Linux" in about["classifiers"]
    shown = re.findall(r"!\[(\w+): ?(.+?)\]\(docs/badges/(\w+)\.svg\)", README)
    assert [(label.lower(), text.lower()) for label, text, _ in shown] == [(k, v.lower()) for k, v in truth.items()]
    for label, text in truth.items():
        assert f"<title>{label}: {text}</title>" in (ROOT / f"docs/badges/{label}.svg").read_text()


def test_the_readme_is_for_a_newcomer():
    assert len(README.splitlines()) <= 150
