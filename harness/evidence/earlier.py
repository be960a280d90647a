"""What earlier versions published and this one does not: looks at what threads wait for, taken out before comparing."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from harness.records import CONTENDER_COLUMNS

LOOKS = "contention.csv"
"""The rows behind them: runs of earlier versions have such a file, which nothing reads any more."""

_COLUMNS = frozenset(
    {
        *("contention_cpu_per_second", "reader_cpu_share", "busiest_thread", "busiest_thread_share"),
        *("lock", "lock_held_share", "interpreter_lock"),
    }
)


def without_looks(name: str, data: bytes) -> bytes:
    """Return a published table as it would be without looks, and of its present version; as it is where it is none."""
    try:
        return _without(name, data)
    except (csv.Error, ValueError):
        return data  # the comparison says what is wrong with it


def without_contenders(name: str, data: bytes) -> bytes:
    """Return a table or document made from rows before schema 4 as it was then: without what they do not know."""
    if name.endswith(".csv"):
        rows = list(csv.DictReader(io.StringIO(data.decode())))
        unknown = [column for column in CONTENDER_COLUMNS if not any(row.get(column) for row in rows)]
        return _written([{k: v for k, v in row.items() if k not in unknown} for row in rows]) if rows else data
    return json.dumps(_known(json.loads(data))).encode() if name.endswith(".json") else data


def _known(value: Any) -> Any:
    if isinstance(value, list):
        return [_known(part) for part in value]
    if not isinstance(value, dict):
        return value
    return {k: _known(v) for k, v in value.items() if k not in CONTENDER_COLUMNS or v not in ("", None)}


def _written(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _without(name: str, data: bytes) -> bytes:
    if name == "scaling.csv" and (rows := [_row(row) for row in csv.DictReader(io.StringIO(data.decode()))]):
        return _written(rows)
    if name == "report.json" and isinstance(rows := (document := json.loads(data)).get("scaling"), list):
        return json.dumps(document | {"scaling": [_row(row) for row in rows]}).encode()
    return data


def _row(row: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if name not in _COLUMNS}
    if len(kept) < len(row) and str(kept.get("schema_version")) == "1":
        kept["schema_version"] = type(kept["schema_version"])(2)
    return kept
