"""Where an archive comes to lie: a name that it gets when it is whole, what is left when it is not, and its size."""

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
    """Check that an archive can be written under a name, before anything is made for it.

    Raises
    ------
    UsageError
        When the name is taken, or its folder is not there or cannot be written to.
    """
    if destination.exists():
        raise UsageError(f"{destination} exists already; remove it or name another destination.")
    folder = destination.parent
    if not folder.is_dir():
        raise UsageError(f"The folder {folder} does not exist; create it first.")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"The folder {folder} cannot be written to; choose another.")


def chosen_by_name(destination: Path, given: str | None, otherwise: str) -> Format:
    """Return the format of an archive that will be written: the one that was given, or that its suffix chooses.

    Parameters
    ----------
    destination : Path
        The archive's name.
    given : str or None
        The name of a format.
    otherwise : str
        How to give one, as the end of a sentence.

    Raises
    ------
    UsageError
        When the suffix chooses none, or the format cannot be used here.
    """
    if given:
        return load_format(given)
    # As stated in the source, so that a format which cannot be imported is asked for too, and says why.
    suffixes = {registry.stated("formats", name, "suffix") or f".{name}": name for name in registry.names("formats")}
    fitting = [suffix for suffix in suffixes if suffix and destination.name.endswith(suffix)]
    if not fitting:
        known = ", ".join(f"{suffix} ({name})" for suffix, name in suffixes.items())
        raise UsageError(
            f"The name {destination.name!r} does not say which format to write: end it with {known}, or {otherwise}."
        )
    return load_format(suffixes[max(fitting, key=len)])


def require_outside(destination: Path) -> None:
    """Check that what is written does not come to lie inside of an archive, such as the one that it is made from.

    Raises
    ------
    UsageError
        When a folder that it is in, links followed, is an archive of any format.
    """
    inside = destination.parent.resolve()
    formats = [listed.plugin() for listed in registry.listing("formats") if listed.plugin is not None]
    for folder in (inside, *inside.parents):
        if folder.is_dir() and (has_journal(folder) or any(recognised(folder, backend) for backend in formats)):
            raise UsageError(f"{destination} lies inside the archive {folder}: name a destination outside of it.")


@contextmanager
def kept(destination: Path, backend: Format, manifest: Manifest) -> Iterator[tuple[Path, JournalWriter]]:
    """Give a name in a folder beside the destination, and leave that there when the work ends with tensors whole."""
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
    """Return what to raise where the system refused to write an archive, or what is kept beside it for a while."""
    raised = MachineError if cause_of(error) else HarnessError
    return raised(f"{destination} could not be written: {error.strerror or error}.")


def hidden(destination: Path, ending: str) -> Path:
    """Return a hidden name beside a destination, free and for this process alone; remove what killed ones left there.

    Parameters
    ----------
    destination : Path
        What it belongs to.
    ending : str
        What it is for, between the name and the number of the process; ends with a hyphen.
    """
    for stale in destination.parent.glob(f".{glob.escape(destination.name)}{ending}*"):
        if not alive(stale.name.rpartition("-")[2]):
            remove(stale)
    found = destination.with_name(f".{destination.name}{ending}{os.getpid()}")
    remove(found)
    return found


@contextmanager
def beside(destination: Path) -> Iterator[tuple[Path, None]]:
    """Give a hidden name beside the destination, and leave nothing there when the work on it fails."""
    check_destination(destination)
    partial = hidden(destination, _PARTIAL)
    try:
        yield partial, None
    except OSError as error:
        raise unwritable(destination, error) from error
    finally:
        remove(partial)


def remove(path: Path) -> None:
    """Remove a file or a folder if it is there; after a failure its library's own tasks may still be writing in it."""
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
    """Put an archive that is on disk in the place of another, at once; the other then has the name that it had.

    There is no moment at which either name has no whole archive.

    Raises
    ------
    HarnessError
        When the system cannot exchange two names at once.
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
    """Return the bytes and the number of the files of an archive."""
    files = files_of(path)
    return sum(file.stat().st_size for file in files), len(files)
