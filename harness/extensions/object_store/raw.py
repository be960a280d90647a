"""Raw archives in a store: one request for a tensor, several concurrent ones for the contiguous runs of a selection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.extensions.object_store.remotes import RemoteFormat, RemoteRoute
from harness.formats.base import Format, Reader, Selection
from harness.formats.describing import StoredTensor
from harness.formats.parts import runs
from harness.formats.raw import find_contents
from harness.formats.selection import lengths, whole

if TYPE_CHECKING:
    from harness.extensions.object_store.objects import StoredArchive

_FIRST = 64 << 10  # bytes of the first request, at the end of an archive; most likely they contain the complete index


class RemoteRawReader(Reader):
    """Reader that finds tensors by the index at the end of an archive."""

    def __init__(self, backend: Format, objects: StoredArchive) -> None:
        self._objects = objects
        last, size = objects.tail(_FIRST)

        def read(start: int, length: int) -> bytes:
            near = start - (size - len(last))
            return bytes(last[near : near + length] if near >= 0 else objects.ranges([(start, length)])[0])

        self._contents = find_contents(objects.url, size, read)

    def manifest_text(self) -> str | bytes:
        return self._contents.manifest()

    def stored(self) -> dict[str, StoredTensor]:
        """Return the tensors of the index, as a local reader does."""
        return self._contents.stored()

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        placed = self._contents.place(path)
        if selection is None:
            (data,) = self._objects.ranges([(placed.offset, placed.nbytes)])
            return np.frombuffer(data, np.uint8).view(placed.dtype).reshape(placed.shape)
        wanted = whole(placed.shape, selection)
        out = np.empty(lengths(wanted), dtype=placed.dtype)
        target, done = out.reshape(-1).view(np.uint8), 0
        extents = [(placed.offset + start, length) for start, length in runs(placed.shape, out.itemsize, wanted)]
        for data in self._objects.ranges(extents):
            target[done : done + len(data)] = data
            done += len(data)
        return out

    def close(self) -> None:
        self._objects.close()


raw = RemoteFormat({"ranges": RemoteRoute(RemoteRawReader)})
