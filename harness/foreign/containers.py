"""Containers of arrays from any program, and the numeric arrays of a file or folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness import registry
from harness.errors import ArchiveError, UsageError
from harness.files import open_regular
from harness.foreign.foreign_array import chunks_of
from harness.foreign.naming import stated_axes
from harness.foreign.packed import plain_file_name
from harness.foreign.source import ForeignArray, SourceError
from harness.formats.journal import has_journal
from harness.formats.opening import detect, foreign_to
from harness.formats.seal import read_seal
from harness.trace.schema import DTYPES, HELD

_MOST_FILES = 20_000
_SHOWN = 8  # names in a message


@dataclass(kw_only=True)
class Arrays:
    """The arrays of one file or folder."""

    # Arrays by their name in the file; a file that is one array has the empty name.
    found: dict[str, ForeignArray] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)  # Reasons by name, for items that are not numeric arrays.
    files: list[Path] = field(default_factory=list)  # Files, and folders that are one store, with the values.
    # Other remarks on the files, such as on chunks that are not stored.
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Container:
    """A kind of file or folder that holds arrays, registered in ``harness.containers``."""

    # Registered name, and one line for ``harness list``.
    name: str
    description: str
    # Returns whether a path is of this kind, from names and first bytes; never raises for other files.
    recognises: Callable[[Path], bool]
    arrays: Callable[[Path], Arrays]  # Takes the path; returns its arrays without reading values. Raises `SourceError`.


def numeric(dtype: Any) -> bool:
    """Return whether values of a type can be stored: types in `DTYPES`, and types in `HELD` as their bits."""
    return str(dtype) in HELD or np.dtype(dtype).name in DTYPES


def typed(array: ForeignArray) -> ForeignArray:
    """Return an array of untyped 2-byte values as bfloat16; return other arrays unchanged.

    JAX and others use bfloat16 of ml_dtypes. `numpy.save` keeps only the size of its values, as ``|V2``.
    """
    if str(array.dtype) in HELD or np.dtype(array.dtype) != np.dtype("V2"):
        return array
    rows = array.rows
    return array._replace(
        dtype="bfloat16",
        load=lambda: _bits(array.load()),
        rows=rows and (lambda: (block.view("<u2") for block in rows())),
    )


def _bits(rows: Any) -> Any:
    return rows.view("<u2") if isinstance(rows, np.ndarray) else _Bits(rows)


class _Bits:
    """Wrapper of a sliceable array of untyped 2-byte values, whose slices are their bits as uint16."""

    def __init__(self, rows: Any) -> None:
        self._rows, self.chunks = rows, chunks_of(rows)

    def __getitem__(self, part: Any) -> np.ndarray:
        return np.asarray(self._rows[part]).view("<u2")


def why_not_numeric(dtype: np.dtype) -> str:
    """Return the reason why values of a type are left out."""
    if dtype.kind != "V" or dtype.names:
        return f"values of type {dtype}"
    size = f"{dtype.itemsize} byte{'s' if dtype.itemsize > 1 else ''}"
    return f"values of {size} without a type, as NumPy writes 8-bit floats: save them as float32"


def is_archive(path: Path) -> bool:
    """Return whether a path is an archive of this harness, even a damaged one."""
    try:
        return not foreign_to(path, detect(path))
    except ArchiveError:
        return False


def is_sealed(path: Path) -> bool:
    """Return whether a path is certainly an archive of this harness: it has a seal, or a journal if it is unfinished.

    `is_archive` cannot determine which program wrote a damaged file.
    """
    if has_journal(path):
        return True
    # For any folder, `read_seal` returns the seal of a file in it.
    return (path.is_file() or is_archive(path)) and bool(read_seal(path))


def natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key for names that places ``layer_10`` after ``layer_9``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,15})", name)]


def list_arrays(paths: Sequence[Path]) -> Arrays:
    """List the arrays of files and folders of any registered container.

    Parameters
    ----------
    paths : sequence of Path
        Containers, or other folders, of which every container in them is listed.

    Returns
    -------
    Arrays
        Array names begin with the name of their file, unless the only path is a container.

    Raises
    ------
    UsageError
        If a path holds no arrays; if it is an archive of this harness or inside one, because its containers hold other
        values than its tensors; if two files or two arrays would have the same name.
    SourceError
        If a file is damaged, or no file has a numeric array.
    """
    containers = [one.plugin for one in registry.listing("containers") if one.plugin]
    every = Arrays()
    seen: dict[str, Path] = {}
    owners: dict[str, Path] = {}
    for path in paths:
        _require_foreign(path)
        parts = list(_within(path, containers, every))
        for start, part, container in parts:
            prefix = start if len(paths) == 1 else f"{_stem(path)}/{start}".rstrip("/")
            if (other := seen.get(prefix)) == part:
                continue  # given twice
            if other is not None:
                raise UsageError(f"{other} and {part} have the same name: rename one of them.")
            seen[prefix] = part
            _take(every, owners, prefix, part, container.arrays(part))
        if not parts and path.is_file():
            raise UsageError(f"{path} holds no arrays that can be read here{_advice(path) or _known(containers)}")
    if not every.found:
        said = "; ".join(f"{name}: {why}" for name, why in list(every.left_out.items())[:_SHOWN])
        shown = ", ".join(map(str, paths))
        raise SourceError(f"{shown} holds no array of numbers{f' ({said})' if said else ''}.")
    return every


def _take(every: Arrays, owners: dict[str, Path], prefix: str, path: Path, arrays: Arrays) -> None:
    every.files += arrays.files or [path]
    every.notes += [f"{prefix}: {note}" if prefix else note for note in arrays.notes]
    for name, array in arrays.found.items():
        full = "/".join(filter(None, (prefix, name))) or _stem(path)
        array = typed(array)
        array = array._replace(axes=stated_axes(array.axes, array.shape), files=array.files or (path,))
        if (other := owners.setdefault(full, path)) != path or full in every.found:
            both = f"{path} holds two arrays" if other == path else f"{other} and {path} both hold an array"
            raise UsageError(f"{both} named {full!r}: rename or remove one of the two.")
        if numeric(array.dtype):
            every.found[full] = array
        else:
            every.left_out[full] = why_not_numeric(array.dtype)
    for name, why in arrays.left_out.items():
        every.left_out["/".join(filter(None, (prefix, name))) or _stem(path)] = why


def _require_foreign(path: Path) -> None:
    """Raise `UsageError` for an archive of this harness, and for anything inside one."""
    for place in (path, *path.resolve().parents):
        if is_sealed(place):
            where = f"{path} lies in {place}, which is" if place != path else f"{path} is"
            raise UsageError(
                f"{where} an archive of this harness, and its tensors have roles and axes: give it alone, without a "
                "map. 'harness run' measures several archives with --trace file:PATH for each."
            )


def _within(path: Path, containers: list[Container], every: Arrays) -> Iterator[tuple[str, Path, Container]]:
    """Yield the name prefix of its arrays, the path, and the kind of each container at or within a path."""
    own = next((one for one in containers if one.recognises(path)), None)
    if own or not path.is_dir():
        yield from [("", path, own)] if own else ()
        return
    pending, count = [path], 0
    while pending:
        for child in sorted(pending.pop(0).iterdir(), key=lambda child: natural(child.name)):
            count += 1
            if count > _MOST_FILES:
                raise UsageError(f"{path} holds more than {_MOST_FILES:,} files: give a folder with fewer.")
            name = child.relative_to(path).as_posix()
            if child.is_symlink():
                every.left_out[name] = "a link"
            elif (child.is_dir() or child.is_file()) and is_sealed(child):
                every.left_out[name] = "an archive of this harness: give it alone"
            elif found := next((one for one in containers if one.recognises(child)), None):
                yield name.removesuffix(child.suffix), child, found
            elif child.is_dir():
                pending.append(child)
            else:
                every.left_out[name] = "no container of arrays"


def _stem(path: Path) -> str:
    return path.resolve().name.removesuffix(path.suffix)


TORCH_BEFORE_ZIP = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""First pickle of a ``torch.save`` file before the zip format of torch 1.6: a magic number."""


def _advice(path: Path) -> str:
    """Return the advice for a compressed file or an outdated format, to end a message; empty for other files."""
    if plain_file_name(path.name) != path.name:
        return ": it is packed. Unpack it first"
    with open_regular(path) as file:
        start = file.read(len(TORCH_BEFORE_ZIP))
    if start.startswith((b"CDF\x01", b"CDF\x02", b"CDF\x05")):
        return f": it is netCDF 3. Convert it to netCDF 4: nccopy -k nc4 {path.name} new.nc"
    if start == TORCH_BEFORE_ZIP:
        return (
            ": it is in torch's format before 1.6. Save it again: torch.save(torch.load(old, weights_only=True), new)"
        )
    return ""


def _known(containers: list[Container]) -> str:
    """Return the kinds that can be read, and those that are not installed, to end a message."""
    names = ", ".join(one.name for one in containers)
    return f": it is none of {names}.{registry.failed_imports(registry.listing('containers'))}"
