"""The interface of a format: a writer that takes tensors in blocks, readers of selections, and a few facts.

A new format implements the eight members that are abstract or unset here (docs/formats.md). Optional features are
protocols in `harness.formats.describing` (facts about archives), `settings` (tuning) and `recovered` (checkpoints);
features for extensions are registered by entry point (docs/extensions.md).
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Literal, Self

import numpy as np

from harness import registry
from harness.errors import HarnessError, MachineError, UsageError, cause_of, first_of
from harness.formats.selection import Selection
from harness.formats.settings import PROFILES, Profile, ProfileName, UnsupportedProfile, UnsupportedReader
from harness.formats.storage import Codec, Elsewhere, Layout
from harness.formats.style import Style
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec

__all__ = [
    "PROFILES", "Codec", "Elsewhere", "Format", "Layout", "Profile", "ProfileName", "Reader", "ReaderSpec",
    "Selection", "Standing", "UnsupportedProfile", "UnsupportedReader", "Writer", "blame", "load_format",
]  # fmt: skip

Standing = Literal["default", "optional", "ceiling"]


class Writer(ABC):
    """Writes the tensors of one archive, one after the other.

    `harness.formats.archive.write_archive` calls it, and handles names, digests, the seal, syncing and renaming: a
    writer only fills the path it was given. Calls are ``write...``, then ``commit`` or ``abort``.
    """

    @abstractmethod
    def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
        """Write a tensor.

        Parameters
        ----------
        spec : TensorSpec
            Path, shape and dtype.
        blocks : iterable of ndarray
            Rows in order, each block of shape ``(rows, *spec.shape[1:])``, with the rows of a chunk of `Format.layout`
            or a multiple; a scalar is one block of shape ``()``. Consume all of them.
        """

    @abstractmethod
    def commit(self, manifest: Manifest) -> None:
        """Store `manifest.to_json()` and, once, `harness.formats.seal.BLANK`, and close everything."""

    @abstractmethod
    def abort(self) -> None:
        """Release every handle after a failure; the harness deletes what was written."""


class Reader(ABC):
    """Reads one archive; opened again for every sample."""

    @abstractmethod
    def manifest_text(self) -> str | bytes:
        """Return the stored text of the manifest."""

    @abstractmethod
    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        """Read a tensor or a part of it into memory.

        Parameters
        ----------
        path : str
            Tensor name.
        selection : tuple of slice, optional
            The part (`harness.formats.selection.Selection`); None for the complete tensor.

        Returns
        -------
        ndarray
            Values in memory owned by the array, not a view of a file. Read-only if the reader keeps and returns it
            again.
        """

    def close(self) -> None:  # noqa: B027 - a reader may hold nothing
        """Release every handle; by default nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, kw_only=True)
class ReaderSpec:
    """A reader of a format: a library and its configuration.

    A reader uses as many threads as the budget of the run allows (`harness.formats.threads.cores`).
    """

    # Takes a path and returns a `Reader`; if `cached`, also takes the keyword ``cache_bytes``, int or None: the limit
    # of decoded chunks that it may keep while open, in bytes, None for the library's default.
    open: Callable[..., Reader]
    about: str = ""  # Library and pipeline, in one line.
    own: bool = False  # Whether it is a decoder of this project, which is shown but gets no grades and verdicts.
    own_since: int = 0  # The first version of reports that marked it as `own`.
    verifies: bool = True  # Whether it compares the checksums that an archive has.
    cached: bool = False  # Whether it keeps decoded chunks, and takes ``cache_bytes``.
    # Returns why it is unavailable, as the end of a sentence; empty if it is available.
    missing: Callable[[], str] = str


class Format(ABC):
    """One file format.

    Attributes
    ----------
    name : str
        Name on the command line and in records.
    description : str
        One line for ``harness list``.
    suffix : str
        Suffix of its archives; by default a dot and the name.
    standing : {"default", "optional", "ceiling"}
        Whether a run includes it by default, only on request, or always as raw.
    style : Style or None
        Style in plots; None for the next colour of `harness.formats.style`.
    readers : mapping of str to ReaderSpec
        Readers of its archives, by name. The harness itself opens archives with the first. The first that is not `own`
        is *stock*: what installing the library provides, with its defaults. A class of `Reader` is a `ReaderSpec`
        with default facts.
    candidates : tuple of (str, str)
        Candidates for the format's *best*: a name of its `alternatives` (`harness.formats.settings`), empty for the
        measured profile, and a name of `readers`. By default all readers in that profile.
    container : str
        The format whose files it writes; by default itself.
    slim : str
        Kind of slimming, as shown in records; empty for none.
    lacks : tuple of str
        Dtypes that it cannot store.
    own_writer : bool
        Whether code of this project writes its files, and not a library; shown with write times.
    reproducible : bool
        Whether the same trace gives the same bytes; False if the library writes times or random names.
    unmeasured : tuple of str
        Features of the format or its libraries that are not measured, for reports.
    objections : tuple of (str, str)
        Possible objections of its maintainers with replies, for reports.
    elsewhere : Elsewhere or None
        How its archives are read without this harness; None if they cannot be.
    """

    name: ClassVar[str]
    description: ClassVar[str] = ""
    suffix: ClassVar[str] = ""
    standing: ClassVar[Standing] = "optional"
    style: ClassVar[Style | None] = None
    readers: ClassVar[Mapping[str, ReaderSpec]]
    candidates: ClassVar[tuple[tuple[str, str], ...]] = ()
    container: ClassVar[str] = ""
    slim: ClassVar[str] = ""
    lacks: ClassVar[tuple[str, ...]] = ()
    own_writer: ClassVar[bool] = False
    reproducible: ClassVar[bool] = True
    unmeasured: ClassVar[tuple[str, ...]] = ()
    objections: ClassVar[tuple[tuple[str, str], ...]] = ()
    elsewhere: ClassVar[Elsewhere | None] = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = vars(cls)
        if not cls.suffix and hasattr(cls, "name"):
            cls.suffix = f".{cls.name}"
        if "name" in own and "container" not in own:
            cls.container = cls.name
        if "readers" in own:
            specs = {name: each if isinstance(each, ReaderSpec) else ReaderSpec(open=each)
                     for name, each in own["readers"].items()}  # fmt: skip
            cls.readers = specs
            if "candidates" not in own:
                cls.candidates = tuple(("", name) for name in specs)

    @abstractmethod
    def writer(self, path: Path, manifest: Manifest, profile: Profile) -> Writer:
        """Start an archive, a file or a folder, at a path that does not exist yet; `manifest` has no digests yet."""

    def reader(self, path: Path, name: str = "", *, cache_bytes: int | None = None) -> Reader:
        """Open an archive with one of `readers`, the first unless named, with a budget of decoded chunks."""
        spec = self.readers[name or next(iter(self.readers))]
        return spec.open(path, cache_bytes=cache_bytes) if spec.cached else spec.open(path)

    @property
    def stock(self) -> str:
        """Name of the stock reader."""
        return next((name for name, spec in self.readers.items() if not spec.own), next(iter(self.readers)))

    def require(self, manifest: Manifest, profile: Profile) -> None:
        """Raise `UnsupportedProfile` if the format cannot store a trace in a profile."""
        for spec in manifest.tensors:
            if spec.dtype in self.lacks:
                raise UnsupportedProfile(f"{self.name} has no {spec.dtype}, which {spec.path} has")
            self.layout(spec, profile)

    def layout(self, spec: TensorSpec, profile: Profile) -> Layout:
        """Return the layout of a tensor in a profile.

        Raises
        ------
        UnsupportedProfile
            If the format does not support the profile.
        """
        if profile == "matched":
            raise UnsupportedProfile(f"{self.name} states no layout, so it cannot take the matched settings")
        return Layout(origin="default", why="the format does not state its layout", stated=False)


def load_format(name: str) -> Format:
    """Load a format by its registered name, or by ``module:Class`` if `harness.registry.allow` allowed that.

    Raises
    ------
    UsageError
        If there is no such format, it is not a `Format`, or its library is not installed.
    """
    plugin = registry.load("formats", name)
    if not (isinstance(plugin, type) and issubclass(plugin, Format)):
        raise UsageError(f"{name!r} is not a format: it has to be a class derived from harness.formats.base.Format.")
    if missing := getattr(plugin, "missing", str)():
        raise UsageError(f"The format {name!r} {missing}.")
    return _instance(name, plugin)


@cache
def _instance(name: str, plugin: type[Format]) -> Format:
    unstated = [fact for fact in ("name", "readers") if not hasattr(plugin, fact)]
    if unstated:
        raise UsageError(f"The format {name!r} does not state {' and '.join(unstated)}: set it in its class.")
    try:
        return plugin()
    except TypeError as error:
        raise UsageError(f"The format {name!r} does not implement the whole interface: {error}.") from error


@contextmanager
def blame(name: str, action: str) -> Iterator[None]:
    """Convert any exception of a format into one sentence that names the format and the action.

    Parameters
    ----------
    name : str
        The format.
    action : str
        The action, such as ``"reading pair/layer_0"``.

    Raises
    ------
    HarnessError
        Instead of any exception, which becomes its cause. A `MachineError` if the machine failed, not the format.
    """
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        found = first_of(error)
        if isinstance(found, HarnessError):
            raise found from found.__cause__
        raised = MachineError if cause_of(error) else HarnessError
        raise raised(f"{name} failed {action}: {_told(found)}") from error


def _told(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "ran out of memory."
    if isinstance(error, OSError):
        return f"{os.strerror(error.errno) if error.errno else error}."
    first = (str(error).strip().splitlines() or [""])[0][:200]  # some libraries quote the damaged bytes
    return f"{type(error).__name__}: {first}"
