"""xarray engine that opens archives; callers must name it, as xarray never guesses it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import ClassVar

from xarray import Dataset, DataTree
from xarray.backends import BackendEntrypoint

from harness.api.opening import open
from harness.api.xarray_objects import data_tree, flat_dataset, group_datasets
from harness.errors import unknown_name


class TraceBackend(BackendEntrypoint):
    """Engine for archives of any format: tensors become variables, axes dimensions, groups of tensors nodes."""

    description: ClassVar[str] = "Archives of trace-format-harness, in any of its formats"
    open_dataset_parameters: ClassVar[tuple[str, ...]] = ("filename_or_obj", "drop_variables", "group")
    supports_groups: ClassVar[bool] = True

    def open_dataset(
        self,
        filename_or_obj: str | os.PathLike[str],
        *,
        drop_variables: str | Iterable[str] | None = None,
        group: str | None = None,
    ) -> Dataset:
        """Open the tensors of a group, or without a group all tensors of a trace under their full names."""
        trace, drop = open(filename_or_obj), _names(drop_variables)
        if group is None:
            return flat_dataset(trace, drop)
        groups, path = group_datasets(trace, drop), f"/{group.strip('/')}"
        if path not in groups:
            raise unknown_name("group of tensors", path, groups)
        groups[path].set_close(trace.close)
        return groups[path]

    def open_datatree(
        self, filename_or_obj: str | os.PathLike[str], *, drop_variables: str | Iterable[str] | None = None
    ) -> DataTree:
        """Open a trace as a tree with a node for each group."""
        return data_tree(open(filename_or_obj), _names(drop_variables))

    def open_groups_as_dict(
        self, filename_or_obj: str | os.PathLike[str], *, drop_variables: str | Iterable[str] | None = None
    ) -> dict[str, Dataset]:
        """Open the tensors of each group of a trace, by path of the group."""
        return group_datasets(open(filename_or_obj), _names(drop_variables))


def _names(drop: str | Iterable[str] | None) -> Collection[str]:
    return () if drop is None else {drop} if isinstance(drop, str) else set(drop)
