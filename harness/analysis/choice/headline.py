"""What the decisions for all traces come to, in facts and one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.choice.decision import Decision


@dataclass(frozen=True, kw_only=True)
class Headline:
    """What the decisions for all traces come to.

    Attributes
    ----------
    mix : str
        Its name.
    preferred : mapping of str to tuple of str
        The traces that each format is preferred on, most first.
    unsure : mapping of str to tuple of str
        The formats that cannot be told from the preferred one, by trace.
    undecided : mapping of str to str
        Why there is no decision, by trace.
    text : str
        One sentence that says all of this.
    """

    mix: str
    preferred: Mapping[str, tuple[str, ...]]
    unsure: Mapping[str, tuple[str, ...]]
    undecided: Mapping[str, str]
    text: str


def headline(decisions: Sequence[Decision]) -> Headline:
    """Sum up decisions for one mix.

    Parameters
    ----------
    decisions : sequence of Decision
        One for each trace, at least one.

    Returns
    -------
    Headline
        Facts, and a sentence made of them.
    """
    wins: dict[str, tuple[str, ...]] = {}
    for decision in decisions:
        if decision.preferred is not None:
            wins[decision.preferred] = (*wins.get(decision.preferred, ()), decision.trace)
    wins = dict(sorted(wins.items(), key=lambda item: -len(item[1])))
    unsure = {d.trace: d.not_told_apart for d in decisions if d.not_told_apart}
    undecided = {d.trace: "; ".join(d.missing) or d.reason for d in decisions if d.preferred is None}
    said = []
    for place, (name, traces) in enumerate(wins.items()):
        where = "" if place == 0 else f" ({', '.join(traces)})"
        said.append(f"{name} is the cheapest on {len(traces)} of {len(decisions)} traces{where}")
    for trace, others in unsure.items():
        said.append(f"on {trace} {' and '.join(others)} cannot be told from it")
    for trace, why in undecided.items():
        said.append(f"no decision on {trace}: {why}")
    name = decisions[0].mix.name
    return Headline(mix=name, preferred=wins, unsure=unsure, undecided=undecided, text=f"{name}: {'; '.join(said)}.")
