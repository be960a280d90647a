"""Estimate of the time left: a range, from the pace of all steps and of the last ones."""

from __future__ import annotations

from collections import deque

_KNOWN = 0.02
"""Share of all steps after which the time left is shown: the first steps are of archives, which take longer."""

_RECENT = 120.0
"""Seconds over which the pace of the last steps is measured."""

_ALIKE = 1.2
"""Largest ratio of the two ends of a range that is shown as one number."""


class Pace:
    """Record of the times at which steps were completed.

    Parameters
    ----------
    now : float
        When it begins, in seconds of a monotonic clock.
    """

    def __init__(self, now: float) -> None:
        self._start, self._total, self._done = now, 0, 0
        self._marks: deque[tuple[float, int]] = deque([(now, 0)])

    def begin(self, total: int, now: float) -> None:
        """Set the total number of steps; the first call also restarts the clock."""
        if not self._total:
            self._start, self._marks = now, deque([(now, self._done)])
        self._total = max(1, total)

    def add(self, steps: int, now: float) -> None:
        """Count completed steps."""
        self._done += steps
        self._marks.append((now, self._done))
        while len(self._marks) > 2 and now - self._marks[1][0] > _RECENT:
            self._marks.popleft()

    def told(self, now: float) -> str:
        """Return progress and time left as text, or the time elapsed if there is no total."""
        if not self._total:
            return f"{now - self._start:.0f} s"
        return f"{100 * self._done // self._total:3d} %  {self.left(now)}"

    def left(self, now: float) -> str:
        """Return the time left as text, by the pace of all steps and of the last ones; empty without a total."""
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
