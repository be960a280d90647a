"""An archive as a trace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harness.errors import ArchiveError
from harness.formats.archive import check_bytes, check_total, detect, open_archive, read_blocks
from harness.trace.stream import Digest, Trace, shown_label


class ArchiveTrace(Trace):
    """An archive of any format as a trace; tensors are checked against digests. Raises errors of `open_archive`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with open_archive(path) as (backend, _, manifest):
            self._backend, self.manifest = backend, manifest
        self.label = shown_label(f"file:{path.name}", manifest)

    def blocks(self, path: str) -> Iterator[np.ndarray]:
        state = Digest()
        with open_archive(self._path, self._backend, known=self.manifest) as (backend, reader, manifest):
            for block in read_blocks(backend, reader, manifest[path], whole_rows=True):
                state.update(block)
                yield block
        if state.hexdigest() != self.manifest.digests.get(path):
            raise ArchiveError(f"{self._path}: {path} does not match the digest recorded when it was written.")


def open_archived(path: Path) -> ArchiveTrace:
    """Open an archive as a trace after checking its bytes: some libraries crash the process on damaged chunks.

    Parameters
    ----------
    path : Path
        An archive in any format.

    Returns
    -------
    ArchiveTrace
        Of an archive in which every byte is as it was written.

    Raises
    ------
    ArchiveError
        When a byte differs from what was written.
    """
    if broken := check_bytes(path, detect(path)):
        raise ArchiveError(broken)
    trace = ArchiveTrace(path)
    check_total(path, trace.manifest)
    return trace
