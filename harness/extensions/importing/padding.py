"""Removal of padded rows from a program's arrays, by the length that another file of the same prediction states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np

from harness.extensions.importing.output_files import FoundFile
from harness.foreign.source import ForeignArray, SourceError
from harness.formats.selection import Selection, whole

_AXIS = "residue"


class FileArrays(NamedTuple):
    """A file of a program, and its arrays by their names in the file."""

    found: FoundFile
    arrays: dict[str, ForeignArray]

    @property
    def stated(self) -> int | None:
        """Number of residues, from the array with one value for each; None without such an array."""
        name = self.found.file.counts
        shape = self.arrays[name].shape if name and name in self.arrays else ()
        return shape[0] if shape else None

    @property
    def rows(self) -> set[int]:
        """The lengths of the arrays along residue axes."""
        pairs = (zip(self.axes(name), array.shape, strict=False) for name, array in self.arrays.items())
        return {length for axis, length in chain.from_iterable(pairs) if axis == _AXIS}

    def axes(self, name: str) -> tuple[str, ...]:
        """Return the axes of an array; empty if they are unknown."""
        place = self.found.file.places.get(name)
        return (place.axes_of(self.arrays[name].shape) if place else None) or ()

    def cut(self, count: int) -> FileArrays:
        """Return the same arrays with only the first `count` rows along residue axes."""
        arrays = dict(self.arrays)
        for name, array in self.arrays.items():
            if _AXIS in (axes := self.axes(name)):
                shape = tuple(count if axis == _AXIS else n for axis, n in zip(axes, array.shape, strict=True))
                arrays[name] = array._replace(shape=shape, load=partial(_First, array, shape), rows=None)
        return self._replace(arrays=arrays)


def without_padding(title: str, files: Sequence[FileArrays], notes: list[str]) -> Iterator[FileArrays]:
    """Yield each file, with padding cut off its arrays if a file of the same prediction states the length.

    Parameters
    ----------
    title : str
        The program, for messages.
    files : sequence of FileArrays
        All files of a source.
    notes : list of str
        Receives a note on the rows cut off each file.

    Raises
    ------
    SourceError
        If a file has more rows than its job has residues, and no file of the same prediction states their number.
    """
    counted = [(file, count) for file in files if (count := file.stated) is not None]
    for file in files:
        found, rows = file.found, file.rows
        if found.file.counts or not counted or len(rows) != 1:  # with several lengths, the padded one is unknown
            yield file
            continue
        (length,) = rows
        own = next(((other, count) for other, count in counted if other.found.parts == found.parts), None)
        other, count = own or max(counted, key=lambda pair: pair[1])
        if length > count and own is None:
            raise SourceError(
                f"{found.path} has {length} residues where {other.found.name} has {count}: {title} pads the arrays of "
                "a batch, and no file of the same prediction says how many rows are padding; add its scores, or leave "
                "this file out."
            )
        if length > count:
            notes.append(f"{length - count} padded rows cut off {found.name}: {other.found.name} has {count} residues")
            file = file.cut(count)
        yield file


class _First:
    """View of the first values along each axis of an array, read when indexed."""

    def __init__(self, array: ForeignArray, shape: tuple[int, ...]) -> None:
        self._rows, self._shape = array.load(), shape

    def __getitem__(self, part: Selection) -> np.ndarray:
        return np.asarray(self._rows[whole(self._shape, part)])
