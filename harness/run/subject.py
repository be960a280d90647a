"""Arms and subjects of a run: the contenders, and the traces with their plans."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from harness.foreign.file_states import FileStates
from harness.formats.base import Profile
from harness.formats.settings import Settings
from harness.records import Contender
from harness.trace.manifest import Manifest
from harness.trace.stream import MemoryTrace
from harness.workload import Access


@dataclass(frozen=True)
class Arm:
    """A contender of a run: a format in a profile, slimmed or not, with one reader, and its name in records."""

    label: str  # The ``format`` column: the format's own name, or ``a/a`` for the A/A control.
    backend: str  # Name for `load_format`.
    profile: str  # The ``profile`` column; empty for the raw ceiling, which has only one.
    chosen: Settings | None = None  # Settings of a profile file or of a format's alternative; None otherwise.
    # How the archive is read from the store of the run; empty if it is read from a folder, or the store has no route.
    route: str = ""
    reader: str = ""  # Name of a reader of the format; empty for the first one, in a run that names no readers.
    slim: str = ""  # How the trace is slimmed.
    threads: int | None = None  # Budget of threads; None for no limit.
    # When it takes part: "stock" and "named" in every round; "raced" in races only, until it wins one; "between" next
    # to a winner, to separate the effect of its reader from that of its settings (`harness.run.turns.between`). Empty
    # in a run that names no readers.
    entered: Literal["", "stock", "named", "raced", "between"] = ""
    raced: bool = False  # Whether it is a candidate for its format's best.
    group: str = ""  # The profile of the run in which it competes: its own, or that of which it is an alternative.
    shares: bool = False  # Whether it reads the archive of another arm.
    missing: str = ""  # Why its reader cannot be used here; empty if it can.

    @property
    def contender(self) -> Contender:
        """The contender as identified in records."""
        return Contender(self.label, self.profile, self.slim, self.reader, self.threads)

    @property
    def rereads(self) -> bool:
        """Whether it differs from another arm only in how it reads the same archive."""
        return self.shares and not self.contender.is_control

    @property
    def always(self) -> bool:
        """Whether it takes part in every round."""
        return self.entered not in ("raced", "between")

    @property
    def settings(self) -> Profile:
        """The profile with which its archive is written."""
        return self.chosen or self.profile or "tuned"  # type: ignore[return-value]


def groups(arms: Iterable[Arm]) -> dict[tuple[str, str], str]:
    """Return the profile of the run in which each contender may be its format's best, by ``format`` and ``profile``."""
    return {(arm.label, arm.profile): arm.group or arm.profile for arm in arms}


@dataclass(frozen=True)
class Subject:
    """One trace at one length, with the plans of all suites."""

    text: str  # The trace as requested.
    label: str  # Its name in records.
    # Its length, and the requested length.
    n_res: int | None
    requested: int | None
    manifest: Manifest  # Manifest of the trace.
    plans: tuple[tuple[str, Access], ...]  # Accesses of all suites, each with the name of its suite.
    # The trace itself, if it is held in memory. It is passed to the process that writes it, because opening it there
    # again may take long or, for a trained model, need the same libraries to give the same bits.
    held: MemoryTrace | None = field(default=None, repr=False, compare=False)
    # Number of first layers to which archives are limited; None for no limit.
    layers: int | None = field(default=None, repr=False, compare=False)
    # State of its files at the time of planning, for arrays and model outputs written by other programs.
    files: FileStates | None = field(default=None, repr=False, compare=False)

    @property
    def place(self) -> tuple[str, int | None]:
        """Label and length, which identify the trace in records."""
        return self.label, self.n_res

    @property
    def source(self) -> str | MemoryTrace:
        """The source of the trace for `WriteTask`."""
        return self.text if self.held is None else self.held
