"""States of a source's files when it was opened, to detect a program that writes to them while they are read."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path


class FileStates:
    """Sizes and modification times of files, and of everything in folders that are one store."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[int, int] | None] = {}
        self._order: list[str] = []

    def add(self, path: Path) -> None:
        """Record a file, or a folder with all files and folders in it.

        Folders are recorded because adding or removing a file changes its folder.
        """
        parts = (path, *path.rglob("*")) if path.is_dir() else (path,)
        self._states |= {str(part): _state(str(part)) for part in parts}

    @property
    def nbytes(self) -> int:
        """Total size of all entries when they were added, in bytes."""
        return sum(state[0] for state in self._states.values() if state is not None)

    def changed(self, within: Sequence[Path] = (), most: int | None = None) -> str:
        """Return the first path that changed; empty if none did.

        Parameters
        ----------
        within : sequence of Path
            Files, and folders with everything in them; by default all recorded paths.
        most : int, optional
            Check none if there are more paths than this.
        """
        names = self._within(within) if within else iter(self._states)
        if most is not None:
            few = list(islice(names, most + 1))
            names = iter(few if len(few) <= most else ())
        return next((name for name in names if _state(name) != self._states[name]), "")

    def _within(self, paths: Sequence[Path]) -> Iterator[str]:
        order = self._order
        if len(order) != len(self._states):
            order = self._order = sorted(self._states)
        for name in map(str, paths):
            if name in self._states:
                yield name
            for number in range(bisect_left(order, f"{name}/"), len(order)):
                if not order[number].startswith(f"{name}/"):
                    break
                yield order[number]


def _state(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - a store has many files
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
