"""Chunk shapes by role: the seed's, and those that fit the accesses measured here."""

from __future__ import annotations

from math import gcd, prod

import numpy as np

from harness.trace.schema import Role, TensorSpec

SEED_EDGE = 32
"""Edge of the seed's chunks along residues, in residues."""


def even(length: int, edge: int) -> int:
    """Return the chunk length that cuts an axis into equal parts of at most `edge`, so that little is padded.

    Parameters
    ----------
    length : int
        Extent of the axis.
    edge : int
        Largest chunk length wanted.

    Returns
    -------
    int
        At least 1.
    """
    parts = max(1, -(-length // edge))
    return max(1, -(-length // parts))


def seed_chunks(spec: TensorSpec) -> tuple[int, ...]:
    """Return the seed's chunks: (32, 384) for single, (32, 32, 128) for pair, (1, 32, 32) for attention.

    Tensors that the seed did not have are one chunk each, as its library would have made them.
    """
    if spec.role is Role.ATTENTION:
        return (*(1 for _ in spec.shape[:-2]), *(min(SEED_EDGE, n) or 1 for n in spec.shape[-2:]))
    if spec.role is Role.PAIR and len(spec.shape) == 3:
        return (*(min(SEED_EDGE, n) or 1 for n in spec.shape[:2]), spec.shape[2] or 1)
    if spec.role is Role.SINGLE and len(spec.shape) == 2:
        return (min(SEED_EDGE, spec.shape[0]) or 1, spec.shape[1] or 1)
    return tuple(n or 1 for n in spec.shape)


def fitted_chunks(spec: TensorSpec, *, pair: int, attention: int, least: int) -> tuple[int, ...]:
    """Return chunks of attention maps, and of residue blocks with all channels, cut evenly.

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

    Returns
    -------
    tuple of int
        One chunk length per axis. Single representations and everything small are one chunk up to 4096 rows.
    """
    if spec.role is Role.ATTENTION:
        chunks = [*(1 for _ in spec.shape[:-2]), *(even(n, attention) for n in spec.shape[-2:])]
        for axis in range(len(chunks) - 3, -1, -1):
            size = int(np.prod(chunks, dtype=np.int64)) * np.dtype(spec.dtype).itemsize
            chunks[axis] = even(spec.shape[axis], max(1, least // size))
        return tuple(chunks)
    if spec.role is Role.PAIR and len(spec.shape) == 3:
        return (*(even(n, pair) for n in spec.shape[:2]), spec.shape[2] or 1)
    return tuple(even(n, 4096) if axis == 0 else n or 1 for axis, n in enumerate(spec.shape))


def in_eights(chunks: tuple[int, ...]) -> tuple[int, ...]:
    """Return chunks whose number of values is a multiple of eight, the longest axis made a little longer.

    Blosc leaves a block of any other number of values as it is instead of shuffling its bits: 171 x 171 weights, which
    are one block, then do not shrink at all (ratio 0.997 in place of 1.22).

    Parameters
    ----------
    chunks : tuple of int
        At least one axis.

    Returns
    -------
    tuple of int
        What is added along an axis is padding, or part of the next chunk.
    """
    longest = max(range(len(chunks)), key=chunks.__getitem__)
    others = prod(n for axis, n in enumerate(chunks) if axis != longest)
    step = 8 // gcd(8, others)
    length = -(-chunks[longest] // step) * step
    return tuple(length if axis == longest else n for axis, n in enumerate(chunks))
