"""Operations on archives of any format: write completely or not at all, open, verify."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import zip_longest
from pathlib import Path

import numpy as np

from harness.errors import HarnessError, UsageError
from harness.files import sync
from harness.formats.base import Format, Profile, Writer, blame
from harness.formats.journal import JournalWriter
from harness.formats.opening import check_bytes, check_total, detect, open_archive, read_blocks, verify_archive
from harness.formats.placing import archive_size, beside, check_destination, kept, remove, require_outside, sync_archive
from harness.formats.recovered import RecoverableFormat
from harness.formats.recovery import note
from harness.formats.seal import files_of, seal
from harness.formats.settings import profile_of
from harness.trace.incomplete import stage_of
from harness.trace.manifest import Manifest, validate
from harness.trace.schema import TensorSpec
from harness.trace.stream import Digest, Trace, regroup

__all__ = [
    "archive_size", "check_bytes", "check_destination", "check_total", "detect", "files_of", "open_archive",
    "read_blocks", "remove", "require_outside", "sync_archive", "verify_archive", "write_archive",
]  # fmt: skip


def write_archive(
    trace: Trace,
    backend: Format,
    destination: Path,
    profile: Profile | str = "tuned",
    *,
    stopwatch: AbstractContextManager[object] | None = None,
    sync_stopwatch: AbstractContextManager[object] | None = None,
    keep_incomplete: bool = False,
) -> Manifest:
    """Write a trace; the archive appears under its final name only when it is complete, sealed and on disk.

    Until then it has a hidden name, and nothing is left of it when writing fails. With `keep_incomplete` it has the
    name from `harness.formats.recovery.incomplete_path`, and can be read up to the last complete layer, however writing
    ends: `open_archive`, and everything that uses it, accept that name too.

    Parameters
    ----------
    trace : Trace
        What to write.
    backend, profile : Format, Profile or str
        The format and its settings, or a profile by name, which may be one of the format's own.
    destination : Path
        The archive's name; must not exist.
    stopwatch, sync_stopwatch : context manager, optional
        The first is entered around the format's writer, but not while blocks and digests are computed; the second
        around waiting for the disk.
    keep_incomplete : bool
        Keep the tensors of complete layers when writing ends early, even if the process is killed.

    Returns
    -------
    Manifest
        The trace's manifest with the digest of every tensor.

    Raises
    ------
    UsageError
        When the destination exists or cannot be written, the format or profile does not exist, or the format does not
        support `keep_incomplete`.
    SchemaError, UnsupportedProfile, HarnessError
        When the manifest does not fit the schema, the format cannot take the profile, or the format fails.
    """
    timed = stopwatch or nullcontext()
    _check_request(backend, keep_incomplete)
    profile = profile_of(backend, profile)  # the name may be one of the format's own
    # Before a name becomes a path on disk, and before anything is written for an unsupported profile.
    validate(trace.manifest)
    backend.require(trace.manifest, profile)
    alignment = {spec.path: (backend.layout(spec, profile).chunks or (1,))[0] for spec in trace.manifest.tensors}
    begun = kept(destination, backend, trace.manifest) if keep_incomplete else beside(destination)
    with begun as (partial, journal):
        with blame(backend.name, "creating an archive"), timed:
            writer = backend.writer(partial, trace.manifest, profile)
        try:
            manifest = _fill(trace, alignment, backend, writer, timed, partial, journal)
        except BaseException:
            with contextlib.suppress(Exception):  # the first error is the one to report
                writer.abort()
            raise
        if not partial.exists():
            raise HarnessError(f"{backend.name} reported success but wrote nothing.")
        # Each step starts when the previous one is on disk.
        with sync_stopwatch or nullcontext():
            sync_archive(partial)
        seal(partial)
        sync_archive(partial)
        partial.rename(destination)
        sync(destination.parent)
    return manifest


def _check_request(backend: Format, keep_incomplete: bool) -> None:
    if not isinstance(backend, Format):
        raise UsageError(f"{backend!r} is not a format: give an instance, such as load_format('hdf5').")
    if keep_incomplete and not isinstance(backend, RecoverableFormat):
        raise UsageError(f"The format {backend.name!r} cannot be read before it is finished: choose another format.")


def _fill(
    trace: Trace,
    alignment: Mapping[str, int],
    backend: Format,
    writer: Writer,
    timed: AbstractContextManager[object],
    partial: Path,
    journal: JournalWriter | None,
) -> Manifest:
    """Stream all tensors into a writer and commit; record complete layers in the journal, if there is one."""
    digests: dict[str, str] = {}
    for spec, following in zip_longest(trace.manifest.tensors, trace.manifest.tensors[1:]):
        digests[spec.path] = _write_tensor(trace, spec, alignment[spec.path], backend.name, writer, timed)
        # Tensors of one layer or recycling step are recorded together; inputs and outputs belong to none.
        if journal and not (following and stage_of(spec.path) == stage_of(following.path) != ""):
            with blame(backend.name, f"keeping what is whole up to {spec.path}"):
                note(journal, backend, writer, timed, partial, digests)
    manifest = dataclasses.replace(trace.manifest, digests=digests)
    with blame(backend.name, "committing an archive"), timed:
        writer.commit(manifest)
    return manifest


class _Blocks:
    """The blocks of a tensor for a writer, whose stopwatch is stopped while a block is computed and digested."""

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
                block = _checked(self._spec, block, self.rows)
                self.digest.update(block)
                self.rows += len(block) if self._spec.shape else 1
        except Exception as error:
            self.error = error  # of the trace, even if the writer hides it
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
    if blocks.rows != (wanted := spec.shape[0] if spec.shape else 1):
        raise HarnessError(f"{spec.path}: expected {wanted} rows, the trace gave {blocks.rows}.")
    return blocks.digest.hexdigest()


def _checked(spec: TensorSpec, block: np.ndarray, rows: int) -> np.ndarray:
    """Return a block in C order and native byte order; raise if it does not fit the tensor after `rows` rows."""
    dtype = np.dtype(spec.dtype)
    if block.dtype.newbyteorder("=") == dtype:
        block = np.asarray(block, dtype, order="C")  # no copy if it already is
    fits = block.shape[1:] == spec.shape[1:] and block.ndim == len(spec.shape) and block.dtype == dtype
    if not fits or (spec.shape and rows + len(block) > spec.shape[0]):
        raise HarnessError(
            f"{spec.path}: expected blocks that make up shape {spec.shape} of {spec.dtype}, "
            f"got one of shape {block.shape} of {block.dtype} after {rows} rows."
        )
    return block
