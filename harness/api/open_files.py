"""The open files behind lazy arrays: reads of parts, blocks of rows, and stored chunks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from harness.api.values import as_held
from harness.errors import UsageError
from harness.foreign.opening import Asked, is_archive, open_paths
from harness.foreign.source import ImportedTrace, SourceError, readable
from harness.formats.base import blame
from harness.formats.describing import ReadsWhole, ShowsStorage
from harness.formats.opening import open_archive, read_blocks
from harness.formats.selection import Selection, lengths, whole
from harness.scratch import room
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec

_FEW_FILES = 64
"""Maximum files of a tensor that are checked for changes after each read of a part of it."""


class StoredTrace(ABC):
    """An open trace; a copy in another process opens it again.

    Attributes
    ----------
    asked : Asked
        Paths and options that were opened.
    manifest : Manifest
        Manifest of the trace.
    kind : str
        Name of its format, or that it is foreign.
    """

    asked: Asked
    manifest: Manifest
    kind: str
    _open = True

    @abstractmethod
    def _read(self, path: str, selection: Selection | None) -> np.ndarray: ...

    @abstractmethod
    def _blocks(self, spec: TensorSpec) -> Iterator[np.ndarray]: ...

    @abstractmethod
    def _chunks(self, spec: TensorSpec) -> tuple[int, ...] | None: ...

    def read(self, path: str, selection: Selection | None) -> np.ndarray:
        """Read a tensor or a part of it; see `harness.formats.base.Reader.read`."""
        self._require_open()
        return self._read(path, selection)

    def blocks(self, spec: TensorSpec) -> Iterator[np.ndarray]:
        """Yield blocks of rows, aligned with stored chunks; changing them changes nothing else."""
        self._require_open()
        return map(_own, self._blocks(spec))

    def chunks(self, spec: TensorSpec) -> tuple[int, ...] | None:
        """Return the shape of a stored chunk; None if any part can be read without reading more."""
        self._require_open()
        found = self._chunks(spec)
        return tuple(max(1, length) for length in found) if found else None

    def close(self) -> None:
        """Close the files."""
        self._open = False

    def _require_open(self) -> None:
        if not self._open:
            raise UsageError(f"{self.asked.paths[0]} was closed: open it again to read more of it.")

    def __reduce__(self) -> tuple[Any, ...]:
        return open_stored, (self.asked,)


class _StoredArchive(StoredTrace):
    def __init__(self, asked: Asked) -> None:
        self.asked, self._stack = asked, ExitStack()
        self._backend, self._reader, self.manifest = self._stack.enter_context(open_archive(asked.paths[0]))
        self.kind = self._backend.name

    def _read(self, path: str, selection: Selection | None) -> np.ndarray:
        with blame(self.kind, f"reading {path}"):
            found = self._reader.read(path, selection)
        return found if found.flags.writeable else found.copy()

    def _blocks(self, spec: TensorSpec) -> Iterator[np.ndarray]:
        return read_blocks(self._backend, self._reader, spec, whole_rows=True)

    def _chunks(self, spec: TensorSpec) -> tuple[int, ...] | None:
        if isinstance(self._backend, ReadsWhole):
            return spec.shape
        with blame(self.kind, f"looking at {spec.path}"):
            found = self._reader.opened(spec.path).chunks if isinstance(self._reader, ShowsStorage) else None
        # A chunk of a stack of layers has a first axis of layers.
        return found[len(found) - len(spec.shape) :] if found else None

    def close(self) -> None:
        super().close()
        self._stack.close()


class _StoredForeign(StoredTrace):
    kind = "foreign"

    def __init__(self, asked: Asked, trace: ImportedTrace) -> None:
        self.asked, self._trace, self.manifest = asked, trace, trace.manifest

    def _read(self, path: str, selection: Selection | None) -> np.ndarray:
        spec, (origin, stored) = self.manifest[path], self._trace.source_of(path)
        wanted = whole(spec.shape, selection)
        with self._trace.unchanged(path, None if selection is None else _FEW_FILES):
            if stored.rows:
                return _cut(self._trace.blocks(path), spec, wanted)
            with readable(origin):
                block = np.asarray(stored.load()[wanted])
            if block.shape != lengths(wanted):
                raise SourceError(f"{origin} gave shape {block.shape} where {lengths(wanted)} was announced.")
        return as_held(block if block.flags.owndata else block.copy(), spec)

    def _blocks(self, spec: TensorSpec) -> Iterator[np.ndarray]:
        return self._trace.blocks(spec.path)

    def _chunks(self, spec: TensorSpec) -> tuple[int, ...] | None:
        _, stored = self._trace.source_of(spec.path)
        chunks = None if stored.rows else stored.chunks
        if chunks is None:
            return spec.shape
        return chunks if max(chunks, default=1) > 1 else None


def _own(block: np.ndarray) -> np.ndarray:
    """Return a block that may be changed: a copy if it is read-only, because a later read returns it again."""
    if block.flags.writeable:
        return block
    copy = room(block.shape, block.dtype)
    copy[...] = block
    return copy


def _cut(blocks: Iterator[np.ndarray], spec: TensorSpec, wanted: Selection) -> np.ndarray:
    """Return a part of a tensor that can only be read from its start; read no further than the end of the part."""
    found, end, (rows, *others) = np.empty(lengths(wanted), spec.dtype), 0, wanted
    for block in blocks:
        start, end = end, end + len(block)
        first, last = max(start, rows.start), min(end, rows.stop)
        if first < last:
            found[first - rows.start : last - rows.start] = block[(slice(first - start, last - start), *others)]
        if end >= rows.stop:
            break
    return found


def open_stored(asked: Asked) -> StoredTrace:
    """Open files and folders as ``--trace file:PATH`` does, but without reading every byte of an archive first.

    Raises
    ------
    UsageError, ArchiveError, SourceError
        As for `harness.foreign.opening.open_paths`.
    """
    if len(asked.paths) == 1 and not asked.kind and not asked.rules:
        (path,) = asked.paths
        if path.exists() and is_archive(path):
            return _StoredArchive(asked)
    trace = open_paths(asked)
    assert isinstance(trace, ImportedTrace)  # an archive takes no kind and no rules
    return _StoredForeign(asked, trace)
