"""Names of other programs as paths and axes that the schema takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from harness.errors import UsageError
from harness.trace.schema import SchemaError, validate_path

_LONGEST = 200
"""Bytes of a part of a name: file systems take 255, and writers put something before or behind it."""
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.+-]")
_PADDED = re.compile(r"(?<![^/])(layer|step)_0+(?=\d+(?:/|$))")
_NUMBERED = re.compile(r"(?:axis|dim|phony_dim)_\d+")
"""What libraries call an axis that nobody named: this one, xarray and h5netcdf."""


def unpadded(name: str) -> str:
    """Return a path with its layers and steps as the schema names them: ``layer_007`` becomes ``layer_7``."""
    return _PADDED.sub(r"\1_", name)


def plain_path(name: str) -> str:
    """Return the path that every format can store: what is not plain becomes an underscore.

    Where the schema has the path, layers and steps are without padding.
    """
    path = "/".join(_plain(part) for part in _parts(name)) or "_"
    if path.partition("/")[0].lower() == "metadata":
        path = f"_{path}"
    try:
        validate_path(path)
    except SchemaError:
        return unpadded(path)
    return path


def plain_paths(names: Iterable[str]) -> dict[str, str]:
    """Return the plain path of each name.

    Raises
    ------
    UsageError
        Where a part of a name is too long, or two names become one, also where letters are not told by case.
    """
    found: dict[str, str] = {}
    seen: dict[str, str] = {}
    for name in names:
        if long := next((part for part in _parts(name) if len(_plain(part)) > _LONGEST), None):
            raise UsageError(f"The name {long[:60]!r}... is longer than {_LONGEST} characters: shorten it.")
        path = plain_path(name)
        if (other := seen.get(path.lower())) is not None:
            raise UsageError(f"The names {other!r} and {name!r} would be one in some file systems: rename one of them.")
        seen[path.lower()] = name
        found[name] = path
    return found


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]


def _plain(part: str) -> str:
    plain = _NOT_PLAIN.sub("_", part)
    return plain if re.match(r"[A-Za-z0-9_]", plain) else f"_{plain}"


def stated_axes(names: Sequence[str], shape: Sequence[int]) -> tuple[str, ...]:
    """Return the axes that a file names, without what it had to add so that each name has one length, once in an array.

    netCDF and xarray take no name twice, which is why ``residue_2`` stands beside ``residue``, and `to_xarray` writes
    ``channel_of_64`` where ``channel`` has another length.

    Returns
    -------
    tuple of str
        Empty where the file names no axis, or numbers them all.
    """
    found: list[str] = []
    for name, length in zip(names, shape, strict=False):
        alone = re.sub(rf"(?<=.)(?:_of_{length})+$", "", name)
        base, _, number = alone.rpartition("_")
        again = [k for k, before in enumerate(found) if before == base]
        same = again and number == str(len(again) + 1) and shape[again[0]] == length
        found.append(base if same else alone)
    return () if all(map(_NUMBERED.fullmatch, found)) else tuple(found)
