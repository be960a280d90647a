"""The answer in words: which format for which use, by how much, how sure, and what would change it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.analysis import formatting as words
from harness.analysis.accesses import written_once
from harness.analysis.choice.decision import Decision
from harness.analysis.choice.envelope import Flip
from harness.analysis.choice.mix import Mix, several
from harness.analysis.findings import Findings
from harness.analysis.verdict import VERDICT_ROUNDS
from harness.analysis.withdrawal import CORRECTION

ALIKE = "statistically indistinguishable"


@dataclass(frozen=True, kw_only=True, eq=False)
class Lead:
    """What a report begins with.

    Attributes
    ----------
    answer : str
        The sentence.
    decision : Decision or None
        The one whose flips are drawn: of the first mix, on the trace that says most; None where there is none.
    """

    answer: str
    decision: Decision | None


def lead(findings: Findings) -> Lead:
    """Say what a report begins with.

    Parameters
    ----------
    findings : Findings
        Of the run.

    Returns
    -------
    Lead
        Its decision comes from the trace with all that the mix reads, at the longest sequence.
    """
    chosen = {name: most(decisions) for name, decisions in findings.decisions.items()}
    good = {name: found for name, found in chosen.items() if found is not None and found.preferred is not None}
    if not good:
        return Lead(answer=_no_answer(findings), decision=None)
    by_format: dict[str, list[str]] = {}
    for name, found in good.items():
        by_format.setdefault(_preferred(found), []).append(spoken(name))
    first = next(iter(good.values()))
    if len(good) == 1:
        text = f"{_preferred(first)} for {spoken(first.mix.name)}, on {where(first)}: {_by_how_much(first)}."
    elif len(by_format) == 1:
        text = (
            f"{_preferred(first)}, for each of the {len(good)} uses, on {where(first)}. {_range(list(good.values()))}"
        )
    else:
        parts = "; ".join(f"{formats} for {words.listed(names)}" for formats, names in by_format.items())
        text = f"It depends on the use. On {where(first)}: {parts}."
    undecided = [spoken(name) for name in chosen if name not in good]
    if undecided:
        text += f" No answer for {words.listed(undecided, 'or')}: what is missing is listed below."
    return Lead(answer=text, decision=first)


def spoken(name: str) -> str:
    """Write the name of a mix for people."""
    return name.replace("-", " ")


def _range(decisions: list[Decision]) -> str:
    """Say what the other formats cost at least and at most, over uses."""
    ratios = [
        float(row["ratio"]) for d in decisions for row in d.costs.to_dict("records") if row["format"] != d.preferred
    ]
    if not ratios:
        return "No other format was measured."
    return f"The others cost {words.times(min(ratios))[:-1]} to {words.times(max(ratios))[:-1]} times as much."


def _no_answer(findings: Findings) -> str:
    if findings.without_formats:
        return "No format was measured: what the run measured in their place is below."
    if findings.samples.empty:
        return "No answer: the run has no samples yet."
    if findings.withdrawn:
        return f"No answer. {CORRECTION}"
    if (least := fewest_rounds(findings)) < VERDICT_ROUNDS:
        return (
            f"No answer: a verdict needs {VERDICT_ROUNDS} rounds, this run has {least}. Its figures are provisional; "
            f"for an answer run it with --rounds {VERDICT_ROUNDS} or more."
        )
    return "No answer: not everything that a use asks was measured. What is missing is listed below."


def fewest_rounds(findings: Findings) -> int:
    """Return the samples of the timed cell that has fewest, of those that are measured more than once by design."""
    cells = findings.summary
    several = cells[cells["median_seconds"].notna() & ~written_once(cells)]
    return int(several["samples"].min()) if len(several) else 0


def most(decisions: list[Decision]) -> Decision | None:
    """Choose the decision that rests on most: nothing scaled up for want of tensors, then the longest sequence."""
    return max(decisions, key=lambda d: (d.preferred is not None, -_absent(d), d.n_res or 0), default=None)


def _absent(decision: Decision) -> int:
    return sum(text.startswith("The trace has no tensor for") for text in decision.assumptions)


def _preferred(decision: Decision) -> str:
    if not decision.not_told_apart:
        return str(decision.preferred)
    return f"{words.listed([str(decision.preferred), *decision.not_told_apart], 'or')} ({ALIKE})"


def where(decision: Decision) -> str:
    """Name the trace of a decision and its length."""
    length = f" of {decision.n_res} residues" if decision.n_res else ""
    return f"{words.pretty_trace(decision.trace)}{length}"


def _by_how_much(decision: Decision) -> str:
    others = decision.costs[decision.costs["format"] != decision.preferred]
    if others.empty:
        return "no other format was measured"
    return "in its place " + "; ".join(_other(row) for row in others.to_dict("records"))


def _other(row: dict[Any, Any]) -> str:
    ratio = f"{row['format']} costs {words.times(row['ratio'])} ({words.between(row['ratio_low'], row['ratio_high'])})"
    return ratio if row["told_apart"] else f"{ratio}, {ALIKE}"


def uses(findings: Findings) -> list[dict[str, Any]]:
    """Say for each use what is preferred, and what the others cost in its place."""
    return [_use(name, found) for name, decisions in findings.decisions.items() if (found := most(decisions))]


def assumptions(findings: Findings) -> list[str]:
    """List what the answers rest on besides the measurements, each with the uses that it is for where not for all."""
    found: dict[str, list[str]] = {}
    decided = {name: most(decisions) for name, decisions in findings.decisions.items()}
    shown = {name: decision for name, decision in decided.items() if decision is not None and decision.preferred}
    for name, decision in shown.items():
        for text in decision.assumptions:
            found.setdefault(text, []).append(spoken(name))
    return [text if len(names) == len(shown) else f"For {words.listed(names)}: {text}" for text, names in found.items()]


def _use(name: str, decision: Decision) -> dict[str, Any]:
    use = {
        "name": spoken(name),
        "description": decision.mix.description,
        "weights": _weights(decision.mix),
        "trace": where(decision),
        "preferred": decision.preferred or "no answer",
        "close": f"{words.listed(decision.not_told_apart)} {ALIKE}" if decision.not_told_apart else "",
        "cost": "–",
        "parts": "",
        "others": [],
    }
    if decision.preferred is None:
        return use | {"close": "; ".join(decision.missing) or decision.reason}
    rows = decision.costs.to_dict("records")
    best = next(row for row in rows if row["format"] == decision.preferred)
    return use | {
        "cost": words.duration(best["cost_seconds"])
        + f" ({words.duration(best['low'])} to {words.duration(best['high'])})",
        "parts": words.listed(
            f"{name} {words.percent(best[f'{name}_seconds'] / best['cost_seconds'])}"
            for name in ("reading", "writing", "keeping")
        ),
        "others": [_other(row) for row in rows if row["format"] != decision.preferred]
        + [f"{other}: no cost ({why})" for other, why in decision.out.items()],
    }


def _weights(mix: Mix) -> str:
    """Say what a mix takes its use to be, apart from the shares."""
    readers = "1 reader" if mix.readers == 1 else f"{mix.readers} readers at a time"
    return (
        f"{words.percent(mix.cold)} cold, {words.percent(mix.opens)} open the archive first, {readers}, "
        f"{mix.reads_per_write:g} accesses for each write, a gigabyte kept is worth {mix.storage_price:g} s of waiting"
    )


def flips(findings: Findings) -> list[str]:
    """Say, for each use, what would have to change for another answer."""
    found = []
    for name, decisions in findings.decisions.items():
        decision = most(decisions)
        if decision is None or decision.preferred is None:
            continue
        # Nor can the point be known at which one of several that are alike becomes the cheapest.
        ways = [text for flip in decision.flips for text in _ways(flip, decision.not_told_apart)]
        use = f"{spoken(name)}: {_preferred(decision)}"
        found.append(f"{use}, until {'; or '.join(ways)}." if ways else f"{use}, whatever any single weight is.")
    return found


def _ways(flip: Flip, close: tuple[str, ...]) -> list[str]:
    """Say at what value of a weight the answer changes, and to what; not to a format that is as good already."""
    if flip.stays:
        return []
    ways = []
    for index, (low, high, name) in enumerate(flip.segments):
        if name in close:
            continue
        if high == flip.stays_low and flip.stays_low > flip.segments[0][0]:
            ways.append(_way(flip, "below", flip.stays_low, flip.low_interval, name))
        elif low == flip.stays_high and index and flip.value < low:
            ways.append(_way(flip, "above", flip.stays_high, flip.high_interval, name))
    return ways


_SUBJECTS = {
    "cold": "the part of cold accesses is",
    "opens": "the part of accesses that open the archive is",
    "readers": "the number of readers at a time is",
    "reads_per_write": "the number of accesses for each write is",
    "storage_price": "the price of keeping is",
}


def _way(flip: Flip, side: str, end: float, interval: tuple[float, float] | None, name: str) -> str:
    sure = f" ({_value(flip, interval[0])} to {_value(flip, interval[1])})" if interval else ""
    limit = f"{side} {_value(flip, end)}{_UNITS.get(flip.weight, '')}{sure}"
    if flip.weight in _SUBJECTS:
        return f"{_SUBJECTS[flip.weight]} {limit}, then {name}"
    return f"{several(flip.weight)} are {limit} of accesses, then {name}"


_UNITS = {"storage_price": " seconds of waiting for a gigabyte"}


def _value(flip: Flip, value: float) -> str:
    if value == float("inf"):
        return "never"
    return words.digits(value) if flip.log else words.percent(value)
