"""What is open behind the lazy arrays of a trace: reads of parts, blocks of rows, and how a tensor is stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import UsageError
from harness.formats.base import blame
from harness.formats.describing import ReadsWhole, ShowsStorage
from harness.formats.opening import open_archive, read_blocks
from harness.formats.selection import Selection
from harness.trace.schema import TensorSpec


class StoredTrace:
    """An archive that is open; a copy in another process opens it anew.

    Parameters
    ----------
    path : Path
        The archive.

    Attributes
    ----------
    manifest : Manifest
        What it holds.
    kind : str
        The name of its format.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._stack = path.absolute(), ExitStack()
        self._backend, self._reader, self.manifest = self._stack.enter_context(open_archive(path))
        self.kind, self._open = self._backend.name, True

    def read(self, path: str, selection: Selection | None) -> np.ndarray:
        """Read a tensor or a part of it, as `harness.formats.base.Reader.read`."""
        self._require_open()
        with blame(self.kind, f"reading {path}"):
            return self._reader.read(path, selection)

    def blocks(self, spec: TensorSpec) -> Iterator[np.ndarray]:
        """Yield a tensor as blocks of rows that end where stored chunks do."""
        self._require_open()
        return read_blocks(self._backend, self._reader, spec, whole_rows=True)

    def chunks(self, spec: TensorSpec) -> tuple[int, ...] | None:
        """Return the extent of what is decoded as one; None where any part can be read without more."""
        self._require_open()
        if isinstance(self._backend, ReadsWhole):
            return tuple(max(1, length) for length in spec.shape)
        with blame(self.kind, f"looking at {spec.path}"):
            found = self._reader.opened(spec.path).chunks if isinstance(self._reader, ShowsStorage) else None
        # One of a stack of layers has an axis of these in front.
        return found[len(found) - len(spec.shape) :] if found else None

    def close(self) -> None:
        """Close it; nothing more can be read."""
        self._open = False
        self._stack.close()

    def _require_open(self) -> None:
        if not self._open:
            raise UsageError(f"{self.path} was closed: open it again to read more of it.")

    def __reduce__(self) -> tuple[Any, ...]:
        return open_stored, (self.path,)


def open_stored(path: Path) -> StoredTrace:
    """Open what a path holds; the only place that knows what can be opened."""
    return StoredTrace(path)
