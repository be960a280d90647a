"""The record of slimming: a manifest that lists the stored tensors, and in addition the original tensors.

Such a manifest is that of an ordinary archive, with one field more. A version that does not know that field refuses the
archive, so that narrowed values are never taken for the original ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import msgspec

from harness.errors import ArchiveError
from harness.slimming.narrowing import Narrowing, by_name
from harness.slimming.slimmer import Kept
from harness.trace.manifest import Manifest, validate
from harness.trace.schema import Role, TensorSpec
from harness.trace.slimming import Origin

Places = dict[str, tuple[str, Narrowing]]
"""By the path of an original tensor, the stored tensor that holds it, and how the values were narrowed."""


def slimmed(manifest: Manifest, kept: Iterable[Kept], digests: Mapping[str, str]) -> Manifest:
    """Return the manifest of the stored tensors, with the record of the original ones.

    Parameters
    ----------
    manifest : Manifest
        Of the trace, with digests.
    kept : iterable of Kept
        What is stored for each tensor, in the manifest's order.
    digests : mapping of str to str
        Of the stored tensors, by path.
    """
    kept = list(kept)
    stored = tuple(one.stored for one in kept if not one.of)
    record = tuple(_origin(one, manifest.digests[one.spec.path]) for one in kept)
    return replace(manifest, tensors=stored, digests=digests, slimming=record)


def _origin(kept: Kept, digest: str) -> Origin:
    spec = kept.spec
    if kept.of:
        return Origin(path=spec.path, of=kept.of, axes=spec.axes, role=spec.role.value)
    if kept.narrowing.as_it_is:
        return Origin(path=spec.path)
    return Origin(path=spec.path, dtype=spec.dtype, narrowing=kept.narrowing.name, digest=digest)


def places_in(text: str | bytes) -> Places:
    """Return where the tensors of a slimmed archive are; parse nothing else of its manifest, so that it opens fast.

    Parameters
    ----------
    text : str or bytes
        The manifest as it is stored.

    Raises
    ------
    ArchiveError
        When the record does not match the stored tensors, or there is none.
    """
    try:
        found = msgspec.json.decode(text, type=_Described)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ArchiveError(f"The manifest cannot be read: {error}.") from error
    return _places({tensor.path: tensor.dtype for tensor in found.tensors}, found.slimming)


def unslimmed(stored: Manifest) -> Manifest:
    """Return the original manifest of a slimmed archive, which may come from an untrusted source.

    Parameters
    ----------
    stored : Manifest
        As it is in the archive.

    Returns
    -------
    Manifest
        Of the trace, as it was before it was slimmed.

    Raises
    ------
    ArchiveError
        When the record does not match the stored tensors, or there is none.
    SchemaError
        When the original manifest does not fit the schema.
    """
    places = _places(stored.tensor_dtypes, stored.slimming)
    specs: dict[str, TensorSpec] = {}
    digests: dict[str, str] = {}
    for row in stored.slimming:
        place, narrowing = places[row.path]
        spec = replace(stored[place], path=row.path, dtype=narrowing.dtype)
        if row.of:
            if row.role not in list(Role):
                raise _unfit(row, f"has the role {row.role!r}, which is not known")
            spec = replace(spec, axes=row.axes, role=Role(row.role))
        specs[row.path] = spec
        digest = digests.get(row.of) if row.of else row.digest or stored.digests.get(row.path)
        digests |= {row.path: digest} if digest is not None else {}
    manifest = replace(stored, tensors=tuple(specs.values()), digests=digests, slimming=())
    validate(manifest)
    return manifest


def _places(dtypes: Mapping[str, str], record: Sequence[Origin]) -> Places:
    """Return the stored tensor of every tensor in a record; `dtypes` are those of the stored tensors, by path."""
    if dtypes and not record:
        raise ArchiveError("It is not slimmed: its manifest has no record of slimming.")
    places: Places = {}
    for row in record:
        if row.path in places:
            raise _unfit(row, "is named twice")
        if not row.of:
            places[row.path] = row.path, _narrowing(row, dtypes)
        elif row.of in places and places[row.of][0] == row.of:
            places[row.path] = places[row.of]
        else:
            raise _unfit(row, f"is read from {row.of!r}, which is not stored before it")
    if missing := dtypes.keys() - {path for path, _ in places.values()}:
        raise ArchiveError(f"The record of slimming does not name {min(missing)}, which is stored.")
    return places


def _narrowing(row: Origin, dtypes: Mapping[str, str]) -> Narrowing:
    """Return how the values of a stored tensor were narrowed."""
    if row.path not in dtypes:
        raise _unfit(row, "is not stored")
    dtype = row.dtype or dtypes[row.path]
    try:
        narrowing = by_name(dtype, row.narrowing or "none")
    except KeyError:
        raise _unfit(row, f"is narrowed from {dtype!r} as {row.narrowing!r}, which is not known") from None
    if narrowing.stored != dtypes[row.path]:
        raise _unfit(row, f"is stored as {dtypes[row.path]}, which is not how {narrowing.name!r} is stored")
    return narrowing


def _unfit(row: Origin, what: str) -> ArchiveError:
    return ArchiveError(f"The record of slimming does not fit what is stored: {row.path} {what}.")


class _Tensor(msgspec.Struct):
    path: str
    dtype: str


class _Described(msgspec.Struct):
    """The fields of a stored manifest from which places are found."""

    tensors: list[_Tensor]
    slimming: list[Origin] = []
