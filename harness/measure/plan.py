"""The plans of a run as a file, so that anyone can see what was asked, and draw the same plans from the seed again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec

from harness.documents import Count, Positive, read_document
from harness.files import write_text
from harness.measure.config import RunConfig
from harness.measure.subject import Subject, plan_subject
from harness.trace.schema import Manifest
from harness.workload import Access

PLAN_VERSION = 1


class DescribedRead(TypedDict):
    """A read, as `describe_plan` gives it."""

    path: str
    selection: list[Annotated[list[Count], msgspec.Meta(min_length=2, max_length=2)]] | None


class DescribedAccess(TypedDict):
    """An access with its suite; beside its name, what an access of its kind has."""

    suite: str
    kind: Literal["ReadAccess", "WriteAccess", "StreamAccess", "SizeAccess", "Absent"]
    name: str
    reads: NotRequired[list[DescribedRead]]
    load_once: NotRequired[bool]
    executor: NotRequired[str]
    workers: NotRequired[Positive]
    caches: NotRequired[list[str]]
    tensors: NotRequired[list[list[Any]] | None]
    reason: NotRequired[str]


class Described(TypedDict):
    """A subject, as `describe_plan` gives it."""

    trace: str
    text: str
    n_res: Positive | None
    requested: Positive | None
    manifest: dict[str, Any]
    accesses: list[DescribedAccess]


class _Plans(TypedDict):
    subjects: list[Described]


def describe_plan(subject: Subject) -> dict[str, Any]:
    """Describe a subject as plain values: its manifest, and every access with every read.

    Parameters
    ----------
    subject : Subject
        From `harness.measure.subject.open_subjects`.

    Returns
    -------
    dict
        Equal plans give equal values. A selection is a list of ``[start, stop]``, one for each axis.
    """
    return {
        "trace": subject.label,
        "text": subject.text,
        "n_res": subject.n_res,
        "requested": subject.requested,
        "manifest": json.loads(subject.manifest.to_json()),
        "accesses": [{"suite": suite, **_access(access)} for suite, access in subject.plans],
    }


def _access(access: Access) -> dict[str, Any]:
    return {
        "kind": type(access).__name__,
        **{f.name: _plain(getattr(access, f.name)) for f in dataclasses.fields(access)},
    }


def _plain(value: Any) -> Any:
    if isinstance(value, slice):
        return [value.start, value.stop]
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return value


def save_plan(subjects: Sequence[Subject], path: Path) -> None:
    """Write the plans of all subjects of a run as JSON."""
    described = [describe_plan(subject) for subject in subjects]
    write_text(path, json.dumps({"plan_version": PLAN_VERSION, "subjects": described}, indent=1) + "\n")


def read_plan(path: Path) -> list[Described]:
    """Read what `save_plan` wrote: one description a subject.

    Raises
    ------
    HarnessError
        When there is none, it is damaged, or of a version this reader does not know.
    """
    absent = f"There is no {path}: the run was made before plans were kept, so make it again."
    return read_document(path, _Plans, version=("plan_version", PLAN_VERSION), absent=absent)["subjects"]


def replan(described: Described, config: RunConfig) -> Subject:
    """Draw a subject's plans again from the run's seed and the manifest in its description, without the trace.

    Parameters
    ----------
    described : dict
        From `read_plan`.
    config : RunConfig
        Of the run.

    Returns
    -------
    Subject
        Its `describe_plan` equals `described` when nothing in that was changed.
    """
    manifest = Manifest.from_json(json.dumps(described["manifest"]))
    return plan_subject(config, described["text"], described["trace"], described["requested"], manifest)
