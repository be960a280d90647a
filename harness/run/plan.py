"""The plan file of a run, ``plan.json``: write it, read it, and draw the same plans again from the seed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec

from harness.documents import Count, Positive, read_document
from harness.errors import HarnessError
from harness.files import write_text
from harness.records import RAW, kind_of
from harness.run.config import RunConfig
from harness.run.planning import bounded, plan_subject, require_few_tensors, with_control
from harness.run.subject import Arm, Subject
from harness.trace.manifest import Manifest
from harness.workload import Absent, Access, Read, ReadAccess, SizeAccess, WriteAccess

PLAN_VERSION = 1
_KINDS = {kind.__name__: kind for kind in (ReadAccess, WriteAccess, SizeAccess, Absent)}


class DescribedRead(TypedDict):
    """A read; the selection has a start and a stop for each axis."""

    path: str
    selection: list[Annotated[list[Count], msgspec.Meta(min_length=2, max_length=2)]] | None


class DescribedAccess(TypedDict):
    """An access with its suite; optional fields depend on the kind of access."""

    suite: str
    kind: str
    name: str
    reads: NotRequired[list[DescribedRead]]
    load_once: NotRequired[bool]
    executor: NotRequired[str]
    workers: NotRequired[Positive]
    caches: NotRequired[list[str]]
    tensors: NotRequired[list[list[Any]] | None]
    reason: NotRequired[str]


class Described(TypedDict):
    """A subject: its manifest, and all accesses with all reads."""

    trace: str
    text: str
    n_res: Positive | None
    requested: Positive | None
    manifest: dict[str, Any]
    accesses: list[DescribedAccess]


class DescribedArm(TypedDict):
    """An arm, as written by `save_plan`."""

    label: str
    backend: str
    profile: str
    route: str
    reader: NotRequired[str]
    slim: NotRequired[str]
    threads: NotRequired[Positive | None]
    entered: NotRequired[Literal["", "stock", "named", "raced", "between"]]
    raced: NotRequired[bool]
    group: NotRequired[str]
    shares: NotRequired[bool]
    missing: NotRequired[str]


class _Plans(TypedDict):
    arms: NotRequired[list[DescribedArm]]
    subjects: list[Described]


def describe_access(suite: str, access: Access) -> dict[str, Any]:
    """Describe one access of a suite as plain values; equal accesses give equal values."""
    fields = {field.name: _plain(getattr(access, field.name)) for field in dataclasses.fields(access)}
    return {"suite": suite, "kind": type(access).__name__, **fields}


def _plain(value: Any) -> Any:
    if isinstance(value, slice):
        return [value.start, value.stop]
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return {"path": value.path, "selection": _plain(value.selection)} if isinstance(value, Read) else value


def save_plan(subjects: Sequence[Subject], path: Path, arms: Sequence[Arm] = ()) -> None:
    """Write the plans of all subjects of a run, and its arms in order, as JSON."""
    document: dict[str, Any] = {"plan_version": PLAN_VERSION}
    if arms:
        document["arms"] = [{name: getattr(arm, name) for name in DescribedArm.__annotations__} for arm in arms]
    document["subjects"] = [
        {
            "trace": subject.label,
            "text": subject.text,
            "n_res": subject.n_res,
            "requested": subject.requested,
            "manifest": json.loads(subject.manifest.to_json()),
            "accesses": [describe_access(suite, access) for suite, access in subject.plans],
        }
        for subject in subjects
    ]
    write_text(path, json.dumps(document, indent=1) + "\n")


def read_plan(path: Path) -> list[Described]:
    """Read a file written by `save_plan`; return one description per subject.

    Raises
    ------
    HarnessError
        When the file is missing or damaged, or its version is unknown to this reader.
    """
    return _read(path)["subjects"]


def _read(path: Path) -> _Plans:
    absent = f"There is no {path}: the run was made before plans were kept, so make it again."
    document = read_document(path, _Plans, version=("plan_version", PLAN_VERSION), absent=absent)
    listed = [described["manifest"].get("tensors") for described in document["subjects"]]
    require_few_tensors(sum(len(tensors) for tensors in listed if isinstance(tensors, list)))
    return document


def read_planned(path: Path, config: RunConfig) -> tuple[list[Subject], list[Arm], bool]:
    """Read the subjects and arms of a run from its plan, without opening traces, formats or suites.

    Parameters
    ----------
    path : Path
        ``plan.json``.
    config : RunConfig
        Configuration of the run.

    Returns
    -------
    list of Subject
        With the accesses of the file.
    list of Arm
        In the order of the run.
    bool
        Whether the arms are complete. Runs of earlier versions did not record them; then unregistered formats, and the
        routes of a run that read from a store, are unknown.

    Raises
    ------
    HarnessError
        As `read_plan`.
    """
    document = _read(path)
    try:
        subjects = [_planned(described) for described in document["subjects"]]
    except TypeError as error:  # an access has fields of another kind
        raise HarnessError(f"{path} is damaged: {error}. Restore it from a copy.") from error
    if "arms" in document:
        return subjects, [_arm(described) for described in document["arms"]], True
    if config.store is not None:
        return subjects, [], False
    arms = []  # derived from the configuration
    for name in config.formats:
        files = [file.name for file in config.profile_files if name in (made.format for made in file.settings)]
        arms += [Arm(name, name, profile) for profile in (*config.profiles, *files) if ":" not in name]
    return subjects, with_control([*arms, Arm(RAW, RAW, "")], config), not any(":" in name for name in config.formats)


def _arm(described: DescribedArm) -> Arm:
    """Return an arm from its description; infer `shares` if it was not recorded, as in earlier versions."""
    shares = kind_of(described["label"]) == "control" or described["route"] not in ("", "ranges")
    values: dict[str, Any] = {"shares": shares, **described}
    return Arm(**values)


def _planned(described: Described) -> Subject:
    plans = []
    for access in described["accesses"]:
        values = {name: _tuples(value) for name, value in access.items() if name not in ("suite", "kind")}
        if "reads" in values:
            values["reads"] = tuple(_read_of(read) for read in values["reads"])
        # Any other kind is a suite's own kind of write. Its task is not needed here.
        plans.append((str(access["suite"]), _KINDS.get(access["kind"], WriteAccess)(**values)))
    place = described["text"], described["trace"], described["n_res"], described["requested"]
    return Subject(*place, _manifest(described), tuple(plans))


def _manifest(described: Described) -> Manifest:
    return Manifest.from_json(json.dumps(described["manifest"]))


def _read_of(read: DescribedRead) -> Read:
    part = read["selection"]
    return Read(path=read["path"], selection=None if part is None else tuple(slice(*bounds) for bounds in part))


def _tuples(value: Any) -> Any:
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value


def replan(plans: Iterable[Described], config: RunConfig) -> Iterator[Subject]:
    """Draw the plans of subjects again from the run's seed and the manifests in their descriptions, without traces.

    Yields
    ------
    Subject
        One for each of `plans`; its accesses equal those described unless the description was changed.

    Raises
    ------
    HarnessError
        When the plans exceed the limits of a run; see `harness.run.planning.bounded`.
    """
    yield from bounded(
        plan_subject(config, described["text"], described["trace"], described["requested"], _manifest(described))
        for described in plans
    )
