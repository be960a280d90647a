"""Open archives of any format: detect the format, read tensors in blocks, and verify every bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from harness import registry
from harness.errors import ArchiveError, HarnessError, MachineError, UsageError
from harness.files import check_regular, check_tree
from harness.formats.base import Format, Reader, blame, load_format
from harness.formats.describing import (
    ListsTensors,
    ReadsWhole,
    ShowsStorage,
    SlimmingFormat,
    TellsForeign,
    TellsLinks,
    TellsOverstated,
    recognised,
)
from harness.formats.journal import UNFINISHED, has_journal
from harness.formats.placing import archive_size
from harness.formats.recovery import check_stored, format_of, recovered
from harness.formats.seal import check_seal, link_in, read_seal
from harness.formats.selection import Selection, in_blocks, row_blocks
from harness.formats.slimmed import SlimmedReader
from harness.limits import LimitError, archive_limit, in_words
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec
from harness.trace.stream import LARGE_BYTES, Digest, split

_IMPORT = "'harness run' measures formats on its arrays, and 'harness convert' makes an archive of them."


def detect(path: Path) -> Format:
    """Find the registered format of an archive from its content.

    Raises
    ------
    UsageError
        When there is nothing at the path.
    ArchiveError
        When no format recognises it.
    HarnessError
        When it is, or contains, something other than a regular file or a folder.
    """
    if not path.exists():
        raise UsageError(f"There is no archive at {path}.")
    if not path.is_dir():
        check_regular(path)
    backend = _recognised(path)
    check_tree(path)  # a read of a pipe or a device in it could block, or never end
    return backend


def _recognised(path: Path) -> Format:
    if has_journal(path):
        return format_of(path)
    if path.name == UNFINISHED and has_journal(path.parent):
        raise UsageError(f"{path} is only a part of an incomplete archive: give {path.parent}.")
    formats = registry.listing("formats")
    loaded = [(listed.name, listed.plugin()) for listed in formats if listed.plugin is not None]
    # Slimmed formats first: their archives are archives of the format below too. Then optional formats: NPZ recognises
    # every zip file, to report that another program wrote it.
    for name, plugin in sorted(
        loaded, key=lambda one: (not isinstance(one[1], SlimmingFormat), getattr(one[1], "standing", "") == "default")
    ):
        if recognised(path, plugin):
            return load_format(name)
    if path.is_file() and not path.stat().st_size:
        raise ArchiveError(f"{path} is empty: it was truncated, or never written.")
    known = ", ".join(registry.names("formats"))
    raise ArchiveError(
        f"{path} is not an archive of any format known here ({known}): it is damaged, or another program wrote it. "
        f"{_IMPORT}{registry.failed_imports(formats)}"
    )


def foreign_to(path: Path, backend: Format) -> str:
    """Return a sentence if a sound file is another program's; empty for an archive of this harness, even if damaged."""
    if has_journal(path) or read_seal(path) or not (isinstance(backend, TellsForeign) and backend.foreign(path)):
        return ""
    return f"{path} is not an archive of this harness: another program wrote it. {_IMPORT}"


@contextmanager
def open_archive(
    path: Path, backend: Format | None = None, *, known: Manifest | None = None
) -> Iterator[tuple[Format, Reader, Manifest]]:
    """Open an archive of any format, and check its manifest against the tensors that the container lists.

    Parameters
    ----------
    path : Path
        The archive.
    backend : Format, optional
        Its format; found from its content when not given.
    known : Manifest, optional
        The manifest from an earlier opening by this process. It is then not parsed again, which takes long with many
        tensors, and links to other files are not searched again. A caller that gives it must compare digests of values.

    Yields
    ------
    backend, reader, manifest : Format, Reader, Manifest
        Its format, a reader that is open until the block ends, and the manifest, validated.

    Raises
    ------
    ArchiveError
        When the archive is damaged or of another kind, when its tensors disagree with its manifest, or when something
        in it refers to another file.
    """
    backend = backend or detect(path)
    with _damage(path, backend, f"opening {path}"):
        out = "" if known else _way_out(path, backend)
        if not out:
            reader = recovered(path, backend) if has_journal(path) else backend.reader(path)
    if out:
        raise ArchiveError(f"{path} holds {out}, which may refer to any file here; nothing was read.")
    with reader:
        with _damage(path, backend, f"reading the manifest of {path}", said=True):
            text = reader.manifest_text()
            again = None if b'"slimming"' in (text if isinstance(text, bytes) else text.encode()) else known
            manifest = again or Manifest.from_json(text)
            if manifest.slimming:  # its format is not installed here, but the format below can read it too
                reader = SlimmedReader(reader)
                manifest = Manifest.from_json(reader.manifest_text())
            if not again and isinstance(reader, ListsTensors):
                _check_listed(reader, manifest)
        yield backend, reader, manifest


def _check_listed(reader: ListsTensors, manifest: Manifest) -> None:
    """Raise `ArchiveError` if a container does not hold the tensors of its manifest."""
    stored = reader.stored()
    for spec in manifest.tensors:
        if spec.path not in stored:
            raise ArchiveError(f"the manifest lists {spec.path}, which the archive does not contain.")
        found = stored[spec.path]
        if (found.shape, found.dtype) != (spec.shape, spec.dtype):
            raise ArchiveError(
                f"{spec.path} has shape {found.shape} and dtype {found.dtype}, "
                f"the manifest says {spec.shape} and {spec.dtype}."
            )


@contextmanager
def _damage(path: Path, backend: Format, action: str, *, said: bool = False) -> Iterator[None]:
    """Raise `ArchiveError` for errors of a format, except machine errors.

    With `said`, the message of an `ArchiveError` is kept; any other error is reported as damage.
    """
    try:
        with blame(backend.name, action):
            yield
    except MachineError:
        raise
    except HarnessError as error:
        problem = f"{path}: {error}" if said and isinstance(error, ArchiveError) else ""
        problem = problem or f"{path} is truncated or damaged ({error})"
        raise ArchiveError(foreign_to(path, backend) or problem) from error


def _way_out(path: Path, backend: Format) -> str:
    """Return the name of something in an archive that refers to another file; empty if there is nothing."""
    if (out := link_in(path)) or has_journal(path) or not isinstance(backend, TellsLinks):
        return out
    return backend.leads_out(path)


def read_blocks(backend: Format, reader: Reader, spec: TensorSpec, *, whole_rows: bool = False) -> Iterator[np.ndarray]:
    """Yield a tensor as consecutive parts in C order, so that a large one is never in memory, if the format allows it.

    Blocks end at chunk boundaries, so that each chunk is decoded once. With `whole_rows` no row is cut, however large:
    for a trace, whose blocks are rows.
    """
    by_rows = not isinstance(backend, ReadsWhole) or (backend.streams and spec.nbytes > LARGE_BYTES)
    if not spec.shape or not by_rows:
        with blame(backend.name, f"reading {spec.path}"):
            array = reader.read(spec.path)
        yield from split(array)
        return
    with blame(backend.name, f"reading {spec.path}"):
        opened = reader.opened(spec.path) if isinstance(reader, ShowsStorage) else None
    # A tensor stored in a stack of layers has chunks with an axis of layers in front.
    chunks = opened.chunks[-len(spec.shape) :] if opened and opened.chunks else None

    def read(part: Selection) -> np.ndarray:
        with blame(backend.name, f"reading {spec.path}"):
            return reader.read(spec.path, part)

    yield from row_blocks(spec, chunks, read) if whole_rows else map(read, in_blocks(spec, chunks))


def check_bytes(path: Path, backend: Format) -> str:
    """Compare the stored bytes with the seal, or those of an incomplete archive with the digests in its journal.

    Returns the problem in one sentence; empty when every byte is as it was written. If the seal is intact, the sizes
    that chunks state are checked too, because anyone who makes an archive can also seal it.
    """
    if foreign := foreign_to(path, backend):
        return foreign
    if has_journal(path):
        broken = check_stored(path, backend)
    elif not (broken := check_seal(path)) and isinstance(backend, TellsOverstated):
        with blame(backend.name, f"looking at the chunks of {path}"):
            broken = backend.overstated(path)
    return f"{path}: {broken}." if broken else ""


def check_total(path: Path, manifest: Manifest) -> None:
    """Raise `LimitError` if tensors are far larger than their files: a few numbers can state any size."""
    size, _ = archive_size(path)
    if manifest.nbytes > (most := archive_limit(size)):
        raise LimitError(
            f"{path} has {in_words(size)} and states tensors of {in_words(manifest.nbytes)}, more than "
            f"{in_words(most)}; if you trust it, raise that with --max-inflated."
        )


def verify_archive(path: Path, backend: Format | None = None, *, own: bool = False) -> list[str]:
    """Check every byte of an archive against its seal, and every tensor against its digest.

    Parameters
    ----------
    path : Path
        The archive.
    backend : Format, optional
        Its format, by default recognised.
    own : bool
        Whether this process wrote it; the size of its tensors is then not limited.

    Returns
    -------
    list of str
        One sentence per problem; empty when the archive is as it was written. An incomplete archive, as its manifest
        then states, is not a problem. Tensors are read only if the seal is intact: bitshuffle's lz4, for one, reads
        outside its buffers when its input is damaged.

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
            if not own:
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
    if state.hexdigest() != expected:
        return f"{spec.path} does not match the digest recorded when it was written"
    return ""
