"""Recovery of unfinished archives: their names, checkpoints, and reads of complete tensors that change nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import xxhash

from harness.errors import ArchiveError, HarnessError, MachineError, UsageError
from harness.formats.base import Format, Reader, Writer, blame, load_format
from harness.formats.extents import Extent
from harness.formats.journal import (
    UNFINISHED,
    Journal,
    JournalWriter,
    Whole,
    has_journal,
    in_use,
    locked,
    read_journal,
)
from harness.formats.recovered import CheckpointWriter, RecoverableFormat

SUFFIX = ".incomplete"

_BUFFER = 4 << 20


def incomplete_path(destination: Path) -> Path:
    """Return the name that an archive has until it is finished."""
    return destination.with_name(destination.name + SUFFIX)


def move_aside(folder: Path, aside: Path) -> None:
    """Free the name of an incomplete archive that holds nothing readable.

    Parameters
    ----------
    folder : Path
        From `incomplete_path`; need not exist.
    aside : Path
        New name of the folder, for the caller to remove.

    Raises
    ------
    UsageError
        When another process is writing there, or when the folder holds readable tensors or unknown content.
    """
    if not os.path.lexists(folder):
        return
    if not has_journal(folder):
        raise UsageError(f"{folder} is in the way: move it elsewhere or name another destination.")
    with locked(folder):  # so that two processes do not both move the same remains
        try:
            kept = what_is_kept(folder)
        except ArchiveError as error:
            raise UsageError(f"{str(error).rstrip('.')}; remove it or name another destination.") from error
        if kept:
            raise UsageError(
                f"{kept} Keep that with 'harness convert' and remove the folder, or name another destination."
            )
        folder.rename(aside)


def take_name(begun: Path, folder: Path) -> None:
    """Rename a folder with a journal to the name of an incomplete archive.

    Raises
    ------
    UsageError
        When another process has taken that name first.
    """
    try:
        begun.rename(folder)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            raise in_use(folder) from error
        raise


def what_is_kept(folder: Path) -> str:
    """Return in a sentence what an incomplete archive holds; empty when it holds no complete layer."""
    incomplete = read_journal(folder).manifest.incomplete
    if incomplete is None or incomplete.last_layer is None or not (folder / UNFINISHED).exists():
        return ""
    return f"{folder} holds what was whole: {incomplete}."


def note(
    journal: JournalWriter,
    backend: Format,
    writer: Writer,
    timed: AbstractContextManager[object],
    unfinished: Path,
    digests: Mapping[str, str],
) -> None:
    """Request a checkpoint from a writer, and record in a journal which tensors are complete since the last one.

    Parameters
    ----------
    journal : JournalWriter
        Of the archive.
    backend, writer : RecoverableFormat, CheckpointWriter
        Its format and its writer.
    timed : context manager
        Entered around the writer's checkpoint.
    unfinished : Path
        The archive that is being written.
    digests : mapping of str to str
        Of the values of at least these tensors, by path.
    """
    if not (isinstance(backend, RecoverableFormat) and isinstance(writer, CheckpointWriter)):
        raise TypeError("its writer has no checkpoint")
    with timed:
        places = writer.checkpoint()
    whole = {}
    for path, place in places.items():
        stored = _digest_stored(unfinished, backend.unchecked(unfinished, path, place))
        whole[path] = Whole(digest=digests[path], stored=stored, place=place)
    journal.add(whole)


def _digest_stored(root: Path, extents: Iterable[Extent]) -> str:
    """Return the digest of stored bytes and of their files' names below `root`; adjacent extents count as one."""
    joined: list[Extent] = []
    for extent in extents:
        last = joined[-1] if joined else Extent(root, -1, 0)
        if (last.file, last.offset + last.length) == (extent.file, extent.offset):
            joined[-1] = Extent(last.file, last.offset, last.length + extent.length)
        else:
            joined.append(extent)
    state = xxhash.xxh3_128()
    for extent in joined:
        state.update(f"{str(extent.file)[len(str(root)) :]}\0{extent.length}\0".encode())
        with extent.file.open("rb") as file:
            file.seek(extent.offset)
            left = extent.length
            while left > 0 and (part := file.read(min(_BUFFER, left))):  # a damaged journal may state any length
                state.update(part)
                left -= len(part)
            if left:
                raise ArchiveError(f"the file {extent.file.name!r} ends before the bytes of a tensor that was whole.")
    return state.hexdigest()


def recovered(folder: Path, backend: Format) -> Reader:
    """Open the complete tensors of an incomplete archive.

    Parameters
    ----------
    folder : Path
        With a journal.
    backend : Format
        The format that the journal names.

    Returns
    -------
    Reader
        Of the complete tensors and no others.

    Raises
    ------
    ArchiveError
        When the journal is damaged, or there is no archive next to it.
    """
    journal = _known(folder)
    places = {path: tensor.place for path, tensor in journal.whole.items()}
    return _recoverable(backend).recover(folder / UNFINISHED, journal.manifest, places)


def _recoverable(backend: Format) -> RecoverableFormat:
    if not isinstance(backend, RecoverableFormat):
        raise ArchiveError(f"the format {backend.name!r} cannot be read before it is finished")
    return backend


def format_of(folder: Path) -> Format:
    """Return the format of an incomplete archive; raises `ArchiveError` as `recovered` does."""
    return load_format(_known(folder).format)


def _known(folder: Path) -> Journal:
    if not (folder / UNFINISHED).exists():
        raise ArchiveError(f"{folder} holds a journal and nothing else: its archive was finished, or removed.")
    return read_journal(folder)


def check_stored(folder: Path, backend: Format) -> str:
    """Compare the stored bytes of every complete tensor with the digests in the journal.

    Parameters
    ----------
    folder : Path
        Of an incomplete archive.
    backend : Format
        Its format.

    Returns
    -------
    str
        The problem, as a sentence without its full stop; empty when all bytes are as they were written.
    """
    root = folder / UNFINISHED
    try:
        for path, tensor in _known(folder).whole.items():
            with blame(backend.name, f"looking for {path}"):
                found = _digest_stored(root, _recoverable(backend).unchecked(root, path, tensor.place))
            if found != tensor.stored:
                return f"the stored bytes of {path} are not those that were written"
    except MachineError:
        raise
    except HarnessError as error:
        return str(error).rstrip(".")
    return ""
