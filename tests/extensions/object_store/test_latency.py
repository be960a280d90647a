"""The picture of reads against latency: every arm is named at its line, and what is not drawn below it."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from benchmarks.latency import draw_latency
from benchmarks.object_store import read, table

ROOT = Path(__file__).parents[3]


def samples() -> pd.DataFrame:
    rows = [
        {
            "trace": "synthetic", "latency_ms": latency, "bandwidth": 1e8, "access": "50 windows", "format": name,
            "profile": "" if name == "raw" else "tuned", "seconds": seconds * (1 + latency / 20) + number / 1000,
            "open_seconds": 0.01, "round": number, "bytes_read": 204_000_000 if name == "raw" else 23_000_000,
        }
        for latency in (0.0, 20.0)
        for name, seconds in (("raw", 2.0), ("zarr", 0.5), ("hdf5", 0.5))
        for number in range(3)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_lines_are_named_and_a_slow_flat_file_is_explained(tmp_path):
    paths = draw_latency(samples(), tmp_path, ["npz (tuned, ranges)"])
    assert [path.name for path in paths] == ["latency.svg", "latency.png"]
    drawn = paths[0].read_text()
    texts = re.findall(r"<!-- (.*?) -->", drawn, flags=re.S)
    for text in ("raw (flat file)", "zarr", "hdf5"):
        assert texts.count(text) == 1
    said = " ".join(" ".join(texts).split())
    assert "it moved 204 MB, the others 23 MB" in said and "Measured too, see samples.csv: npz (tuned, ranges)." in said


def test_the_docs_show_the_published_samples():
    rows = table(read(ROOT / "results" / "object-storage"))
    assert "\n".join(rows) in (ROOT / "docs" / "object-storage.md").read_text()


def test_a_table_has_the_median_from_a_closed_archive_and_marks_the_fastest_format():
    found = samples()
    rows = table(found.assign(profile=["" if name == "raw" else "tuned" for name in found["format"]]))
    assert rows[0] == "| format | settings | reader | 50 windows, 0 ms | 50 windows, 20 ms |"
    cells = {row.split(" | ")[0].strip("| "): [cell.strip(" |") for cell in row.split(" | ")[3:]] for row in rows[2:]}
    assert cells == {
        "raw": ["2.01 s", "4.01 s"],
        "hdf5": ["**511 ms**", "**1.01 s**"],
        "zarr": ["**511 ms**", "**1.01 s**"],
    }
