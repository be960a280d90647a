"""Write arrays as an archive, which appears when it is complete; until then, a folder next to it keeps the arrays."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from harness.api.array_like import blocks_of, sliceable
from harness.api.arrays import TraceArray
from harness.api.values import as_held, value_type
from harness.api.written_tensors import WrittenTensors
from harness.documents import convert
from harness.errors import UsageError, unknown_name
from harness.formats.archive import check_destination, remove, require_outside, write_archive
from harness.formats.base import Format, Profile
from harness.formats.placing import chosen_by_name, hidden, unwritable
from harness.formats.settings import profile_of
from harness.scratch import is_large
from harness.trace.complexes import stated_chains
from harness.trace.manifest import Manifest, Metadata, Provenance
from harness.trace.rules import placed, spec_at
from harness.trace.schema import Role, TensorSpec, tensor, validate_path
from harness.trace.stream import Trace, block_rows, split

_KEPT = ".arrays-"
T = TypeVar("T", Metadata, Provenance)


def create(
    path: str | os.PathLike[str],
    metadata: Mapping[str, Any] | None = None,
    *,
    provenance: Mapping[str, Any] | None = None,
    format: str | None = None,
    profile: Profile = "tuned",
) -> TraceWriter:
    """Write an archive in a ``with`` block, by assigning arrays to names.

    Every array is written twice. Until the block ends, arrays are kept unchanged in a hidden folder next to the
    archive, because a format must know all of them before it writes the first. So the disk must hold them twice for a
    while. Memory holds only a few blocks of one array, each of 8 MiB or of one row of chunks.

    The archive appears when it is complete; after an exception in the block, nothing is left. It is not verified:
    `harness.open` with ``verify=True`` does that.

    Parameters
    ----------
    path : str or path-like
        Name of the archive, which must not exist. Its suffix selects the format, unless `format` is given.
    metadata : mapping, optional
        Fields of `harness.trace.manifest.Metadata`, such as ``model_name``.
    provenance : mapping, optional
        Fields of `harness.trace.manifest.Provenance`, such as ``source`` and ``trained``.
    format : str, optional
        Name of a format.
    profile : str or Settings
        Settings of the format: ``tuned``, ``seed``, ``matched``, named settings of the format such as ``fast`` of
        zarr-slim, or the content of a profile file.

    Returns
    -------
    TraceWriter
        A context manager.

    Raises
    ------
    UsageError
        If the name exists or selects no format, or a field is unknown or has a wrong type.
    """
    destination = Path(path)
    backend = chosen_by_name(destination, format, "give format=...")
    chosen = profile_of(backend, profile)
    check_destination(destination)
    require_outside(destination)
    known = _fields("metadata", Metadata, metadata or {})
    source = _fields("provenance", Provenance, {"source": "harness.create", **(provenance or {})})
    return TraceWriter(destination, backend, chosen, known, source)


def _fields(what: str, kind: type[T], values: Mapping[str, Any]) -> T:
    names = [field.name for field in dataclasses.fields(kind)]
    for name in values:
        if name not in names:
            raise unknown_name(f"field of {what}", str(name), names)
    return convert(dict(values), kind, what, mend="", error=UsageError)


class TraceWriter:
    """An archive that is being written; see `create`.

    Attributes
    ----------
    manifest : Manifest or None
        Manifest of the archive, after the block has ended.
    """

    def __init__(
        self, destination: Path, backend: Format, profile: Profile, metadata: Metadata, provenance: Provenance
    ) -> None:
        self._destination, self._backend, self._profile = destination, backend, profile
        self._metadata, self._provenance = metadata, provenance
        self._written = WrittenTensors(metadata.num_residues)
        self._files: dict[str, Path] = {}
        self._folder: Path | None = None
        self.manifest: Manifest | None = None

    def __setitem__(self, path: str, array: Any) -> None:
        self.write(path, array)

    def write(
        self, path: str, array: Any, *, axes: Iterable[str] | None = None, role: Role | str | None = None
    ) -> None:
        """Write a tensor; ``out[path] = array`` does it without `axes` and `role`.

        Parameters
        ----------
        path : str
            Name of the tensor, such as ``pair/layer_0``.
        array : array-like
            Any input of ``numpy.asarray``. If it can be sliced and has a NumPy dtype, it is read in blocks that end
            where its chunks do: a memory-mapped array, an h5py dataset, a Zarr or Dask array, a tensor of an open
            trace.
        axes : iterable of str, optional
            Name of each axis; by default from the schema or the open trace.
        role : str, optional
            Purpose, such as ``pair``; by default from the schema or the open trace.

        Raises
        ------
        UsageError
            If the name was written before, values are masked, or NumPy makes no array of them.
        SchemaError
            If the name, the type of the values or the axes do not match the schema, or the tensors written before.
            Write the tables of a complex before tensors of its tokens.
        UnsupportedProfile
            If the format does not store such a tensor.
        MachineError
            If the disk is full.
        """
        self._add(path, array, axes, role, grows=False)

    def append(
        self, path: str, rows: Any, *, axes: Iterable[str] | None = None, role: Role | str | None = None
    ) -> None:
        """Append rows to a tensor along its first axis, creating it if necessary; parameters as for `write`."""
        self._add(path, rows, axes, role, grows=True)

    def _add(self, path: str, array: Any, axes: Iterable[str] | None, role: Role | str | None, grows: bool) -> None:
        if self._folder is None:
            raise UsageError(f"{self._destination} is written in a with block: with harness.create(...) as out.")
        validate_path(path)
        before = self._written.specs.get(path)
        if before is not None and not grows:
            raise UsageError(f"{path} was written before: use append() to add rows, or another name.")
        if isinstance(array, TraceArray):
            axes, role = axes or array.axes, role or array.role
        if role is not None and role not in (known := [each.value for each in Role]):
            raise unknown_name("role", str(role), known)
        rows = sliceable(path, array)
        place = None if axes or role else spec_at(path, rows.shape, rows.dtype, {*self._written.specs, path})
        spec = place or tensor(path, rows.shape, rows.dtype, axes=axes, role=None if role is None else Role(role))
        if before is None:
            self._written.require(spec, grows)
            self._backend.require(Manifest(tensors=(spec,), provenance=self._provenance), self._profile)
        else:
            spec = _longer(before, spec)
        file = self._files.setdefault(path, self._folder / str(len(self._files)))
        with self._writing():
            file.touch()
            os.truncate(file, before.nbytes if before else 0)  # removes the remains of a failed write
        for block in blocks_of(path, rows):
            self._keep(file, as_held(block, spec))
        if file.stat().st_size != spec.nbytes:
            raise UsageError(f"{path} gave other values than its shape announced: it changed while it was read.")
        self._written.add(spec, grows)

    def _keep(self, file: Path, values: np.ndarray) -> None:
        rest = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
        # Without a buffer, so that a write error is raised here, and not when the file is closed.
        with self._writing(), file.open("ab", buffering=0) as out:
            while len(rest):
                rest = rest[out.write(rest) :]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unwritable(self._destination, error) from error

    def __enter__(self) -> Self:
        folder = hidden(self._destination, _KEPT)
        with self._writing():
            folder.mkdir()
        self._folder = folder
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        folder, self._folder = self._folder, None
        assert folder is not None
        try:
            if kind is None:
                self._finish()
        finally:
            remove(folder)

    def _finish(self) -> None:
        if not self._written.specs:
            raise UsageError(f"Nothing was written, so there is no {self._destination}: assign an array to a name.")
        tensors = placed(self._written.specs.values())
        residues = [n for spec in tensors for axis, n in zip(spec.axes, spec.shape, strict=True) if axis == "residue"]
        metadata = self._metadata
        if metadata.num_residues is None and residues:
            metadata = dataclasses.replace(metadata, num_residues=residues[0])
        manifest = Manifest(tensors=tensors, metadata=metadata, provenance=self._provenance)
        kept = _KeptTrace(self._destination.name, manifest, self._files)
        kept.manifest = dataclasses.replace(manifest, chains=stated_chains(kept))
        self.manifest = write_archive(kept, self._backend, self._destination, self._profile)

    def __repr__(self) -> str:
        return f"<TraceWriter {self._destination} ({self._backend.name}): {len(self._written.specs)} tensors>"


def _longer(before: TensorSpec, rows: TensorSpec) -> TensorSpec:
    """Return the specification of a tensor with appended rows."""
    if not (before.shape and rows.shape):
        raise UsageError(f"{before.path}: rows are added along the first axis, and a number has none: give arrays.")
    if (rows.shape[1:], value_type(rows)) != (before.shape[1:], value_type(before)):
        raise UsageError(
            f"{before.path} has rows of shape {before.shape[1:]} of {value_type(before)}, "
            f"and got rows of shape {rows.shape[1:]} of {value_type(rows)}."
        )
    return dataclasses.replace(before, shape=(before.shape[0] + rows.shape[0], *before.shape[1:]))


class _KeptTrace(Trace):
    """Trace whose tensors are raw values in separate files."""

    def __init__(self, label: str, manifest: Manifest, files: Mapping[str, Path]) -> None:
        self.label, self.manifest, self._files = label, manifest, files

    def blocks(self, path: str) -> Iterator[np.ndarray]:
        spec, dtype = self.manifest[path], np.dtype(self.manifest[path].dtype)
        if not spec.shape:
            yield np.fromfile(self._files[path], dtype).reshape(())
            return
        step, rows = block_rows(spec.shape, dtype.itemsize), spec.shape[0]
        if is_large(spec.nbytes // max(1, rows)):
            yield from split(np.asarray(np.memmap(self._files[path], dtype, "c", shape=spec.shape)))
            return
        for start in range(0, rows, step):
            shape = (min(step, rows - start), *spec.shape[1:])
            offset = start * prod(shape[1:]) * dtype.itemsize
            yield np.fromfile(self._files[path], dtype, prod(shape), offset=offset).reshape(shape)
