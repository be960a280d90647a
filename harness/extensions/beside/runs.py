"""Runs to compare: each is checked as by ``harness check`` and gets a unique name."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.efforts import BEST, STOCK
from harness.analysis.table import CaseKey
from harness.analysis.withdrawal import withdrawn
from harness.errors import HarnessError, UsageError, escaped
from harness.evidence.bundle import Bundle, drawings, folder_bundle, opened_run, read_bundle, tables, unpack
from harness.evidence.check import Result, check
from harness.records import CellKey, Effort, kind_of
from harness.row_files import read_samples
from harness.run.archives import read_archives
from harness.run.completeness import SAMPLES
from harness.run.config import RunConfig
from harness.run.machine import read_environment
from harness.run.measurement import is_apart, of_installed
from harness.run.plan import read_planned
from harness.run.subject import groups

Settled = tuple[str, str]
"""A format, and the profile of the run in which it is measured."""

_PUBLISHED = "published figures"
_EFFORTS: tuple[Effort, ...] = (STOCK, BEST)


@dataclass(frozen=True, kw_only=True, eq=False)
class CheckedRun:
    """A run whose checks passed."""

    name: str  # Name on the page: that of the run, with its path if two runs share a name.
    folder: Path  # A copy of its measured files.
    samples_sha256: str  # Digest of ``samples.csv``.
    # Its configuration, and the first description of its machine.
    config: RunConfig
    session: dict[str, Any]
    # The measured cells, each with the distinct numbers of bytes that its samples requested.
    cells: Mapping[CaseKey, frozenset[float]]
    # The formats that were measured in each cell, each in a profile of the run, with their efforts.
    measured: Mapping[CaseKey, Mapping[Settled, frozenset[Effort]]]
    # The run's profile for each format and profile of rows; see `harness.run.subject.groups`.
    profiles: Mapping[Settled, str]
    # The digests of the tensors of each trace and length.
    values: Mapping[tuple[str, int | None], dict[str, str]]

    @property
    def efforts(self) -> tuple[Effort, ...]:
        """How formats were read: by stock readers, at their best, or unknown (``""``) in runs of earlier versions."""
        found = {effort for of in self.measured.values() for efforts in of.values() for effort in efforts}
        return tuple(effort for effort in _EFFORTS if effort in found) or ("",)

    def settled(self, samples: pd.DataFrame) -> list[Settled]:
        """Return the format of each sample and its profile of the run."""
        return _settled(samples, self.profiles)


@contextmanager
def checked_runs(paths: Sequence[Path], tell: Callable[[str], object]) -> Iterator[list[CheckedRun]]:
    """Check runs and yield them; copies of their files exist until the block ends.

    Parameters
    ----------
    paths : sequence of Path
        Folders of runs, or bundles.
    tell : callable
        Called with a description of the next step.

    Raises
    ------
    HarnessError
        If a path is no run, fails a check, or is no basis for a verdict; the message names it. No run is compared then.
    """
    bundles: dict[str, tuple[Path, Bundle]] = {}
    for path in paths:
        tell(f"reading {path}")
        bundle = _bundle(path)
        digest = hashlib.sha256(bundle.files.get(SAMPLES, b"")).hexdigest()
        if digest in bundles:
            raise UsageError(f"{bundles[digest][0]} and {path} hold the same samples: name each run once.")
        bundles[digest] = path, bundle
    with tempfile.TemporaryDirectory(prefix="harness-runs-") as scratch:
        found = []
        for digest, (path, bundle) in bundles.items():
            place = Path(scratch) / digest
            place.mkdir()
            _require_sound(path, bundle, place, tell)
            found.append(_taken(path, unpack(bundle.files, place / "measured"), digest))
        yield _named(list(paths), found)


def _bundle(path: Path) -> Bundle:
    """Read a bundle, or a folder as the bundle that it would become.

    Drawings differ in bytes between machines, even with the same libraries. So they are compared by likeness; nothing
    reported here depends on a drawing.
    """
    try:
        with opened_run(path):  # names what is missing
            found = folder_bundle(path) if path.is_dir() else read_bundle(path)
            return replace(found, manifest=found.manifest | {"drawn_with": {}})
    except HarnessError as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error


def _require_sound(path: Path, bundle: Bundle, scratch: Path, tell: Callable[[str], object]) -> None:
    """Raise HarnessError with the path of the run if a check of ``harness check`` fails."""
    results = check(bundle, scratch, lambda what: tell(f"checking {what} of {path}"))
    if wrong := [result for result in results if result.problems]:
        first = wrong[0]
        raise HarnessError(
            f"{path} is refused: {len(wrong)} of {len(results)} checks failed, the first is {first.what}: "
            f"{str(first.problems[0]).rstrip('.')}.{_mend(path, wrong)}"
        )


def _mend(path: Path, wrong: Sequence[Result]) -> str:
    """Return advice for a folder whose report alone does not follow from its samples; empty for other failures."""
    published = {*tables(), *drawings(), _PUBLISHED}
    if path.is_dir() and {result.what for result in wrong} <= published:
        return f" If another version made its report, make it again: harness report {path}"
    return ""


def _taken(path: Path, folder: Path, digest: str) -> CheckedRun:
    config, plan = RunConfig.read(folder / "run.json"), folder / "plan.json"
    samples = of_installed(read_samples(folder / SAMPLES), config, plan)
    samples = samples[~is_apart(samples)]
    if withdrawn(samples):
        raise UsageError(f"{path}: verdicts on its reads are withdrawn. Measure it again, then compare it.")
    measured = samples[(samples["status"] != "skipped") & (samples["format"].map(kind_of) == "format")]
    if measured.empty:
        raise UsageError(f"{path} measured no format, so that there is nothing to compare: name runs of formats.")
    profiles = groups(read_planned(plan, config)[1])
    numbers, cases = cases_of(measured)
    asked = measured["bytes_requested"].to_numpy()
    sessions = read_environment(folder / "environment.json")["sessions"] or [{}]
    return CheckedRun(
        name=escaped(config.run_id), folder=folder, samples_sha256=digest, config=config, session=sessions[0],
        cells={case: frozenset(asked[(numbers == n) & ~np.isnan(asked)].tolist()) for n, case in cases.items()},
        measured=_measured(measured, numbers, cases, profiles), profiles=profiles,
        values={(one["trace"], one["n_res"]): one["tensor_digests"] for one in read_archives(folder / "archives.json")},
    )  # fmt: skip


def _measured(
    samples: pd.DataFrame, numbers: np.ndarray, cases: Mapping[int, CaseKey], profiles: Mapping[Settled, str]
) -> dict[CaseKey, dict[Settled, frozenset[Effort]]]:
    """Return the formats measured in each cell, with the efforts that their contenders represent."""
    found: dict[CaseKey, dict[Settled, frozenset[Effort]]] = {case: {} for case in cases.values()}
    rows = dict.fromkeys(zip(numbers.tolist(), _settled(samples, profiles), samples["effort"], strict=True))
    for number, settled, effort in rows:
        of = found[cases[number]]
        of[settled] = of.get(settled, frozenset()) | {each for each in _EFFORTS if effort in (each, "both")}
    return found


def _named(paths: list[Path], runs: list[CheckedRun]) -> list[CheckedRun]:
    """Append its path to the name of each run that shares its name with another."""
    count = Counter(run.name for run in runs)
    return [
        replace(run, name=f"{run.name} ({path})") if count[run.name] > 1 else run
        for path, run in zip(paths, runs, strict=True)
    ]


def _settled(samples: pd.DataFrame, profiles: Mapping[Settled, str]) -> list[Settled]:
    pairs = zip(samples["format"], samples["profile"], strict=True)
    return [(name, profiles.get((name, profile), profile)) for name, profile in pairs]


def cases_of(samples: pd.DataFrame) -> tuple[np.ndarray, dict[int, CaseKey]]:
    """Number the cases of samples.

    Returns
    -------
    ndarray of int
        The number of each sample's case.
    dict of int to CaseKey
        The cases by number.
    """
    columns = list(CaseKey._fields)
    numbers = samples.groupby(columns, sort=False, dropna=False).ngroup().to_numpy()
    _, first = np.unique(numbers, return_index=True)
    return numbers, {int(numbers[row]): case_of(samples.iloc[row]) for row in first}


def case_of(row: Mapping[Any, Any] | pd.Series) -> CaseKey:
    """Return the case of a row of samples or of a summary."""
    key = CellKey.of(row)  # type: ignore[arg-type]
    return CaseKey(*(getattr(key, name) for name in CaseKey._fields))
