"""Tensors as lazy xarray objects; imported only when these are requested.

Arrays and traces are `TraceArray` and `OpenTrace` of `harness.api`, whose modules import this one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from xarray import DataArray, Dataset, DataTree, Variable
from xarray.backends import BackendArray
from xarray.core import indexing


class LazyTensor(BackendArray):
    """A lazy tensor in xarray's backend interface."""

    def __init__(self, array: Any) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.token = array.__dask_tokenize__()  # Dask derives a name from the pickled attributes

    def __getitem__(self, key: Any) -> Any:
        basic = indexing.IndexingSupport.BASIC
        return indexing.explicit_indexing_adapter(key, self.shape, basic, self.array.__getitem__)


def dimensions(arrays: Collection[Any]) -> dict[str, tuple[str, ...]]:
    """Name dimensions after axes, so that a name has the same length and the same coordinates in all tensors.

    Returns
    -------
    dict of str to tuple of str
        Dimensions by tensor path. A repeated axis of a tensor is numbered, such as ``residue_2``. A name includes the
        length, such as ``channel_of_64``, if the axis has another length than in an earlier tensor. It also does if a
        scalar, or several tensors along the axis, have its name: they would be its coordinates.
    """
    lasts = {array.path: array.path.rpartition("/")[2] for array in arrays}
    scalars = [array.path for array in arrays if not array.shape]
    coordinates = Counter(lasts[array.path] for array in arrays if array.axes == (lasts[array.path],))
    taken = [*scalars, *(lasts[path] for path in scalars), *(name for name, count in coordinates.items() if count > 1)]
    lengths: dict[str, int | None] = dict.fromkeys(taken)
    found: dict[str, tuple[str, ...]] = {}
    for array in arrays:
        names: dict[str, str] = {}  # by the name without its length
        for axis, length in zip(array.axes, array.shape, strict=True):
            alone, number = axis, 1
            while alone in names:
                number += 1
                alone = f"{axis}_{number}"
            name = alone
            while lengths.setdefault(name, length) != length:
                name = f"{name}_of_{length}"
            names[alone] = name
        found[array.path] = tuple(names.values())
    return found


def data_array(array: Any) -> DataArray:
    """Return a tensor as an array with named dimensions."""
    return DataArray(_variable(array, dimensions([array])[array.path]), name=array.path.rpartition("/")[2])


def flat_dataset(trace: Any, drop: Collection[str] = ()) -> Dataset:
    """Return a dataset of the tensors of a trace by full name, except those in `drop`; closing it closes the trace."""
    named = dimensions(trace.values())
    variables = {path: _variable(array, named[path]) for path, array in trace.items() if path not in drop}
    found = Dataset(variables, attrs=trace.metadata)
    found.set_close(trace.close)
    return found


def group_datasets(trace: Any, drop: Collection[str] = ()) -> dict[str, Dataset]:
    """Return the datasets of all groups by path, without `drop`; the root has the metadata, and closes the trace."""
    named = dimensions(trace.values())
    groups: dict[str, dict[str, Variable]] = {"/": {}}
    for path, array in trace.items():
        group, _, name = path.rpartition("/")
        if not {path, name} & set(drop):
            groups.setdefault(f"/{group}", {})[name] = _variable(array, named[path])
    found = {group: Dataset(variables) for group, variables in groups.items()}
    found["/"].attrs.update(trace.metadata)
    found["/"].set_close(trace.close)
    return found


def data_tree(trace: Any, drop: Collection[str] = ()) -> DataTree:
    """Return a trace as a tree with a node for each group; closing it closes the trace."""
    tree = DataTree.from_dict(group_datasets(trace, drop))
    tree.set_close(trace.close)
    return tree


def _variable(array: Any, dims: tuple[str, ...]) -> Variable:
    lazy, chunks = indexing.LazilyIndexedArray(LazyTensor(array)), array.chunks
    # With `chunks={}`, xarray makes Dask arrays of these chunks.
    encoding = {"preferred_chunks": dict(zip(dims, chunks, strict=True))} if chunks else {}
    return Variable(dims, lazy, attrs={"role": str(array.role)}, encoding=encoding)
