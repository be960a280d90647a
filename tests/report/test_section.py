"""An extension's section stands in its place on the page, in the Markdown, in report.json, and travels in a bundle."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pandas as pd
import pytest

from harness.analysis.report_options import find_options
from harness.errors import HarnessError
from harness.evidence.bundle import drawings, measured_too, read_bundle, tables
from harness.report.section import Items, Picture, Section, Table, Text
from harness.report.write import write_report


class Weather(Section):
    """What the sky did, from a file beside the run."""

    name = "weather"
    title = "The weather"
    order = 95
    measured = {"weather.txt": "the sky, in weather.txt"}  # noqa: RUF012
    published = {"weather.csv": ("sky",)}  # noqa: RUF012
    drawn = ("sky",)

    def find(self, folder, findings):
        return (folder / "weather.txt").read_text() if (folder / "weather.txt").exists() else None

    def blocks(self, found, findings):
        table = Table(label="Clouds", caption="Of a day.", columns=["Cloud", "Height"], rows=[["cirrus|", "8 km"]])
        return [Text(f"It was {found}."), Items(["<rain>"], lead="Also:"), table, Picture("sky", "Sky", "A sky.")]

    def document(self, found):
        return {"weather": found}

    def tables(self, found):
        return {"weather.csv": pd.DataFrame({"sky": [found]})}

    def draw(self, found, folder):
        (folder / "sky.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"></svg>')
        return [folder / "sky.svg"]


weather = Weather()


@pytest.fixture
def run(measure, sketched, tmp_path: Path) -> Path:
    folder, _ = measure(suites=("size",))
    (folder / "weather.txt").write_text("fine & dry")
    return folder


def test_a_section_is_part_of_the_page_and_of_all_that_is_published(run, monkeypatch):
    for place in ("harness.report.section", "harness.evidence.bundle"):
        monkeypatch.setattr(f"{place}.installed", lambda: [weather])
    written = write_report(run, find_options(run))
    page, markdown = written.page.read_text(), written.markdown.read_text()
    places = [page.index(f'<h2 id="{name}"') for name in ("fairness", "weather", "noise")]
    assert places == sorted(places) and '<a href="#weather">The weather</a>' in page
    assert "It was fine &amp; dry." in page and "&lt;rain&gt;" in page and "<td>8 km</td>" in page
    head = "## The weather\n\n<details><summary>The weather: all of it</summary>\n\n"
    assert f"{head}It was fine & dry.\n\nAlso:\n\n- <rain>\n\n| Cloud | Height |\n|---|---|\n" in markdown
    assert "| cirrus\\| | 8 km |\n\n![Sky](" in markdown and "\n\n\n" not in markdown
    assert '"weather": "fine & dry"' in (run / "report.json").read_text()
    assert (run / "weather.csv").read_text() == "sky\nfine & dry\n" and (written.plots / "sky.svg").exists()
    assert "weather.txt" in measured_too() and "weather.csv" in tables() and "plots/sky.png" in drawings()


def test_a_file_of_an_extension_that_is_missing_is_refused(tmp_path):
    path = tmp_path / "a.bundle.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("run/weather.csv", "sky")
    with pytest.raises(HarnessError, match=r"'weather\.csv', which no run has; if an extension that is not inst"):
        read_bundle(path)


def test_a_run_without_what_a_section_is_made_of_has_no_such_section(run, monkeypatch):
    monkeypatch.setattr("harness.report.section.installed", lambda: [weather])
    (run / "weather.txt").unlink()
    assert "weather" not in write_report(run, find_options(run)).page.read_text()
    assert not (run / "weather.csv").exists()
