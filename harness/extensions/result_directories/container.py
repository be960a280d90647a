"""One slimmed file: a header, a skeleton, and the arrays of what it was, each in its smallest exact coding.

The layout is ``MAGIC``, the length of the header as eight bytes, the header as compressed JSON, then the blocks. A file
says by itself what it gives back, so that it can be read without the manifest beside it.
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
"""Below this share of the size of plain xz a special file is worth more than one that every tool opens."""

_LARGEST_HEADER = 8 << 20
_SMALL, _RATIO = 8 << 20, 40
"""Bytes that any packed file of ours may give, and times its own size that a larger one may."""

_NONSENSE = (
    ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError, struct.error,
)  # fmt: skip
"""What numbers and names of a damaged header make of the code."""

_XZ_IS_TRIED = 1 << 20
"""Bytes; with more in it than that a file of arrays is never best as text, and xz would take most of the time."""


class _Header(TypedDict):
    """The header of a packed file; how its arrays are coded is for `coding` and `json_numbers`."""

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
    """What a slimmed file gives back."""

    data: bytes  # The file that was slimmed; where it was reduced first, the reduced file.
    original: str  # SHA-256 of the file before any reduction.
    # The keys of arrays that were dropped; in `data` they are zeros, and no reader may take them for values.
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
    """Pack a file, and prove that it comes back.

    Parameters
    ----------
    name : str
        Its name: ``.pkl`` and ``.json`` are taken apart, anything else is compressed whole.
    data : bytes
        Its content.
    original : str, optional
        SHA-256 of the file before it was reduced.
    dropped : tuple of tuple of str
        The keys of arrays whose bytes in `data` are zeros.
    steps : mapping of int to float, optional
        For arrays that were reduced to multiples of a step: where the array starts in `data`, and the step.
    readable : bool
        Whether other tools have to be able to read it; none can where arrays were dropped, whose zeros are no values.

    Returns
    -------
    str, bytes
        The suffix of the packed file, `XZ` for a plain xz file, else `SUFFIX`; and the packed file.

    Raises
    ------
    ArchiveError
        When what comes back is not what went in; nothing may be removed then.
    LimitError
        When it could be inflated only beyond the limit for files of strangers.
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
        What `pack` gave; a plain xz file too.
    stated : int, optional
        The size of what it gives back, by a manifest beside it; no more is inflated.

    Returns
    -------
    Unpacked
        What it gives back, checked against the digest that it states.

    Raises
    ------
    LimitError
        When it gives more than is stated, or than is inflated of a file of its size.
    HarnessError
        When it is damaged, or of a version this harness does not know.
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
    """Refuse what gives too much; numbers in a text take many times its size while they are put together."""
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
    # A number takes a byte or more of a text, and eight at most as it is stored.
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
    # Only where the arrays lie and what they are is taken from the reading; the rest is cut and joined as bytes, so
    # that the pickle comes back whatever it says.
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
    """Read the pickle that a packed file gives back, without the arrays that were dropped from it."""
    found = pickles.plain(pickles.load(unpacked.data))
    for *path, key in unpacked.dropped:
        holder = found
        for part in path:
            holder = holder[part]
        del holder[key]
    return found
