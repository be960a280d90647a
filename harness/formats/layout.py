"""Chunk shapes by role: the seed's, and those that fit the accesses measured here; and the bound of them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from math import gcd, prod

import numpy as np

from harness.formats.base import Codec, Layout, Profile
from harness.formats.settings import Parameter, SearchSpace, Settings, TunableFormat
from harness.formats.shard import shard_shape
from harness.trace.schema import Role, TensorSpec

SEED_EDGE = 32
"""Edge of the seed's chunks along residues, in residues."""

MOST_ROWS = 4096
"""Rows in a chunk of a tensor that is cut along its first axis alone."""

_SHARED = 32 << 10
"""Bytes of values below which several layers share a chunk, where nothing else is chosen."""

CHUNK_BYTES = 1 << 20
"""Bytes of values in a chunk, at most, of a tensor that its role or profile would leave in larger ones."""

_STATED, _ABREAST = 8, 128
"""How many times as much a chunk that is stated may have, and all chunks beside each other along the first axis."""

CODEC_BYTES = (1 << 31) - 17
"""The most that Blosc takes at once, its ``BLOSC_MAX_BUFFERSIZE``; an HDF5 chunk ends at 4 GiB."""

SHARD_BYTES = 64 << 20
"""Of values in one shard, at most, unless one row of chunks has more."""

MATCHED_CODEC = Codec(name="blosc-zstd", level=3, shuffle="byte")
"""Of every format in the profile ``matched``: that of the seed's Zarr."""


def even(length: int, edge: int) -> int:
    """Return a chunk length of at most `edge` that divides an axis into equal parts, so that padding is small."""
    parts = max(1, -(-length // edge))
    return max(1, -(-length // parts))


def bounded(spec: TensorSpec, chunks: tuple[int, ...], *, codec_only: bool = False) -> tuple[int, ...]:
    """Return chunks that are nowhere longer than those given, and small enough to read and write a tensor in parts.

    Every chunk of every format, role and profile comes from here. One of up to eight times `CHUNK_BYTES`, as much as
    a block of a stream, stays as it is stated. A larger one is cut to `CHUNK_BYTES`: along all axes but the last, into
    equally long parts, and along the last where one row of it is larger. All chunks that lie beside each other along
    the first axis, which a stream of rows holds at once, have at most 128 times as much.

    Parameters
    ----------
    spec : TensorSpec
        The tensor.
    chunks : tuple of int
        One length per axis of it, at least 1.
    codec_only : bool
        Keep what a codec can take: for a profile whose chunks are not this project's choice.

    Returns
    -------
    tuple of int
        One chunk length per axis.
    """
    itemsize = np.dtype(spec.dtype).itemsize
    most = CODEC_BYTES if codec_only else _STATED * CHUNK_BYTES
    if chunks and not codec_only:
        row = itemsize * prod(n or 1 for n in spec.shape[1:])
        chunks = (min(chunks[0], max(1, _ABREAST * CHUNK_BYTES // row)), *chunks[1:])
    if itemsize * prod(chunks) <= most:
        return chunks
    *others, last = chunks
    last = min(last, CHUNK_BYTES // itemsize)
    edge = _edge(others, CHUNK_BYTES // (itemsize * last))
    return tuple(even(n, c) for n, c in zip(spec.shape, (*(min(c, edge) for c in others), last), strict=True))


def _edge(lengths: Iterable[int], room: int) -> int:
    """Return the largest edge of a block that is nowhere longer than `lengths` and has at most `room` values."""
    left = sorted(lengths)
    while left:
        edge = round(room ** (1 / len(left)))
        edge -= edge ** len(left) > room
        if edge <= left[0]:
            return max(1, edge)
        room //= left.pop(0)
    return 1


def seed_chunks(spec: TensorSpec) -> tuple[int, ...]:
    """Return the seed's chunks: (32, 384) for single, (32, 32, 128) for pair, (1, 32, 32) for attention.

    Tensors that the seed did not have are one chunk each, as its library would have made them, if its codec takes that.
    """
    chunks = tuple(n or 1 for n in spec.shape)
    if spec.role is Role.ATTENTION and len(chunks) >= 2:
        chunks = (*(1 for _ in chunks[:-2]), *(min(SEED_EDGE, n) for n in chunks[-2:]))
    elif spec.role is Role.PAIR and len(chunks) == 3:
        chunks = (*(min(SEED_EDGE, n) for n in chunks[:2]), chunks[2])
    elif spec.role is Role.SINGLE and len(chunks) == 2:
        chunks = (min(SEED_EDGE, chunks[0]), chunks[1])
    return bounded(spec, chunks, codec_only=True)


def fitted_chunks(
    spec: TensorSpec, *, pair: int, attention: int, least: int, rows: int = MOST_ROWS, codec_only: bool = False
) -> tuple[int, ...]:
    """Return chunks of attention maps, and of residue blocks with all channels, cut evenly; the rest by rows.

    Parameters
    ----------
    spec : TensorSpec
        The tensor.
    pair : int
        Largest edge along residues of pair tensors.
    attention : int
        Largest edge of attention maps.
    least : int
        Bytes below which maps of several heads, and then of several images, share a chunk.
    rows : int
        Most rows of every other tensor in a chunk.
    codec_only : bool
        As for `bounded`.

    Returns
    -------
    tuple of int
        One chunk length per axis, from `bounded`. Layers in one tensor are chunks of their own, several where they are
        smaller than `least`. Single representations and everything small are one chunk up to so many rows.
    """
    if spec.role is Role.ATTENTION and len(spec.shape) >= 2:
        chunks = [*(1 for _ in spec.shape[:-2]), *(even(n, attention) for n in spec.shape[-2:])]
        for axis in range(len(chunks) - 3, -1, -1):
            size = prod(chunks) * np.dtype(spec.dtype).itemsize
            chunks[axis] = even(spec.shape[axis], max(1, least // size))
    elif spec.role is Role.PAIR and len(spec.shape) >= 3:
        first = _square(spec.axes)
        chunks = [n or 1 for n in spec.shape]
        chunks[: first + 2] = [*[1] * first, *(even(n, pair) for n in spec.shape[first : first + 2])]
    else:
        chunks = [n or 1 for n in spec.shape]
        if chunks:
            row = np.dtype(spec.dtype).itemsize * prod(chunks[1:])
            several = max(1, least // row) if spec.axes[0] == "layer" else rows
            chunks[0] = even(spec.shape[0], min(rows, several))
    return bounded(spec, tuple(chunks), codec_only=codec_only)


def _square(axes: Sequence[str]) -> int:
    """Return the first of two axes of one name, which follow on each other; by default before one of channels."""
    same = (axis for axis, pair in enumerate(pairwise(axes)) if pair[0] == pair[1])
    return next(same, len(axes) - 3)


def matched_layout(spec: TensorSpec) -> Layout:
    """Return the layout that every chunked format shares in ``matched``; the container alone differs."""
    if not spec.shape:
        return Layout(origin="default", why="a scalar has no chunks")
    return Layout(
        chunks=fitted_chunks(spec, pair=32, attention=128, least=32 << 10, codec_only=True),
        codec=MATCHED_CODEC,
        origin="chosen",
        why="the same codec, level, shuffle and chunks in every format that has them",
    )


def named(codecs: Iterable[Codec | None]) -> dict[str, Codec | None]:
    """Return codecs by what a profile file calls them; ``none`` are bytes that are stored as they are."""
    return {"none" if codec is None else str(codec): codec for codec in codecs}


BLOSC_CODECS = named(
    (
        Codec(name="blosc-lz4", level=5, shuffle="bit"),
        Codec(name="blosc-zstd", level=1, shuffle="bit"),
        Codec(name="blosc-zstd", level=3, shuffle="byte"),
        Codec(name="blosc-zstd", level=9, shuffle="bit"),
        Codec(name="blosc-zstd", level=9, shuffle="byte"),
        None,
    )
)
"""What Zarr can be given, by name, the one of ``tuned`` first."""


@cache
def chunk_space(
    *, pair: int, attention: int, least: int, codecs: tuple[Codec | None, ...], also: tuple[Parameter, ...] = ()
) -> SearchSpace:
    """Return the search space of a format with the chunks of `fitted_chunks`.

    Parameters
    ----------
    pair, attention, least : int
        As for `fitted_chunks`, in the profile ``tuned``.
    codecs : iterable of Codec or None
        What the format can compress with, the one of ``tuned`` first; None for nothing.
    also : tuple of Parameter
        What else can be chosen for each role.

    Returns
    -------
    mapping of Role to tuple of Parameter
        ``edge``, ``share_bytes`` and ``codec`` for attention, ``edge`` and ``codec`` for pair tensors, ``rows`` and
        ``codec`` for single representations, activations and arrays. The other roles are small.
    """
    names = tuple(named(codecs))

    def number(name: str, about: str, default: int, *others: int) -> Parameter:
        return Parameter(name=name, about=about, default=default, values=tuple(sorted({default, *others})))

    edge = "largest edge of a chunk, in residues"
    share = "bytes below which maps of several heads share a chunk"
    rows = number("rows", "most rows of a chunk", MOST_ROWS, 64, 256, 1024)
    by_role = {
        Role.PAIR: (number("edge", edge, pair, 16, 24, 32, 40, 48, 64, 96, 128),),
        Role.ATTENTION: (
            number("edge", edge, attention, 64, 128, 192, 256, 512, 1024),
            number("share_bytes", share, least, 1, 32 << 10, 128 << 10, 512 << 10),
        ),
        Role.SINGLE: (rows,),
        Role.ACTIVATION: (rows,),
        Role.ARRAY: (rows,),
    }
    codec = Parameter(name="codec", about="compressor, level and shuffle", default=names[0], values=names)
    return {role: (*numbers, codec, *also) for role, numbers in by_role.items()}


def chosen_layout(
    backend: TunableFormat, spec: TensorSpec, profile: Profile, codecs: Mapping[str, Codec | None], why: str
) -> Layout:
    """Return the chunks of `fitted_chunks` and the codec that a profile's values say for the role of a tensor.

    Parameters
    ----------
    backend : TunableFormat
        With parameters from `chunk_space`.
    spec, profile : TensorSpec, Profile
        The tensor, and ``tuned`` or settings, which may say that the tensor is a part of a larger one.
    codecs : mapping of str to Codec or None
        By name, the one of ``tuned`` first.
    why : str
        The reason for ``tuned``; settings have their own.
    """
    values = backend.values(spec.role, profile)
    edge, rows = (int(values.get(name, MOST_ROWS)) for name in ("edge", "rows"))
    least = int(values.get("share_bytes", _SHARED))
    whole = profile.whole_of(spec) if isinstance(profile, Settings) else spec
    return Layout(
        chunks=fitted_chunks(whole, pair=edge, attention=edge, least=least, rows=rows),
        codec=codecs[str(values.get("codec", next(iter(codecs))))],
        origin="chosen",
        why=profile.why if isinstance(profile, Settings) else why,
    )


def in_eights(chunks: tuple[int, ...]) -> tuple[int, ...]:
    """Return chunks whose number of values is a multiple of eight, the longest axis made a little longer.

    Blosc leaves a block of any other number of values as it is instead of shuffling its bits: 171 x 171 weights, which
    are one block, then do not shrink at all (ratio 0.997 in place of 1.22). What is added along an axis is padding, or
    part of the next chunk.
    """
    longest = max(range(len(chunks)), key=chunks.__getitem__)
    others = prod(n for axis, n in enumerate(chunks) if axis != longest)
    step = 8 // gcd(8, others)
    length = -(-chunks[longest] // step) * step
    return tuple(length if axis == longest else n for axis, n in enumerate(chunks))


def shard_of(spec: TensorSpec, chunks: tuple[int, ...], along: str = "tensor") -> tuple[int, ...]:
    """Return the extent of a shard: a ``row`` of chunks, or as many rows of a ``tensor`` as `SHARD_BYTES` hold."""
    row = (chunks[0], *shard_shape(spec.shape[1:], chunks[1:]))
    if along == "row":
        return row
    rows = max(1, SHARD_BYTES // (prod(row) * np.dtype(spec.dtype).itemsize))
    return (even(-(-spec.shape[0] // chunks[0]), rows) * chunks[0], *row[1:])
