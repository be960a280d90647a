"""Reading of files as their program wrote them, from a directory as written, slim or minimal."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.documents import parse_json
from harness.errors import ArchiveError, HarnessError
from harness.extensions.result_directories import container
from harness.extensions.result_directories.disk import digest, is_plain_file, read_bytes
from harness.extensions.result_directories.manifest import NAME, SlimManifest, inside, load_manifest


def read_entry(folder: Path, name: str, manifest: SlimManifest | None) -> container.Unpacked:
    """Read a file of a directory in its present location, by the given manifest.

    Parameters
    ----------
    folder : Path
        The directory.
    name : str
        The file's name before slimming.
    manifest : SlimManifest or None
        Of the directory, if it has one.

    Returns
    -------
    Unpacked
        Its content.

    Raises
    ------
    HarnessError
        If it is missing, or the file that holds it is damaged.
    """
    path = inside(folder, name)
    entry = manifest.items.get(name) if manifest else None
    if is_plain_file(path):
        data = read_bytes(path)
        return container.Unpacked(data, digest(data))
    if entry is None or entry.fate == "kept":
        raise HarnessError(f"{folder} has no {name}, and {NAME} names no file that preserves it.")
    if entry.fate == "copy":
        return read_entry(folder, entry.survives_in, manifest)
    place = inside(folder, entry.survives_in)
    if not is_plain_file(place):
        raise HarnessError(f"{place}, where {name} survives, is missing.")
    try:
        packed = read_bytes(place)
        if digest(packed) != entry.written:
            raise ArchiveError("it is damaged: its bytes are not those that were written")
        # A plain xz file does not record that precision was given up before it was packed.
        return dataclasses.replace(container.unpack(packed, entry.gives), original=entry.before["sha256"])
    except HarnessError as error:
        raise HarnessError(f"{place}, where {name} survives, cannot be read: {error}") from error


def read_file(folder: Path, name: str) -> container.Unpacked:
    """Read a file as it was, from the location that the manifest of its directory states.

    Parameters
    ----------
    folder : Path
        The directory.
    name : str
        The file's original name, relative to the directory.

    Returns
    -------
    Unpacked
        Its content.

    Raises
    ------
    HarnessError
        If it is missing, or the file that holds it is damaged.
    """
    return read_entry(folder, name, load_manifest(folder))


def read_values(folder: Path, name: str) -> dict[str, Any]:
    """Read every value of a file, as tools after its program do.

    No other file replaces it: the rounded errors of a JSON are never returned for those of a pickle.

    Parameters
    ----------
    folder : Path
        The directory.
    name : str
        Original name of a pickle, a JSON of confidences, or any other file.

    Returns
    -------
    dict of str to object
        Values by their keys, joined by ``/``. Lists of numbers in a JSON become arrays, and values that mode minimal
        dropped are absent. A file without keys, such as a structure, is one value under an empty key: its bytes.
    """
    if name.endswith(".pkl"):
        return dict(_flat(container.content(read_file(folder, name))))
    if not name.endswith(".json"):
        return {"": read_plain(folder, name)}
    facts = parse_json(read_file(folder, name).data)
    facts = facts[0] if isinstance(facts, list) and facts else facts
    return {key: _value(value) for key, value in facts.items()} if isinstance(facts, dict) else {}


def read_plain(folder: Path, name: str) -> bytes:
    """Read a file that is never packed, because tools read it as it is."""
    if not is_plain_file(folder / name):
        raise HarnessError(f"{folder / name} is missing.")
    return read_bytes(folder / name)


def _flat(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict) and content:
        for key, value in content.items():
            yield from _flat(value, (*path, str(key)))
    else:
        yield "/".join(path), content


def _value(value: Any) -> Any:
    # Lists of unequal lengths, as in a table of chains, stay lists.
    try:
        return np.array(value) if isinstance(value, list) else value
    except ValueError:
        return value
