"""Hold what the tools after AlphaFold read from a slimmed directory against what they read from the one as written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError, UsageError
from harness.extensions.result_directories import consumers
from harness.extensions.result_directories.consumers import Sourced
from harness.extensions.result_directories.manifest import Plain, SlimManifest, load_manifest
from harness.extensions.result_directories.recognise import parse, recognise

_ROUNDING = 1e-9
"""Relative; a bound that is no float, such as 0.05, is met by what is written with as many digits."""


@dataclass(frozen=True)
class Compared:
    """What a comparison of two directories found.

    Attributes
    ----------
    values : int
        Values that were read from both and held against each other.
    same : int
        Of those, how many are the same, bit for bit.
    dropped : int
        Values that the manifest declares as dropped.
    largest_error : float
        Of the values that are not the same, in their unit; 0 when all are.
    problems : tuple of str
        A sentence for each value that is missing, comes from another source, or differs more than is declared.
    """

    values: int
    same: int
    dropped: int
    largest_error: float
    problems: tuple[str, ...]


def compare(written: Path, slimmed: Path) -> Compared:
    """Read every prediction of a directory from it and from its slimmed copy.

    Parameters
    ----------
    written : Path
        The directory as its program wrote it.
    slimmed : Path
        Its copy, after `harness.extensions.result_directories.slimming.slim`.

    Returns
    -------
    Compared
        Without problems only when each value comes from the same file as before, is the same bit for bit or within
        the error that the manifest states for it, and the best prediction is the same.

    Raises
    ------
    HarnessError
        When a file that slimming may touch cannot be read from the directory as written.
    """
    manifest = load_manifest(slimmed)
    problems = list(_best(written, slimmed, manifest.plain if manifest else "best"))
    values = same = dropped = 0
    largest = 0.0
    for name in _predictions(written):
        declared = _dropped(manifest, name)
        try:
            expected, given = _read(written, slimmed, name)
        except HarnessError as error:
            problems.append(str(error))
            continue
        for key, value in expected.items():
            if key in declared and key not in given:
                dropped += 1
                continue
            values += 1
            problem, by = _differs(value, given.get(key), manifest.bound if manifest else None)
            problems += [f"{name}, {key}: {problem}"] if problem else []
            same += not problem and not by
            largest = max(largest, by)
    return Compared(values, same, dropped, largest, tuple(problems))


def _predictions(folder: Path) -> Iterator[str]:
    """Name the files that a prediction is read from: those that slimming may touch, and those that always stay."""
    found = recognise(folder, "best")
    yield from (item.path for item in found.items if item.is_ours(parse(folder / item.path)))
    yield from found.stays


def _read(written: Path, slimmed: Path, name: str) -> tuple[dict[str, Sourced], dict[str, Sourced]]:
    try:
        expected = consumers.all_of(written, name)
    except HarnessError:  # one of those that always stay was damaged before: its bytes are what there is
        return {"": consumers.structure(written, name)}, {"": consumers.structure(slimmed, name)}
    return expected, consumers.all_of(slimmed, name)


def _best(written: Path, slimmed: Path, plain: Plain) -> Iterator[str]:
    def best(folder: Path) -> tuple[str, ...]:
        try:
            return consumers.best(folder)
        except UsageError:
            return ()  # nothing ranks it

    if best(written) != best(slimmed):
        yield "the best prediction is not the same"
    for name in recognise(written, plain).items:
        if name.keep and not (slimmed / name.path).is_file():
            yield f"{name.path} is not there as it was, though {name.keep}"


def _dropped(manifest: SlimManifest | None, name: str) -> set[str]:
    entry = manifest.items.get(name) if manifest else None
    return {array["path"] for array in entry.arrays if array["fate"] == "dropped"} if entry else set()


def _differs(expected: Sourced, given: Sourced | None, bound: float | None) -> tuple[str, float]:
    """Say what is wrong with a value, and by how much it differs."""
    if given is None:
        return "it is missing", 0.0
    if given.source != expected.source:
        return f"it comes from {given.source} now", 0.0
    if _bits(given.value) == _bits(expected.value):
        return "", 0.0
    error = _error(expected.value, given.value)
    if error is None:
        return "it is not the same", 0.0
    if bound is None or error > bound * (1 + _ROUNDING):
        return f"it differs by {error:g}", error
    if error > given.largest_error * (1 + _ROUNDING):
        return f"it differs by {error:g}, its manifest says {given.largest_error:g}", error
    return "", error


def _bits(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind != "O":
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, np.ndarray | list | tuple):
        return type(value), [_bits(part) for part in value]
    # Also tells 0.0 from -0.0, and finds NaN the same as itself.
    return type(value), repr(value)


def _error(expected: Any, given: Any) -> float | None:
    try:
        before, after = np.asarray(expected, dtype=np.float64), np.asarray(given, dtype=np.float64)
        if before.shape != after.shape:
            return None
        # Values that are no number have to be the same ones in the same places.
        other = ~(np.isfinite(before) & np.isfinite(after))
        if before[other].tobytes() != after[other].tobytes():
            return None
        return float(np.abs(after[~other] - before[~other]).max(initial=0.0))
    except (TypeError, ValueError):
        return None
