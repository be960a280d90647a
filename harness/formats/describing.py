"""What a format may tell of its archives: their tensors, how each is stored and read, and what to beware of in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from harness.formats.base import Format, Reader, blame
from harness.formats.seal import read_seal
from harness.trace.manifest import Manifest


@dataclass(frozen=True)
class StoredTensor:
    """What a container itself says of a tensor, apart from the manifest."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Opened:
    """How a tensor is stored and read, as the library's own opened objects say; the ledger shows it."""

    reader: str  # The library that reads, its version, and what of it is in use.
    # As in `harness.formats.base.Layout`.
    chunks: tuple[int, ...] | None = None
    shards: tuple[int, ...] | None = None
    codec: str = "none"  # Compressor, level and shuffle, as far as they are stored; ``none`` without one.
    cache: str = "none"  # What keeps decoded or stored bytes between two reads of one reader.
    cache_bytes: int = 0  # The most bytes of decoded chunks of the tensor that it keeps.
    threads: str = ""  # Those that the libraries have, and what they are configured to; empty where they cannot tell.


@runtime_checkable
class ListsTensors(Protocol):
    """A reader whose container has a list of its own."""

    def stored(self) -> dict[str, StoredTensor]:
        """List the tensors as the container knows them, by path; an archive whose manifest disagrees is refused."""


@runtime_checkable
class ShowsStorage(Protocol):
    """A reader that can say how a tensor is stored and read."""

    def opened(self, path: str) -> Opened:
        """Ask the library's opened objects; tensors are verified and converted in blocks that end where chunks do."""


@runtime_checkable
class StoresAside(Protocol):
    """A reader of archives in which a tensor may lie under another name or in another dtype."""

    def as_it_is(self, path: str) -> bool:
        """Say whether a tensor lies under its own name, in its own dtype."""


@runtime_checkable
class StatesSettings(Protocol):
    """A format that says what it is read with."""

    def settings(self) -> dict[str, str]:
        """Return ``versions``, ``threads`` and ``caches`` that apply to every tensor, for the ledger.

        What `ShowsStorage.opened` says of a cache and of threads takes the place of ``caches`` and ``threads``.
        """


@runtime_checkable
class ReadsWhole(Protocol):
    """A format that reads a whole tensor for any part of it.

    Attributes
    ----------
    streams : bool
        Whether consecutive blocks of rows of a tensor larger than `harness.trace.stream.LARGE_BYTES` cost together
        what the whole one does.
    """

    streams: ClassVar[bool]


@runtime_checkable
class SlimmingFormat(Protocol):
    """A format that stores equal tensors once, and values in the fewest bytes that hold them exactly."""

    of: Format  # The one that stores everything as given and is else the same.
    # Patterns, as a shell takes them, of the paths of tensors that it stores as given nevertheless, each at its own
    # path. A copy of the format has others (`harness.cli.convert`).
    plain: tuple[str, ...]


@runtime_checkable
class Recognising(Protocol):
    """A format whose archives can be recognised by their first bytes."""

    def recognises(self, path: Path) -> bool:
        """Say whether a path is an archive of this format; never raises."""


def recognised(path: Path, backend: Format) -> bool:
    """Say whether a path is an archive of a format: by its first bytes, or else by its suffix and a seal."""
    if isinstance(backend, Recognising):
        return backend.recognises(path)
    return path.name.endswith(backend.suffix) and bool(read_seal(path))


@runtime_checkable
class TellsForeign(Protocol):
    """A format whose files can be another program's."""

    def foreign(self, path: Path) -> bool:
        """Say whether what was recognised, and has no seal, is sound but without a manifest of this harness."""


@runtime_checkable
class TellsLinks(Protocol):
    """A format of one file, in which something can make its library read another file."""

    def leads_out(self, path: Path) -> str:
        """Name it; empty where there is nothing. Links in folders are found for every format."""


@runtime_checkable
class TellsOverstated(Protocol):
    """A format whose library believes sizes that are stated in an archive; whoever makes one can seal it too."""

    def overstated(self, path: Path) -> str:
        """Name what would take far more memory than its values, before any is read; empty where there is nothing."""


def read_elsewhere(backend: Format, reader: Reader, manifest: Manifest) -> str | None:
    """Say in a line what reads an open archive without this harness; None where the format states nothing."""
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
