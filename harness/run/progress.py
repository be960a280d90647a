"""How far a run is, in steps that weigh what they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from harness.run.subject import Subject

_BYTES_OF_A_STEP = 120_000_000
"""Of a trace, that make a step take as long again as starting, stopping and verifying do: see `Weighed`."""


class Progress(Protocol):
    """Told how far a run is."""

    def total(self, steps: int) -> None:
        """Say how many steps there will be."""

    def step(self, text: str, steps: int = 1) -> None:
        """Say that steps are done, and what comes next."""


@dataclass
class Weighed:
    """Tells how far a run is in steps that weigh what those of a trace take, so that the time left can be believed.

    Attributes
    ----------
    progress : Progress
        Told of weighed steps.
    weight : int
        Of a step of the subject that is being measured.
    """

    progress: Progress
    weight: int = 1

    @staticmethod
    def of(subject: Subject) -> int:
        """Return the weight of a step: in the reference run, times of steps grew with the bytes of the trace."""
        return 1 + round(subject.manifest.nbytes / _BYTES_OF_A_STEP)

    def step(self, text: str, steps: int = 1) -> None:
        """Say that steps are done, and what comes next."""
        self.progress.step(text, steps * self.weight)
