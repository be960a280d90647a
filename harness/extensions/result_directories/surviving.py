"""Read a file of a directory from wherever it survives."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from harness.errors import ArchiveError, HarnessError
from harness.extensions.result_directories import container
from harness.extensions.result_directories.disk import digest, is_plain_file, read_bytes
from harness.extensions.result_directories.manifest import NAME, SlimManifest, inside


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
        data = read_bytes(path)
        return container.Unpacked(data, digest(data))
    if entry is None or entry.fate == "kept":
        raise HarnessError(f"{folder} has no {name}, and {NAME} names no place where it survives.")
    if entry.fate == "copy":
        return read_entry(folder, entry.survives_in, manifest)
    place = inside(folder, entry.survives_in)
    if not is_plain_file(place):
        raise HarnessError(f"{place}, where {name} survives, is missing.")
    try:
        packed = read_bytes(place)
        if entry.after is not None and digest(packed) != entry.after["sha256"]:
            raise ArchiveError("it is damaged: its bytes are not those that were written")
        # A plain xz file does not say by itself that precision was given up before it was packed.
        return dataclasses.replace(container.unpack(packed, entry.gives), original=entry.before["sha256"])
    except HarnessError as error:
        raise HarnessError(f"{place}, where {name} survives, cannot be read: {error}") from error
