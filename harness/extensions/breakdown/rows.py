"""The rows of ``breakdown.csv``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.documents import Count, Figure, Positive
from harness.errors import Cause
from harness.records import CONTENDER_COLUMNS, Row, Status, Time

if TYPE_CHECKING:
    import pandas as pd

BREAKDOWN_VERSION = 3  # since 1: cause, attempt; since 2: slim, reader, threads


@dataclass(frozen=True, kw_only=True)
class ReadParts:
    """Breakdown of the time of a warm read access, measured apart from its samples.

    Times are in seconds and add up over the reads of the access. ``total_seconds`` is measured like ``seconds`` of a
    sample, but in a process that keeps the memory it has freed. A sample that gets fresh memory from the kernel takes
    longer. The parts are measured by replay: ``metadata`` is the library's lookup of the tensor; ``file_read`` opens
    and reads the stored bytes that the read needs; ``decode`` calls the codec on them, on one thread; ``copy`` puts the
    values into a new array of the result's shape. ``rest`` is the remainder of the total: the library's own work. It is
    negative if the library is faster than the steps one after the other, for example because it uses several threads or
    reads directly into the result. ``stored_bytes`` lie in ``extents`` pieces, each counted as often as it is read, of
    ``files`` different files.
    """

    total_seconds: Time | None = None
    open_seconds: Figure | None = None
    metadata_seconds: Figure | None = None
    file_read_seconds: Figure | None = None
    decode_seconds: Figure | None = None
    copy_seconds: Figure | None = None
    rest_seconds: float | None = None
    stored_bytes: Count | None = None
    extents: Count | None = None
    files: Count | None = None
    bytes_requested: Count | None = None
    status: Status = "ok"
    reason: str = ""
    cause: Cause = ""


@dataclass(frozen=True, kw_only=True)
class Breakdown(ReadParts, Row):
    """One row of ``breakdown.csv``."""

    called, file = "a breakdown file", "breakdown.csv"
    figures: ClassVar[tuple[str, ...]] = ("total_seconds",)
    added: ClassVar[dict[int, tuple[str, ...]]] = {2: ("cause", "attempt"), 3: CONTENDER_COLUMNS}

    attempt: Positive = 1
    schema_version: int = BREAKDOWN_VERSION


def read_breakdown(path: Path) -> pd.DataFrame:
    """Read the rows that are in force, one for each cell and round."""
    from harness.row_files import in_force, read_rows  # imports pandas, which the explaining process does not need

    return in_force(read_rows(path, Breakdown))
