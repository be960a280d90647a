"""The rows that a run writes: one per sample, appended as they come, read back with their schema version checked."""

from __future__ import annotations

import csv
import dataclasses
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd

from harness.errors import HarnessError

SCHEMA_VERSION = 1

_SYNC_EVERY = 1.0  # seconds; waiting for the disk after every sample would take longer than many samples do

Status = Literal["ok", "failed", "rejected", "skipped"]


class CellKey(NamedTuple):
    """What all samples of a cell share, apart from the run."""

    suite: str
    access: str
    trace: str
    n_res: int | None
    format: str
    profile: str
    cache: str
    executor: str
    workers: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One row of ``samples.csv``; None is an empty field: a figure that does not apply or could not be had.

    Times are in seconds, sizes in bytes. ``bytes_read`` and ``requests`` are the process's read calls (``rchar`` and
    ``syscr`` of ``/proc/self/io``), which a mapped file does not show; ``files_opened`` is counted by inotify in the
    discarded read of the same plan. ``native_bytes`` counts 2 bytes for each value of a float32 tensor whose values
    are all exactly representable in bfloat16.
    """

    run_id: str
    suite: str
    access: str
    trace: str
    n_res: int | None
    format: str
    profile: str
    cache: str
    executor: str
    workers: int
    round: int
    position: int
    seconds: float | None = None
    open_seconds: float | None = None
    bytes_requested: int | None = None
    bytes_returned: int | None = None
    bytes_read: int | None = None
    files_opened: int | None = None
    requests: int | None = None
    resident_fraction: float | None = None
    peak_rss_bytes: int | None = None
    load_average: float | None = None
    verified: bool | None = None
    status: Status = "ok"
    reason: str = ""
    size_bytes: int | None = None
    files: int | None = None
    native_bytes: int | None = None
    schema_version: int = SCHEMA_VERSION

    @property
    def key(self) -> CellKey:
        """The cell this sample belongs to."""
        return CellKey(*(getattr(self, name) for name in CellKey._fields))


COLUMNS = [field.name for field in dataclasses.fields(Sample)]
KEY_COLUMNS = ["run_id", *CellKey._fields]


class SampleFile:
    """Appends samples to a CSV file; a killed process loses none, a crashed machine those of the last second.

    Parameters
    ----------
    path : Path
        Created with a header when it does not exist. A last line that was cut off by a kill is dropped.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists() or not path.read_bytes().endswith(b"\n"):
            self._mend()
        self._handle = path.open("a", newline="")
        self._synced = time.monotonic()
        self._writer = csv.DictWriter(self._handle, COLUMNS)
        if path.stat().st_size == 0:
            self._writer.writeheader()
            self._handle.flush()

    def _mend(self) -> None:
        if self._path.exists():
            text = self._path.read_bytes()
            with self._path.open("r+b") as file:
                file.truncate(text.rfind(b"\n") + 1)

    def add(self, sample: Sample) -> None:
        """Append one sample."""
        self._writer.writerow({k: "" if v is None else v for k, v in dataclasses.asdict(sample).items()})
        self._handle.flush()
        if time.monotonic() - self._synced > _SYNC_EVERY:
            self._sync()

    def _sync(self) -> None:
        os.fsync(self._handle.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Close the file, with all of it on disk."""
        self._sync()
        self._handle.close()


def read_samples(path: Path) -> pd.DataFrame:
    """Read ``samples.csv``.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    DataFrame
        One row a sample; text columns hold ``""`` where empty, numeric ones NaN.

    Raises
    ------
    HarnessError
        When the file is missing, is not a sample file, or has a schema version this reader does not know.
    """
    text = ["run_id", "suite", "access", "trace", "format", "profile", "cache", "executor", "status", "reason"]
    try:
        frame = pd.read_csv(
            path,
            dtype=dict.fromkeys(text, str),
            keep_default_na=False,
            na_values={c: [""] for c in COLUMNS if c not in text},
        )
    except FileNotFoundError as error:
        raise HarnessError(f"There is no {path}; name the folder of a run that 'harness run' has written.") from error
    except (ValueError, pd.errors.ParserError) as error:
        raise HarnessError(f"{path} is not a sample file: {error}.") from error
    versions = sorted({str(v) for v in frame["schema_version"]}) if "schema_version" in frame else ["none"]
    if versions not in ([], [str(SCHEMA_VERSION)]):
        raise HarnessError(
            f"{path} has schema version {', '.join(versions)}; this reader knows version {SCHEMA_VERSION}."
        )
    if lost := [column for column in COLUMNS if column not in frame]:
        raise HarnessError(
            f"{path} is not a sample file of schema version {SCHEMA_VERSION}: it has no column {lost[0]!r}."
        )
    return frame


def done(path: Path) -> dict[CellKey, dict[int, Status]]:
    """List what a sample file already holds, for ``--resume``.

    Parameters
    ----------
    path : Path
        The file; may be missing.

    Returns
    -------
    dict
        For each cell, the status of each round.
    """
    if not path.exists():
        return {}
    found: dict[CellKey, dict[int, Status]] = {}
    for row in read_samples(path).to_dict("records"):
        values: dict[str, Any] = {name: row[name] for name in CellKey._fields}
        values["n_res"] = None if pd.isna(values["n_res"]) else int(values["n_res"])
        values["workers"] = int(values["workers"])
        found.setdefault(CellKey(**values), {})[int(row["round"])] = row["status"]
    return found
