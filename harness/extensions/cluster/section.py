"""Report section on the nodes on which a run was measured, from ``cluster.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from harness.analysis import formatting
from harness.analysis.findings import Findings
from harness.extensions.cluster.document import FILE, ClusterDocument, TaskEnd, notes, read_cluster
from harness.report.section import Block, Items, Section, Table, Text

_COLUMNS = (
    "Block", "Task", "Attempt", "Node", "Memory", "Filesystem", "Stripes", "Files", "Archives", "Time", "Counts",
)  # fmt: skip


class ClusterSection(Section):
    """Nodes on which each block of a run was written and measured."""

    name, title = "cluster", "Nodes of the run"
    order = 85
    measured: ClassVar = {FILE: f"the nodes that a run was measured on, and how its tasks ended, in {FILE}"}

    def find(self, folder: Path, findings: Findings) -> ClusterDocument | None:
        """Read the tasks; return None for a run that was measured in one process."""
        return read_cluster(folder)

    def blocks(self, found: ClusterDocument, findings: Findings) -> list[Block]:
        """Show every task, and the notes on the tasks."""
        return [
            Text(
                "Each trace and length was measured in a task of its own, all formats in common rounds on one node. "
                "Times of different nodes are never compared."
            ),
            Table(
                label="Tasks", caption="Every task, in the order in which they ended.", columns=_COLUMNS,
                rows=[_row(task) for task in found["tasks"]], folded="All tasks",
            ),
            Items(notes(found)),
        ]  # fmt: skip

    def document(self, found: ClusterDocument) -> dict[str, Any]:
        """Return the cluster and the notes on its tasks."""
        return {"cluster": {"cluster": found["cluster"], "notes": notes(found)}}


def _row(task: TaskEnd) -> list[str]:
    node, wrote = task["node"], task["part"] == "write"
    memory = node["memory_bytes"] if node else None
    stripes = node["stripe_count"] if node else None
    storage = ", ".join(filter(None, (node["filesystem"], node["storage"]))) if node else ""
    return [
        formatting.subject(task["trace"], task["n_res"]), task["part"], str(task["attempt"]),
        node["host"] if node else "–", formatting.size(memory) if memory else "–", storage or "–",
        "–" if stripes is None else str(stripes),
        str(task["files"]) if wrote else "–", formatting.size(task["archive_bytes"]) if wrote else "–",
        "–" if task["seconds"] is None else formatting.duration(task["seconds"]), "no" if task["problem"] else "yes",
    ]  # fmt: skip


section = ClusterSection()
