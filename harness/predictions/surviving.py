"""Read a file of a directory from wherever it survives."""

from __future__ import annotations

from pathlib import Path

from harness.errors import HarnessError
from harness.predictions import container
from harness.predictions.disk import digest, is_plain_file
from harness.predictions.manifest import NAME, SlimManifest, inside


def read_entry(folder: Path, name: str, manifest: SlimManifest | None) -> container.Unpacked:
    """Read a file of a directory, wherever it survives.

    Parameters
    ----------
    folder : Path
        The directory.
    name : str
        The file as it was named before slimming.
    manifest : SlimManifest or None
        Of the directory, if it has one.

    Returns
    -------
    Unpacked
        Its content.

    Raises
    ------
    HarnessError
        When it is nowhere, or what holds it is damaged.
    """
    path = inside(folder, name)
    entry = manifest.items.get(name) if manifest else None
    if is_plain_file(path):
        data = path.read_bytes()
        return container.Unpacked(data, digest(data))
    if entry is None or entry.fate == "kept":
        raise HarnessError(f"{folder} has no {name}, and {NAME} names no place where it survives.")
    if entry.fate == "copy":
        return read_entry(folder, entry.survives_in, manifest)
    place = inside(folder, entry.survives_in)
    if not is_plain_file(place):
        raise HarnessError(f"{place}, where {name} survives, is missing.")
    try:
        return container.unpack(place.read_bytes())
    except HarnessError as error:
        raise HarnessError(f"{place}, where {name} survives, cannot be read: {error}") from error
