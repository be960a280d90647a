"""Uncompressed Zarr by chunk edge, shards and reader, and contiguous HDF5: ``python -m benchmarks.zarr_chunks OUT``.

Writes a profile file for each setting into OUT, measures all of them in one ``harness run``, and prints the table of
docs/settings.md: medians in milliseconds, from a closed archive, warm. Takes a few minutes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd

from harness.formats.profile_file import profile_text
from harness.formats.settings import TUNED_ROLES, Value
from harness.trace.schema import Role

SETTINGS = {f"edge-{edge}": (edge, "none") for edge in (64, 128)} | {
    f"edge-{edge}-shard": (edge, "tensor") for edge in (16, 32, 64)
}
READERS = ("tensorstore", "zarrs", "zarr-python")
CASES = {
    "pair layer": ("layer_read", "pair_layer"),
    "pair windows": ("random_access", "window_pair"),
    "everything": ("full_read", "all_tensors"),
    "one head": ("layer_read", "head"),
}


def write_profiles(folder: Path) -> list[Path]:
    """Write a profile file for each of `SETTINGS`; the edge is that of pair chunks in residues."""
    paths = []
    for name, (edge, shards) in SETTINGS.items():
        values: dict[str, Value] = {"codec": "none", "shards": shards}
        roles = {role: {**values, "edge": edge} if role is Role.PAIR else values for role in TUNED_ROLES}
        path = folder / f"{name}.toml"
        path.write_text(profile_text(name, {"command": "benchmarks.zarr_chunks"}, {"zarr": roles}))
        paths.append(path)
    return paths


def table(summary: pd.DataFrame) -> list[str]:
    """Return the lines of a Markdown table: a row for each setting, times of `READERS` in each cell."""
    lines = [f"| {', '.join(READERS)} | {' | '.join(CASES)} |", f"|---|{'---|' * len(CASES)}"]
    rows = [("hdf5", "uncompressed", ("h5py",)), *(("zarr", name, READERS) for name in ("uncompressed", *SETTINGS))]
    for form, profile, readers in rows:
        mine = summary[(summary["format"] == form) & (summary["profile"] == profile)].set_index(["suite", "access"])
        medians = {
            reader: part["median_seconds"].groupby(level=[0, 1]).first() for reader, part in mine.groupby("reader")
        }
        cells = [", ".join(f"{1000 * medians[reader][case]:.3g}" for reader in readers) for case in CASES.values()]
        lines.append(f"| {form}, {profile} | {' | '.join(cells)} |")
    return lines


def main(folder: Path) -> None:
    """Measure and print the table."""
    folder.mkdir(parents=True)
    given = [text for path in write_profiles(folder) for text in ("--profile-file", str(path))]
    command = [
        sys.executable, "-m", "harness", "run", "--trace", "synthetic:layers=2", "--sizes", "256", "--rounds", "5",
        "--cache", "warm", "--formats", "hdf5,zarr", "--profile", "uncompressed",
        "--readers", ",".join(("h5py", *READERS)),
        "--suites", "full_read,layer_read,random_access", "--workers", "1", *given, "--out", str(folder / "run"),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    print(*table(pd.read_csv(folder / "run" / "summary.csv")), sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
