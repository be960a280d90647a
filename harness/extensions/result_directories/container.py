"""Container of one slimmed file: a header, a skeleton, and the file's arrays, each in its smallest exact coding.

The layout is ``MAGIC``, the length of the header as eight bytes, the header as compressed JSON, then the blocks. The
file describes its own content, so it can be read without the manifest of its directory.
"""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NotRequired, TypedDict

from harness.documents import Count, Digest, decode
from harness.errors import ArchiveError
from harness.extensions.result_directories import coding, json_numbers
from harness.extensions.result_directories.disk import digest
from harness.foreign import pickles
from harness.limits import LimitError, in_words, inflate, scaled_limit

MAGIC = b"\x89HSLIM\r\n"
VERSION = 1
SUFFIX = ".slim"
XZ = ".xz"

_XZ_IS_ENOUGH = 0.95
"""A special file must be at most this share of plain xz in size; otherwise xz, which every tool opens, is used."""

_LARGEST_HEADER = 8 << 20
_SMALL, _RATIO = 8 << 20, 40
"""Bytes to which any packed file may inflate, and the largest ratio to its own size for a larger one."""

_NONSENSE = (
    ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError, struct.error,
)  # fmt: skip
"""Exceptions that numbers and names of a damaged header can cause."""

_XZ_IS_TRIED = 1 << 20
"""Bytes; a larger file of arrays is never smallest as text, and xz would take most of the time."""


class _Header(TypedDict):
    """Header of a packed file; `coding` and `json_numbers` interpret the codings of its arrays."""

    version: int
    name: NotRequired[str]
    size: Count
    sha256: Digest
    original: Digest
    dropped: list[list[str]]
    lengths: list[Count]
    kind: Literal["json", "pickle"]
    skeleton: Count
    streams: NotRequired[list[coding.Coded]]
    arrays: NotRequired[list[coding.Coded]]
    pieces: NotRequired[list[tuple[Count, Count]]]


@dataclass(frozen=True)
class Unpacked:
    """Unpacked content of a slimmed file."""

    data: bytes  # The file that was slimmed, or the reduced file if it was reduced first.
    original: str  # SHA-256 of the file before any reduction.
    # The keys of dropped arrays; in `data` they are zeros, which readers must not use as values.
    dropped: tuple[tuple[str, ...], ...] = ()

    @property
    def exact(self) -> bool:
        """Whether `data` is the original, byte for byte."""
        return digest(self.data) == self.original


def pack(
    name: str,
    data: bytes,
    *,
    original: str = "",
    dropped: tuple[tuple[str, ...], ...] = (),
    steps: Mapping[int, float] | None = None,
    readable: bool = False,
) -> tuple[str, bytes]:
    """Pack a file, and verify that unpacking restores it.

    Parameters
    ----------
    name : str
        Its name: ``.pkl`` and ``.json`` are split into arrays and skeleton, other files are compressed as one block.
    data : bytes
        Its content.
    original : str, optional
        SHA-256 of the file before it was reduced.
    dropped : tuple of tuple of str
        The keys of arrays whose bytes in `data` are zeros.
    steps : mapping of int to float, optional
        For arrays that were reduced to multiples of a step: the step by the array's start in `data`.
    readable : bool
        Whether other tools must be able to read it. This is impossible with dropped arrays, whose zeros are no values.

    Returns
    -------
    str, bytes
        The suffix of the packed file, `XZ` for a plain xz file, else `SUFFIX`; and the packed file.

    Raises
    ------
    ArchiveError
        If unpacking does not restore the content; then the caller must not remove anything.
    LimitError
        If unpacking exceeds the limit for untrusted files.
    """
    plain_xz = partial(coding.encode_xz, data, words=name.endswith(".pkl"))
    if readable and not dropped:
        return XZ, _proven(plain_xz(), data)
    parts: dict[str, Any] = {}
    blocks: list[bytes] = []
    if name.endswith(".pkl"):
        parts, blocks = _split_pickle(data, steps or {})
    elif name.endswith(".json"):
        parts, blocks = _split_json(data)
    is_text = not blocks or 2 * parts["skeleton"] > len(data)
    wants_xz = not original and (is_text or len(data) <= _XZ_IS_TRIED)
    header = {
        "version": VERSION,
        "name": name,
        "size": len(data),
        "sha256": digest(data),
        "original": original or digest(data),
        "dropped": [list(path) for path in dropped],
        "lengths": [len(block) for block in blocks],
        **parts,
    }
    stated = coding.encode_xz(json.dumps(header, separators=(",", ":")).encode())
    packed = b"".join((MAGIC, struct.pack("<Q", len(stated)), stated, *blocks))
    if wants_xz and (len(packed) > _XZ_IS_ENOUGH * len(xz := plain_xz()) or not blocks):
        return XZ, _proven(xz, data)
    return SUFFIX, _proven(packed, data)


def _proven(packed: bytes, data: bytes) -> bytes:
    if unpack(packed, len(data)).data != data:
        raise ArchiveError("unpacking does not give the original bytes")
    return packed


def unpack(packed: bytes, stated: int | None = None) -> Unpacked:
    """Read a packed file.

    Parameters
    ----------
    packed : bytes
        A file from `pack`, including a plain xz file.
    stated : int, optional
        The size of its content according to a manifest; no more is inflated.

    Returns
    -------
    Unpacked
        Its content, checked against the digest in its header.

    Raises
    ------
    LimitError
        If its content is larger than stated, or than the limit for a file of its size.
    HarnessError
        If it is damaged, or of a version this harness does not know.
    """
    if not packed.startswith(MAGIC):
        data = inflate("xz", packed, "it", stated)
        return Unpacked(data, digest(data))
    try:
        start = len(MAGIC) + 8
        (length,) = struct.unpack("<Q", packed[len(MAGIC) : start])
        text = inflate("xz", packed[start : start + length], "its header", _LARGEST_HEADER)
        header = decode(text, _Header, "its header", version=("version", VERSION), mend="", error=ArchiveError)
        _check_size(header["size"], len(packed), stated)
        ends = list(itertools.accumulate(header["lengths"], initial=start + length))
        data = _rebuild(header, [packed[start:end] for start, end in itertools.pairwise(ends)])
        found = Unpacked(data, header["original"], tuple(tuple(path) for path in header["dropped"]))
    except _NONSENSE as error:
        raise ArchiveError(f"it is truncated or damaged ({type(error).__name__}: {error})") from error
    if digest(data) != header["sha256"]:
        raise ArchiveError("its bytes differ from those that were packed")
    return found


def _check_size(size: int, packed: int, stated: int | None) -> None:
    """Raise an error if the content is too large; joining the numbers of a text takes many times its size in memory."""
    if stated is not None and size != stated:
        raise ArchiveError(f"it inflates to {in_words(size)}, and {in_words(stated)} are stated for it")
    most = scaled_limit(packed, _SMALL, _RATIO)
    if size > most:
        raise LimitError(
            f"it gives {in_words(size)}, more than {in_words(most)}; if you trust it, raise that with --max-inflated"
        )


def _rebuild(header: _Header, blocks: list[bytes]) -> bytes:
    size, is_json = header["size"], header["kind"] == "json"
    coded = list(zip(header["streams" if is_json else "arrays"], blocks[1:], strict=True))
    # A number takes at least one byte in a text, and at most eight bytes as stored.
    inner = sum(coding.stated_size(how) for how, _ in coded)
    if header["skeleton"] > size or inner > 8 * size:
        raise ArchiveError("it is damaged: its parts are larger than its content")
    skeleton = coding.decode_text(blocks[0], header["skeleton"])
    if is_json:
        return json_numbers.join(skeleton, (json_numbers.decode(*pair) for pair in coded), size)
    arrays = [coding.decode(*pair) for pair in coded]
    given = sum(len(arrays[which]) for _, which in header["pieces"]) + len(skeleton)
    if given != size:
        raise ArchiveError("it is damaged: its parts do not have the size that it states")
    parts, taken = [], 0
    for before, which in header["pieces"]:
        parts += [skeleton[taken : taken + before], arrays[which]]
        taken += before
    return b"".join((*parts, skeleton[taken:]))


def _split_json(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    skeleton, streams = json_numbers.split(data)
    coded = [json_numbers.encode(stream) for stream in streams]
    parts = {"kind": "json", "skeleton": len(skeleton), "streams": [how for how, _ in coded]}
    return (parts, [coding.encode_text(skeleton), *(block for _, block in coded)]) if coded else ({}, [])


def _split_pickle(data: bytes, steps: Mapping[int, float]) -> tuple[dict[str, Any], list[bytes]]:
    # Loading the pickle only gives the positions and types of arrays. Everything else is cut and joined as bytes, so
    # that any pickle is restored exactly.
    arrays = {leaf.raw: leaf for _, leaf in pickles.leaves(pickles.load(data)) if isinstance(leaf.raw, bytes)}
    coded: list[tuple[coding.Coded, bytes]] = []
    seen: dict[bytes, int] = {}
    skeleton, pieces, end = [], [], 0
    for start, length in pickles.payloads(data):
        raw = data[start : start + length]
        skeleton.append(data[end:start])
        if raw not in seen:  # the same array under two names is stored once
            seen[raw] = len(coded)
            coded.append(_encode_array(raw, arrays.get(raw), steps.get(start)))
        pieces.append([start - end, seen[raw]])
        end = start + length
    rest = b"".join((*skeleton, data[end:]))
    parts = {"kind": "pickle", "skeleton": len(rest), "pieces": pieces, "arrays": [how for how, _ in coded]}
    return (parts, [coding.encode_text(rest), *(block for _, block in coded)]) if coded else ({}, [])


def _encode_array(raw: bytes, leaf: pickles.ArrayLeaf | None, step: float | None) -> tuple[coding.Coded, bytes]:
    if leaf is None or leaf.dtype.kind not in "fiucb":
        return {"how": "text", "size": len(raw)}, coding.encode_text(raw)
    if step is not None and (grid := coding.encode_grid(raw, leaf.dtype, step)) is not None:
        return grid
    itemsize = leaf.dtype.itemsize // (2 if leaf.dtype.kind == "c" else 1)
    shape = () if leaf.fortran or leaf.dtype.kind == "c" else leaf.shape
    return coding.encode_array(raw, itemsize, shape)


def content(unpacked: Unpacked) -> Any:
    """Load the pickle of a packed file, without the arrays that were dropped from it."""
    found = pickles.plain(pickles.load(unpacked.data))
    for *path, key in unpacked.dropped:
        holder = found
        for part in path:
            holder = holder[part]
        del holder[key]
    return found
