"""Merge the run folders of blocks into one run, or raise with the folder that does not fit the others, and why."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.analysis.noise import differences_of
from harness.documents import read_document
from harness.errors import HarnessError
from harness.evidence.bundle import measured_too
from harness.files import write_text
from harness.records import CellKey, Row, Sample, columns
from harness.row_files import read_rows
from harness.run.completeness import SAMPLES, own_rows, read_own_rows, required_rows
from harness.run.config import RunConfig
from harness.run.machine import read_environment
from harness.run.plan import describe_access, read_plan
from harness.run.subject import Subject

_ALIKE = ("commit", "filesystem", "cores_usable")
"""Facts of a session that must be equal, in addition to those that `differences_of` compares."""


@dataclass(frozen=True, kw_only=True)
class TaskBlock:
    """What one task measures: a trace at one length, with all its suites, contenders, cache states and rounds."""

    name: str  # Name of its folder.
    folder: Path  # Holds a run folder for each attempt.
    config: RunConfig  # That of the run, with only this trace and length.
    subject: Subject  # Subject of the run's plan.


@dataclass(frozen=True, kw_only=True)
class MergedPart:
    """The run folder that counts for a block; `host` is empty if its cells are recorded as failed."""

    block: TaskBlock
    folder: Path
    host: str


def problems(folder: Path, block: TaskBlock, *, spoilt: bool) -> Iterator[str]:
    """Yield the problems of the run folder of a block; none if it is complete.

    Parameters
    ----------
    folder : Path
        The run folder.
    block : TaskBlock
        Block that it must hold.
    spoilt : bool
        Whether cells may have failed because the machine did.

    Raises
    ------
    HarnessError
        If a file is missing, damaged, or of a version that this reader does not know.
    """
    yield from _asked_otherwise(RunConfig.read(folder / "run.json"), block.config)
    plans = read_plan(folder / "plan.json")
    accesses = [describe_access(suite, access) for suite, access in block.subject.plans]
    planned = json.loads(block.subject.manifest.to_json()), json.loads(json.dumps(accesses))
    if [(plan["manifest"], plan["accesses"]) for plan in plans] != [planned]:
        yield "its plan is not that of the run"
    yield from _versions(folder)
    frames = {SAMPLES: read_rows(folder / SAMPLES, Sample), **read_own_rows(folder)}
    for name, required in required_rows(folder / "plan.json", block.config, frames, sessions=1).items():
        passed = _spoilt(frames[name]) if spoilt and name in frames else set()
        faults = tuple(fault for fault in required.faults if fault.kind != "missing" or fault.cell not in passed)
        yield from (text.rstrip(".") for text in dataclasses.replace(required, faults=faults).summary(name))


def _spoilt(rows: pd.DataFrame) -> set[CellKey]:
    """Return the cells in which the machine failed."""
    return {CellKey.of(row) for row in rows[rows["cause"] != ""].to_dict("records")}


def _asked_otherwise(config: RunConfig, wanted: RunConfig) -> Iterator[str]:
    for field in dataclasses.fields(RunConfig):
        theirs, ours = getattr(config, field.name), getattr(wanted, field.name)
        if theirs != ours:
            yield f"it was asked for {field.name} {theirs}, and not {ours}"


def _versions(folder: Path) -> Iterator[str]:
    """Yield files whose schema version is not the present one: rows of two versions cannot share a file."""
    kinds: dict[str, type[Row]] = {SAMPLES: Sample, **own_rows()}
    for name, kind in kinds.items():
        if (folder / name).exists():
            (known,) = (f.default for f in dataclasses.fields(kind) if f.name == "schema_version")
            for version in sorted(set(read_rows(folder / name, kind)["schema_version"]) - {known}):
                yield f"{name} has schema version {version}, and this is {known}"


def merge(folder: Path, config: RunConfig, parts: Sequence[MergedPart]) -> None:
    """Write the files of one run from those of its blocks, in the order of the plan; the samples last.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    config : RunConfig
        Configuration of the run.
    parts : sequence of MergedPart
        One part for each block.

    Raises
    ------
    HarnessError
        If one of them was not measured like the others; the message has the names of the nodes and the differences.
        Nothing is written then.
    """
    for part in parts:
        if part.host and (found := next(problems(part.folder, part.block, spoilt=True), "")):
            raise HarnessError(f"{part.folder} cannot be merged: {found}. Remove that folder, and resume the run.")
    sessions = _sessions(parts)
    plans = [read_document(part.folder / "plan.json", dict[str, Any]) for part in parts]
    plan = {**_head(parts, plans), "subjects": [subject for each in plans for subject in each["subjects"]]}
    texts = {"environment.json": _text({"run_id": config.run_id, "sessions": sessions}), "plan.json": _text(plan)}
    ledgers = [pd.read_csv(part.folder / "ledger.csv", dtype=str, keep_default_na=False) for part in parts]
    texts["ledger.csv"] = pd.concat(ledgers).to_csv(index=False)
    kinds = own_rows()
    for name in ("archives.json", *measured_too()):
        paths = [part.folder / name for part in parts if (part.folder / name).is_file()]
        if paths and name in kinds:
            texts[name] = _joined_rows(paths, kinds[name], config.run_id)
        elif paths:
            texts[name] = _text(_joined(paths))
    texts[SAMPLES] = _joined_rows([part.folder / SAMPLES for part in parts], Sample, config.run_id)
    (folder / SAMPLES).unlink(missing_ok=True)  # those of an earlier merge would not belong to these files
    for name, text in texts.items():
        write_text(folder / name, text)


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1) + "\n"


def _sessions(parts: Sequence[MergedPart]) -> list[dict[str, Any]]:
    """Return the sessions of all measured blocks, with the node of each; each must be like the first.

    If no block was measured, return only the session that recorded this.
    """
    found: list[tuple[MergedPart, dict[str, Any]]] = []
    for part in [part for part in parts if part.host] or parts[:1]:
        for session in read_environment(part.folder / "environment.json")["sessions"]:
            if found and (differing := _differing(found[0][1], session)):
                first = found[0][0]
                raise HarnessError(
                    f"{part.block.name}, measured on {part.host}, cannot be merged with {first.block.name}, measured "
                    f"on {first.host}: these differ: {differing}. Choose nodes that are alike, as with --sbatch "
                    f"constraint=..., remove {part.folder}, and resume the run. What was measured stays in "
                    f"{part.folder.parents[1]}."
                )
            found.append((part, session))
    return [{**session, "node": part.host} for part, session in found]


def _differing(first: dict[str, Any], second: dict[str, Any]) -> str:
    own = [f"{name} ({first.get(name)}, then {second.get(name)})" for name in _ALIKE
           if first.get(name) != second.get(name)]  # fmt: skip
    return ", ".join(filter(None, (differences_of([first, second]), *own)))


def _head(parts: Sequence[MergedPart], plans: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the plan of a measured block; all measured blocks must have the same contenders."""
    measured = [(part, plan) for part, plan in zip(parts, plans, strict=True) if part.host]
    for part, plan in measured:
        if plan["arms"] != measured[0][1]["arms"]:
            raise HarnessError(
                f"{part.block.name}, measured on {part.host}, has other contenders than {measured[0][0].block.name}, "
                f"measured on {measured[0][0].host}: a reader is missing on one of them. Remove {part.folder}, and "
                "resume the run on nodes with the same packages."
            )
    return measured[0][1] if measured else plans[0]


def _joined(paths: Sequence[Path]) -> dict[str, Any]:
    """Join documents that have a version and one list of entries."""
    documents = [read_document(path, dict[str, Any]) for path in paths]
    lists = [name for name, value in documents[0].items() if isinstance(value, list)]
    head = {name: value for name, value in documents[0].items() if name not in lists}
    for path, document in zip(paths, documents, strict=True):
        if len(lists) != 1 or head != {name: value for name, value in document.items() if name not in lists}:
            raise HarnessError(f"{path} cannot be merged: it has no list of entries alone, or another version.")
    return {**head, lists[0]: [entry for document in documents for entry in document[lists[0]]]}


def _joined_rows(paths: Sequence[Path], kind: type[Row], run_id: str) -> str:
    """Join files of rows, under the name of the run."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns(kind))
    writer.writeheader()
    for path in paths:
        with path.open(newline="") as file:
            writer.writerows({**row, "run_id": run_id} for row in csv.DictReader(file))
    return text.getvalue()
