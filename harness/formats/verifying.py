"""Check every byte of an archive against its seal, and every tensor against its digest."""

from __future__ import annotations

from pathlib import Path

from harness.errors import HarnessError, MachineError, UsageError
from harness.formats.base import Format, Reader, blame
from harness.formats.describing import TellsOverstated
from harness.formats.journal import has_journal
from harness.formats.opening import detect, foreign_to, open_archive, read_blocks
from harness.formats.placing import archive_size
from harness.formats.recovery import check_stored
from harness.formats.seal import check_seal
from harness.limits import LimitError, archive_limit, in_words
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec
from harness.trace.stream import Digest


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


def verify_archive(path: Path, backend: Format | None = None) -> list[str]:
    """Check every byte of an archive against its seal, and every tensor against its digest.

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
        return f"{spec.path} does not have the digest that was recorded when it was written"
    return ""
