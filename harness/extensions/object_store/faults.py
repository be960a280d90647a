"""Faults that a shaper puts between a store and its reader, by rule."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import UsageError

FAULTS = {
    "drop": "the connection ends in the middle of a body",
    "500": "the server has an internal error",
    "503": "the server asks to slow down",
    "truncate": "a body is half as long as the range that its head states",
    "flip": "one bit of a body is wrong",
    "norange": "a range is answered as the whole object would be, with 200 in place of 206",
}
"""What each fault is, by name."""

_EVERY = 5


@dataclass(frozen=True)
class InjectedFault:
    """One fault, in every so many requests that read.

    Attributes
    ----------
    kind : str
        One of `FAULTS`.
    every : int
        The first, and every so many after it; 1 for each.
    """

    kind: str
    every: int = _EVERY

    def strikes(self, number: int) -> bool:
        """Say whether a request has the fault, by its number from 0."""
        return number % self.every == 0


def parse_fault(text: str) -> InjectedFault | None:
    """Read ``KIND`` or ``KIND:every=N``; None for an empty text.

    Raises
    ------
    UsageError
        When there is no such fault.
    """
    if not text:
        return None
    kind, _, rule = text.partition(":")
    every = rule.removeprefix("every=") if rule else str(_EVERY)
    if kind not in FAULTS or not every.isdigit() or not int(every) or (rule and not rule.startswith("every=")):
        raise UsageError(f"A fault is KIND or KIND:every=N, with KIND one of {', '.join(FAULTS)}; got {text!r}.")
    return InjectedFault(kind, int(every))
