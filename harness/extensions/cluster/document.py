"""``cluster.json`` of a run: every task with its node and outcome, and the notes that follow from them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from harness.analysis import formatting
from harness.documents import Count, Figure, Name, Positive, read_document
from harness.extensions.cluster.node import Node, Offset
from harness.files import write_text

FILE, VERSION = "cluster.json", 1
TASKS = "tasks"
"""Name of the folder in a run's folder that has the folders of the tasks."""

CLOCKS_AGREE = 1.0
"""Seconds by which clocks may differ without a note: a duration is of one node, and no verdict uses dates."""

TaskPart = Literal["write", "measure"]


class TaskEnd(TypedDict):
    """One attempt at a task.

    ``problem`` is why it does not count; empty if it does. ``files`` and ``archive_bytes`` are those of the archives
    that it wrote. ``clock_outside_seconds`` is how far its own times lie outside the period in which it ran, by the
    clock of the process that started it.
    """

    block: Name
    trace: Name
    n_res: Positive | None
    part: TaskPart
    attempt: Positive
    job: str
    problem: str
    node: Node | None
    seconds: Figure | None
    files: Count
    archive_bytes: Count
    clock_outside_seconds: Offset | None


class ClusterDocument(TypedDict):
    """All tasks of a run, and the limits within which they ran."""

    cluster: Name
    at_once: Positive
    minutes: Positive
    files_budget: Positive
    lukewarm: bool
    tasks: list[TaskEnd]
    cluster_version: NotRequired[int]


def read_cluster(folder: Path) -> ClusterDocument | None:
    """Read the document of a run; return None if the run was not measured in tasks."""
    path = folder / FILE
    if not path.exists():
        return None
    return read_document(path, ClusterDocument, version=("cluster_version", VERSION))


def write_cluster(folder: Path, document: ClusterDocument) -> None:
    """Write the document; the file appears only when it is complete."""
    write_text(folder / FILE, json.dumps({"cluster_version": VERSION, **document}, indent=1) + "\n")


def notes(document: ClusterDocument) -> list[str]:
    """Return notes on the tasks for readers of the run's figures."""
    return [*_failed(document), *_apart(document), *_memory(document), *_files(document), *_clocks(document)]


def _failed(document: ClusterDocument) -> Iterator[str]:
    for task in document["tasks"]:
        if task["problem"]:
            where = f" on {task['node']['host']}" if task["node"] else ""
            yield f"{_named(task)}, attempt {task['attempt']}{where}, does not count: {task['problem']}."


def _named(task: TaskEnd) -> str:
    of = "Writing" if task["part"] == "write" else "Measuring"
    return f"{of} {formatting.subject(task['trace'], task['n_res'])}"


def _counted(document: ClusterDocument, part: TaskPart) -> dict[str, tuple[TaskEnd, Node]]:
    """Return the last task of a part that counts, with its node, for each block."""
    return {
        task["block"]: (task, node)
        for task in document["tasks"]
        if task["part"] == part and not task["problem"] and (node := task["node"]) is not None
    }


def _apart(document: ClusterDocument) -> Iterator[str]:
    """Yield notes on whether archives were read where they were written, and on what a cold read is."""
    written, measured = _counted(document, "write"), _counted(document, "measure")
    same = [
        name for name, (_, node) in measured.items() if name in written and written[name][1]["host"] == node["host"]
    ]
    if same:
        yield (
            f"{len(same)} of {len(measured)} blocks were read on the node that wrote their archives: a single machine "
            "has no other, and what its caches hold of the writing cannot be excluded."
        )
    elif measured:
        yield "Every archive was read on another node than the one that wrote it."
    if document["lukewarm"]:
        yield (
            "Cold reads cannot be proven on this filesystem, so they are called lukewarm: the page cache of the "
            "reading node was emptied, and the filesystem may have held the data elsewhere. No grade uses them."
        )


def _memory(document: ClusterDocument) -> Iterator[str]:
    memory = {node["host"]: node["memory_bytes"] or 0 for _, node in _counted(document, "measure").values()}
    data = sum(task["archive_bytes"] for task, _ in _counted(document, "write").values())
    together = sum(memory.values())
    if memory and data:
        hosts = "1 host" if len(memory) == 1 else f"{len(memory)} hosts together"
        known = f"{formatting.size(together)}; the data are {data / together:.2g} times that" if together else "unknown"
        yield f"All archives have {formatting.size(data)}. The memory of {hosts} that read them: {known}."


def _files(document: ClusterDocument) -> Iterator[str]:
    most = max((task["files"] for task, _ in _counted(document, "write").values()), default=0)
    yield (
        f"Budget of files: {document['files_budget']} in the archives at hand. Those of one block had at most {most}; "
        f"at most {document['at_once']} were at hand at one time."
    )


def _clocks(document: ClusterDocument) -> Iterator[str]:
    """Yield notes on clocks that disagree with the filesystem, or with the process that started the task."""
    for task in document["tasks"]:
        node = task["node"]
        for seconds, of in (
            (node and node["clock_offset_seconds"], "the shared filesystem"),
            (task["clock_outside_seconds"], "the process that started it"),
        ):
            if node and seconds is not None and abs(seconds) > CLOCKS_AGREE:
                yield (
                    f"The clock of {node['host']} and that of {of} differ by {abs(seconds):.1f} s. Durations are not "
                    "affected; dates of this run are not to be relied on."
                )
