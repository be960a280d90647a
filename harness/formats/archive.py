"""The life of an archive, the same for every format: write it whole or not at all, open it, verify it, convert it."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import glob
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from itertools import zip_longest
from pathlib import Path

import numpy as np

from harness import registry
from harness.errors import ArchiveError, HarnessError, MachineError, UsageError, cause_of
from harness.files import LimitError, alive, archive_limit, check_regular, check_tree, in_words, sync
from harness.formats.base import Format, Profile, Reader, Writer, blame, load_format
from harness.formats.describing import ListsTensors, ReadsWhole, ShowsStorage, Stored
from harness.formats.journal import UNFINISHED, JournalWriter, has_journal
from harness.formats.recovered import RecoverableFormat
from harness.formats.recovery import (
    check_stored,
    format_of,
    incomplete_path,
    move_aside,
    note,
    recovered,
    take_name,
    what_is_kept,
)
from harness.formats.seal import check_seal, files_of, link_in, read_seal, seal
from harness.formats.selection import in_blocks
from harness.formats.strangers import TellsForeign, TellsLinks, TellsOverstated
from harness.trace.incomplete import stage_of
from harness.trace.schema import Manifest, TensorSpec, validate
from harness.trace.stream import LARGE_BYTES, Digest, Trace, regroup, split

_PARTIAL = ".partial-"
_IMPORT = "If it is of a kind that 'harness list importers' names, bring it in with 'harness import'."
_REMOVALS, _BETWEEN_REMOVALS = 50, 0.02  # times, and seconds between them


def write_archive(
    trace: Trace,
    backend: Format,
    destination: Path,
    profile: Profile = "tuned",
    *,
    stopwatch: AbstractContextManager[object] | None = None,
    sync_stopwatch: AbstractContextManager[object] | None = None,
    keep_incomplete: bool = False,
) -> Manifest:
    """Write a trace; the archive appears under its final name only when it is complete, sealed and on disk.

    Until then it has a hidden name, and nothing is left of it when the writing fails. With `keep_incomplete` it has the
    name that `harness.formats.recovery.incomplete_path` gives, and what is left there, however the writing ends, can
    be read up to the last layer that was whole: `open_archive` and all that follows from it take that name as well.

    Parameters
    ----------
    trace : Trace
        What to write; streamed, one block at a time.
    backend : Format
        The format.
    destination : Path
        The archive's name; must not exist.
    profile : Profile
        The format's settings.
    stopwatch : context manager, optional
        Entered around every call of the format's writer and nothing else: not around the making of blocks, their
        digests or the seal.
    sync_stopwatch : context manager, optional
        Entered around waiting until the archive is on disk.
    keep_incomplete : bool
        Keep the tensors of whole layers when the writing ends early, killed or not. Costs a look at what was stored,
        after each layer.

    Returns
    -------
    Manifest
        The trace's manifest with the digest of every tensor.

    Raises
    ------
    UsageError
        When the destination exists or cannot be written; with `keep_incomplete` also when an earlier attempt is kept
        there, or the format cannot do it.
    SchemaError
        When the trace's manifest does not fit the schema.
    UnsupportedProfile
        When the format cannot do what the profile asks for.
    HarnessError
        When the format fails; nothing is left under the final name.
    """
    timed = stopwatch or nullcontext()
    if keep_incomplete and not isinstance(backend, RecoverableFormat):
        raise UsageError(f"The format {backend.name!r} cannot be read before it is finished: choose another format.")
    validate(trace.manifest)  # before a name becomes a path on disk
    # Raises UnsupportedProfile before anything is written.
    alignment = {spec.path: (backend.layout(spec, profile).chunks or (1,))[0] for spec in trace.manifest.tensors}
    begun = _kept(destination, backend, trace.manifest) if keep_incomplete else _beside(destination)
    with begun as (partial, journal):
        digests: dict[str, str] = {}
        with blame(backend.name, "creating an archive"), timed:
            writer = backend.writer(partial, trace.manifest, profile)
        try:
            for spec, following in zip_longest(trace.manifest.tensors, trace.manifest.tensors[1:]):
                digests[spec.path] = _write_tensor(trace, spec, alignment[spec.path], backend.name, writer, timed)
                if journal and not (following and _same_layer(spec, following)):
                    with blame(backend.name, f"keeping what is whole up to {spec.path}"):
                        note(journal, backend, writer, timed, partial, digests)
            manifest = dataclasses.replace(trace.manifest, digests=digests)
            with blame(backend.name, "committing an archive"), timed:
                writer.commit(manifest)
        except BaseException:
            with contextlib.suppress(Exception):  # the first error is the one to report
                writer.abort()
            raise
        if not partial.exists():
            raise HarnessError(f"{backend.name} reported success but wrote nothing.")
        with sync_stopwatch or nullcontext():
            sync_archive(partial)
        seal(partial)
        sync_archive(partial)
        partial.rename(destination)
        sync(destination.parent)
    return manifest


def _same_layer(spec: TensorSpec, following: TensorSpec) -> bool:
    """Say whether two tensors belong to one layer or recycling step; inputs and outputs belong to none."""
    return stage_of(spec.path) == stage_of(following.path) != ""


class _Blocks:
    """The blocks of a tensor on their way to a writer, whose time stands still while one is made and digested."""

    def __init__(self, spec: TensorSpec, blocks: Iterator[np.ndarray], timed: AbstractContextManager[object]) -> None:
        self._spec, self._blocks, self._timed = spec, blocks, timed
        self.rows, self.digest, self.ended = 0, Digest(), False
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[np.ndarray]:
        while (block := self._next()) is not None:
            yield block
        self.ended = True

    def _next(self) -> np.ndarray | None:
        self._timed.__exit__(None, None, None)
        try:
            block = next(self._blocks, None)
            if block is not None:
                _check_block(self._spec, block, self.rows)
                self.digest.update(block)
                self.rows += len(block) if self._spec.shape else 1
        except Exception as error:
            self.error = error  # of the trace, whatever the writer makes of it
            raise
        finally:
            self._timed.__enter__()
        return block


def _write_tensor(
    trace: Trace, spec: TensorSpec, alignment: int, name: str, writer: Writer, timed: AbstractContextManager[object]
) -> str:
    """Stream one tensor into a writer and return the digest of what was streamed."""
    blocks = _Blocks(spec, regroup(trace.blocks(spec.path), alignment), timed)
    try:
        with blame(name, f"writing {spec.path}"), timed:
            writer.write(spec, blocks)
    except Exception:
        if blocks.error is None:
            raise
    if blocks.error is not None:
        raise blocks.error
    if not blocks.ended:
        raise HarnessError(f"{name} failed writing {spec.path}: it left blocks of it.")
    if blocks.rows != (spec.shape[0] if spec.shape else 1):
        wanted = spec.shape[0] if spec.shape else 1
        raise HarnessError(f"{spec.path}: expected {wanted} rows, the trace gave {blocks.rows}.")
    return blocks.digest.hexdigest()


def _check_block(spec: TensorSpec, block: np.ndarray, rows: int) -> None:
    fits = block.shape[1:] == spec.shape[1:] and block.ndim == len(spec.shape) and block.dtype == np.dtype(spec.dtype)
    if not fits or (spec.shape and rows + len(block) > spec.shape[0]):
        raise HarnessError(
            f"{spec.path}: expected blocks that make up shape {spec.shape} of {spec.dtype}, "
            f"got one of shape {block.shape} of {block.dtype} after {rows} rows."
        )


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
        if folder.is_dir() and (has_journal(folder) or any(backend.recognises(folder) for backend in formats)):
            raise UsageError(f"{destination} lies inside the archive {folder}: name a destination outside of it.")


@contextmanager
def _kept(destination: Path, backend: Format, manifest: Manifest) -> Iterator[tuple[Path, JournalWriter]]:
    """Give a name in a folder beside the destination, and leave that there when the work ends with tensors whole."""
    folder = incomplete_path(destination)
    with _beside(destination) as (partial, _):
        move_aside(folder, partial)
        remove(partial)
        with closing(JournalWriter(partial, backend.name, manifest)) as journal:
            take_name(partial, folder)
            try:
                yield folder / UNFINISHED, journal
            except BaseException as error:
                kept = what_is_kept(folder)
                if not kept:
                    remove(folder)
                elif isinstance(error, OSError):
                    raise type(refused := _unwritable(destination, error))(f"{refused} {kept}") from error
                elif isinstance(error, HarnessError):
                    raise type(error)(f"{error} {kept}") from error
                else:
                    error.add_note(kept)
                raise
            remove(folder)


def _unwritable(destination: Path, error: OSError) -> HarnessError:
    raised = MachineError if cause_of(error) else HarnessError
    return raised(f"{destination} could not be written: {error.strerror or error}.")


@contextmanager
def _beside(destination: Path) -> Iterator[tuple[Path, None]]:
    """Give a hidden name beside the destination, and leave nothing there when the work on it fails."""
    check_destination(destination)
    folder = destination.parent
    for stale in folder.glob(f".{glob.escape(destination.name)}{_PARTIAL}*"):
        if not alive(stale.name.rpartition("-")[2]):  # left by a process that was killed
            remove(stale)
    partial = folder / f".{destination.name}{_PARTIAL}{os.getpid()}"
    remove(partial)
    try:
        yield partial, None
    except OSError as error:
        raise _unwritable(destination, error) from error
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


def detect(path: Path) -> Format:
    """Find the format of an archive from its content.

    Parameters
    ----------
    path : Path
        The archive.

    Returns
    -------
    Format
        The registered format that recognises it.

    Raises
    ------
    UsageError
        When there is nothing at the path.
    ArchiveError
        When no format recognises it.
    HarnessError
        When it is, or holds, what is neither a regular file nor a folder.
    """
    if not path.exists():
        raise UsageError(f"There is no archive at {path}.")
    backend = _recognised(path)
    check_tree(path)  # a pipe or a device within it would be waited for, or read without end
    return backend


def _recognised(path: Path) -> Format:
    if not path.is_dir():
        check_regular(path)
    if has_journal(path):
        return format_of(path)
    if path.name == UNFINISHED and has_journal(path.parent):
        raise UsageError(f"{path} is of no use alone: give the incomplete archive {path.parent}.")
    formats = registry.listing("formats")
    for listed in formats:
        if listed.plugin is not None and listed.plugin().recognises(path):
            return load_format(listed.name)
    if path.is_file() and not path.stat().st_size:
        raise ArchiveError(f"{path} is empty: it was truncated, or never written.")
    known = ", ".join(registry.names("formats"))
    raise ArchiveError(
        f"{path} is not an archive of any format known here ({known}): it is damaged, or another program wrote it. "
        f"{_IMPORT}{registry.failed_imports(formats)}"
    )


def _foreign(path: Path, backend: Format) -> str:
    """Say that a sound file is another program's; empty for an archive of this harness, however damaged."""
    if has_journal(path) or read_seal(path) or not (isinstance(backend, TellsForeign) and backend.foreign(path)):
        return ""
    return f"{path} is not an archive of this harness: another program wrote it. {_IMPORT}"


@contextmanager
def open_archive(
    path: Path, backend: Format | None = None, *, looked_at: bool = False
) -> Iterator[tuple[Format, Reader, Manifest]]:
    """Open an archive of any format, with a manifest that agrees with what the container lists.

    Parameters
    ----------
    path : Path
        The archive.
    backend : Format, optional
        Its format; found from its content when not given.
    looked_at : bool
        Whether it was opened before by this process: what could lead out of it is then not looked for again.

    Yields
    ------
    backend : Format
        Its format.
    reader : Reader
        Open until the block ends.
    manifest : Manifest
        Validated.

    Raises
    ------
    ArchiveError
        When the archive is damaged, of another kind, or its tensors disagree with its manifest; when something in it
        leads to another file.
    """
    backend = backend or detect(path)
    unfinished = has_journal(path)
    try:
        with blame(backend.name, f"opening {path}"):
            out = "" if looked_at else _way_out(path, backend)
            if not out:
                reader = recovered(path, backend) if unfinished else backend.reader(path)
    except MachineError:
        raise
    except HarnessError as error:
        raise _unreadable(path, backend, error) from error
    if out:
        raise ArchiveError(f"{path} holds {out}, which may lead to any file here; nothing of it was read.")
    with reader:
        try:
            with blame(backend.name, f"reading the manifest of {path}"):
                manifest = Manifest.from_json(reader.manifest_text())
                manifest_only = {spec.path: Stored(spec.shape, spec.dtype) for spec in manifest.tensors}
                stored = reader.stored() if isinstance(reader, ListsTensors) else manifest_only
        except MachineError:
            raise
        except ArchiveError as error:
            raise ArchiveError(f"{path}: {error}") from error
        except HarnessError as error:
            raise _unreadable(path, backend, error) from error
        for spec in manifest.tensors:
            if spec.path not in stored:
                raise ArchiveError(f"{path}: the manifest lists {spec.path}, which the archive does not hold.")
            found = stored[spec.path]
            if (found.shape, found.dtype) != (spec.shape, spec.dtype):
                raise ArchiveError(
                    f"{path}: {spec.path} has shape {found.shape} and dtype {found.dtype}, "
                    f"the manifest says {spec.shape} and {spec.dtype}."
                )
        yield backend, reader, manifest


def _way_out(path: Path, backend: Format) -> str:
    """Name what in an archive leads to another file; empty where there is nothing."""
    if (out := link_in(path)) or has_journal(path) or not isinstance(backend, TellsLinks):
        return out
    return backend.leads_out(path)


def _unreadable(path: Path, backend: Format, error: HarnessError) -> HarnessError:
    return ArchiveError(_foreign(path, backend) or f"{path} is truncated or damaged ({error})")


def check_bytes(path: Path, backend: Format) -> str:
    """Compare what is stored with its seal, or where the writing ended early with the digests in its journal.

    Behind an unbroken seal, what chunks state is looked at as well: whoever makes an archive can seal it too.

    Parameters
    ----------
    path : Path
        The archive.
    backend : Format
        Its format.

    Returns
    -------
    str
        What is wrong, in one sentence; empty when every byte is as it was written.
    """
    if foreign := _foreign(path, backend):
        return foreign
    if has_journal(path):
        broken = check_stored(path, backend)
    elif not (broken := check_seal(path)) and isinstance(backend, TellsOverstated):
        with blame(backend.name, f"looking at the chunks of {path}"):
            broken = backend.overstated(path)
    return f"{path}: {broken}." if broken else ""


def check_total(path: Path, manifest: Manifest) -> None:
    """Refuse an archive whose tensors are far larger than its files, as a few stated numbers can make them.

    Raises
    ------
    LimitError
        Before any of them is read.
    """
    size, _ = archive_size(path)
    if manifest.nbytes > (most := archive_limit(size)):
        raise LimitError(
            f"{path} has {in_words(size)} and states tensors of {in_words(manifest.nbytes)}, more than "
            f"{in_words(most)}; if you trust it, raise that with --max-inflated."
        )


def verify_archive(path: Path, backend: Format | None = None) -> list[str]:
    """Check every byte of an archive against its seal, and every tensor against its digest.

    Parameters
    ----------
    path : Path
        The archive.
    backend : Format, optional
        Its format; found from its content when not given.

    Returns
    -------
    list of str
        One sentence per problem; empty when the archive is as it was written, also when it is incomplete as its
        manifest then says. Tensors are read only behind an
        unbroken seal: bitshuffle's lz4, for one, reads outside its buffers when its input is damaged.

    Raises
    ------
    UsageError
        When there is nothing at the path.
    MachineError
        When the machine failed, which says nothing about the archive.
    """
    problems = []
    try:
        backend = backend or detect(path)
        if broken := check_bytes(path, backend):
            return [broken]  # no further: some libraries crash the process on damaged bytes
        with open_archive(path, backend) as (_, reader, manifest):
            check_total(path, manifest)
            for spec in manifest.tensors:
                problem = _verify_tensor(backend, reader, spec, manifest.digests.get(spec.path))
                if problem:
                    problems.append(f"{path}: {problem}.")
    except (UsageError, MachineError):
        raise
    except HarnessError as error:
        problems.append(str(error))
    return problems


def _verify_tensor(backend: Format, reader: Reader, spec: TensorSpec, expected: str | None) -> str:
    if expected is None:
        return f"{spec.path} has no digest in the manifest"
    state = Digest()
    try:
        for block in read_blocks(backend, reader, spec):
            state.update(block)
    except MachineError:
        raise
    except HarnessError as error:
        return f"{spec.path} cannot be read: {str(error).rstrip('.')}"
    return (
        ""
        if state.hexdigest() == expected
        else f"{spec.path} does not have the digest that was recorded when it was written"
    )


def read_blocks(backend: Format, reader: Reader, spec: TensorSpec, *, whole_rows: bool = False) -> Iterator[np.ndarray]:
    """Read a tensor block by block where the format can, so that a large one is never whole in memory.

    Blocks end where stored chunks do, so that each of these is decoded once.

    Parameters
    ----------
    backend : Format
        The format.
    reader : Reader
        An open archive.
    spec : TensorSpec
        Which tensor.
    whole_rows : bool
        Cut no row, however large: for a trace, whose blocks are rows.

    Yields
    ------
    ndarray
        Consecutive parts in C order, of the dtype that `spec` states.
    """
    by_rows = not isinstance(backend, ReadsWhole) or (backend.streams and spec.nbytes > LARGE_BYTES)
    if not spec.shape or not by_rows:
        with blame(backend.name, f"reading {spec.path}"):
            array = reader.read(spec.path)
        yield from split(array)
        return
    with blame(backend.name, f"reading {spec.path}"):
        opened = reader.opened(spec.path) if isinstance(reader, ShowsStorage) else None
    # One of a stack of layers has an axis of these in front.
    chunks = opened.chunks[-len(spec.shape) :] if opened and opened.chunks else None
    for part in in_blocks(spec, chunks, whole_rows=whole_rows):
        with blame(backend.name, f"reading {spec.path}"):
            block = reader.read(spec.path, part)
        yield block


def archive_size(path: Path) -> tuple[int, int]:
    """Measure an archive.

    Parameters
    ----------
    path : Path
        A file or a folder.

    Returns
    -------
    size : int
        Bytes of all its files.
    files : int
        Their number.
    """
    files = files_of(path)
    return sum(file.stat().st_size for file in files), len(files)
