"""Formatting of figures for people: times, sizes, ratios with intervals, traces, cases."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from harness.formats.style import styles
from harness.records import kind_of
from harness.sampling.executor import load_executor
from harness.suite import access_named

Arm = tuple[str, str]  # format and profile


def ordered(names: Iterable[str]) -> list[str]:
    """Sort formats into the order of all tables and drawings: the order that they state, the raw ceiling last."""
    found = set(names)
    ceiling = {name for name in found if kind_of(name) == "ceiling"}
    return [*styles(found - ceiling), *ceiling]


def arms_of(cells: pd.DataFrame) -> list[Arm]:
    """List the formats and profiles in a table of cells, in order, without the A/A control."""
    found = dict.fromkeys(zip(cells["format"].astype(str), cells["profile"].fillna("").astype(str), strict=True))
    names = ordered(name for name, _ in found if kind_of(name) != "control")
    return [arm for name in names for arm in found if arm[0] == name]


def arm_name(arm: Arm, arms: Iterable[Arm]) -> str:
    """Return the name of an arm, with its profile only if there are several profiles."""
    several = len({profile for _, profile in arms if profile}) > 1
    return f"{arm[0]} ({arm[1]})" if several and arm[1] else arm[0]


def known(value: Any) -> bool:
    """Return whether a field has a value: not None, an empty string or NaN."""
    return value is not None and value != "" and not (isinstance(value, float) and math.isnan(value))


_DOUBTS = {"noise": "noise", "one-round": "one round disagrees", "floor": "within the A/A difference"}


def verdict(cell: Mapping[Any, Any]) -> str:
    """Return the verdict of a summary's cell as pages show it; empty for too few rounds, which pages report apart."""
    word, why = cell.get("verdict"), cell.get("why")
    if not known(word) or why == "rounds":
        return ""
    if known(why):
        return f"{word}: {_DOUBTS[str(why)]}"
    told = "tie" if word == "equivalent" else str(word)
    return f"{told}, {cell['reason']}" if known(cell.get("decided_after")) else told


def duration(seconds: float) -> str:
    """Format a time with three digits and its unit."""
    if abs(seconds) >= 1:
        return f"{digits(seconds)} s"
    return f"{digits(seconds / 1e-3)} ms" if abs(seconds) >= 1e-3 else f"{digits(seconds * 1e6)} µs"


def digits(value: float) -> str:
    """Format a number with three digits; further digits before the decimal point become zeros."""
    if abs(value) < 999.5 or not math.isfinite(value):
        return f"{value:.3g}"
    return f"{float(f'{value:.3g}'):.0f}"


def size(nbytes: float) -> str:
    """Format a size with three digits; 1 MB is 10**6 bytes."""
    units = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
    return next((f"{digits(nbytes / factor)} {unit}" for unit, factor in units if nbytes >= factor), f"{nbytes:.0f} B")


def times(ratio: float) -> str:
    """Format a ratio: two decimals below ten, one below 100, none above."""
    return f"{ratio:.2f}×" if ratio < 9.995 else f"{ratio:.1f}×" if ratio < 99.95 else f"{ratio:.0f}×"


def factor(ratio: float) -> str:
    """Format a ratio for a narrow column: two decimals below 1.1, one below ten, none above."""
    return f"{ratio:.2f}" if ratio < 1.095 else f"{ratio:.1f}" if ratio < 9.95 else f"{ratio:.0f}"


def stands(row: Mapping[Any, Any]) -> str:
    """Return a format's standing in a criterion: ``best``, ``tie``, or its ratio, after ``~`` if inconclusive."""
    standing, ratio = row["standing"], row["ratio"]
    if not standing or not known(ratio):
        return "–"
    if standing in ("best", "tie"):
        return str(standing)
    exact = row["ratio_low"] == row["ratio_high"]
    return "~" * (standing == "inconclusive") + (f"{ratio:.2f}" if exact else factor(ratio))


def between(low: float, high: float) -> str:
    """Format an interval of ratios."""
    return f"{times(low)[:-1]} to {times(high)[:-1]}"


def percent(part: float) -> str:
    """Format a fraction as a percentage."""
    value = 100 * part
    return f"{value:.0f} %" if value >= 9.95 or value == 0 else f"{value:.1f} %" if value >= 0.095 else f"{value:.2g} %"


def listed(names: Iterable[str], word: str = "and") -> str:
    """Join names into a list for a sentence."""
    *most, last = list(names) or [""]
    return f"{', '.join(most)} {word} {last}" if most else last


def pretty_trace(trace: str) -> str:
    """Format a trace's label for people."""
    name, _, parameters = trace.partition(":")
    return f"{name} ({parameters.replace(',', ', ')})" if parameters else name


def subject(trace: str, n_res: float | None) -> str:
    """Return the name of a trace and its length for people."""
    return pretty_trace(trace) + (f", {n_res:.0f} residues" if known(n_res) else "")


def access(name: str, suite: str = "") -> str:
    """Return the name of an access for people, of one suite or of any."""
    return access_named(name, suite).label


def workers(row: Mapping[Any, Any] | pd.Series) -> str:
    """Return the number and kind of the workers, and how they use readers if they share one."""
    number, executor = int(row["workers"]), load_executor(str(row["executor"]))
    return f"{number} {executor.worker[number != 1]}{f', {executor.readers}' if executor.shared else ''}"


def case(row: Mapping[Any, Any] | pd.Series) -> str:
    """Describe what a cell measures, apart from its trace and format."""
    parts = [access(str(row["access"]), str(row.get("suite", "")))]
    if known(row["cache"]):
        parts.append(str(row["cache"]))
    if load_executor(str(row["executor"])).parallel:
        parts.append(workers(row))
    return ", ".join(parts)
