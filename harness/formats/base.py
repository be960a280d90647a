"""What a format is: a writer that takes tensors block by block, readers of selections, and a few facts.

A new format has the eight things that are abstract or unstated here, and nothing else (docs/formats.md). What it may
offer besides are protocols: in `harness.formats.describing` (what it tells of its archives), `settings` (tuning) and
`recovered` (checkpoints); what extensions ask of a format is registered by entry point (docs/extensions.md).
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
from harness.errors import HarnessError, MachineError, UsageError, cause_of
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

    `harness.formats.archive.write_archive` drives it, and owns names, digests, the seal, syncing and renaming: a
    writer only fills the path it was given. Calls come as ``write...``, then ``commit`` or ``abort``.
    """

    @abstractmethod
    def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
        """Write a tensor.

        Parameters
        ----------
        spec : TensorSpec
            Its path, shape and dtype.
        blocks : iterable of ndarray
            Its rows from first to last, each block of shape ``(rows, *spec.shape[1:])``, as many rows as a chunk of
            `Format.layout` or a multiple; a scalar comes as one block of shape ``()``. Take all of them.
        """

    @abstractmethod
    def commit(self, manifest: Manifest) -> None:
        """Store `manifest.to_json()` and, once, `harness.formats.seal.BLANK`, and close everything."""

    @abstractmethod
    def abort(self) -> None:
        """Release every handle after a failure; what was written is thrown away."""


class Reader(ABC):
    """Reads one archive; opened afresh for every sample."""

    @abstractmethod
    def manifest_text(self) -> str | bytes:
        """Return the manifest as it was stored."""

    @abstractmethod
    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        """Read a tensor or a part of it into memory.

        Parameters
        ----------
        path : str
            Tensor name.
        selection : tuple of slice, optional
            The part, as `harness.formats.selection.Selection` says; the whole tensor when None.

        Returns
        -------
        ndarray
            Materialised: the values are in memory that the array owns, not in a file behind it.
        """

    def close(self) -> None:  # noqa: B027 - a reader may hold nothing
        """Release every handle; unless it is overridden, there is none."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, kw_only=True)
class ReaderSpec:
    """One way to read a format's archives: a library and how it is used.

    A reader uses as many threads as the process may use processors (`harness.capacity.cores`): the run's budget.

    Attributes
    ----------
    open : callable
        Takes a path to a `Reader`; where `cached`, also the keyword ``cache_bytes``, int or None: the most bytes of
        decoded chunks that it may keep while it is open, None for the library's default.
    about : str
        Library and pipeline, in one line.
    own : bool
        Whether it is this project's own decoder: it is shown, and competes for no grade and no word.
    cached : bool
        Whether it keeps decoded chunks, and takes ``cache_bytes``; what keeps none has nothing to limit.
    missing : callable
        Returns why it cannot be used here, as the end of a sentence; empty where it can.
    """

    open: Callable[..., Reader]
    about: str = ""
    own: bool = False
    cached: bool = False
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
        What its archives' names end with; a dot and the name unless it is stated.
    standing : {"default", "optional", "ceiling"}
        Whether a run includes it unasked, only when asked, or always as the raw ceiling.
    style : Style or None
        How it is drawn; None for a place in `harness.formats.style`'s cycle of colours.
    readers : mapping of str to ReaderSpec
        What reads its archives, by name. The harness itself opens archives with the first; the first that is not our
        own is *stock*: what a user gets by installing the library, with its defaults. A class of `Reader` in place of
        one stands for it without further facts.
    candidates : tuple of (str, str)
        What is raced for the format's *best*: a name of its `alternatives` (`harness.formats.settings`), empty for the
        profile that is measured, and a name of `readers`. All readers in that profile unless it is stated.
    container : str
        The format whose files it writes; itself unless it is stated.
    slim : str
        How the trace is slimmed before it is stored, as records show it; empty for not at all.
    lacks : tuple of str
        Types of values that it cannot hold.
    reproducible : bool
        Whether the same trace gives the same bytes; not where the library puts times or random names into its files.
    unmeasured : tuple of str
        What exists of the format or its libraries and is not measured; reports say so beside what they claim.
    objections : tuple of (str, str)
        What its maintainers may object to, each with the reply; reports print them.
    elsewhere : Elsewhere or None
        What reads its archives without this harness; None where nothing does.
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
        """The name of its stock reader."""
        return next((name for name, spec in self.readers.items() if not spec.own), next(iter(self.readers)))

    def require(self, manifest: Manifest, profile: Profile) -> None:
        """Raise `UnsupportedProfile` where the format cannot hold a trace in a profile."""
        for spec in manifest.tensors:
            if spec.dtype in self.lacks:
                raise UnsupportedProfile(f"{self.name} has no {spec.dtype}, which {spec.path} has")
            self.layout(spec, profile)

    def layout(self, spec: TensorSpec, profile: Profile) -> Layout:
        """Say how a tensor is laid out in a profile.

        Raises
        ------
        UnsupportedProfile
            When the format cannot do what the profile is for.
        """
        if profile == "matched":
            raise UnsupportedProfile(f"{self.name} states no layout, so it cannot take the matched settings")
        return Layout(origin="default", why="the format does not state its layout", stated=False)


def load_format(name: str) -> Format:
    """Load a format by its registered name, or by ``module:Class`` where `harness.registry.allow` allowed that.

    Raises
    ------
    UsageError
        When there is no such format, it is not a `Format`, or its library is not installed.
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
    """Turn whatever a format raises into one sentence that names it and what it was doing.

    Parameters
    ----------
    name : str
        The format.
    action : str
        What it was doing, such as ``"reading pair/layer_0"``.

    Raises
    ------
    HarnessError
        In place of any exception; the original is its cause. A `MachineError` where it is none of the format's.
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
