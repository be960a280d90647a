"""Let a format do everything once on a tiny archive of its own, before anything of it is counted or timed.

The first use of a library reads its modules from disk and fills its tables: that belongs to no sample.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from harness.formats.archive import write_archive
from harness.formats.base import Format, Profile, Reader, blame, load_format
from harness.formats.settings import configured
from harness.trace.manifest import Manifest, Provenance
from harness.trace.schema import TensorSpec, tensor
from harness.trace.stream import MemoryTrace


@dataclass(frozen=True)
class FormatOpener:
    """What opens the archives of a format in one way.

    Attributes
    ----------
    format : Format
        The format, configured.
    with_reader : str
        One of its `harness.formats.base.Format.readers`; empty for the first.
    cache_bytes : int or None
        The budget of decoded chunks; None for the library's default.
    """

    format: Format
    with_reader: str = ""
    cache_bytes: int | None = None

    @property
    def name(self) -> str:
        """The format's name."""
        return self.format.name

    def reader(self, path: Path) -> Reader:
        """Open an archive."""
        return self.format.reader(path, self.with_reader, cache_bytes=self.cache_bytes)


@cache
def rehearsed(name: str, profile: Profile, reader: str = "", cache_bytes: int | None = None) -> FormatOpener:
    """Load a format and rehearse it with one of its readers, once in each process.

    Parameters
    ----------
    name : str
        What `load_format` takes.
    profile : Profile
        The settings to rehearse.
    reader : str
        One of the format's readers; empty for the first.
    cache_bytes : int or None
        The budget of decoded chunks.

    Returns
    -------
    FormatOpener
        Of the format, configured.

    Raises
    ------
    HarnessError
        When it cannot even write and read a few bytes.
    """
    opener = FormatOpener(configured(load_format(name), profile), reader, cache_bytes)
    backend = opener.format
    values = np.arange(2 * 40 * 40, dtype=np.float32).reshape(2, 40, 40) / 7
    arrays: dict[TensorSpec, np.ndarray] = {
        tensor("attention/layer_0", (2, 40, 40)): values,
        tensor("pair/layer_0", (40, 40, 2)): np.ascontiguousarray(values.transpose(1, 2, 0)),
        tensor("inputs/sequence", (40,), "uint8"): np.arange(40, dtype=np.uint8),
        tensor("structure/ptm", ()): np.full((), 0.5, np.float32),
    }
    manifest = Manifest(tensors=tuple(arrays), provenance=Provenance(source="rehearsal"))
    trace = MemoryTrace("rehearsal", manifest, {spec.path: array for spec, array in arrays.items()})
    with tempfile.TemporaryDirectory(prefix="harness-") as folder:
        path = Path(folder) / f"rehearsal{backend.suffix}"
        write_archive(trace, backend, path, profile)
        with blame(backend.name, "reading a tiny archive"), opener.reader(path) as opened:
            for spec in arrays:
                opened.read(spec.path)
            opened.read("attention/layer_0", (slice(1, 2), slice(3, 35), slice(3, 35)))
    return opener
