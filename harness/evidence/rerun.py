"""Comparison of two runs of the same plan: which verdicts hold, and which sizes are the same."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import pandas as pd

from harness.documents import read_document
from harness.errors import UsageError
from harness.evidence.bundle import Bundle, archives_of
from harness.records import CellKey
from harness.run.config import RunConfig
from harness.run.measurement import installed
from harness.trace.sources import find_source

_CELL = list(CellKey._fields)
_DEFINITE = ("faster", "slower")
_EQUAL = "equivalent"


@dataclass(frozen=True)
class Repeat:
    """Comparison of a second run with the first."""

    # One row for each comparison that either run gives: the columns of the cell, ``before``, ``after``,
    # ``ratio_before``, ``ratio_after`` and ``outcome``: ``holds`` (the same verdict), ``weaker`` (a difference that the
    # second run does not find), ``new`` (a difference that the first did not find), ``contradicted`` (faster became
    # slower or the reverse), ``untold`` (neither run gives a verdict), or ``other``.
    verdicts: pd.DataFrame
    sizes: list[str]  # Archives and result directories whose size differs, in words.
    digests: list[str]  # Archives and result directories of the same size whose bytes differ, in words.
    answers: list[str]  # Uses for which the second run prefers another format, in words.

    @property
    def nothing(self) -> bool:
        """Whether the first run gives no verdict that could hold."""
        return not self.verdicts["before"].isin([*_DEFINITE, _EQUAL]).any()

    @property
    def holds(self) -> bool:
        """Whether no verdict is contradicted and every size is the same."""
        return not (self.verdicts["outcome"] == "contradicted").any() and not self.sizes


def rerun_config(bundle: Bundle, run_id: str, *, outside: bool = False) -> RunConfig:
    """Return the configuration of a bundle's run under another name.

    Parameters
    ----------
    bundle : Bundle
        From `harness.evidence.bundle.read_bundle`.
    run_id : str
        The name.
    outside : bool
        Whether it may use files, a store and a scheduler that the bundle names.

    Raises
    ------
    HarnessError
        If its configuration cannot be read.
    UsageError
        If the run would use something that the bundle names and that is not allowed; nothing has been used yet.
    """
    with tempfile.TemporaryDirectory(prefix="harness-check-") as scratch:
        path = Path(scratch) / "run.json"
        path.write_bytes(bundle.files["run.json"])
        config = RunConfig.read(path)
    if not outside and (used := list(_named(config))):
        raise UsageError(
            f"The bundle asks to use {', '.join(used)} here. If that is what you want, add --allow-outside."
        )
    return dataclasses.replace(config, run_id=run_id)


def _named(config: RunConfig) -> Iterator[str]:
    """Yield, in words, the files and services that only a run's configuration names."""
    for text in config.traces:
        source, parameters = find_source(text)
        yield from (f"the file {path!r}" for path in source.paths(parameters))
    yield from (name for each in installed() for name in each.outside(config))
    if config.store is not None:
        yield f"the store {config.store.named()}"
    yield from (f"the {option} {value!r}" for option, value in config.settings.items())


def compare_runs(before: Path, after: Path) -> Repeat:
    """Compare two runs of the same plan.

    Parameters
    ----------
    before, after : Path
        Folders with ``summary.csv``, ``archives.json`` and ``report.json``.

    Returns
    -------
    Repeat
        The runs are not paired by round, so times are compared only through the verdicts that each run gives.
    """
    sizes, digests = _archives(before, after)
    for each in installed():
        more_sizes, more_digests = each.differences(before, after)
        sizes, digests = sizes + more_sizes, digests + more_digests
    return Repeat(_verdicts(before, after), sizes, digests, _answers(before, after))


def _verdicts(before: Path, after: Path) -> pd.DataFrame:
    columns = [*_CELL, "verdict", "ratio"]
    first, second = (
        pd.read_csv(folder / "summary.csv", keep_default_na=False, na_values={"verdict": [""], "ratio": [""]})[columns]
        for folder in (before, after)
    )
    merged = first.merge(second, on=_CELL, how="outer", suffixes=("_before", "_after"), sort=False)
    merged = merged.rename(columns={"verdict_before": "before", "verdict_after": "after"})
    merged = merged.dropna(subset=["before", "after"], how="all").reset_index(drop=True)
    merged["outcome"] = [_outcome(a, b) for a, b in zip(merged["before"], merged["after"], strict=True)]
    return merged


def _outcome(before: Any, after: Any) -> str:
    if before == after:
        return "holds" if before in (*_DEFINITE, _EQUAL) else "untold"
    if before in _DEFINITE and after in _DEFINITE:
        return "contradicted"
    if before in _DEFINITE and after in ("inconclusive", _EQUAL):
        return "weaker"
    return "new" if after in _DEFINITE and before in ("inconclusive", _EQUAL) else "other"


def _archives(before: Path, after: Path) -> tuple[list[str], list[str]]:
    sizes, digests, second = [], [], archives_of(after)
    for key, (archive, *_) in archives_of(before).items():
        name, size = " ".join(str(part) for part in key if part), archive["size_bytes"]
        if key not in second:
            sizes.append(f"{name}: the second run has no such archive")
        elif (other := second[key][0])["size_bytes"] != size:
            sizes.append(f"{name}: {size} bytes, then {other['size_bytes']}")
        elif other["sha256"] != archive["sha256"]:
            digests.append(f"{name}: {size} bytes both times, but not the same ones")
    return sizes, digests


class _Decision(TypedDict):
    mix: str
    trace: str
    preferred: str | None
    indistinguishable: list[str]


class _Decided(TypedDict):
    decisions: list[_Decision]


def _answers(before: Path, after: Path) -> list[str]:
    first, second = (
        {(d["mix"], d["trace"]): d for d in read_document(folder / "report.json", _Decided, extra=True)["decisions"]}
        for folder in (before, after)
    )
    said = []
    for key, decision in first.items():
        other = second.get(key)
        if _among(decision) & _among(other) or _among(decision) == _among(other):
            continue
        said.append(f"{key[0]} on {key[1]}: {decision['preferred']}, then {other and other['preferred']}")
    return said


def _among(decision: _Decision | None) -> set[str]:
    """Return the format that a decision prefers, and those that are statistically indistinguishable from it."""
    if not decision or not decision["preferred"]:
        return set()
    return {decision["preferred"], *decision["indistinguishable"]}
