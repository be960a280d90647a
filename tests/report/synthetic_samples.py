"""Samples whose right answers can be worked out by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pandas as pd

from harness.analysis.choice.decision import Decision, decide
from harness.analysis.choice.mix import Mix
from harness.analysis.grades import Grades, grade
from harness.analysis.table import SampleTable
from harness.records import Sample
from harness.run.config import RunConfig
from harness.workload import PlanOptions


def cell(
    suite: str, access: str, name: str, seconds: float | Sequence[float], *, rounds: int = 10, **changes: Any
) -> list[Sample]:
    """Make the samples of one format in one cell; a sequence has one value a round."""
    values = [seconds] * rounds if isinstance(seconds, (int, float)) else list(seconds)
    base: dict[str, Any] = {
        "run_id": "r", "suite": suite, "access": access, "trace": "t", "n_res": 64, "format": name,
        "profile": "" if name == "raw" else "tuned", "cache": "" if suite in ("write", "size") else "warm",
        "executor": "main", "workers": 1, "position": 0, "bytes_requested": 1000,
    }  # fmt: skip
    return [Sample(**(base | {"round": k, "seconds": value} | changes)) for k, value in enumerate(values)]


def size(name: str, size_bytes: int, *, requested: int = 2000, **changes: Any) -> list[Sample]:
    """Make the sample of one archive's size, of a trace twice as large as the layer that `cell` asks for."""
    (row,) = cell("size", "archive", name, 0.0, rounds=1, **changes)
    return [dataclasses.replace(row, seconds=None, size_bytes=size_bytes, bytes_requested=requested)]


def frame(*groups: list[Sample]) -> pd.DataFrame:
    """Put samples into the table that `harness.row_files.read_samples` gives."""
    table = pd.DataFrame([dataclasses.asdict(row) for group in groups for row in group])
    return table.astype({"seconds": float, "n_res": float, "size_bytes": float})


def worked(**changes: Any) -> pd.DataFrame:
    """Make the samples of the example in `test_decision`: HDF5 reads everything fast, Zarr one head."""
    groups = []
    for name, full, head, full_cold, head_cold, write, together, gigabytes in (
        ("hdf5", 1.0, 3.0, 2.0, 3.0, 1.0, 0.5, 1.0),
        ("zarr", 2.0, 1.0, 5.0, 5.0, 2.0, 1.0, 0.5),
    ):
        groups += [
            cell("full_read", "all_tensors", name, full, **changes),
            cell("layer_read", "head", name, head, **changes),
            cell("full_read", "all_tensors", name, full_cold, cache="cold", **changes),
            cell("layer_read", "head", name, head_cold, cache="cold", **changes),
            cell("write", "layer_durable", name, write, **changes),
            cell("parallel_access", "window_attention", name, 1.0, executor="processes", workers=1, **changes),
            cell("parallel_access", "window_attention", name, together, executor="processes", workers=2, **changes),
            size(name, int(gigabytes * 1e9), **{k: v for k, v in changes.items() if k != "rounds"}),
        ]
    return frame(*groups)


def decided(samples: pd.DataFrame, mix: Mix, trace: str = "", options: PlanOptions | None = None) -> Decision:
    """Decide by samples, for the first trace unless another is named."""
    table = SampleTable.of(samples)
    named = trace or next(iter(table.lengths))
    return decide(table, mix, named, options or PlanOptions(), RunConfig.baseline)


def graded(samples: pd.DataFrame, **options: Any) -> Grades:
    """Grade by samples."""
    return grade(SampleTable.of(samples), **options)
