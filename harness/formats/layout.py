"""Chunk shapes by role: those of the earlier comparison, those that fit the measured accesses, and their bound."""

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
"""Edge of the earlier comparison's chunks along residues, in residues."""

MOST_ROWS = 4096
"""Most rows in a chunk of a tensor that is cut along its first axis only."""

_SHARED = 32 << 10
"""Bytes of values below which several layers share a chunk, unless settings choose another number."""

CHUNK_BYTES = 1 << 20
"""Most bytes of values in a chunk of a tensor whose role or profile would give it larger chunks."""

_STATED, _ABREAST = 8, 128
"""Most multiples of `CHUNK_BYTES` in a chunk that stays as stated, and in all chunks with the same rows of a tensor."""

CODEC_BYTES = (1 << 31) - 17
"""Most bytes that Blosc takes at once, its ``BLOSC_MAX_BUFFERSIZE``; an HDF5 chunk is limited to 4 GiB."""

SHARD_BYTES = 64 << 20
"""Most bytes of values in one shard, unless one row of chunks has more."""

MATCHED_CODEC = Codec(name="blosc-zstd", level=3, shuffle="byte")
"""Codec of every format in the profile ``matched``: that of Zarr in the earlier comparison."""


def even(length: int, edge: int) -> int:
    """Return a chunk length of at most `edge` that divides an axis into equal parts, so that padding is small."""
    parts = max(1, -(-length // edge))
    return max(1, -(-length // parts))


def bounded(spec: TensorSpec, chunks: tuple[int, ...], *, codec_only: bool = False) -> tuple[int, ...]:
    """Return chunks that are along no axis longer than those given, and small enough to read and write in parts.

    The chunks of every format, role and profile come from here. A chunk of up to eight times `CHUNK_BYTES`, as much as
    a block of a stream, stays as it is stated. A larger one is cut to `CHUNK_BYTES`: into equally long parts along all
    axes but the last, and along the last if one row of it is larger. All chunks with the same rows of the tensor, which
    a stream of rows holds at once, have at most 128 times `CHUNK_BYTES`.

    Parameters
    ----------
    spec : TensorSpec
        The tensor.
    chunks : tuple of int
        One length per axis of it, at least 1.
    codec_only : bool
        Apply only the limit of codecs: for a profile whose chunks are not this project's choice.

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
    """Return the largest edge of a block that is along no axis longer than `lengths` and has at most `room` values."""
    left = sorted(lengths)
    while left:
        edge = round(room ** (1 / len(left)))
        edge -= edge ** len(left) > room
        if edge <= left[0]:
            return max(1, edge)
        room //= left.pop(0)
    return 1


def seed_chunks(spec: TensorSpec) -> tuple[int, ...]:
    """Return the earlier comparison's chunks: (32, 384) single, (32, 32, 128) pair, (1, 32, 32) attention.

    A tensor that it did not have is one chunk, as its library would have made it, if its codec takes that.
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
    """Return evenly cut chunks: attention maps, pair blocks of residues with all channels, and rows of other tensors.

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
        Most rows in a chunk of every other tensor.
    codec_only : bool
        As for `bounded`.

    Returns
    -------
    tuple of int
        One chunk length per axis, from `bounded`. Layers in one tensor have chunks of their own; except in pair
        tensors, layers smaller than `least` share a chunk. Single representations and small tensors are one chunk of up
        to `rows` rows.
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
    """Return the first of two consecutive axes with the same name; by default, of the two before the last axis."""
    same = (axis for axis, pair in enumerate(pairwise(axes)) if pair[0] == pair[1])
    return next(same, len(axes) - 3)


def matched_layout(spec: TensorSpec) -> Layout:
    """Return the layout that every chunked format shares in ``matched``; only the container differs."""
    if not spec.shape:
        return Layout(origin="default", why="a scalar has no chunks")
    return Layout(
        chunks=fitted_chunks(spec, pair=32, attention=128, least=32 << 10, codec_only=True),
        codec=MATCHED_CODEC,
        origin="chosen",
        why="the same codec, level, shuffle and chunks in every format that has them",
    )


def named(codecs: Iterable[Codec | None]) -> dict[str, Codec | None]:
    """Return codecs by their names in a profile file; ``none`` stores bytes unchanged."""
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
"""Codecs for Zarr, by name, the one of ``tuned`` first."""


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
        Codecs of the format, the one of ``tuned`` first; None for no compression.
    also : tuple of Parameter
        Further parameters of each role.

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
    """Return the layout of a tensor: `fitted_chunks` and codec, both by a profile's values for its role.

    Parameters
    ----------
    backend : TunableFormat
        With parameters from `chunk_space`.
    spec, profile : TensorSpec, Profile
        The tensor, and ``tuned`` or settings, which may state that the tensor is a part of a larger one.
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
    """Return chunks whose number of values is a multiple of eight, by making the longest axis a little longer.

    Blosc does not shuffle the bits of a block with any other number of values: 171 x 171 weights, which are one block,
    then do not shrink at all (ratio 0.997 instead of 1.22). The added length is padding, or part of the next chunk.
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
