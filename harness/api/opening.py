"""Open an archive, or files of another program, as a mapping of lazy arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from harness.api.arrays import TraceArray
from harness.api.open_files import open_stored
from harness.errors import UsageError, unknown_name
from harness.foreign.guessing import parse_rule
from harness.foreign.opening import Asked
from harness.formats.archive_trace import open_archived
from harness.limits import in_words
from harness.registry import require_package

if TYPE_CHECKING:
    from xarray import DataTree


class UnknownTensorError(UsageError, KeyError):
    """The trace has no tensor of that name."""

    __str__ = Exception.__str__  # a KeyError would show its message in quotes


def open(
    *paths: str | os.PathLike[str], map: Mapping[str, str] | None = None, kind: str = "", verify: bool = False
) -> OpenTrace:
    """Open an archive of any format, or files of another program, as a context manager.

    Parameters
    ----------
    *paths : str or path-like
        An archive, or other paths that ``harness run`` accepts (docs/own-data.md); several form one trace.
    map : mapping of str to str, optional
        Roles and axes of arrays of another program, as in ``[map]`` of harness.toml:
        ``{"attn*": "attention:head,query,key"}``.
    kind : str
        Name of an importer; by default recognised by content.
    verify : bool
        Compare every byte of the archive with its seal first, which reads all of it; a path that is no archive is
        refused. Use it with archives that you do not trust: some libraries crash the process on damaged chunks.

    Returns
    -------
    OpenTrace
        Lazy tensors by name.

    Raises
    ------
    UsageError, ArchiveError, SourceError
        If the path does not exist, is damaged, or is of an unknown kind.
    """
    rules = tuple(parse_rule(f"{pattern}={rule}") for pattern, rule in (map or {}).items())
    asked = Asked(paths=tuple(Path(path).absolute() for path in paths), kind=kind, rules=rules)
    if not paths:
        raise UsageError("harness.open() needs a path.")
    for path in asked.paths if verify else ():
        open_archived(path)
    return OpenTrace(asked)


class OpenTrace(Mapping[str, TraceArray]):
    """The tensors of an open trace, by name, in the order in which they were written.

    Threads may share it. A copy in another process opens the files again.

    Attributes
    ----------
    asked : Asked
        Paths and options that were opened.
    manifest : Manifest
        Tensors, metadata, provenance, digests, and limitations.
    """

    def __init__(self, asked: Asked) -> None:
        self._stored = open_stored(asked)
        self.asked, self.manifest = asked, self._stored.manifest
        self._specs = {spec.path: spec for spec in self.manifest.tensors}

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata of the trace, by field."""
        return {name: value for name, value in asdict(self.manifest.metadata).items() if value not in (None, ())}

    def array(self, path: str, dtype: Any = None) -> TraceArray:
        """Return a tensor by name, converted if a type is given (`TraceArray.astype`).

        Raises
        ------
        UnknownTensorError
            A KeyError that suggests the nearest name.
        """
        if path not in self:
            raise UnknownTensorError(str(unknown_name("tensor", str(path), self)))
        return TraceArray(self._stored, self._specs[path], dtype)

    def __getitem__(self, path: str) -> TraceArray:
        return self.array(path)

    def get(self, path: str, default: Any = None) -> Any:
        """Return a tensor by name, or the default."""
        return self[path] if path in self else default  # noqa: SIM401 - this is it

    def __contains__(self, path: object) -> bool:
        return path in self._specs

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    # `Mapping.__eq__` would compare arrays that are not read.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def to_xarray(self) -> DataTree:
        """Return the trace as a lazy xarray tree with a node for each group.

        Each axis becomes a dimension. If tensors use one axis name with several lengths, the later ones include the
        length: ``channel`` and ``channel_of_64``.
        """
        require_package("to_xarray()", "xarray", "trace-format-harness[xarray]")
        from harness.api.xarray_objects import data_tree  # loads the library only on demand

        return data_tree(self)

    def close(self) -> None:
        """Close the trace; arrays that were read stay valid."""
        self._stored.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return OpenTrace, (self.asked,)

    def __repr__(self) -> str:
        size = in_words(self.manifest.nbytes)
        name = self.asked.label.removeprefix("file:")
        return f"<OpenTrace {name} ({self._stored.kind}): {len(self)} tensors, {size}>"

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)
