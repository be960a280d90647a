"""The picture of reads against latency: every arm is named at its line, and what is not drawn below it."""

from __future__ import annotations

import re

import pandas as pd

from benchmarks.latency import draw_latency


def samples() -> pd.DataFrame:
    rows = [
        {
            "trace": "synthetic", "latency_ms": latency, "bandwidth": 1e8, "access": "50 windows", "format": name,
            "profile": "" if name == "raw" else "tuned", "seconds": seconds * (1 + latency / 20) + number / 1000,
            "open_seconds": 0.01, "bytes_read": 204_000_000 if name == "raw" else 23_000_000,
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
