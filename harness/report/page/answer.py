"""The answer as sentences: the preferred format for each use, by how much, how sure, and what would change it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from harness.analysis import formatting
from harness.analysis.accesses import written_once
from harness.analysis.choice.decision import Decision
from harness.analysis.choice.mix import Mix, several
from harness.analysis.choice.sensitivity import Flip
from harness.analysis.findings import Findings
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.analysis.withdrawal import CORRECTION
from harness.report.page.sentences import sentences

ALIKE = "statistically indistinguishable"
_WEIGHTS = {
    "cold": ("the part of cold accesses is", ""),
    "opens": ("the part of accesses that open the archive is", ""),
    "readers": ("the number of readers at a time is", ""),
    "reads_per_write": ("the number of accesses for each write is", ""),
    "storage_price": ("the price of storage is", " seconds of waiting for 1 GB"),
}
"""Name of each weight of a mix in a sentence, and the unit of its values; any other is the share of an access."""

_PARTS = {"reading": "reading", "writing": "writing", "storage": "keeping"}
"""Name of each part of a cost, and its column in a decision's costs, without ``_seconds``."""

_DECIDES = {
    "reading": "the time of reads decides",
    "writing": "the time of writing decides",
    "storage": "the smallest file decides",
}
_MOST = 0.5
"""Fraction of a cost above which one part decides."""


def shown_decisions(findings: Findings) -> list[Decision]:
    """Return one decision for each mix: the one that `most` selects among its traces."""
    return [most(decisions) for decisions in findings.decisions.values() if decisions]


def most(decisions: list[Decision]) -> Decision:
    """Return the decision to show: with a preferred format, fewest missing tensors, then longest sequence."""

    def rests_on(decision: Decision) -> tuple[bool, int, int]:
        absent = sum(text.startswith("The trace has no tensor for") for text in decision.assumptions)
        return decision.preferred is not None, -absent, decision.n_res or 0

    return max(decisions, key=rests_on)


def preferring(findings: Findings) -> list[Decision]:
    """Return the shown decisions that prefer a format; an extension draws the flips of the first."""
    return [decision for decision in shown_decisions(findings) if decision.preferred is not None]


def answer(findings: Findings) -> str:
    """Return the sentences on which format is preferred for which use, or why there is no answer."""
    shown, good = shown_decisions(findings), preferring(findings)
    ratios = [float(row["ratio"]) for decision in good for row in _others(decision)]
    said = {
        "good": [_preferred(found) for found in good],
        "uses": [_spoken(found) for found in good],
        "undecided": [_spoken(found) for found in shown if found.preferred is None],
        "by_format": _by_format(good),
        "stock": findings.has_efforts,
        "unmeasured": formatting.ordered(findings.best_unmeasured),
        "where": _where(good[0]) if good else "",
        "others": [_other(row) for row in _others(good[0])] if good else [],
        "range": formatting.between(min(ratios), max(ratios)) if ratios else "",
        "without_formats": findings.without_formats,
        "empty": findings.samples.empty,
        "withdrawn": CORRECTION if findings.withdrawn else "",
        "rounds": least_rounds(findings.summary),
        "least": VERDICT_ROUNDS,
    }
    return " ".join(sentences("answer", said))


def least_rounds(cells: pd.DataFrame) -> int:
    """Return the fewest rounds of a summary's cells that are to have a verdict; 0 without such cells."""
    waited = cells[cells["median_seconds"].notna() & ~written_once(cells) & cells["decided_after"].isna()]
    return int(waited["samples"].min()) if len(waited) else 0


def _by_format(decisions: list[Decision]) -> list[str]:
    """Return a phrase for each preferred format with the uses that it is preferred for."""
    found: dict[str, list[str]] = {}
    for decision in decisions:
        found.setdefault(_preferred(decision), []).append(_spoken(decision))
    return [f"{formats} for {formatting.listed(names)}" for formats, names in found.items()]


def _spoken(decision: Decision) -> str:
    """Return the name of a mix for people."""
    return decision.mix.name.replace("-", " ")


def _preferred(decision: Decision) -> str:
    if not decision.indistinguishable:
        return str(decision.preferred)
    return f"{formatting.listed([str(decision.preferred), *decision.indistinguishable], 'or')} ({ALIKE})"


def _where(decision: Decision) -> str:
    """Return the trace of a decision and its length, for people."""
    length = f" of {decision.n_res} residues" if decision.n_res else ""
    return f"{formatting.pretty_trace(decision.trace)}{length}"


def _others(decision: Decision) -> list[dict[str, Any]]:
    rows: list[Any] = decision.costs.to_dict("records")
    return [row for row in rows if row["format"] != decision.preferred]


def _other(row: dict[str, Any]) -> str:
    interval = formatting.between(row["ratio_low"], row["ratio_high"])
    ratio = f"{row['format']} costs {formatting.times(row['ratio'])} ({interval})"
    return ratio if row["distinguishable"] else f"{ratio}, {ALIKE}"


def uses(findings: Findings) -> list[dict[str, Any]]:
    """Return for each use the preferred format and the costs of the others, as values for the page."""
    return [_use(decision) for decision in shown_decisions(findings)]


def _use(decision: Decision) -> dict[str, Any]:
    use = {
        "name": _spoken(decision), "description": decision.mix.description, "weights": _weights(decision.mix),
        "trace": _where(decision), "preferred": decision.preferred or "no answer", "cost": "–", "parts": "",
        "decides": "",
        "close": _close(decision),
        "others": [],
    }  # fmt: skip
    if decision.preferred is None:
        return use | {"close": "; ".join(decision.missing) or decision.reason}
    best = next(row for row in decision.costs.to_dict("records") if row["format"] == decision.preferred)
    cost, low, high = (formatting.duration(best[name]) for name in ("cost_seconds", "low", "high"))
    parts = {name: best[f"{column}_seconds"] / best["cost_seconds"] for name, column in _PARTS.items()}
    most = max(parts, key=lambda name: parts[name])
    return use | {
        "cost": f"{cost} ({low} to {high})",
        "parts": formatting.listed(f"{name} {formatting.percent(part)}" for name, part in parts.items()),
        "decides": _DECIDES[most] if parts[most] > _MOST else "",
        "others": [
            *map(_other, _others(decision)),
            *(f"{name}: no cost ({why})" for name, why in decision.out.items()),
        ],
    }


def _close(decision: Decision) -> str:
    """Return the formats that may be as good, with the difference of equal contenders for comparison."""
    if not decision.indistinguishable:
        return ""
    floor = f" (equal contenders differ by {formatting.percent(decision.floor)})" if decision.floor else ""
    return f"{formatting.listed(decision.indistinguishable)} {ALIKE}{floor}"


def _weights(mix: Mix) -> str:
    """Describe a mix apart from its shares."""
    readers = "1 reader" if mix.readers == 1 else f"{mix.readers} readers at a time"
    price = f"storing 1 GB costs as much as {mix.storage_price:g} s of waiting"
    if mix.gb_month is not None and mix.months is not None and mix.hour is not None:
        price = (
            f"kept {mix.months:g} months at {mix.gb_month:g} USD for 1 GB and month, an hour of waiting at "
            f"{mix.hour:g} USD"
        )
    return (
        f"{formatting.percent(mix.cold)} cold, {formatting.percent(mix.opens)} open the archive first, {readers}, "
        f"{mix.reads_per_write:g} accesses for each write, {price}"
    )


def assumptions(findings: Findings) -> list[str]:
    """Return the assumptions of the answers, each with its uses unless it is for all of them."""
    shown = preferring(findings)
    found: dict[str, list[str]] = {}
    for decision in shown:
        for text in decision.assumptions:
            found.setdefault(text, []).append(_spoken(decision))
    return [
        text if len(names) == len(shown) else f"For {formatting.listed(names)}: {text}" for text, names in found.items()
    ]


def flips(findings: Findings) -> list[str]:
    """Return, for each use, which values of single weights would change the answer, if their intervals are finite."""
    found = []
    for decision in preferring(findings):
        # It is unknown at which value one of several indistinguishable formats becomes the cheapest.
        ends = [end for flip in decision.flips for end in _ends(flip, decision.indistinguishable)]
        ways = [_way(decision.mix, end) for end in ends if all(map(math.isfinite, end.interval))]
        use = f"{_spoken(decision)}: {_preferred(decision)}"
        unless = "and no weight alone is sure to change that" if ends else "whatever any single weight is"
        found.append(f"{use}, until {'; or '.join(ways)}." if ways else f"{use}, {unless}.")
    return found


class _End(NamedTuple):
    """A value of a weight, the side of it on which another format is preferred, that format, and the interval."""

    flip: Flip
    side: str
    value: float
    name: str
    interval: tuple[float, float]


_UNKNOWN = (-math.inf, math.inf)


def _ends(flip: Flip, close: tuple[str, ...]) -> Iterator[_End]:
    """Yield the values of a weight at which the answer changes, except to a format that is as good already."""
    for index, (low, high, name) in enumerate(flip.segments):
        if flip.stays or name in close:
            continue
        if high == flip.stays_low and flip.stays_low > flip.segments[0][0]:
            yield _End(flip, "below", flip.stays_low, name, flip.low_interval or _UNKNOWN)
        elif low == flip.stays_high and index and flip.value < low:
            yield _End(flip, "above", flip.stays_high, name, flip.high_interval or _UNKNOWN)


def _way(mix: Mix, end: _End) -> str:
    """Return a phrase with the value of a weight at which the answer changes, and the format that it changes to."""
    flip, values = end.flip, (end.value, *end.interval)
    if flip.weight == "storage_price" and mix.gb_month is not None:
        dollars = mix.gb_month / mix.storage_price if mix.storage_price else 0.0
        price, low, high = (formatting.digits(value * dollars) for value in values)
        return f"storage costs {end.side} {price} USD for 1 GB and month ({low} to {high}), then {end.name}"
    value, low, high = (_value(flip, value) for value in values)
    if flip.weight not in _WEIGHTS:
        return f"{several(flip.weight)} are {end.side} {value} ({low} to {high}) of accesses, then {end.name}"
    subject, unit = _WEIGHTS[flip.weight]
    return f"{subject} {end.side} {value}{unit} ({low} to {high}), then {end.name}"


def _value(flip: Flip, value: float) -> str:
    return formatting.digits(value) if flip.log else formatting.percent(value)
