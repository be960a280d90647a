"""How long something will still take: a range, by all of its steps and by the last of them."""

from __future__ import annotations

from collections import deque

_KNOWN = 0.02
"""Of all steps, after which the time left is said: the first are of archives, which take longer."""

_RECENT = 120.0
"""Seconds that the pace of now is taken over."""

_ALIKE = 1.2
"""Up to this ratio of the two ends one number is said."""


class Pace:
    """Notes when steps were done.

    Parameters
    ----------
    now : float
        When it begins, in seconds of a monotonic clock.
    """

    def __init__(self, now: float) -> None:
        self._start, self._total, self._done = now, 0, 0
        self._marks: deque[tuple[float, int]] = deque([(now, 0)])

    def begin(self, total: int, now: float) -> None:
        """Count to a total of steps, from now on where that was not begun."""
        if not self._total:
            self._start, self._marks = now, deque([(now, self._done)])
        self._total = max(1, total)

    def add(self, steps: int, now: float) -> None:
        """Count steps that are done."""
        self._done += steps
        self._marks.append((now, self._done))
        while len(self._marks) > 2 and now - self._marks[1][0] > _RECENT:
            self._marks.popleft()

    def told(self, now: float) -> str:
        """Say how far it is, and how long it will still take; since when it runs where nothing is counted."""
        if not self._total:
            return f"{now - self._start:.0f} s"
        return f"{100 * self._done // self._total:3d} %  {self.left(now)}"

    def left(self, now: float) -> str:
        """Say how long it will still take, by the pace of all steps and by that of the last ones."""
        if not self._total:
            return ""
        if self._done < max(1, _KNOWN * self._total):
            return "time left not known yet"
        (since, done), rest = self._marks[0], max(0, self._total - self._done)
        paces = [(now - self._start) / self._done]
        if self._done > done:
            paces.append((now - since) / (self._done - done))
        low, high = (rest * pace for pace in (min(paces), max(paces)))
        scale, unit = (60, "min") if high >= 120 else (1, "s")
        ends = [f"{end / scale:.0f}" for end in (low, high)]
        if high <= _ALIKE * low or high < 10 or ends[0] == ends[1]:
            return f"about {ends[1]} {unit} left"
        return f"{ends[0]} to {ends[1]} {unit} left"
