"""Open an archive as a mapping of lazy arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from harness.api.arrays import TraceArray
from harness.api.stored import open_stored
from harness.errors import UsageError, unknown_name
from harness.formats.archive_trace import open_file
from harness.limits import in_words
from harness.registry import require_package

if TYPE_CHECKING:
    from xarray import DataTree


class UnknownTensorError(UsageError, KeyError):
    """A trace has no tensor of that name."""

    __str__ = Exception.__str__  # a KeyError would show its message in quotes


def open(path: str | os.PathLike[str], *, verify: bool = False) -> OpenTrace:
    """Open an archive of any format; close it, or use it in a ``with`` block.

    Parameters
    ----------
    path : str or path-like
        The archive.
    verify : bool
        Compare every byte with its seal first, which reads all of it. Ask for it with an archive of a stranger: some
        libraries crash the process on damaged chunks.

    Returns
    -------
    OpenTrace
        Its tensors by name; none is read yet.

    Raises
    ------
    UsageError, ArchiveError
        When there is none, or it is damaged or of another kind.
    """
    if verify:
        open_file(Path(path))
    return OpenTrace(Path(path))


class OpenTrace(Mapping[str, TraceArray]):
    """The tensors of an open archive, by name, in the order in which they were written.

    Threads may share it. A copy in another process opens the archive anew.

    Attributes
    ----------
    path : Path
        The archive.
    manifest : Manifest
        What it holds: tensors, metadata, provenance, digests, and what it lacks.
    """

    def __init__(self, path: Path) -> None:
        self._stored = open_stored(path)
        self.path, self.manifest = self._stored.path, self._stored.manifest
        self._specs = {spec.path: spec for spec in self.manifest.tensors}

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata that the archive states, by field."""
        return {name: value for name, value in asdict(self.manifest.metadata).items() if value not in (None, ())}

    def array(self, path: str, dtype: Any = None) -> TraceArray:
        """Return a tensor by its name, with its values as another type where one is given (`TraceArray.astype`).

        Raises
        ------
        UnknownTensorError
            A KeyError with the nearest name.
        """
        if path not in self:
            raise UnknownTensorError(str(unknown_name("tensor", str(path), self)))
        return TraceArray(self._stored, self._specs[path], dtype)

    def __getitem__(self, path: str) -> TraceArray:
        return self.array(path)

    def get(self, path: str, default: Any = None) -> Any:
        """Return a tensor by its name, or the default where there is none."""
        return self[path] if path in self else default

    def __contains__(self, path: object) -> bool:
        return path in self._specs

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    # As a mapping it would compare arrays that are not read.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def to_xarray(self) -> DataTree:
        """Return the trace as an xarray tree with a node for each group; values are read when they are asked for.

        An axis is a dimension. Where tensors give one name several lengths, the later ones have the length in it:
        ``channel`` and ``channel_of_64``.
        """
        require_package("to_xarray()", "xarray", "trace-format-harness[xarray]")
        from harness.api.labelled import data_tree  # only who asks for it loads the library

        return data_tree(self)

    def close(self) -> None:
        """Close the archive; what was read stays, nothing more can be."""
        self._stored.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return OpenTrace, (self.path,)

    def __repr__(self) -> str:
        size = in_words(self.manifest.nbytes)
        return f"<OpenTrace {self.path.name} ({self._stored.kind}): {len(self)} tensors, {size}>"

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)
