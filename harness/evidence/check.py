"""Recompute everything that a bundle publishes from its samples, and name whatever does not follow."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import Any

import pandas as pd

from harness import registry
from harness.analysis.accesses import archive_sizes
from harness.analysis.report_options import REPORT_VERSION, find_options, version_of
from harness.analysis.withdrawal import CORRECTION, withdrawn
from harness.errors import HarnessError, UsageError
from harness.evidence.bundle import (
    MEASURED,
    PUBLISHED,
    Bundle,
    archives_of,
    changes,
    drawing_versions,
    drawings,
    measured_too,
    tables,
    unpack,
)
from harness.evidence.compare import differences
from harness.records import KEY_COLUMNS
from harness.report.section import installed as sections
from harness.report.write import Target, write_report
from harness.row_files import read_samples
from harness.run.completeness import SAMPLES, read_own_rows, required_rows
from harness.run.config import RunConfig
from harness.run.machine import read_environment
from harness.run.measurement import installed, of_installed, unknown_parts
from harness.run.plan import Described, describe_access, read_plan, read_planned, replan
from harness.run.planning import asked_traces, choose_arms
from harness.run.subject import Arm, Subject
from harness.workload import ReadAccess, requested_bytes

_PAGES = ("report.md", "report.html")
_WORDED = "it is in the words of an earlier version, whose figures are checked in report.json and the tables"
_DRAWN = "it differs from what this version draws, and an earlier one drew it, from figures checked in the tables"
_ROUGH = "it was drawn by other versions of the libraries, so that only its likeness was compared, and its SVG"


@dataclass(frozen=True)
class Result:
    """Result of one check."""

    what: str  # The file or the statement that was checked.
    problems: Sequence[str] = ()  # What does not follow; empty if everything does.
    unchecked: str = ""  # Why it could not be checked here; empty if it was.
    note: str = ""  # What has changed about it since its publication; empty if it holds.


def check(bundle: Bundle, folder: Path, tell: Callable[[str], object] = str) -> list[Result]:
    """Check a bundle.

    Parameters
    ----------
    bundle : Bundle
        From `harness.evidence.bundle.read_bundle`.
    folder : Path
        An empty folder for the recomputed files.
    tell : callable
        Called with the name of the next check.

    Returns
    -------
    list of Result
        In the order: files, plan, samples, archives, result directories, published figures, plots.
    """
    results = [Result(f"sha256 of {len(bundle.manifest['sha256'])} files", changes(bundle))]
    run = folder / "run"
    if lost := [name for name in (*MEASURED, *PUBLISHED) if name not in bundle.files]:
        return [*results, Result("published figures", [f"the bundle has no {', '.join(lost)}"])]
    unpack(bundle.files, run)
    steps: list[tuple[str, Callable[[], Iterator[Result]]]] = [
        ("run.json", lambda: _named(bundle, run)),
        ("plan.json", lambda: _plan(run)),
        ("archives.json", lambda: iter([Result("archives.json", list(_archives(run)))])),
        *((each.name, lambda each=each: starmap(Result, each.check(run))) for each in installed()),
        ("published figures", lambda: _published(bundle, run, folder / "made")),
    ]
    for what, step in steps:
        tell(what)
        try:
            for result in step():
                results.append(result)
        except HarnessError as error:
            results.append(Result(what, [str(error).rstrip(".")]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # what the code raises on a changed file
            results.append(Result(what, [f"the bundle's files do not fit together: {type(error).__name__}: {error}"]))
    return results


def _named(bundle: Bundle, run: Path) -> Iterator[Result]:
    stated, found = bundle.manifest["run_id"], RunConfig.read(run / "run.json").run_id
    if stated != found:
        yield Result("run.json", [f"it is of the run {found!r}, the manifest names {stated!r}"])


def _plan(run: Path) -> Iterator[Result]:
    """Draw the plans again, and compare them with the recorded plan and the samples."""
    config = RunConfig.read(run / "run.json")
    if unknown := [name for name in config.suites if ":" not in name and name not in registry.names("suites")]:
        raise UsageError(
            f"no installed package registers the suite {unknown[0]!r}, which the run asks for: install the one that "
            "does; a suite of your own is stored and given as --suite MODULE:NAME"
        )
    samples = of_installed(read_samples(run / SAMPLES, superseded=True), config, run / "plan.json")
    plans = read_plan(run / "plan.json")
    subjects = list(replan(plans, config))
    problems = [
        f"{subject.label} {subject.n_res or ''}: {text}"
        for described, subject in zip(plans, subjects, strict=True)
        for text in _differs(described, subject)
    ]
    if [(subject.text, subject.requested) for subject in subjects] != asked_traces(config):
        problems.append("its traces and lengths are not those that the configuration asks for, each once")
    yield Result("plan.json: every access, drawn again from the seed", problems)
    yield from _rows(run, config, {SAMPLES: samples, **read_own_rows(run)})
    yield Result(f"{SAMPLES}: every read asked for the planned bytes", list(_asked_for(samples, subjects)))
    yield from (Result(name, unchecked="no installed extension knows it") for name in unknown_parts(config))


def _differs(described: Described, subject: Subject) -> Iterator[str]:
    if described["n_res"] != subject.n_res:
        yield f"n_res is {described['n_res']}, its manifest says {subject.n_res}"
    theirs = described["accesses"]
    if len(theirs) != len(subject.plans):
        yield f"it has {len(theirs)} accesses, the seed gives {len(subject.plans)}"
    for a, (suite, access) in zip(theirs, subject.plans, strict=False):
        if a != json.loads(json.dumps(describe_access(suite, access))):
            yield f"{suite}/{access.name} is not what the seed gives"


def _rows(run: Path, config: RunConfig, frames: Mapping[str, pd.DataFrame]) -> Iterator[Result]:
    """Compare the rows of every file with those that the plan, the seed and the configuration give."""
    arms: list[Arm] = []
    try:
        arms = choose_arms(config)
    except HarnessError as error:
        yield Result("the formats of the run", unchecked=str(error).rstrip("."))
    _, recorded, exact = read_planned(run / "plan.json", config)
    if exact:
        yield from _contenders(arms, recorded)
        arms = recorded
    sessions = len(read_environment(run / "environment.json").get("sessions", ()))
    found = required_rows(run / "plan.json", config, frames, sessions=sessions, arms=arms)
    for name, required in found.items():
        said = list(required.sentences())
        counts, order = (
            [line for kind, text, faults in said if (kind == "order") == of for line in (text, *map(str, faults))]
            for of in (False, True)
        )
        yield Result(f"{name}: every row that the plan asks for is there once, and no other", counts)
        known = exact or arms
        why = "" if known else "the run did not record its formats in their order"
        yield Result(f"{name}: formats took turns in the order that the seed gives", order if known else (), why)


def _contenders(ours: Sequence[Arm], theirs: Sequence[Arm]) -> Iterator[Result]:
    """Compare the contenders that a plan records with those that its configuration gives in this version."""
    if not ours:
        return
    stock, candidates = (
        [[_named_arm(arm) for arm in found if of(arm)] for found in (ours, theirs)]
        for of in (lambda arm: arm.always, lambda arm: arm.raced)
    )
    differs = [] if stock[0] == stock[1] else ["they are not those that the configuration gives"]
    yield Result("plan.json: the formats", differs)
    here, there = ([name for name in found if name not in other] for found, other in (candidates, candidates[::-1]))
    if here or there:
        listed = "; ".join(f"{when}: {', '.join(names)}" for when, names in (("now", here), ("then", there)) if names)
        said = f"this version races other candidates, so those of the plan are taken ({listed})"
        yield Result("plan.json: the candidates", unchecked=said)


def _named_arm(arm: Arm) -> str:
    return " ".join(part for part in (arm.label, arm.profile, arm.route, arm.reader) if part)


def _asked_for(samples: pd.DataFrame, subjects: list[Subject]) -> Iterator[str]:
    """Yield, in words, the reads that requested or returned other bytes than planned."""
    asked: dict[tuple[Any, ...], int] = {
        (subject.label, subject.n_res, suite, access.name, access.executor, access.workers): requested_bytes(
            subject.manifest, access.reads
        )
        for subject in subjects
        for suite, access in subject.plans
        if isinstance(access, ReadAccess)
    }
    names = ["trace", "n_res", "suite", "access", "executor", "workers"]
    for found, group in samples.groupby(names, sort=False, dropna=False):
        key = _plain(found)
        if (wanted := asked.get(key)) is None:
            continue
        good = group["status"] == "ok"
        requested, returned = group["bytes_requested"], group["bytes_returned"]
        for stated in (requested[good | requested.notna()], returned[good]):
            if len(wrong := stated[stated != wanted]):
                said = "nothing" if pd.isna(wrong.iloc[0]) else int(wrong.iloc[0])
                name = " ".join(str(part) for part in key if part is not None)
                yield f"{name}: the plan asks for {wanted} bytes, {stated.name} of a sample says {said}"


def _plain(key: Any) -> tuple[Any, ...]:
    """Return the key of a group as plain values: None for empty ones, integers for lengths."""
    return tuple(None if pd.isna(part) else int(part) if isinstance(part, float) else part for part in key)


def _archives(run: Path) -> Iterator[str]:
    """Compare the sizes in ``samples.csv``, and the formats in ``ledger.csv``, with the recorded archives."""
    stated = archives_of(run)
    for key, records in stated.items():
        if len(records) > 1:
            yield f"{' '.join(str(part) for part in key if part)}: {len(records)} records of one archive"
    listed = set(pd.read_csv(run / "ledger.csv", dtype=str, keep_default_na=False)["format"])
    yield from (f"{name}: ledger.csv says nothing of it" for name in sorted({key[2] for key in stated} - listed))
    for row in archive_sizes(read_samples(run / SAMPLES)).to_dict("records"):
        key = _plain(row[name] for name in ("trace", "n_res", "format", "profile"))
        name, size = " ".join(str(part) for part in key if part), (int(row["size_bytes"]), int(row["files"]))
        if key not in stated:
            yield f"{name}: no digest of this archive"
        elif (stated[key][-1]["size_bytes"], stated[key][-1]["files"]) != size:
            yield f"{name}: the sample says {size[0]} bytes, the record of the archive differs"


def _published(bundle: Bundle, run: Path, made: Path) -> Iterator[Result]:
    """Make the report again, with the options that the published one states, and compare every file."""
    made.mkdir()
    target = Target(made, _links(bundle.files["report.md"]))
    version = version_of(bundle.files["report.json"])
    write_report(run, find_options(run, bundle.files["report.json"]), target=target, version=version)
    ours = {name: (made / name).read_bytes() for name in (*tables(), *drawings()) if (made / name).is_file()}
    earlier = version < REPORT_VERSION
    if earlier:
        since = CORRECTION if withdrawn(read_samples(run / SAMPLES)) else ""
        yield Result(f"the report, as version {version} of it was written", note=since)
    for name, data in sorted(bundle.files.items()):
        if name in (*MEASURED, *measured_too()):
            continue
        if earlier and name in _PAGES:
            yield Result(name, unchecked=_WORDED)
        elif name in ours:
            same = bundle.manifest.get("drawn_with") == drawing_versions()
            yield _file(name, data, ours[name], same, earlier)
        else:
            yield Result(name, ["nothing in the samples gives such a file"])
    yield from (Result(name, ["the bundle lacks it"]) for name in sorted(set(ours) - set(bundle.files)))


def _links(markdown: bytes) -> str:
    """Return the folder of plots that a page links to: a text to compare, not used as a path here."""
    found = re.search(rb"!\[[^\]\n]*\]\(((?:\.\./\.\./)?plots(?:/[^()/:\n]+)?)/\w+\.png\)", markdown)
    return found[1].decode("utf-8", "replace") if found else "plots"


def _file(name: str, theirs: bytes, ours: bytes, same_drawing: bool, earlier: bool) -> Result:
    keys = {table: key for each in sections() for table, key in each.published.items()}
    key = keys.get(name, KEY_COLUMNS[1:])
    problems = differences(name, theirs, ours, key=key, same_drawing=same_drawing)
    if earlier and problems and name in drawings():
        return Result(name, unchecked=_DRAWN)
    rough = name.endswith(".png") and not (same_drawing or problems or theirs == ours)
    return Result(name, problems, unchecked=_ROUGH if rough else "")
