"""A run in tasks that are done in this process, some of which die, as tests need them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from harness.extensions.cluster.campaign import Campaign, blocks_of
from harness.extensions.cluster.document import ClusterDocument, read_cluster, write_cluster
from harness.extensions.cluster.jobs import Ended
from harness.extensions.cluster.merge import MergedPart, merge
from harness.extensions.cluster.task import TypedOptions
from harness.run.config import RunConfig
from harness.run.planned_run import PlannedRun
from tests.conftest import TINY, Counted

CONFIG = dataclasses.replace(TINY, suites=("size", "layer_read"), sizes=(24, 40), readers=("stock",))


class Here:
    """Does tasks in this process when they are waited for.

    Those named in `dying` die, once for each time named. `nodes` names the node of tasks, by their names.
    """

    def __init__(self, dying: Collection[str] = (), nodes: Mapping[str, str] | None = None) -> None:
        self.dying, self.nodes = list(dying), nodes or {}
        self.started, self.excluded, self.given = list[str](), list[str](), list[tuple[object, ...]]()

    def start(self, name: str, function: Callable[..., object], *arguments: object, exclude: str = "") -> Any:
        self.started.append(name)
        self.excluded.append(exclude)
        self.given.append(arguments)
        return name, function, arguments

    def wait(self, job: Any) -> Ended:
        name, function, arguments = job
        if name in self.dying:
            self.dying.remove(name)
            return Ended(problem="the task ended without an answer (state NODE_FAIL): nothing was logged")
        with mock.patch.dict(os.environ, {"SLURMD_NODENAME": self.nodes[name]} if self.nodes else {}):
            return Ended(value=function(*arguments))


def document_of(folder: Path, **changes: Any) -> ClusterDocument:
    known = read_cluster(folder)
    document: ClusterDocument = {
        "cluster": "local", "at_once": 1, "minutes": 9, "files_budget": 1000, "lukewarm": False,
        "tasks": known["tasks"] if known else [],
    }  # fmt: skip
    return document | changes  # type: ignore[return-value]


def measured(
    folder: Path, jobs: Here, config: RunConfig = CONFIG, *, apart: bool = False, **changes: Any
) -> tuple[list[MergedPart], ClusterDocument]:
    """Take all tasks of a run and merge them, as the launcher does."""
    folder.mkdir(parents=True, exist_ok=True)
    config = dataclasses.replace(config, run_id=folder.name)
    config.save(folder / "run.json")
    planned, document = PlannedRun.of(config), document_of(folder, **changes)
    write_cluster(folder, document)
    campaign = Campaign(jobs, folder, document, TypedOptions.here(), apart, Counted())
    parts = campaign.measure(blocks_of(planned, folder))
    merge(folder, config, parts)
    return parts, document
