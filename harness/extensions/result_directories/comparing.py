"""Comparison of the values that tools after AlphaFold read from a slimmed directory and from the original one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.extensions.result_directories import reading
from harness.extensions.result_directories.disk import read_bytes
from harness.extensions.result_directories.manifest import load_manifest
from harness.extensions.result_directories.programs import Recognised, parse, recognise

_ROUNDING = 1e-9
"""Relative tolerance: values written with as many digits as a bound such as 0.05, which no float equals, meet it."""


@dataclass
class Compared:
    """Result of the comparison of two directories."""

    values: int = 0  # Values that were read from both and compared.
    same: int = 0  # Number of these that are the same bit for bit.
    dropped: int = 0  # Values that the manifest declares as dropped.
    largest_error: float = 0.0  # Of the values that differ, in their unit; 0 if none do.
    # A sentence for each value that is missing, comes from another source, or differs more than declared.
    problems: list[str] = field(default_factory=list)


def compare(written: Path, slimmed: Path) -> Compared:
    """Compare every prediction of a directory with its slimmed copy.

    Parameters
    ----------
    written : Path
        The directory as its program wrote it.
    slimmed : Path
        Its copy, after `harness.extensions.result_directories.slimming.slim`.

    Returns
    -------
    Compared
        Without problems only if each value comes from the same file as before, is the same bit for bit or within the
        error that the manifest states for it, and the best prediction is the same.

    Raises
    ------
    HarnessError
        If a file that slimming may touch cannot be read from the directory as written.
    """
    manifest = load_manifest(slimmed)
    found = recognise(written, manifest.plain if manifest else "best")
    problems = list(_best(found, slimmed))
    compared = Compared(problems=problems)
    for name in _predictions(written, found):
        entry = manifest.items.get(name) if manifest else None
        errors, dropped = (entry.largest_errors, entry.dropped) if entry else ({}, [])
        try:
            expected, given = _read(written, slimmed, name)
        except HarnessError as error:
            problems.append(str(error))
            continue
        for key, value in expected.items():
            if key in dropped and key not in given:
                compared.dropped += 1
                continue
            compared.values += 1
            problem, by = "it is missing", 0.0
            if key in given:
                problem, by = _differs(value, given[key], manifest.bound if manifest else None, errors.get(key, 0.0))
            problems += [f"{name}, {key}: {problem}"] if problem else []
            compared.same += not problem and not by
            compared.largest_error = max(compared.largest_error, by)
    return compared


def _predictions(folder: Path, found: Recognised) -> Iterator[str]:
    """Yield the names of files from which predictions are read: those that slimming may touch or that always stay."""
    yield from (
        item.path for item in found.items if item.rule.is_ours(parse(item.path, read_bytes(folder / item.path)))
    )
    yield from found.stays


def _read(written: Path, slimmed: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        expected = reading.read_values(written, name)
    except HarnessError:  # a file that always stays was damaged before slimming: compare its bytes
        return {"": reading.read_plain(written, name)}, {"": reading.read_plain(slimmed, name)}
    return expected, reading.read_values(slimmed, name)


def _best(found: Recognised, slimmed: Path) -> Iterator[str]:
    if recognise(slimmed, known=found.kind).best != found.best:
        yield "the best prediction is not the same"
    for item in found.items:
        if item.keep and not (slimmed / item.path).is_file():
            yield f"{item.path} is not there as it was, though {item.keep}"


def _differs(expected: Any, given: Any, bound: float | None, declared: float) -> tuple[str, float]:
    """Return what is wrong with a value, empty if nothing is, and its error."""
    if _bits(given) == _bits(expected):
        return "", 0.0
    error = _error(expected, given)
    if error is None:
        return "it is not the same", 0.0
    if bound is None or error > bound * (1 + _ROUNDING):
        return f"it differs by {error:g}", error
    if error > declared * (1 + _ROUNDING):
        return f"it differs by {error:g}, its manifest says {declared:g}", error
    return "", error


def _bits(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind != "O":
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, np.ndarray | list | tuple):
        return type(value), [_bits(part) for part in value]
    # It also distinguishes 0.0 from -0.0, and equates NaN with itself.
    return type(value), repr(value)


def _error(expected: Any, given: Any) -> float | None:
    try:
        before, after = np.asarray(expected, dtype=np.float64), np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if before.shape != after.shape:
        return None
    # Non-finite values must be identical and in the same places.
    other = ~(np.isfinite(before) & np.isfinite(after))
    if before[other].tobytes() != after[other].tobytes():
        return None
    return float(np.abs(after[~other] - before[~other]).max(initial=0.0))
