"""Open an archive of any format, find its format, read it block by block, and check every bit of it."""

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
        When it is, or holds, what is neither a regular file nor a folder.
    """
    if not path.exists():
        raise UsageError(f"There is no archive at {path}.")
    if not path.is_dir():
        check_regular(path)
    backend = _recognised(path)
    check_tree(path)  # a pipe or a device within it would be waited for, or read without end
    return backend


def _recognised(path: Path) -> Format:
    if has_journal(path):
        return format_of(path)
    if path.name == UNFINISHED and has_journal(path.parent):
        raise UsageError(f"{path} is only a part of an incomplete archive: give {path.parent}.")
    formats = registry.listing("formats")
    loaded = [(listed.name, listed.plugin()) for listed in formats if listed.plugin is not None]
    # The slimmed ones first: what is theirs is an archive of the format below too. Then what is optional: NPZ takes any
    # zip file for its own, to say that it is another program's.
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
    """Say that a sound file is another program's; empty for an archive of this harness, however damaged."""
    if has_journal(path) or read_seal(path) or not (isinstance(backend, TellsForeign) and backend.foreign(path)):
        return ""
    return f"{path} is not an archive of this harness: another program wrote it. {_IMPORT}"


@contextmanager
def open_archive(
    path: Path, backend: Format | None = None, *, known: Manifest | None = None
) -> Iterator[tuple[Format, Reader, Manifest]]:
    """Open an archive of any format, with a manifest that agrees with what the container lists.

    Parameters
    ----------
    path : Path
        The archive.
    backend : Format, optional
        Its format; found from its content when not given.
    known : Manifest, optional
        What this process read when it opened it before: then it is not read again, which takes long with many tensors,
        and what could lead out of it is not looked for again. Who gives it compares digests of values.

    Yields
    ------
    backend, reader, manifest : Format, Reader, Manifest
        Its format, a reader that is open until the block ends, and the manifest, validated.

    Raises
    ------
    ArchiveError
        When the archive is damaged, of another kind, or its tensors disagree with its manifest; when something in it
        leads to another file.
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
            if manifest.slimming:  # and its format is not installed here: the one below can read it as well
                reader = SlimmedReader(reader)
                manifest = Manifest.from_json(reader.manifest_text())
            if not again and isinstance(reader, ListsTensors):
                _check_listed(reader, manifest)
        yield backend, reader, manifest


def _check_listed(reader: ListsTensors, manifest: Manifest) -> None:
    """Raise `ArchiveError` where a container does not hold what its manifest says."""
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
    """Call what a format raises damage of the archive, unless it is the machine's or, where `said`, says so itself."""
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
    """Name what in an archive leads to another file; empty where there is nothing."""
    if (out := link_in(path)) or has_journal(path) or not isinstance(backend, TellsLinks):
        return out
    return backend.leads_out(path)


def read_blocks(backend: Format, reader: Reader, spec: TensorSpec, *, whole_rows: bool = False) -> Iterator[np.ndarray]:
    """Yield a tensor as consecutive parts in C order, where the format can, so that a large one is never in memory.

    Blocks end where stored chunks do, so that each of these is decoded once. With `whole_rows` no row is cut, however
    large: for a trace, whose blocks are rows.
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

    def read(part: Selection) -> np.ndarray:
        with blame(backend.name, f"reading {spec.path}"):
            return reader.read(spec.path, part)

    yield from row_blocks(spec, chunks, read) if whole_rows else map(read, in_blocks(spec, chunks))


def check_bytes(path: Path, backend: Format) -> str:
    """Compare what is stored with its seal, or where the writing ended early with the digests in its journal.

    Returns what is wrong, in one sentence; empty when every byte is as it was written. Behind an unbroken seal, what
    chunks state is looked at as well: whoever makes an archive can seal it too.
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
    """Raise `LimitError` where tensors are far larger than their files, as a few stated numbers can make them."""
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
        Whether this process wrote it, so that the tensors may be as large as they are.

    Returns
    -------
    list of str
        One sentence per problem; empty when the archive is as it was written, also when it is incomplete as its
        manifest then says. Tensors are read only behind an unbroken seal: bitshuffle's lz4, for one, reads outside its
        buffers when its input is damaged.

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
