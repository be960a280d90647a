"""Slimming above any format: the tensors that `harness.slimming` stores are an ordinary archive of that format."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from harness import registry
from harness.errors import HarnessError
from harness.formats.base import Format, Layout, Profile, Reader, ReaderSpec, Writer, blame, load_format
from harness.formats.describing import ListsTensors, Opened, ShowsStorage, StoredTensor, recognised
from harness.formats.extents import Extent
from harness.formats.recovered import CheckpointWriter, Place, RecoverableFormat
from harness.formats.seal import link_in
from harness.formats.selection import Selection
from harness.formats.settings import SearchSpace, Settings, TunableFormat, configured, search_space
from harness.formats.style import Style
from harness.scratch import is_large, room
from harness.slimming.narrowing import Narrowing, by_name
from harness.slimming.record import Places, places_in, slimmed, unslimmed
from harness.slimming.slimmer import Kept, Slimmer
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec
from harness.trace.stream import Digest, split

_AS_BELOW = ("streams", "settings", "foreign", "leads_out", "overstated")
"""Optional attributes of a format that slimming does not change."""


def _narrowed(narrowing: Narrowing, block: np.ndarray) -> np.ndarray:
    if narrowing.as_it_is or not is_large(block.nbytes):
        return narrowing.narrow(block)
    stored, start = room((block.size,), narrowing.stored), 0
    for part in split(block.reshape(-1)):
        stored[start : start + len(part)] = narrowing.narrow(part)
        start += len(part)
    return stored.reshape(block.shape)


class SlimmedWriter(Writer):
    """Passes each tensor to the inner writer after its last block, narrowed if the slimmer decides so."""

    def __init__(self, inner: Writer, slimmer: Slimmer, rows: Callable[[TensorSpec], int]) -> None:
        self._inner, self._slimmer, self._rows = inner, slimmer, rows
        self._kept: list[Kept] = []
        self._digests: dict[str, str] = {}
        self._places: dict[str, Place] = {}
        self._noted = 0

    def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
        kept = self._slimmer.take(spec, blocks)
        if not kept.of:
            state = Digest()
            self._inner.write(kept.stored, self._stored(kept, state))
            self._digests[spec.path] = state.hexdigest()
        self._kept.append(kept)

    def _stored(self, kept: Kept, state: Digest) -> Iterable[np.ndarray]:
        for block in self._slimmer.blocks(self._rows(kept.stored)):
            stored = _narrowed(kept.narrowing, block)
            state.update(stored)
            yield stored

    def checkpoint(self) -> dict[str, Place]:
        """Return places as `CheckpointWriter` does; called only if the format below can be recovered."""
        if not isinstance(self._inner, CheckpointWriter):
            raise TypeError("its writer has no checkpoint")
        self._places |= self._inner.checkpoint()
        new, self._noted = self._kept[self._noted :], len(self._kept)
        found: dict[str, Place] = {}
        for kept in new:
            of = kept.of or kept.spec.path
            found[kept.spec.path] = {"of": of, "narrowing": kept.narrowing.name, "place": self._places[of]}
        return found

    def commit(self, manifest: Manifest) -> None:
        self._slimmer.close()
        self._inner.commit(slimmed(manifest, self._kept, self._digests))

    def abort(self) -> None:
        self._slimmer.close()
        self._inner.abort()


class SlimmedReader(Reader):
    """Reads the stored tensor that holds a tensor's values, and widens them.

    Parameters
    ----------
    inner : Reader
        Of the format below; closed with this one.
    places : Places, optional
        By default those in the manifest of `inner`.
    manifest : Manifest, optional
        Of an unfinished archive, which has no record of slimming yet.
    """

    def __init__(self, inner: Reader, places: Places | None = None, manifest: Manifest | None = None) -> None:
        self.inner, self._whole = inner, manifest
        try:
            self.places = places_in(inner.manifest_text()) if places is None else places
        except BaseException:
            inner.close()
            raise
        if isinstance(inner, ShowsStorage):
            self.opened = partial(self._opened, inner)

    def _manifest(self) -> Manifest:
        return self._whole or unslimmed(Manifest.from_json(self.inner.manifest_text()))

    def manifest_text(self) -> str:
        return self._manifest().to_json()

    def stored(self) -> dict[str, StoredTensor]:
        """Return the original tensors of those that the container lists, by path."""
        as_said = {spec.path: StoredTensor(spec.shape, spec.dtype) for spec in self._manifest().tensors}
        if not isinstance(self.inner, ListsTensors):
            return as_said
        held, found = self.inner.stored(), {}
        for path, (place, narrowing) in self.places.items():
            if place in held:
                fits = held[place] == replace(as_said[path], dtype=narrowing.stored)
                found[path] = as_said[path] if fits else held[place]
        return found

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        place, narrowing = self.places[path]
        return narrowing.widen(self.inner.read(place, selection))

    def as_it_is(self, path: str) -> bool:
        """Return whether a tensor is stored under its own name and in its own dtype."""
        place, narrowing = self.places[path]
        return place == path and narrowing.as_it_is

    def _opened(self, inner: ShowsStorage, path: str) -> Opened:
        return inner.opened(self.places[path][0])

    def close(self) -> None:
        self.inner.close()


class SlimmedFormat(TunableFormat, Format):
    """A format above another; a subclass needs to set only four names (docs/slimming.md).

    Attributes
    ----------
    inner : str
        The format below, by its registered name.
    of : Format
        That format.
    plain : tuple of str
        As of `harness.formats.describing.SlimmingFormat`.
    """

    inner: ClassVar[str]
    readers: ClassVar = {}
    slim = "exact"
    of: Format
    plain: tuple[str, ...] = ()

    def __init__(self) -> None:
        if not self.missing():
            self._stand_above(load_format(self.inner))

    @classmethod
    def missing(cls) -> str:
        """Return why the format below cannot be used, as the end of a sentence; empty if it can."""
        return str(getattr(registry.load("formats", cls.inner), "missing", str)())

    def _stand_above(self, of: Format) -> None:
        """Set the format below, and take over the features that it offers."""
        self.of = of
        given: dict[str, Any] = {name: getattr(of, name) for name in _AS_BELOW if hasattr(of, name)}
        given |= {"readers": {name: _above(spec) for name, spec in of.readers.items()}, "candidates": of.candidates}
        given |= {"container": of.container, "alternatives": getattr(of, "alternatives", {})}
        given |= {"unmeasured": of.unmeasured, "elsewhere": of.elsewhere}
        if isinstance(of, RecoverableFormat):
            given |= {"recover": partial(self._recover, of), "unchecked": partial(self._unchecked, of)}
        for name, offered in given.items():
            setattr(self, name, offered)

    def _profile(self, profile: Profile) -> Profile:
        """Return the same settings for the format below."""
        return replace(profile, format=self.of.name) if isinstance(profile, Settings) else profile

    def layout(self, spec: TensorSpec, profile: Profile) -> Layout:
        return self.of.layout(spec, self._profile(profile))

    def search_space(self) -> SearchSpace:
        return search_space(self.of)

    def configured(self, profile: Profile) -> Self:
        found = copy(self)
        found._stand_above(configured(self.of, self._profile(profile)))
        return found

    def writer(self, path: Path, manifest: Manifest, profile: Profile) -> SlimmedWriter:
        inner = self.of.writer(path, manifest, self._profile(profile))
        slimmer = Slimmer(path.parent, narrows=profile != "matched", plain=self.plain)
        return SlimmedWriter(inner, slimmer, lambda spec: (self.layout(spec, profile).chunks or (1,))[0])

    def reader(self, path: Path, name: str = "", *, cache_bytes: int | None = None) -> SlimmedReader:
        return SlimmedReader(self.of.reader(path, name, cache_bytes=cache_bytes))

    def recognises(self, path: Path) -> bool:
        """Return whether a path is an archive of the format below with a readable record of slimming."""
        if self.missing() or not recognised(path, self.of):
            return False
        with contextlib.suppress(HarnessError), blame(self.name, f"looking at {path}"):
            if not link_in(path) and not getattr(self.of, "leads_out", lambda path: "")(path):
                with self.reader(path) as reader:
                    return bool(reader.places)
        return False

    def _recover(
        self, of: RecoverableFormat, path: Path, manifest: Manifest, places: Mapping[str, Place]
    ) -> SlimmedReader:
        found: Places = {}
        stored: dict[str, TensorSpec] = {}
        for spec in manifest.tensors:
            narrowing = by_name(spec.dtype, places[spec.path]["narrowing"])
            name = places[spec.path]["of"]
            found[spec.path] = name, narrowing
            stored[name] = replace(spec, path=name, dtype=narrowing.stored)
        below = {places[path]["of"]: places[path]["place"] for path in places}
        inner = of.recover(path, replace(manifest, tensors=tuple(stored.values()), digests={}), below)
        return SlimmedReader(inner, found, manifest)

    def _unchecked(self, of: RecoverableFormat, path: Path, tensor: str, place: Place) -> Iterable[Extent]:
        return of.unchecked(path, place["of"], place["place"])


def _above(spec: ReaderSpec) -> ReaderSpec:
    return replace(spec, open=lambda *opened, **budget: SlimmedReader(spec.open(*opened, **budget)))


class Hdf5SlimFormat(SlimmedFormat):
    """HDF5 with slimming above it."""

    name = "hdf5-slim"
    description = "HDF5, equal tensors stored once, values in the fewest bytes that hold them exactly"
    suffix = ".slim.h5"
    style = Style(order=25, colour="#56B4E9", marker="P", dash=(0, (2, 1)), hatch="+++")
    inner = "hdf5"


class NpzSlimFormat(SlimmedFormat):
    """NPZ with slimming above it."""

    name = "npz-slim"
    description = "NPZ, equal tensors stored once, values in the fewest bytes that hold them exactly"
    suffix = ".slim.npz"
    style = Style(order=15, colour="#F0E442", marker="v", dash=(0, (4, 1.2)), hatch="///+")
    inner = "npz"
