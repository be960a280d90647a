"""Reader probe: try a contender's reader on an archive before timing; report how it reads, or why it cannot."""

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
    """Result of a probe."""

    opened: dict[str, Opened] = field(default_factory=dict)  # By path; empty if the reader does not report this.
    unsupported: str = ""  # Why the reader cannot read the archive; empty if it can.


@dataclass(frozen=True, kw_only=True)
class RehearseTask:
    """Load a contender's libraries and rehearse it; otherwise the first other task in a process does this.

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
        """Rehearse, and ignore errors: the next task meets them again and reports them."""
        with suppress(HarnessError):
            rehearsed(self.backend, self.profile, self.reader, self.cache_bytes)
        return None


@dataclass(frozen=True, kw_only=True)
class ProbeTask(RehearseTask):
    """Open an archive with a contender's reader, and read an example of each role; runs in the measuring process."""

    archive: Path  # An archive in the contender's profile.
    # Paths of tensors, each with the small part to read; None for the complete tensor.
    examples: tuple[tuple[str, Selection | None], ...]

    def run(self, children: Children) -> Probed:
        """Read every example, without checking values, which every sample does."""
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
