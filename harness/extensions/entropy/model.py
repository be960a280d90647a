"""Entropy model: the bytes of each plane of a tensor are drawn independently, with the frequencies that they have.

The entropy of a plane is ``-sum(p log2 p)`` bits per byte over the frequencies ``p`` of its 256 values (Shannon, C. E.
(1948), A Mathematical Theory of Communication, section 6). Planes are the first, second ... bytes of all values. A
codec that uses more than this model, such as equal neighbours, stores less; one that uses less stores more.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import log2

import numpy as np

from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec
from harness.trace.stream import Trace, split

MOST_BYTES = 256 << 20
"""Bytes of a trace to count; of a larger trace, blocks that are spread evenly over each tensor."""


def plane_counts(spec: TensorSpec, blocks: Iterable[np.ndarray], every: int = 1) -> np.ndarray:
    """Count the values of the bytes in each plane of a tensor.

    Parameters
    ----------
    spec : TensorSpec
        The tensor.
    blocks : iterable of ndarray
        Its values.
    every : int
        Count only the first of so many blocks; a block larger than `harness.trace.stream.BLOCK_BYTES` is several.

    Returns
    -------
    ndarray of int64
        Shape ``(itemsize, 256)``; zero throughout for an empty tensor.
    """
    itemsize = np.dtype(spec.dtype).itemsize
    counts = np.zeros((itemsize, 256), np.int64)
    parts = (part for block in blocks for part in split(np.ascontiguousarray(block).reshape(-1)))
    for number, values in enumerate(parts):
        if number % every == 0:
            planes = values.view(np.uint8).reshape(-1, itemsize)
            for plane in range(itemsize):
                counts[plane] += np.bincount(planes[:, plane], minlength=256)  # bincount takes 8 bytes for each value
    return counts


def entropy_bits(counts: np.ndarray) -> float:
    """Return the entropy of a value in bits, the sum over its planes; 0 if nothing was counted."""
    total = 0.0
    for plane in counts:
        number = int(plane.sum())
        shares = (int(count) / number for count in plane if count) if number else ()
        total -= sum(share * log2(share) for share in shares)
    return total


def entropy_bytes(trace: Trace, most: int = MOST_BYTES) -> tuple[float, float]:
    """Return the bytes of a trace under the model, and the share of its bytes that was counted.

    Parameters
    ----------
    trace : Trace
        Trace to read once; equal tensors are counted each.
    most : int
        Most bytes to count, approximately.
    """
    manifest: Manifest = trace.manifest
    every = max(1, -(-manifest.nbytes // most))
    found, counted = 0.0, 0
    for spec in manifest.tensors:
        counts = plane_counts(spec, trace.blocks(spec.path), every)
        found += entropy_bits(counts) / 8 * spec.items
        counted += int(counts.sum())
    return found, counted / manifest.nbytes if manifest.nbytes else 1.0
