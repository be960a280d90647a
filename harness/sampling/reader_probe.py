"""Try a contender's reader on an archive before anything is timed: what its library's objects say, or why it cannot."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from harness.errors import HarnessError
from harness.formats.base import Profile, UnsupportedReader
from harness.formats.describing import Opened, ShowsStorage
from harness.formats.selection import Selection
from harness.sampling.self_test import rehearsed
from harness.sampling.worker import Children


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What a reader says of an archive."""

    opened: dict[str, Opened] = field(default_factory=dict)  # By path; empty for a reader that says nothing.
    unsupported: str = ""  # Why it cannot read the archive; empty where it can.


@dataclass(frozen=True, kw_only=True)
class RehearseTask:
    """Load a contender's libraries and rehearse it, as each of its tasks does that is the first of its process.

    Attributes
    ----------
    backend, profile, reader, cache_bytes
        The contender.
    """

    pausable: ClassVar[bool] = True

    backend: str
    profile: Profile
    reader: str = ""
    cache_bytes: int | None = None

    def run(self, children: Children) -> Probed | None:
        """Rehearse; an error is met again by the task that comes next, which says it."""
        with suppress(HarnessError):
            rehearsed(self.backend, self.profile, self.reader, self.cache_bytes)
        return None


@dataclass(frozen=True, kw_only=True)
class ProbeTask(RehearseTask):
    """Open an archive with a contender's reader and read an example of each role; done by the process that measures."""

    archive: Path  # Written in its profile.
    # Paths of tensors, each with the part that is read, which is little.
    examples: tuple[tuple[str, Selection | None], ...]

    def run(self, children: Children) -> Probed:
        """Read every example; whether values are right is checked with every sample."""
        try:
            backend = rehearsed(self.backend, self.profile, self.reader, self.cache_bytes)
            with backend.reader(self.archive) as reader:
                for path, part in self.examples:
                    reader.read(path, part)
                if not isinstance(reader, ShowsStorage):
                    return Probed()
                return Probed(opened={path: reader.opened(path) for path, _ in self.examples})
        except UnsupportedReader as error:
            return Probed(unsupported=str(error).rstrip("."))
