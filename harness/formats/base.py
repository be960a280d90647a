"""The interface every format implements: a backend with a writer that takes blocks and a reader of selections."""

from __future__ import annotations

import importlib.util
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from harness import registry
from harness.errors import HarnessError, MachineError, UsageError, cause_of
from harness.formats.selection import Selection
from harness.formats.settings import SearchSpace, Settings, Value
from harness.trace.schema import Manifest, Role, TensorSpec

if TYPE_CHECKING:
    from harness.formats.objects import Objects
    from harness.formats.replay import Extent, Replay

ProfileName = Literal["seed", "tuned", "matched"]
PROFILES: tuple[ProfileName, ...] = ("seed", "tuned", "matched")

Profile = ProfileName | Settings
"""The settings of a format: a profile that every format knows by its name, or what a profile file chose for one."""
Route = Literal["ranges", "download", "reference"]
Standing = Literal["default", "optional", "ceiling"]
Place = Mapping[str, Any]
"""Where the stored bytes of one tensor lie, in the words of its format and in plain JSON values."""


class UnsupportedProfile(HarnessError):
    """A format cannot do what a profile asks for; its cells are skipped with this reason."""


@dataclass(frozen=True, kw_only=True)
class Codec:
    """A compressor and what is done to the bytes before it.

    Attributes
    ----------
    name : {"blosc-zstd", "blosc-lz4", "deflate", "pcodec", "zstd"}
        Compressor.
    level : int
        Its compression level.
    shuffle : {"none", "byte", "bit"}
        Rearrangement before it.
    """

    name: str
    level: int
    shuffle: Literal["none", "byte", "bit"] = "none"

    def __str__(self) -> str:
        return f"{self.name}-{self.level}" + ("" if self.shuffle == "none" else f" {self.shuffle} shuffle")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one tensor is laid out by a format; the ledger shows it, the writer obeys it.

    Attributes
    ----------
    chunks : tuple of int or None
        Extent of the unit that is compressed and read as one; None when the tensor is stored contiguously.
    shards : tuple of int or None
        Extent of what shares one file, where that is larger than a chunk and smaller than the archive.
    codec : Codec or None
        None when the bytes are stored as they are.
    origin : {"seed", "default", "chosen"}
        Whether the seed, the library or this project decided.
    why : str
        The reason, in a few words.
    """

    chunks: tuple[int, ...] | None = None
    shards: tuple[int, ...] | None = None
    codec: Codec | None = None
    origin: Literal["seed", "default", "chosen"]
    why: str


@dataclass(frozen=True)
class Stored:
    """What a container itself says of a tensor, apart from the manifest."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Opened:
    """How a tensor is stored and read, as the library's own opened objects say; the ledger shows it.

    Attributes
    ----------
    reader : str
        The library that reads, its version, and what of it is in use.
    chunks, shards : tuple of int or None
        As in `Layout`.
    codec : str
        Compressor, level and shuffle, as far as they are stored; ``none`` without one.
    cache : str
        What keeps decoded or stored bytes between two reads of one reader.
    """

    reader: str
    chunks: tuple[int, ...] | None = None
    shards: tuple[int, ...] | None = None
    codec: str = "none"
    cache: str = "none"


class Writer(ABC):
    """Writes the tensors of one archive, one after the other, block by block.

    `harness.formats.archive.write_archive` drives it, and owns names, digests, the seal, syncing and renaming: a
    writer only fills the path it was given. Calls come as ``begin, append..., end`` for each tensor, then ``commit``
    or ``abort``.
    """

    def alignment(self, spec: TensorSpec) -> int:
        """Return the number of rows that blocks of a tensor should be a multiple of, such as its chunk's."""
        return 1

    @abstractmethod
    def begin(self, spec: TensorSpec) -> None:
        """Start a tensor."""

    @abstractmethod
    def append(self, block: np.ndarray) -> None:
        """Add the next rows, of shape ``(rows, *spec.shape[1:])`` in C order; a scalar comes as one of shape ``()``."""

    @abstractmethod
    def end(self) -> None:
        """Finish the tensor."""

    @abstractmethod
    def commit(self, manifest: Manifest) -> None:
        """Store the manifest, including `harness.formats.seal.BLANK` where `Format.seal_file` says, and close."""

    @abstractmethod
    def abort(self) -> None:
        """Release every handle; what no checkpoint has named is thrown away, or never looked at again."""

    def checkpoint(self) -> dict[str, Place]:
        """Hand all bytes of the tensors that have ended to the system, and say where they lie.

        Called between two tensors. Nothing that happens afterwards may change those bytes: they are read again when
        the process is killed, the disk is full or the trace fails. Only of a format that is `Format.recoverable`.

        Returns
        -------
        dict of str to Place
            By path, the tensors that have ended since the last checkpoint.
        """
        raise NotImplementedError(f"{type(self).__name__} has no checkpoints")


class Reader(ABC):
    """Reads one archive; opened afresh for every sample."""

    @abstractmethod
    def manifest_text(self) -> str | bytes:
        """Return the manifest as it was stored."""

    @abstractmethod
    def stored(self) -> dict[str, Stored]:
        """List the tensors as the container knows them, by path; names the manifest must agree with."""

    @abstractmethod
    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        """Read a tensor or a part of it into memory.

        Parameters
        ----------
        path : str
            Tensor name.
        selection : tuple of slice, optional
            The part; the whole tensor when None.

        Returns
        -------
        ndarray
            Materialised: the values are in memory that the array owns, not in a file behind it.
        """

    def opened(self, path: str) -> Opened | None:
        """Say how a tensor is stored and read, by asking the library's opened objects; None where none can be asked.

        Optional; the ledger shows it, and tensors are verified and converted in blocks that end where its chunks do.
        """
        return None

    def locate(self, path: str) -> None:  # noqa: B027 - optional
        """Do only the library's lookup of a tensor, as `read` does it first.

        Optional, for the breakdown of where the time goes; where a format has no lookup that it could do alone, its
        time counts as the rest of the library.
        """

    def replay(self, path: str, selection: Selection | None = None) -> Replay | None:
        """Take a read apart into the stored bytes it needs, their decoding and their copy into the result.

        Optional, for the breakdown of where the time goes. Never timed, so it may read whatever it needs to find out.

        Parameters
        ----------
        path : str
            Tensor name.
        selection : tuple of slice, optional
            The part; the whole tensor when None.

        Returns
        -------
        Replay or None
            None when the format does not say where its bytes lie; its reads then have no breakdown.
        """
        return None

    @abstractmethod
    def close(self) -> None:
        """Release every handle."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Format(ABC):
    """One file format.

    Attributes
    ----------
    name : str
        Name on the command line and in records.
    description : str
        One line for ``harness list``.
    suffix : str
        What its archives' names end with.
    standing : {"default", "optional", "ceiling"}
        Whether a run includes it unasked, only when asked, or always as the raw ceiling.
    extra : str
        The optional dependency set that installs its library; empty when the core does.
    library : str
        The module that must be importable.
    shareable : bool
        Whether one open reader may be used from several threads at once.
    partial : bool
        Whether reading some rows avoids reading the whole tensor.
    streams : bool
        Whether consecutive blocks of rows of a tensor larger than `harness.trace.stream.LARGE_BYTES` cost together
        what the whole one does, though the format is not `partial`.
    slims : bool
        Whether it stores equal tensors once, and values in fewer bits where those hold them exactly.
    recoverable : bool
        Whether its writer has checkpoints, behind which an archive that was not finished can be read.
    routes : tuple of str
        The ways in which an archive in an object store can be read: ``ranges`` for the bytes that a read needs,
        ``download`` for the whole file first, ``reference`` for chunks that are found by what is stored beside the
        archive; empty where there is none.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    suffix: ClassVar[str]
    standing: ClassVar[Standing] = "optional"
    extra: ClassVar[str] = ""
    library: ClassVar[str] = "numpy"
    shareable: ClassVar[bool] = True
    partial: ClassVar[bool] = True
    streams: ClassVar[bool] = False
    slims: ClassVar[bool] = False
    recoverable: ClassVar[bool] = False
    routes: ClassVar[tuple[Route, ...]] = ()

    def vanilla(self) -> Format:
        """Return the format set to store everything as given; the same where it does nothing else."""
        return self

    @classmethod
    def missing(cls) -> str:
        """Say what is not installed and how to install it; empty when nothing is."""
        if importlib.util.find_spec(cls.library) is not None:
            return ""
        install = f"pip install 'trace-format-harness[{cls.extra}]'" if cls.extra else f"pip install {cls.library}"
        return f"needs the package {cls.library!r}: {install}"

    @abstractmethod
    def layout(self, spec: TensorSpec, profile: Profile) -> Layout:
        """Say how a tensor is laid out in a profile.

        Raises
        ------
        UnsupportedProfile
            When the format cannot do what the profile is for.
        """

    def search_space(self) -> SearchSpace:
        """Return what can be tuned, by role of tensor, with the values that ``harness tune`` tries.

        Empty when the format has nothing to tune. The defaults are the values of the profile ``tuned``.
        """
        return {}

    def values(self, role: Role, profile: Profile) -> dict[str, Value]:
        """Return the values of all parameters that apply to a role: those of ``tuned``, unless settings say otherwise.

        Raises
        ------
        UnsupportedProfile
            When the settings are another format's.
        """
        values = {parameter.name: parameter.default for parameter in self.search_space().get(role, ())}
        if isinstance(profile, Settings):
            if profile.format != self.name:
                raise UnsupportedProfile(f"the profile {profile.profile!r} is made for {profile.format}")
            values |= profile.values(role)
        return values

    def configured(self, profile: Profile) -> Format:
        """Return the format with what a profile decides about reading; itself where it decides nothing."""
        return self

    @abstractmethod
    def writer(self, path: Path, manifest: Manifest, profile: Profile) -> Writer:
        """Start an archive at a path that does not exist yet; `manifest` has no digests yet."""

    @abstractmethod
    def reader(self, path: Path) -> Reader:
        """Open an archive."""

    def routed(self, route: Route) -> Format:
        """Return the format as it reads from a store by a route; itself where only the objects differ."""
        return self

    def beside(self, path: Path) -> bytes | None:
        """Return what has to be stored beside an archive to be read by this route; None for nothing.

        Raises
        ------
        UnsupportedProfile
            When the archive cannot be read by it.
        """
        return None

    def remote_reader(self, objects: Objects) -> Reader:
        """Open an archive in an object store; if it has `routes`. The reader closes the objects."""
        raise NotImplementedError(f"{self.name} cannot be read from an object store")

    def remote_caches(self, files: str) -> str:
        """Say what `remote_reader` keeps of what it has read, for the ledger.

        Parameters
        ----------
        files : str
            The cache behind `harness.formats.objects.Objects.file`, in a few words.
        """
        return "none"

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Say, from its first bytes, whether a path is an archive of this format; never raises for a stray file."""

    def foreign(self, path: Path) -> bool:
        """Say whether what `recognises` took is sound, but not written by this harness: there is no manifest in it.

        Asked of what has no seal; never raises for a file that cannot be read.
        """
        return False

    def leads_out(self, path: Path) -> str:
        """Name what in an archive of one file would make its reader read another file; empty where there is nothing.

        Links in the folder of an archive are found for every format (`harness.formats.seal.link_in`).
        """
        return ""

    def overstated(self, path: Path) -> str:
        """Name what in an archive makes its library take far more memory than the values; empty where there is nothing.

        Asked behind an unbroken seal, before a tensor is read: whoever makes an archive can seal it too.
        """
        return ""

    def seal_file(self, path: Path) -> Path:
        """Return the file within the archive that holds the seal."""
        return path

    def recover(self, path: Path, manifest: Manifest, places: Mapping[str, Place]) -> Reader:
        """Open what is whole in an archive that was not finished, without changing it; if `recoverable`.

        Parameters
        ----------
        path : Path
            What `writer` was given.
        manifest : Manifest
            Of the tensors that are whole.
        places : mapping of str to Place
            Of each of them, from the writer's checkpoints.

        Returns
        -------
        Reader
            Of these tensors and no others.
        """
        raise NotImplementedError(f"{self.name} has no checkpoints")

    def unchecked(self, path: Path, tensor: str, place: Place) -> Iterable[Extent]:
        """List the stored bytes of a tensor that are decoded without a checksum, always in the same order.

        A checkpoint digests them, so that damaged ones are never decoded: some codecs crash the process on them.
        """
        return ()

    def settings(self) -> dict[str, str]:
        """Return library versions, threads and caches that apply to every tensor, for the ledger.

        What `Reader.opened` says of a cache takes the place of ``caches``.
        """
        return {}


def load_format(name: str) -> Format:
    """Load a format by its registered name, or by ``module:Class`` where `harness.registry.allow` allowed that.

    Parameters
    ----------
    name : str
        Such as ``"zarr"`` or ``"my_package.my_module:MyBackend"``.

    Returns
    -------
    Format
        An instance; the same one each time.

    Raises
    ------
    UsageError
        When there is no such format, it is not a `Format`, or its library is not installed.
    """
    plugin = registry.load("formats", name)
    if not (isinstance(plugin, type) and issubclass(plugin, Format)):
        raise UsageError(f"{name!r} is not a format: it has to be a class derived from harness.formats.base.Format.")
    if missing := plugin.missing():
        raise UsageError(f"The format {name!r} {missing}.")
    return _instance(name, plugin)


@cache
def _instance(name: str, plugin: type[Format]) -> Format:
    try:
        return plugin()
    except TypeError as error:
        raise UsageError(f"The format {name!r} does not implement the whole interface: {error}.") from error


@contextmanager
def blame(name: str, action: str) -> Iterator[None]:
    """Turn whatever a backend raises into one sentence that names the format and what it was doing.

    Parameters
    ----------
    name : str
        The format.
    action : str
        What it was doing, such as ``"reading pair/layer_0"``.

    Raises
    ------
    HarnessError
        In place of any exception; the original is its cause. A `MachineError` where it is none of the backend's.
    """
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        raised = MachineError if cause_of(error) else HarnessError
        raise raised(f"{name} failed {action}: {_told(error)}") from error


def _told(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "ran out of memory."
    if isinstance(error, OSError):
        return f"{os.strerror(error.errno) if error.errno else error}."
    first = (str(error).strip().splitlines() or [""])[0][:200]  # some libraries quote the damaged bytes
    return f"{type(error).__name__}: {first}"
