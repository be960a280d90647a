"""The journal of an archive that is being written: which of its tensors are whole, and where in the file they lie.

A line is added after every layer and none is changed, so that whatever ends the writing leaves all earlier lines as
they are. It is handed to the system and not synced: it outlives the process, and not a loss of power. Its writer holds
a lock on it, which leaves no file and dies with its holder.
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
"""The two things in the folder of an incomplete archive: the journal, and what was written so far."""

_DIGITS = 32
_START = b' {"journal_version":'
_RUINED = "nothing says what is whole"


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A tensor that was wholly written."""

    digest: str  # Of its values (see `harness.trace.stream.Digest`).
    stored: str  # Of the stored bytes that have no checksum of their own (see `RecoverableFormat.unchecked`).
    # Where they lie, as its format notes it (see `harness.formats.recovered.CheckpointWriter.checkpoint`).
    place: Mapping[str, Any]


class JournalWriter:
    """A journal being written; holds a lock on its file for as long as it is open.

    Parameters
    ----------
    folder : Path
        Made here.
    name : str
        The format.
    manifest : Manifest
        Of the whole trace, without digests.
    """

    def __init__(self, folder: Path, name: str, manifest: Manifest) -> None:
        folder.mkdir()
        self._file = (folder / NAME).open("xb", buffering=0)
        take_lock(self._file.fileno())
        self._add({"journal_version": VERSION, "format": name, "manifest": manifest.to_json()})

    def add(self, whole: Mapping[str, Whole]) -> None:
        """Note that tensors are whole, by path."""
        self._add({path: dataclasses.asdict(tensor) for path, tensor in whole.items()})

    def _add(self, entry: Mapping[str, Any]) -> None:
        text = json.dumps(entry, separators=(",", ":")).encode()
        line = memoryview(b"%s %s\n" % (_digest(text), text))
        while line:  # a full disk may take a part of it first
            line = line[self._file.write(line) :]

    def close(self) -> None:
        """Let go of the file and its lock."""
        self._file.close()


@dataclass(frozen=True)
class Journal:
    """What a journal says: the format by name, the manifest of the tensors that are whole, and each of them by path."""

    format: str
    manifest: Manifest
    whole: dict[str, Whole]


def has_journal(path: Path) -> bool:
    """Say whether a path is the folder of an archive that was not finished."""
    if not (path / NAME).is_file():
        return False
    with (path / NAME).open("rb") as file:
        return file.read(_DIGITS + len(_START)).endswith(_START)


def being_written(path: Path) -> bool:
    """Say whether an archive is incomplete because a process is still writing it."""
    if not has_journal(path):
        return False
    with (path / NAME).open("rb") as file:
        try:
            take_lock(file.fileno(), shared=True)
        except BlockingIOError:
            return True
    return False


def in_use(folder: Path) -> UsageError:
    """Build the error for an incomplete archive that a process is still writing."""
    return UsageError(f"{folder} is being written by another process: wait for it or name another destination.")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock that the writer of a journal holds; it leaves no file and dies with its holder.

    Raises
    ------
    UsageError
        When another process holds it.
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
    """Read a journal; a last line that was not written to its end does not count.

    Parameters
    ----------
    folder : Path
        Of an incomplete archive.

    Returns
    -------
    Journal
        As it was when the writing ended; or now, where it still goes on.

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
