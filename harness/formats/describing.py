"""Optional protocols that describe archives: their tensors, how each is stored and read, and risks of opening them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from harness.formats.base import Format, Reader, blame
from harness.formats.seal import read_seal
from harness.trace.manifest import Manifest


@dataclass(frozen=True)
class StoredTensor:
    """Shape and dtype of a tensor as stated by the container, independent of the manifest."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Opened:
    """How a tensor is stored and read, as reported by the library's own opened objects; shown in the ledger."""

    reader: str  # The library that reads, its version, and the parts of it in use.
    # As in `harness.formats.base.Layout`.
    chunks: tuple[int, ...] | None = None
    shards: tuple[int, ...] | None = None
    codec: str = "none"  # Compressor, level and shuffle, as far as they are stored; ``none`` without one.
    cache: str = "none"  # Cache of decoded or stored bytes between two reads of one reader.
    cache_bytes: int = 0  # Most bytes of the tensor's decoded chunks that the cache keeps.
    threads: str = ""  # Threads of the libraries, running and configured; empty if the libraries do not report them.


@runtime_checkable
class ListsTensors(Protocol):
    """A reader whose container lists its tensors itself."""

    def stored(self) -> dict[str, StoredTensor]:
        """Return the tensors that the container lists, by path; an archive whose manifest disagrees is refused."""


@runtime_checkable
class ShowsStorage(Protocol):
    """A reader that reports how a tensor is stored and read."""

    def opened(self, path: str) -> Opened:
        """Return the report of the library's opened objects.

        Verification and conversion use it to read tensors in blocks that end at chunk boundaries.
        """


@runtime_checkable
class StoresAside(Protocol):
    """A reader of archives in which a tensor may be stored under another name or in another dtype."""

    def as_it_is(self, path: str) -> bool:
        """Return whether a tensor is stored under its own name and in its own dtype."""


@runtime_checkable
class StatesSettings(Protocol):
    """A format that reports the versions and settings of its libraries."""

    def settings(self) -> dict[str, str]:
        """Return ``versions``, ``threads`` and ``caches`` that apply to every tensor, for the ledger.

        The cache and threads that `ShowsStorage.opened` reports replace ``caches`` and ``threads``.
        """


@runtime_checkable
class ReadsWhole(Protocol):
    """A format that reads the complete tensor for any part of it.

    Attributes
    ----------
    streams : bool
        Whether all consecutive blocks of rows of a tensor larger than `harness.trace.stream.LARGE_BYTES` together cost
        as much as the complete tensor.
    """

    streams: ClassVar[bool]


@runtime_checkable
class SlimmingFormat(Protocol):
    """A format that stores equal tensors once, and values in the fewest bytes that hold them exactly."""

    of: Format  # The otherwise equal format that stores every tensor as given.
    # Shell-style patterns for the paths of tensors that it stores as given nevertheless, each at its own path. A copy
    # of the format can have other patterns (`harness.cli.convert`).
    plain: tuple[str, ...]


@runtime_checkable
class Recognising(Protocol):
    """A format whose archives can be recognised by their first bytes."""

    def recognises(self, path: Path) -> bool:
        """Return whether a path is an archive of this format, also a damaged one.

        Raises
        ------
        HarnessError
            If the archive is not safe to read, such as a zip file whose members overlap.
        """


def recognised(path: Path, backend: Format) -> bool:
    """Return whether a path is an archive of a format: by its first bytes, or else by its suffix and a seal."""
    if isinstance(backend, Recognising):
        return backend.recognises(path)
    return path.name.endswith(backend.suffix) and bool(read_seal(path))


@runtime_checkable
class TellsForeign(Protocol):
    """A format whose files other programs write too."""

    def foreign(self, path: Path) -> bool:
        """Return whether a recognised file without a seal is sound, but has no manifest of this harness."""


@runtime_checkable
class TellsLinks(Protocol):
    """A single-file format whose files can make its library read another file."""

    def leads_out(self, path: Path) -> str:
        """Return the name of such a reference; empty if there is none. Links in folders are found for every format."""


@runtime_checkable
class TellsOverstated(Protocol):
    """A format whose library trusts the sizes stated in an archive; anyone who makes an archive can also seal it."""

    def overstated(self, path: Path) -> str:
        """Return what would take far more memory than its values, before any is read; empty if there is nothing."""


def read_elsewhere(backend: Format, reader: Reader, manifest: Manifest) -> str | None:
    """Return in one line what reads an open archive without this harness; None if the format states nothing."""
    if backend.elsewhere is None:
        return None
    paths = [spec.path for spec in manifest.tensors]
    said = [f"{backend.elsewhere.library} opens it"]
    with blame(backend.name, "looking at how tensors are stored"):
        codecs = [reader.opened(path).codec for path in paths] if isinstance(reader, ShowsStorage) else []
        for word, needed in backend.elsewhere.besides.items():
            if count := sum(word in codec for codec in codecs):
                said.append(f"tensors that need {needed}: {count} of {len(paths)}")
        if isinstance(reader, StoresAside) and (count := sum(not reader.as_it_is(path) for path in paths)):
            said.append(f"under another name or in another dtype: {count} of {len(paths)} (docs/elsewhere.md)")
    return "; ".join(said)
