"""Import of a source: its importer, the collection of its tensors into a trace, and the digests of its files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import harness
from harness.errors import HarnessError
from harness.files import file_digest, tree_digest
from harness.foreign.file_states import FileStates
from harness.foreign.foreign_array import ForeignArray, SourceError, readable, stored_blocks
from harness.limits import LimitError, archive_limit, in_words
from harness.trace.chains import Chain
from harness.trace.manifest import Manifest, Metadata, Provenance, validate
from harness.trace.schema import Role, SchemaError, TensorSpec, tensor
from harness.trace.stream import Trace

__all__ = ["HEADS", "ForeignArray", "Gathering", "ImportedTrace", "Importer", "SourceError", "readable"]

_MOST_TENSORS = 20_000
"""Limit for an imported trace; that of a model with 100 blocks and 20 recycles has half as many."""

HEADS = ("head", "residue", "residue")
"""Axes of the attention maps of one layer."""


@dataclass(frozen=True, kw_only=True)
class Importer:
    """Reader of files of one program, selected by ``--kind NAME``."""

    # Registered name, and one line for ``harness list``.
    name: str
    description: str
    # Returns whether a path is of this kind, from names and first bytes; never raises for other files. A damaged file
    # is still recognised, so that `read` can report the damage.
    recognises: Callable[[Path], bool]
    read: Callable[[Path], ImportedTrace]  # Takes the path and returns the trace; raises `SourceError` or `UsageError`.


class ImportedTrace(Trace):
    """A trace whose tensors are read from foreign files when they are streamed.

    Parameters
    ----------
    label : str
        Name in records.
    stored : mapping of str to (str, ForeignArray)
        Origin and values of every tensor, by path.
    files : mapping of str to Path
        Files, and folders that are one store, by their names relative to the source.
    states : FileStates
        States of the files when their shapes were read; also an attribute.
    """

    def __init__(
        self,
        label: str,
        manifest: Manifest,
        stored: Mapping[str, tuple[str, ForeignArray]],
        files: Mapping[str, Path],
        states: FileStates,
    ) -> None:
        self.label, self.manifest = label, manifest
        self._stored, self._files, self.states = stored, files, states

    def identified(self) -> ImportedTrace:
        digests = {
            name: tree_digest(path) if path.is_dir() else file_digest(path) for name, path in self._files.items()
        }
        self._refuse(self.states.changed())
        manifest = replace(self.manifest, provenance=replace(self.manifest.provenance, files=digests))
        return ImportedTrace(self.label, manifest, self._stored, self._files, self.states)

    def blocks(self, path: str) -> Iterator[np.ndarray]:
        origin, stored = self._stored[path]
        with self.unchanged(path):
            yield from stored_blocks(self.manifest[path], stored, origin)

    def source_of(self, path: str) -> tuple[str, ForeignArray]:
        """Return the origin of a tensor, for messages, and its stored array."""
        return self._stored[path]

    @contextmanager
    def unchanged(self, path: str, most: int | None = None) -> Iterator[None]:
        """Check after a ``with`` block, which reads a tensor or a part of it, that its files have not changed.

        Raises
        ------
        SourceError
            If a file changed. If there are more files than `most`, which is for small parts, none is checked, unless
            the block failed.
        """
        try:
            yield
        except HarnessError:
            self.check_unchanged(path)  # a change is then the cause, not damage
            raise
        self.check_unchanged(path, most)

    def check_unchanged(self, path: str, most: int | None = None) -> None:
        self._refuse(self.states.changed(self._stored[path][1].files, most))

    @staticmethod
    def _refuse(changed: str) -> None:
        if changed:
            raise SourceError(f"{changed} changed while it was read; try again when no program writes to it.")


def _specified(path: str, stored: ForeignArray, axes: Sequence[str] | None, role: Role | None) -> TensorSpec:
    """Specify a tensor; if no axes are given, use those that the file names if the schema accepts them."""
    if not axes and stored.axes:
        with suppress(SchemaError):
            return tensor(path, stored.shape, stored.dtype, axes=stored.axes, role=role)
    return tensor(path, stored.shape, stored.dtype, axes=axes or None, role=role)


class Gathering:
    """Tensors and files of the source at a path, collected by the importer `kind` and returned as a trace."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self._kind = path, kind
        self._specs: dict[str, TensorSpec] = {}
        self._stored: dict[str, tuple[str, ForeignArray]] = {}
        self._files: dict[str, Path] = {}
        self._states = FileStates()
        self.notes: list[str] = []

    def file(self, path: Path) -> None:
        """Record a file, or a folder that is one store, in the provenance."""
        if path.is_dir() and (link := next((each for each in path.rglob("*") if each.is_symlink()), None)):
            raise SourceError(
                f"{link} is a link out of the store; import a copy that holds what it points to (cp -rL)."
            )
        self._states.add(path)
        within = path != self.path and path.is_relative_to(self.path)
        name = path.relative_to(self.path).as_posix() if within else path.name
        self._files[name if self._files.get(name, path) == path else str(path)] = path

    def add(
        self, path: str, stored: ForeignArray, origin: str, axes: Sequence[str] | None = None, role: Role | None = None
    ) -> None:
        """Add a tensor to the trace.

        Parameters
        ----------
        path, axes, role
            As for `harness.trace.schema.tensor`.
        stored : ForeignArray
            Values.
        origin : str
            Location of the values, for messages.

        Raises
        ------
        SourceError
            If the tensor does not match the schema, its path is taken, or there are too many tensors for one trace.
        """
        with readable(origin):
            spec = _specified(path, stored, axes, role)
        if len(self._specs) == _MOST_TENSORS:
            raise SourceError(f"{self.path} holds more than {_MOST_TENSORS:,} tensors, the most of one trace.")
        if path in self._specs:
            raise SourceError(f"{origin}: {path} is also in {self._stored[path][0]}; remove one of the two.")
        self._specs[path], self._stored[path] = spec, (origin, stored)

    def add_letters(self, text: str, origin: str) -> None:
        """Add a sequence of amino acids, in ASCII letters."""
        self.add("inputs/sequence", ForeignArray.of(np.frombuffer(text.encode(), np.uint8)), origin)

    def leave_out(self, names: Iterable[str], why: str = "") -> None:
        """Record what is left out of the trace."""
        if listed := sorted(names):
            shown = ", ".join(listed[:8]) + (f" and {len(listed) - 8} more" if len(listed) > 8 else "")
            self.notes.append(f"left out{f' ({why})' if why else ''}: {shown}")

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """The tensors collected so far, in order."""
        return tuple(self._specs.values())

    def trace(
        self,
        metadata: Metadata | None = None,
        seed: int | None = None,
        label: str = "",
        chains: tuple[Chain, ...] = (),
    ) -> ImportedTrace:
        """Return the trace, with facts of the source only; its label is by default the name of the source.

        Raises
        ------
        SourceError
            If the source holds no tensor, or its tensors are inconsistent.
        LimitError
            If its tensors are far larger than its files.
        """
        if not self._specs:
            raise SourceError(f"{self.path} holds no tensor that can be imported.")
        self._check_total()
        provenance = Provenance(
            source=self.path.resolve().name,
            seed=seed,
            note="; ".join(self.notes) or None,
            importer=f"harness {harness.__version__}, {self._kind}",
        )
        metadata, tensors = metadata or Metadata(), tuple(self._specs.values())
        with readable(self.path):
            validate(Manifest(tensors=tensors, metadata=metadata, provenance=provenance, chains=chains))
        # By now the residue axes of all tensors agree, so they are as reliable as the metadata.
        extents = ((axis, n) for spec in tensors for axis, n in zip(spec.axes, spec.shape, strict=True))
        residues = next((n for axis, n in extents if axis == "residue"), metadata.num_residues)
        metadata = replace(metadata, num_residues=residues)
        manifest = Manifest(tensors=tensors, metadata=metadata, provenance=provenance, chains=chains)
        return ImportedTrace(label or self.path.name, manifest, self._stored, self._files, self._states)

    def _check_total(self) -> None:
        """Raise `LimitError` if tensors are far larger than their files, as a short header can declare them."""
        size, nbytes = self._states.nbytes, sum(spec.nbytes for spec in self.specs)
        if nbytes > (most := archive_limit(size)):
            raise LimitError(
                f"{self.path} has {in_words(size)} and states arrays of {in_words(nbytes)}, more than "
                f"{in_words(most)}; if you trust it, raise that with --max-inflated."
            )
