"""Check what a run left behind: that its CSV files hold every cell, verified, and that its plots are pictures."""

import sys
from pathlib import Path

import pandas as pd
from matplotlib.image import imread

FORMATS = {"npz", "hdf5", "zarr", "zarr-slim", "raw", "a/a"}
SUITES = {"size", "write", "capture", "full_read", "layer_read", "random_access", "parallel_access"}
PLOTS = ("storage_size", "full_read", "layer_read", "random_access", "parallel_access", "where_time_goes")


def main(run: Path) -> None:
    """Raise with a reason where something is not as it has to be."""
    samples = pd.read_csv(run / "samples.csv")
    summary = pd.read_csv(run / "summary.csv")
    assert set(samples["format"]) == FORMATS, sorted(set(samples["format"]))
    assert set(samples["suite"]) == SUITES, sorted(set(samples["suite"]))
    assert set(samples["status"]) <= {"ok", "skipped"}, samples[~samples["status"].isin(["ok", "skipped"])]
    good = samples[samples["status"] == "ok"]
    assert good["verified"].astype(bool).all(), "an unverified sample counts as ok"
    reads = good[~good["suite"].isin(["size", "write", "capture"])]
    assert (reads["bytes_returned"] == reads["bytes_requested"]).all(), (
        "a read returned more or less than was asked for"
    )
    assert (reads["seconds"] > 0).all() and reads["resident_fraction"].ge(0.99).all(), "a warm read was not warm"
    timed = summary[(summary["status"] == "ok") & ~summary["suite"].eq("size")]
    assert timed["median_seconds"].between(timed["ci_low"], timed["ci_high"]).all(), (
        "a median lies outside its interval"
    )
    assert (run / "environment.json").stat().st_size and (run / "ledger.csv").stat().st_size
    page = (run / "report.html").read_text()
    assert page.rstrip().endswith("</html>") and page.count("<svg") > len(PLOTS), (
        "the page is cut off or lacks drawings"
    )
    for name in PLOTS:
        picture = imread(run / "plots" / f"{name}.png")
        assert picture.shape[0] > 300 and picture.std() > 0.01, f"{name}.png is small or blank"
        assert (run / "plots" / f"{name}.svg").read_text().rstrip().endswith("</svg>"), f"{name}.svg is cut off"
    print(f"checked {len(samples)} samples, {len(summary)} cells and {len(PLOTS)} plots")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
