"""What a run on a directory did, or would do, file by file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.extensions.result_directories.manifest import Kind

Reader = Literal["tools", "unslim", "harness"]


@dataclass(frozen=True)
class FileRow:
    """What happened to one file, or would.

    Attributes
    ----------
    path : str
        The file.
    fate : str
        ``packed``, ``copy``, ``kept`` or ``restored``; ``left`` for one with a problem, ``other`` for one that slimming
        does not touch, and ``manifest`` for the manifest itself.
    before, after : int
        Bytes.
    note : str
        Where it survives, at what precision, or why it stays.
    reader : {"tools", "unslim", "harness"}
        What can read it: tools after the program, the same once it is restored, or, as far as is known, only this
        harness.
    """

    path: str
    fate: str
    before: int
    after: int
    note: str
    reader: Reader = "tools"


@dataclass(frozen=True)
class SlimOutcome:
    """What a run did, or would do.

    Attributes
    ----------
    kind : str
        What made the directory.
    rows : tuple of FileRow
        One for each file of the directory.
    problems : tuple of str
        One sentence for each file that was left as it was because something is wrong with it.
    changed : int
        How many files changed, or would; 0 for a directory that was slimmed before.
    """

    kind: Kind
    rows: tuple[FileRow, ...]
    problems: tuple[str, ...]
    changed: int

    @property
    def before(self) -> int:
        """Bytes before."""
        return sum(row.before for row in self.rows)

    @property
    def after(self) -> int:
        """Bytes after."""
        return sum(row.after for row in self.rows)

    @property
    def files(self) -> int:
        """How many files there were before."""
        return sum(row.fate != "manifest" for row in self.rows)

    @property
    def needs_unslim(self) -> tuple[str, ...]:
        """The files that tools can read only once they are restored."""
        return tuple(row.path for row in self.rows if row.reader == "unslim")

    @property
    def harness_only(self) -> tuple[str, ...]:
        """The files of which something was given up, and whose rest no other tool is known to read."""
        return tuple(row.path for row in self.rows if row.reader == "harness")

    @property
    def large_others(self) -> tuple[FileRow, ...]:
        """The files that slimming has nothing to do with and that take more than a hundredth, the largest first."""
        large = [row for row in self.rows if row.fate == "other" and 100 * row.before > self.before]
        return tuple(sorted(large, key=lambda row: -row.before))
