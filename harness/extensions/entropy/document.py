"""``entropy.json`` in the folder of a run: the estimate of each trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict

from harness.documents import Count, Figure, read_document
from harness.files import appearing

FILE, VERSION = "entropy.json", 1


class TraceEntropy(TypedDict):
    """The estimate of one trace; `counted` is the share of its bytes that was counted."""

    trace: str
    n_res: Count | None
    float32_bytes: Count
    entropy_bytes: Figure
    counted: Figure


class EntropyDocument(TypedDict):
    """All estimates of a run."""

    traces: list[TraceEntropy]


def read(folder: Path) -> list[TraceEntropy]:
    """Read the estimates of a run; empty if there is no file."""
    path = folder / FILE
    if not path.exists():
        return []
    mend = "remove it; the run is complete without it"
    return read_document(path, EntropyDocument, version=("entropy_version", VERSION), mend=mend)["traces"]


def write(folder: Path, traces: list[TraceEntropy]) -> None:
    """Write the estimates of a run; the file appears only when it is complete."""
    with appearing(folder / FILE) as made:
        made.write_text(json.dumps({"entropy_version": VERSION, "traces": traces}, indent=1) + "\n")
