"""A lazy tensor of an open trace, with the basic indexing of NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from harness.api.indexing import plan
from harness.api.open_files import StoredTrace
from harness.api.values import as_type, numpy_type, parse_type, value_type
from harness.formats.selection import whole
from harness.limits import in_words
from harness.registry import require_package
from harness.trace.schema import TensorSpec

if TYPE_CHECKING:
    from dask.array import Array as DaskArray
    from xarray import DataArray


class TraceArray:
    """A lazy tensor of an open trace, indexed with integers, slices, ``...`` and None.

    Indexing reads the smallest contiguous block that contains the selection, and returns an array in memory or a
    scalar; ``numpy.asarray`` reads everything. Iterating reads blocks of rows that are aligned with stored chunks.

    Attributes
    ----------
    path : str
        Name of the tensor.
    shape : tuple of int
        Length of each axis.
    axes : tuple of str
        Name of each axis.
    role : Role
        Purpose of the tensor, such as ``pair``.
    """

    def __init__(self, stored: StoredTrace, spec: TensorSpec, dtype: Any = None) -> None:
        self._stored, self._spec = stored, spec
        self._dtype = None if dtype is None else parse_type(dtype)
        self.path, self.shape, self.axes, self.role = spec.path, spec.shape, spec.axes, spec.role

    @property
    def dtype(self) -> np.dtype:
        """Data type of the values."""
        return numpy_type(self._spec) if self._dtype is None else self._dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return self._spec.items

    @property
    def nbytes(self) -> int:
        """Size in memory, in bytes."""
        return self._spec.nbytes if self._dtype is None else self.size * self._dtype.itemsize

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Shape of a stored chunk; None if any part can be read without reading more."""
        return self._stored.chunks(self._spec)

    def astype(self, dtype: Any) -> TraceArray:
        """Return the tensor with a conversion to another type, done by NumPy when values are read.

        The conversion of bfloat16 to float32 is exact; one to a type with fewer bits rounds.
        """
        return TraceArray(self._stored, self._spec, dtype)

    def __getitem__(self, key: Any) -> Any:
        selection, taken = plan(self.shape, key)
        block = self._stored.read(self.path, None if selection == whole(self.shape, None) else selection)
        found = as_type(block, self._spec, self._dtype)[taken]
        return found if found.size == block.size else found.copy()  # no view that keeps all of the block

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("A tensor of a trace is read into new memory: leave out copy=False.")
        found = np.asarray(self[...])
        return found if dtype is None else found.astype(dtype, copy=False)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"{self.path} has no axis, and so no length.")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError(f"{self.path} has no axis to iterate over.")
        for block in self.blocks():
            yield from block

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield consecutive blocks of rows, aligned with stored chunks so that each chunk is decoded once."""
        for block in self._stored.blocks(self._spec):
            yield as_type(block, self._spec, self._dtype)

    def to_xarray(self) -> DataArray:
        """Return a lazy xarray array whose dimensions are the axes; a repeated one is numbered, as in ``residue_2``."""
        require_package("to_xarray()", "xarray", "trace-format-harness[xarray]")
        from harness.api.xarray_objects import data_array  # loads the library only on demand

        return data_array(self)

    def to_dask(self, chunks: Any = None) -> DaskArray:
        """Return a Dask array, by default with the stored chunks.

        Without stored chunks, Dask chooses them. If a format reads a complete tensor for any part, there is one chunk.
        """
        require_package("to_dask()", "dask", "trace-format-harness[dask]")
        from dask.array.core import from_array, normalize_chunks
        from dask.base import tokenize

        stored = self.chunks
        chunks = normalize_chunks(chunks or stored or "auto", self.shape, dtype=self.dtype, previous_chunks=stored)
        meta = np.empty((0,) * self.ndim, self.dtype)
        name = f"harness-{tokenize(self, chunks)}"
        return from_array(self, chunks=chunks, name=name, lock=False, fancy=False, meta=meta)

    def __dask_tokenize__(self) -> tuple[str, ...]:
        """Return the values from which Dask derives a name; others each time if the tensor's digest is unknown."""
        digest = self._stored.manifest.digests.get(self.path) or uuid4().hex
        return str(self._stored.asked), repr(self._spec), str(self.dtype), digest

    def __reduce__(self) -> tuple[Any, ...]:
        return TraceArray, (self._stored, self._spec, self._dtype)

    def __repr__(self) -> str:
        kind = value_type(self._spec) if self._dtype is None else self._dtype.name
        axes = f" ({', '.join(self.axes)})" if self.axes else ""
        return f"<TraceArray {self.path}: {kind} {self.shape}{axes}, {self.role}, {in_words(self.nbytes)}>"
