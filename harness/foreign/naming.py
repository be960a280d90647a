"""Conversion of foreign names to tensor paths and axis names of the schema."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from harness.errors import UsageError
from harness.trace.schema import SchemaError, validate_path

_LONGEST = 200
"""Maximum bytes of a path component. File systems allow 255, and writers add a prefix or suffix."""
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.+-]")
_PADDED = re.compile(r"(?<![^/])(layer|step)_0+(?=\d+(?:/|$))")
_NUMBERED = re.compile(r"(?:axis|dim|phony_dim)_\d+")
"""Default names of unnamed axes: ``axis_0`` here, ``dim_0`` in xarray, ``phony_dim_0`` in h5netcdf."""


def unpadded(name: str) -> str:
    """Return a path without zero padding of layers and steps, as in the schema: ``layer_007`` becomes ``layer_7``."""
    return _PADDED.sub(r"\1_", name)


def plain_path(name: str) -> str:
    """Return a path that every format can store: characters outside ``A-Za-z0-9_.+-`` become underscores.

    If the schema defines the path, zero padding of layers and steps is removed.
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
        If a part of a name is too long, or two names become the same path, also if case is ignored.
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
    """Return the axis names of a file without the suffixes that netCDF and xarray require.

    They allow a name only once in an array, so the second ``residue`` is ``residue_2``. They also need one length for
    each name, so `to_xarray` writes ``channel_of_64`` if ``channel`` has another length.

    Returns
    -------
    tuple of str
        Empty if the file names no axis, or has only numbered default names.
    """
    found: list[str] = []
    for name, length in zip(names, shape, strict=False):
        alone = re.sub(rf"(?<=.)(?:_of_{length})+$", "", name)
        base, _, number = alone.rpartition("_")
        again = [k for k, before in enumerate(found) if before == base]
        same = again and number == str(len(again) + 1) and shape[again[0]] == length
        found.append(base if same else alone)
    return () if all(map(_NUMBERED.fullmatch, found)) else tuple(found)
