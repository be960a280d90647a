"""Journal of an archive that is being written: its complete tensors, and where their bytes lie in the file.

After every layer a line is added, and none is changed, so that all earlier lines survive however writing ends. Lines
are passed to the system but not synced: the journal survives the end of the process, but not a loss of power. Its
writer holds a lock on it, which needs no other file and ends with the process.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from harness.documents import convert, decode
from harness.errors import ArchiveError, UsageError
from harness.files import read_bytes, take_lock
from harness.trace.incomplete import measure
from harness.trace.manifest import Manifest

VERSION = 1
NAME, UNFINISHED = "journal", "unfinished"
"""Names in the folder of an incomplete archive: the journal, and the archive as written so far."""

_DIGITS = 32
_START = b' {"journal_version":'
_RUINED = "nothing says what is whole"


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A tensor that was written completely."""

    digest: str  # Of its values (see `harness.trace.stream.Digest`).
    stored: str  # Of the stored bytes that have no checksum of their own (see `RecoverableFormat.unchecked`).
    # Where they lie, as its format records it (see `harness.formats.recovered.CheckpointWriter.checkpoint`).
    place: Mapping[str, Any]


class JournalWriter:
    """A journal being written; holds a lock on its file for as long as it is open.

    Parameters
    ----------
    folder : Path
        Created here.
    name : str
        Name of the format.
    manifest : Manifest
        Of the complete trace, without digests.
    """

    def __init__(self, folder: Path, name: str, manifest: Manifest) -> None:
        folder.mkdir()
        self._file = (folder / NAME).open("xb", buffering=0)
        take_lock(self._file.fileno())
        self._add({"journal_version": VERSION, "format": name, "manifest": manifest.to_json()})

    def add(self, whole: Mapping[str, Whole]) -> None:
        """Record complete tensors, by path."""
        self._add({path: dataclasses.asdict(tensor) for path, tensor in whole.items()})

    def _add(self, entry: Mapping[str, Any]) -> None:
        text = json.dumps(entry, separators=(",", ":")).encode()
        line = memoryview(b"%s %s\n" % (_digest(text), text))
        while line:  # a nearly full disk may take only a part of it
            line = line[self._file.write(line) :]

    def close(self) -> None:
        """Close the file, which releases the lock."""
        self._file.close()


@dataclass(frozen=True)
class Journal:
    """Content of a journal: the format by name, the manifest of the complete tensors, and each of them by path."""

    format: str
    manifest: Manifest
    whole: dict[str, Whole]


def has_journal(path: Path) -> bool:
    """Return whether a path is the folder of an unfinished archive."""
    if not (path / NAME).is_file():
        return False
    with (path / NAME).open("rb") as file:
        return file.read(_DIGITS + len(_START)).endswith(_START)


def being_written(path: Path) -> bool:
    """Return whether an archive is incomplete because a process is still writing it."""
    if not has_journal(path):
        return False
    with (path / NAME).open("rb") as file:
        try:
            take_lock(file.fileno(), shared=True)
        except BlockingIOError:
            return True
    return False


def in_use(folder: Path) -> UsageError:
    """Return the error for an incomplete archive that a process is still writing."""
    return UsageError(f"{folder} is being written by another process: wait for it or name another destination.")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock that the writer of a journal holds; it needs no other file and ends with the process.

    Raises
    ------
    UsageError
        When another process holds it, or has replaced the journal.
    """
    with (folder / NAME).open("r+b") as file:
        try:
            take_lock(file.fileno())
        except BlockingIOError:
            raise in_use(folder) from None
        if not os.path.samestat(os.fstat(file.fileno()), (folder / NAME).stat()):
            raise in_use(folder)
        yield


def read_journal(folder: Path) -> Journal:
    """Read a journal, without a last line that was not written completely.

    Parameters
    ----------
    folder : Path
        Of an incomplete archive.

    Returns
    -------
    Journal
        Its content when writing ended, or its current content if a process is still writing.

    Raises
    ------
    ArchiveError
        When the journal is damaged or of a version that this reader does not know.
    """
    lines = read_bytes(folder / NAME).split(b"\n")[:-1]
    head, *entries = [_entry(folder, line) for line in lines] or [{}]
    if (version := head.get("journal_version")) != VERSION:
        raise ArchiveError(f"{folder} has a journal of version {version!r}; this reader knows version {VERSION}.")
    begun = convert(head, _Head, folder, mend=_RUINED, error=ArchiveError)
    noted = convert(entries, list[dict[str, Whole]], folder, mend=_RUINED, error=ArchiveError)
    planned, whole = Manifest.from_json(begun.manifest), {path: t for entry in noted for path, t in entry.items()}
    incomplete = measure([spec.path for spec in planned.tensors], whole)
    if planned.incomplete is not None:  # the trace itself ended early
        incomplete = dataclasses.replace(incomplete, planned=planned.incomplete.planned)
    manifest = dataclasses.replace(
        planned,
        tensors=tuple(spec for spec in planned.tensors if spec.path in whole),
        digests={path: tensor.digest for path, tensor in whole.items()},
        incomplete=incomplete,
    )
    return Journal(begun.format, manifest, whole)


@dataclass(frozen=True)
class _Head:
    format: str
    manifest: str


def _entry(folder: Path, line: bytes) -> dict[str, Any]:
    digest, text = line[:_DIGITS], line[_DIGITS + 1 :]
    if digest != _digest(text):
        raise ArchiveError(f"{folder}: the journal is damaged, so that {_RUINED}.")
    return decode(text, dict[str, Any], folder, mend=_RUINED, error=ArchiveError)


def _digest(text: bytes) -> bytes:
    return xxhash.xxh3_128_hexdigest(text).encode()
