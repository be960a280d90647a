"""What a run on a directory did, or would do, file by file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What happened to one file, or would.

    Attributes
    ----------
    path : str
        The file.
    fate : str
        ``packed``, ``copy``, ``kept`` or ``restored``; ``manifest`` for the manifest itself.
    before, after : int
        Bytes.
    note : str
        Where it survives, at what precision, or why it stays.
    """

    path: str
    fate: str
    before: int
    after: int
    note: str


@dataclass(frozen=True)
class Outcome:
    """What a run did, or would do.

    Attributes
    ----------
    kind : str
        What made the directory.
    rows : tuple of Row
        One a file.
    problems : tuple of str
        One sentence for each file that was left as it was because something is wrong with it.
    changed : int
        How many files changed, or would; 0 for a directory that was slimmed before.
    """

    kind: str
    rows: tuple[Row, ...]
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
