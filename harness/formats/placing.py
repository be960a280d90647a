"""Placement of archives on disk: destinations, temporary names, removal, atomic exchange, syncing, and size."""

from __future__ import annotations

import ctypes
import errno
import glob
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from harness import registry
from harness.errors import HarnessError, MachineError, UsageError, cause_of
from harness.files import alive, sync
from harness.formats.base import Format, load_format
from harness.formats.describing import recognised
from harness.formats.journal import UNFINISHED, JournalWriter, has_journal
from harness.formats.recovery import incomplete_path, move_aside, take_name, what_is_kept
from harness.formats.seal import files_of
from harness.trace.manifest import Manifest

_PARTIAL = ".partial-"
_REMOVALS, _BETWEEN_REMOVALS = 50, 0.02  # times, and seconds between them


def check_destination(destination: Path) -> None:
    """Check that an archive can be written under a name, before anything is created.

    Raises
    ------
    UsageError
        When the name is taken, or its folder does not exist or is not writable.
    """
    if destination.exists():
        raise UsageError(f"{destination} exists already; remove it or name another destination.")
    folder = destination.parent
    if not folder.is_dir():
        raise UsageError(f"The folder {folder} does not exist; create it first.")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"The folder {folder} cannot be written to; choose another.")


def chosen_by_name(destination: Path, given: str | None, otherwise: str) -> Format:
    """Return the format for a new archive: the given one, or the one that the suffix of its name selects.

    Parameters
    ----------
    destination : Path
        The archive's name.
    given : str or None
        The name of a format.
    otherwise : str
        How to give a format, as the end of a sentence.

    Raises
    ------
    UsageError
        When the suffix selects none, or the format cannot be used here.
    """
    if given:
        return load_format(given)
    # Suffixes as stated in the source: a format that cannot be imported is then selected too, and reports why.
    suffixes = {registry.stated("formats", name, "suffix") or f".{name}": name for name in registry.names("formats")}
    fitting = [suffix for suffix in suffixes if suffix and destination.name.endswith(suffix)]
    if not fitting:
        known = ", ".join(f"{suffix} ({name})" for suffix, name in suffixes.items())
        raise UsageError(
            f"The name {destination.name!r} does not say which format to write: end it with {known}, or {otherwise}."
        )
    return load_format(suffixes[max(fitting, key=len)])


def require_outside(destination: Path) -> None:
    """Check that a destination is not inside an archive, such as the one that is converted.

    Raises
    ------
    UsageError
        When a folder that contains it, after resolving links, is an archive of any format or an incomplete one.
    """
    inside = destination.parent.resolve()
    formats = [listed.plugin() for listed in registry.listing("formats") if listed.plugin is not None]
    for folder in (inside, *inside.parents):
        if folder.is_dir() and (has_journal(folder) or any(recognised(folder, backend) for backend in formats)):
            raise UsageError(f"{destination} lies inside the archive {folder}: name a destination outside of it.")


@contextmanager
def kept(destination: Path, backend: Format, manifest: Manifest) -> Iterator[tuple[Path, JournalWriter]]:
    """Yield a path and a journal in a folder next to the destination; on failure, keep complete layers there."""
    folder = incomplete_path(destination)
    with beside(destination) as (partial, _):
        move_aside(folder, partial)
        remove(partial)
        with closing(JournalWriter(partial, backend.name, manifest)) as journal:
            take_name(partial, folder)
            try:
                yield folder / UNFINISHED, journal
            except BaseException as error:
                held = what_is_kept(folder)
                if not held:
                    remove(folder)
                elif isinstance(error, OSError):
                    raise type(refused := unwritable(destination, error))(f"{refused} {held}") from error
                elif isinstance(error, HarnessError):
                    raise type(error)(f"{error} {held}") from error
                else:
                    error.add_note(held)
                raise
            remove(folder)


def unwritable(destination: Path, error: OSError) -> HarnessError:
    """Return the error for an archive, or a temporary file next to it, that the system refused to write."""
    raised = MachineError if cause_of(error) else HarnessError
    return raised(f"{destination} could not be written: {error.strerror or error}.")


def hidden(destination: Path, ending: str) -> Path:
    """Return a free hidden name next to a destination, for this process only; remove remains of killed processes.

    Parameters
    ----------
    destination : Path
        The destination that it belongs to.
    ending : str
        Purpose, between the name and the number of the process; ends with a hyphen.
    """
    for stale in destination.parent.glob(f".{glob.escape(destination.name)}{ending}*"):
        if not alive(stale.name.rpartition("-")[2]):
            remove(stale)
    found = destination.with_name(f".{destination.name}{ending}{os.getpid()}")
    remove(found)
    return found


@contextmanager
def beside(destination: Path) -> Iterator[tuple[Path, None]]:
    """Yield a hidden name next to the destination; at the end, remove what is still there, as after a failure."""
    check_destination(destination)
    partial = hidden(destination, _PARTIAL)
    try:
        yield partial, None
    except OSError as error:
        raise unwritable(destination, error) from error
    finally:
        remove(partial)


def remove(path: Path) -> None:
    """Remove a file or folder if it exists; retry, as tasks of a library may still write to it after a failure."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    for last in (*[False] * _REMOVALS, True):
        try:
            shutil.rmtree(path)
            return
        except OSError as error:
            if not path.exists():
                return
            if last or error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                raise
            time.sleep(_BETWEEN_REMOVALS)


def exchange(new: Path, archive: Path) -> None:
    """Exchange the names of a new archive, which is on disk, and an existing one, atomically.

    At every moment both names have a complete archive.

    Raises
    ------
    HarnessError
        When the system cannot exchange two names atomically.
    """
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    here, at_once = -100, 2  # AT_FDCWD and RENAME_EXCHANGE, of renameat2(2)
    if renameat2 is None or renameat2(here, os.fsencode(new), here, os.fsencode(archive), at_once):
        why = os.strerror(ctypes.get_errno()) if renameat2 else "it has no renameat2"
        raise HarnessError(f"This system cannot put {archive} in its place at once ({why}): convert to another name.")
    sync(archive.parent)


def sync_archive(path: Path) -> None:
    """Wait until an archive is on disk.

    Parameters
    ----------
    path : Path
        A file, synced by itself, or a folder, synced with one ``syncfs`` of its filesystem: thousands of single
        syncs would measure the number of files twice.

    Raises
    ------
    OSError
        When the filesystem reports that data was lost.
    """
    if not path.is_dir():
        sync(path)
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if syncfs is None:
            os.sync()
        elif syncfs(descriptor):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(descriptor)


def archive_size(path: Path) -> tuple[int, int]:
    """Return the bytes and the number of files of an archive."""
    files = files_of(path)
    return sum(file.stat().st_size for file in files), len(files)
