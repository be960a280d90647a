"""What is measured on what: the arms that run in every round, and the traces with their plans."""

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
    """A contender of a run: a format in a profile, slimmed or not, by one reader, under the name that records show."""

    label: str  # The ``format`` column: the format's own name, or ``a/a`` for the A/A control.
    backend: str  # What `load_format` takes.
    profile: str  # The ``profile`` column; empty for the raw ceiling, which has only one.
    chosen: Settings | None = None  # What a profile file says, where the profile is one's.
    # How an archive is read from the store of the run; empty where it is read from a folder, or cannot be read there.
    route: str = ""
    reader: str = ""  # Of the format's readers; empty for the first, in a run that names none.
    slim: str = ""  # How the trace is slimmed.
    threads: int | None = None  # The budget of threads; None for no bound.
    # Why it takes part: in every round as the stock reader or because it was named; in the races alone until it wins
    # one; or beside a winner, to tell its reader from its settings (`harness.run.turns.between`). Empty in a run that
    # names no readers.
    entered: Literal["", "stock", "named", "raced", "between"] = ""
    raced: bool = False  # Whether it is a candidate for its format's best.
    group: str = ""  # The profile of the run under which it is one: its own, unless it has an alternative's settings.
    shares: bool = False  # Whether it reads the archive of another arm.
    missing: str = ""  # Why its reader cannot be used here; empty where it can.

    @property
    def contender(self) -> Contender:
        """What it is in records, and whether it competes."""
        return Contender(self.label, self.profile, self.slim, self.reader, self.threads)

    @property
    def rereads(self) -> bool:
        """Whether it differs from another arm only in how the same archive is read."""
        return self.shares and not self.contender.is_control

    @property
    def always(self) -> bool:
        """Whether it takes part in every round."""
        return self.entered not in ("raced", "between")

    @property
    def settings(self) -> Profile:
        """The profile to write with."""
        return self.chosen or self.profile or "tuned"  # type: ignore[return-value]


def groups(arms: Iterable[Arm]) -> dict[tuple[str, str], str]:
    """Say in which profile of the run each contender may be its format's best, by ``format`` and ``profile``."""
    return {(arm.label, arm.profile): arm.group or arm.profile for arm in arms}


@dataclass(frozen=True)
class Subject:
    """One trace at one length, with the plans of all suites."""

    text: str  # The trace as it was asked for.
    label: str  # Its name in records.
    # Its length, and the one it was asked for in.
    n_res: int | None
    requested: int | None
    manifest: Manifest  # What it holds.
    plans: tuple[tuple[str, Access], ...]  # The accesses of each suite.
    # The trace itself where it is held in memory: it is handed to the process that writes it, because opening it there
    # again may take long or, for a model that is trained, need the same libraries to give the same bits.
    held: MemoryTrace | None = field(default=None, repr=False, compare=False)
    # How many of the trace's first layers archives are made of, where it may have more.
    layers: int | None = field(default=None, repr=False, compare=False)
    # Its files as they were when it was planned, of arrays and outputs that others wrote.
    files: FileStates | None = field(default=None, repr=False, compare=False)

    @property
    def place(self) -> tuple[str, int | None]:
        """Label and length, by which records name it."""
        return self.label, self.n_res

    @property
    def source(self) -> str | MemoryTrace:
        """What `WriteTask` makes the trace from."""
        return self.text if self.held is None else self.held
