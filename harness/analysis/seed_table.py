"""The seed's own table: its column names, our medians, so that its published file and ours lie side by side."""

from __future__ import annotations

import pandas as pd

# The seed's counts of windows. Ours are fewer, because NPZ takes part; each window is an independent read, so the time
# for the seed's count is the time per window times that count, and the counts measured stand in the last columns.
_SEED_RANDOM = 500
_SEED_SWEEP = 96
_SEED_PARALLEL = 200

SEED_COLUMNS = [
    "N_res", "npz_write", "npz_size", "hdf5_write", "hdf5_size", "zarr_write", "zarr_size", "npz_full_read",
    "hdf5_full_read", "zarr_full_read", "npz_layer_read", "hdf5_layer_read", "zarr_layer_read", "hdf5_head_read",
    "zarr_head_read", "zarr_random", "hdf5_random", "viz_hdf5", "viz_zarr", "zarr_parallel", "hdf5_parallel",
    "npz_write_MBps", "hdf5_write_MBps", "zarr_write_MBps", "useful_bytes", "hdf5_efficiency", "zarr_efficiency",
]  # fmt: skip
_WINDOW_BYTES = 32 * 32 * 4


def seed_table(summary: pd.DataFrame, windows: int) -> pd.DataFrame:
    """Arrange a run of the seed preset as the seed's ``benchmark_results.csv``.

    Parameters
    ----------
    summary : DataFrame
        From `harness.analysis.summary.summarise`.
    windows : int
        Attention windows per sample of the run.

    Returns
    -------
    DataFrame
        One row per sequence length: the seed's columns, then ``windows_measured``. Times in seconds, sizes in bytes,
        megabytes of 10**6 bytes as in the seed. Efficiencies are, as in the seed, bytes of one window over the time
        per window. Empty where a cell failed or was not measured.
    """
    rows = []
    for n_res in sorted({int(n) for n in summary["n_res"].dropna()}):
        part = summary[summary["n_res"] == n_res]
        row: dict[str, float | None] = dict.fromkeys(SEED_COLUMNS)
        row.update(N_res=n_res, useful_bytes=_WINDOW_BYTES, windows_measured=windows)
        for name in ("npz", "hdf5", "zarr"):
            cells = part[part["format"] == name]
            write = _value(cells, "write", "archive")
            row[f"{name}_write"] = write
            row[f"{name}_size"] = size = _value(cells, "size", "archive", "size_bytes")
            row[f"{name}_write_MBps"] = size / write / 1e6 if size and write else None
            row[f"{name}_full_read"] = _value(cells, "full_read", "all_tensors")
            row[f"{name}_layer_read"] = _value(cells, "layer_read", "attention_layer")
            if name == "npz":
                continue
            row[f"{name}_head_read"] = _value(cells, "layer_read", "head")
            random = _value(cells, "random_access", "window_attention")
            row[f"{name}_random"] = _times(random, _SEED_RANDOM, windows)
            row[f"viz_{name}"] = _times(random, _SEED_SWEEP, windows)
            row[f"{name}_efficiency"] = _WINDOW_BYTES / (random / windows) if random else None
            # The seed shared one open Zarr store over its threads; every worker of ours opens its own.
            parallel = cells[(cells["executor"] == "threads") & (cells["workers"] == 8)]
            row[f"{name}_parallel"] = _times(
                _value(parallel, "parallel_access", "window_attention"), _SEED_PARALLEL, windows
            )
        rows.append(row)
    return pd.DataFrame(rows, columns=[*SEED_COLUMNS, "windows_measured"])


def _value(cells: pd.DataFrame, suite: str, access: str, column: str = "median_seconds") -> float | None:
    found = cells[(cells["suite"] == suite) & (cells["access"] == access) & (cells["cache"].isin(["", "warm"]))][column]
    return None if found.empty or pd.isna(found.iloc[0]) else float(found.iloc[0])


def _times(seconds: float | None, count: int, measured: int) -> float | None:
    return None if seconds is None else seconds / measured * count
