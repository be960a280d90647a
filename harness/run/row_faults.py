"""Faults in the rows of a run by cell, and the parts of a recorded row that they depend on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import pandas as pd

from harness.records import EVICTED, CellKey, Mark
from harness.row_files import closed
from harness.sampling.cache import COLD_BELOW, WARM_FROM
from harness.sampling.executor import load_executor
from harness.workload import ReadAccess

Kind = Literal["missing", "doubled", "extra", "again", "order", "status"]

SAID: dict[Kind, str] = {
    "missing": "{count} of {planned} rows that the plan asks for are missing",
    "doubled": "{count} rows are there more than once",
    "extra": "{count} rows are none that the plan asks for",
    "again": "{count} rows were replaced though nothing was wrong with their round",
    "order": "{count} rows are not in the order that the seed gives",
    "status": "{count} rows do not agree with their status",
}
ENDS = ("failed", "skipped")
"""Statuses that end a cell, unless the machine was the cause."""

_FEW = 3  # number of cells named in a sentence


class Seen(NamedTuple):
    """The checked parts of a recorded row; `odd` states a contradiction between its status and its other columns."""

    round: int
    attempt: int
    position: int
    status: str
    machine: bool
    figure: bool
    reason: str
    odd: str = ""
    effort: str = ""
    mark: Mark = Mark("ok")

    @property
    def noted(self) -> bool:
        """Whether the row may be a note on why there is no sample, and not a sample itself."""
        return self.status in ENDS and self.position == 0

    @property
    def final(self) -> bool:
        """Whether the row ends its cell; rows spoilt by a machine failure are repeated."""
        return self.status in ENDS and not self.machine


Rows = Mapping[CellKey, Sequence[Seen]]


@dataclass(frozen=True)
class Fault:
    """A fault in some rows of one cell."""

    kind: Kind  # One of `SAID`.
    cell: CellKey  # The cell.
    rounds: tuple[int, ...]  # Rounds of these rows; of duplicates, one entry per surplus row.
    why: str = ""  # Details; may be empty.

    def __str__(self) -> str:
        key = self.cell
        workers = "" if key.executor == ReadAccess.executor else f"{key.workers} {key.executor}"
        parts = (key.suite, key.access, key.trace, key.n_res, key.format, key.profile, key.cache, workers)
        numbers = sorted(set(self.rounds))
        firsts, lasts = ([n for n in numbers if n + step not in numbers] for step in (-1, 1))
        told = ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in zip(firsts, lasts, strict=True))
        place = " ".join(str(part) for part in parts if part not in (None, ""))
        return f"{place}, round{'s' * (len(numbers) > 1)} {told}{': ' * bool(self.why)}{self.why}"


@dataclass(frozen=True)
class Required:
    """The comparison of the rows of a file with the rows that its run requires."""

    planned: int  # Number of required rows; depends on the recorded rows, because a failure ends a cell.
    faults: tuple[Fault, ...]  # Empty if each required row exists once, in its position.

    def sentences(self) -> Iterator[tuple[Kind, str, list[Fault]]]:
        """Yield each kind of fault with its description and its faults."""
        for kind, text in SAID.items():
            if found := [fault for fault in self.faults if fault.kind == kind]:
                count = sum(len(fault.rounds) for fault in found)
                yield kind, text.format(count=count, planned=self.planned), found

    def summary(self, what: str) -> Iterator[str]:
        """Yield a sentence for each kind of fault, with the first `_FEW` cells."""
        for _, text, found in self.sentences():
            more = f"; and {len(found) - _FEW} more cells" if len(found) > _FEW else ""
            yield f"{what}: {text}: {'; '.join(map(str, found[:_FEW]))}{more}."


def _odd(row: Mapping[Any, Any]) -> str:
    """Return how a sample's status contradicts its recorded verification and cache state; empty if it does not."""
    resident, cold = row["resident_fraction"], row["cache"] in EVICTED
    if row["status"] == "ok":
        if str(row["verified"]) != "True":
            return "ok, and was not verified"
        return "ok, and was not cold" if cold and resident >= COLD_BELOW else ""
    if row["status"] != "rejected" or load_executor(row["executor"]).rejects:
        return ""
    signal = resident >= COLD_BELOW if cold else resident < WARM_FROM
    return "" if signal else "rejected, and nothing that was recorded says why"


def rows_of(frame: pd.DataFrame, figure: Sequence[str]) -> dict[CellKey, list[Seen]]:
    """Group the rows of a file by cell, in the order of the file.

    Parameters
    ----------
    frame : DataFrame
        From `harness.row_files`, with the rows of all attempts.
    figure : sequence of str
        Columns of figures; a row with status ok must have a value in at least one.
    """
    has = frame[list(figure)].notna().any(axis=1)
    found: dict[CellKey, list[Seen]] = {}
    for row, figured in zip(frame.to_dict("records"), has, strict=True):
        key = CellKey.of(row)
        seen = Seen(
            round=int(row["round"]),
            attempt=int(row.get("attempt", 1)),
            position=int(row["position"]),
            status=row["status"],
            machine=bool(row.get("cause", "")),
            figure=bool(figured),
            reason=row["reason"],
            odd=_odd(row) if "verified" in row else "",
            effort=row.get("effort", ""),
            mark=Mark(
                row["status"],
                row.get("cause", ""),
                int(row.get("attempt", 1)),
                closed(row) if row["status"] == "ok" else None,
            ),
        )
        found.setdefault(key, []).append(seen)
    return found
