"""Importing a source: its importer, its tensors collected into a trace, its files with digests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import harness
from harness.errors import HarnessError, MachineError, UsageError, cause_of
from harness.files import file_digest, tree_digest, tree_files
from harness.formats.selection import in_blocks
from harness.trace.chains import Chain
from harness.trace.manifest import Manifest, Metadata, Provenance, validate
from harness.trace.schema import Role, SchemaError, TensorSpec, tensor
from harness.trace.stream import Trace

_MOST_TENSORS = 20_000
"""Of a trace that is imported; one of a model with 100 blocks and 20 recyclings has half as many."""

HEADS = ("head", "residue", "residue")
"""Axes of the attention maps of one layer."""


class SourceError(HarnessError):
    """A source is truncated, damaged, unfinished, or of another kind; the message names the file."""


class ForeignArray(NamedTuple):
    """An array in a source.

    Attributes
    ----------
    shape : tuple of int
        Length of each axis.
    dtype : dtype or str
        Type of the values, or one of `harness.trace.schema.HELD`, whose bits are the values.
    load : callable
        Returns the array, or an object that can be sliced, such as an h5py dataset.
    rows : callable, optional
        Returns an iterator of consecutive blocks of rows, if it can only be read from its start.
    axes : tuple of str
        Names of its axes, if the file has them.
    """

    shape: tuple[int, ...]
    dtype: Any
    load: Callable[[], Any]
    rows: Callable[[], Iterator[np.ndarray]] | None = None
    axes: tuple[str, ...] = ()

    @classmethod
    def of(cls, array: Any) -> ForeignArray:
        """Describe an array in memory."""
        return cls(tuple(array.shape), array.dtype, lambda: array)


@dataclass(frozen=True, kw_only=True)
class Importer:
    """Reads files of one program; selected by ``--kind NAME``.

    Attributes
    ----------
    name, description : str
        Registered name, and one line for ``harness list``.
    recognises : callable
        Returns from names and first bytes whether a path is of this kind; never raises for other files. A damaged file
        is still recognised, so that `read` can report the damage.
    read : callable
        Takes the path and returns the trace; raises `SourceError` or `UsageError`.
    """

    name: str
    description: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path], ImportedTrace]


@contextmanager
def readable(origin: object) -> Iterator[None]:
    """Turn whatever is raised at damaged or misfitting bytes into one sentence that says where they are.

    Raises
    ------
    SourceError
        In place of anything but a `UsageError`.
    MachineError
        When the machine failed, which says nothing about the bytes.
    """
    try:
        yield
    except (SourceError, UsageError, MachineError):
        raise
    except HarnessError as error:
        raise SourceError(f"{origin}: {str(error).removesuffix('.')}.") from error
    except Exception as error:
        if cause_of(error):
            said = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "out of memory"
            raise MachineError(f"{origin} cannot be read: {said}.") from error
        first = (str(error).strip().splitlines() or [""])[0][:200]  # some libraries quote the damaged bytes
        raise SourceError(
            f"{origin} cannot be read ({type(error).__name__}: {first}): it is truncated or damaged, or stored in a "
            "way that is not known here."
        ) from error


class ImportedTrace(Trace):
    """A trace whose tensors are read from foreign files when they are streamed.

    Parameters
    ----------
    label : str
        Its name in records.
    stored : mapping of str to (str, ForeignArray)
        Of every tensor: where it comes from, and its values.
    files : mapping of str to Path
        The files, and folders that are one store, by their names from the source.
    states : mapping of Path to tuple
        Size and time of change of each file when its shapes were read.
    """

    def __init__(
        self,
        label: str,
        manifest: Manifest,
        stored: Mapping[str, tuple[str, ForeignArray]],
        files: Mapping[str, Path],
        states: Mapping[Path, tuple[int, int]],
    ) -> None:
        self.label, self.manifest = label, manifest
        self._stored, self._files, self._states = stored, files, states

    def identified(self) -> ImportedTrace:
        digests = {
            name: tree_digest(path) if path.is_dir() else file_digest(path) for name, path in self._files.items()
        }
        manifest = replace(self.manifest, provenance=replace(self.manifest.provenance, files=digests))
        return ImportedTrace(self.label, manifest, self._stored, self._files, self._states)

    def blocks(self, path: str) -> Iterator[np.ndarray]:
        yield from self._blocks(path)
        if path == self.manifest.tensors[-1].path:
            self.check_unchanged()

    def _blocks(self, path: str) -> Iterator[np.ndarray]:
        spec, (origin, stored) = self.manifest[path], self._stored[path]
        if stored.rows:
            with readable(origin):
                blocks = stored.rows()
            while True:
                with readable(origin):
                    block = next(blocks, None)
                if block is None:
                    return
                yield _checked(spec, block, origin)
        with readable(origin):
            rows = stored.load()
            number = None if spec.shape else np.asarray(rows[()]).reshape(())
        if number is not None:
            yield _checked(spec, number, origin)
            return
        chunks = getattr(rows, "shards", None) or getattr(rows, "chunks", None)  # h5py's and zarr-python's names
        for part, *_ in in_blocks(spec, chunks, whole_rows=True):
            with readable(origin):
                block = np.asarray(rows[part])
            yield _checked(spec, block, origin)

    def source_of(self, path: str) -> tuple[str, ForeignArray]:
        """Return where a tensor comes from, for messages, and what is stored of it there."""
        return self._stored[path]

    def check_unchanged(self) -> None:
        """Refuse with a `SourceError` a source whose files are no longer those whose shapes were read."""
        for path, state in self._states.items():
            if not path.is_file() or _state(path) != state:
                raise SourceError(f"{path} changed while it was read; try again when no program writes to it.")


def _checked(spec: TensorSpec, block: np.ndarray, origin: str) -> np.ndarray:
    if spec.values and block.dtype.name == spec.values:
        block = block.view(spec.dtype)
    if block.dtype.name != spec.dtype or block.shape[1:] != spec.shape[1:]:
        raise SourceError(f"{origin} gave {block.dtype} of shape {block.shape} where {spec.dtype} was announced.")
    return np.asarray(block, dtype=np.dtype(spec.dtype).newbyteorder("<"), order="C")


def _specified(path: str, stored: ForeignArray, axes: Sequence[str] | None, role: Role | None) -> TensorSpec:
    """Specify a tensor; unless axes are given, by the file's names of them where the schema takes these."""
    if not axes and stored.axes:
        with suppress(SchemaError):
            return tensor(path, stored.shape, stored.dtype, axes=stored.axes, role=role)
    return tensor(path, stored.shape, stored.dtype, axes=axes or None, role=role)


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


class Gathering:
    """Collects the tensors and files of the source at a path for the importer `kind`, then makes a trace."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path, self._kind = path, kind
        self._specs: dict[str, TensorSpec] = {}
        self._stored: dict[str, tuple[str, ForeignArray]] = {}
        self._files: dict[str, Path] = {}
        self._states: dict[Path, tuple[int, int]] = {}
        self.notes: list[str] = []

    def file(self, path: Path) -> None:
        """Record a file, or a folder that is one store, in the provenance."""
        if path.is_dir() and (link := next((each for each in path.rglob("*") if each.is_symlink()), None)):
            raise SourceError(
                f"{link} is a link out of the store; import a copy that holds what it points to (cp -rL)."
            )
        for part in tree_files(path) if path.is_dir() else [path]:
            self._states[part] = _state(part)
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
            Where the values are, for messages.

        Raises
        ------
        SourceError
            If it does not match the schema, or the name is taken.
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
        """Make the trace, with facts of the source only; labelled by its source unless named.

        Raises
        ------
        SourceError
            If the source holds no tensor, or its tensors are inconsistent.
        """
        if not self._specs:
            raise SourceError(f"{self.path} holds no tensor that can be imported.")
        provenance = Provenance(
            source=self.path.resolve().name,
            seed=seed,
            note="; ".join(self.notes) or None,
            importer=f"harness {harness.__version__}, {self._kind}",
        )
        metadata, tensors = metadata or Metadata(), tuple(self._specs.values())
        with readable(self.path):
            validate(Manifest(tensors=tensors, metadata=metadata, provenance=provenance, chains=chains))
        # The residue axes of the tensors agree by now, and say the number as well as any field.
        extents = ((axis, n) for spec in tensors for axis, n in zip(spec.axes, spec.shape, strict=True))
        residues = next((n for axis, n in extents if axis == "residue"), metadata.num_residues)
        metadata = replace(metadata, num_residues=residues)
        manifest = Manifest(tensors=tensors, metadata=metadata, provenance=provenance, chains=chains)
        return ImportedTrace(label or self.path.name, manifest, self._stored, self._files, self._states)
