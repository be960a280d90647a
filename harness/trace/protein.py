"""Values with the statistics of real protein-model tensors, so that compression ratios are realistic.

The constants were measured on the pair and single representations of AlphaFold2 for ubiquitin (76 residues) and on the
attention of a trained vision transformer; ``harness fidelity`` compares the values with both. Layers are drawn
independently but share their channels' scales, as layers joined by a residual connection do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from harness.trace.random import Stream, exp, interpolate, levels, look_up, round_to_bf16

TILE = 16  # edge of a pair tile: with 128 channels its float32 scratch (128 KiB) stays in a core's cache
_PATCH = 4  # edge of the patches within which neighbours are similar
_SCRATCH = 1 << 15  # attention values made together, for the same reason

# Ranks are fractions of the channels. At these, the quantiles, ascending, of: the standard deviation off the diagonal,
# the size of the mean on the diagonal, mean / standard deviation, and the correlation of (i, j) with (j, i). Negative
# correlations, which few channels have, count as zero.
_PAIR_RANKS = (0.004, 0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.988, 0.996)
_PAIR_STD = (4.03, 4.35, 5.09, 5.83, 6.97, 9.20, 14.4, 19.3, 27.6, 81.8, 128.8)
_PAIR_DIAGONAL = (0.02, 2.34, 12.8, 29.7, 75.6, 198.9, 381.2, 610.5, 716.1, 748.0, 922.8)
_PAIR_MEAN = (-0.51, -0.47, -0.21, -0.07, 0.12, 0.32, 0.42, 0.53, 0.82, 0.84, 1.11)
_PAIR_SYMMETRY = (0.0, 0.0, 0.0, 0.0, 0.10, 0.28, 0.50, 0.74, 0.88, 0.96, 0.98)
_SINGLE_RANKS = (0.002, 0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.994, 0.998)
_SINGLE_STD = (5.00, 5.84, 6.44, 7.07, 7.77, 9.01, 12.2, 18.5, 26.9, 33.4, 69.9)
_SINGLE_MEAN = (0.003, 0.13, 0.66, 1.40, 3.14, 5.49, 9.58, 13.7, 17.6, 72.1, 289.9)

# Pair values: x = v (1 + t v v), which turns a normal v into one of kurtosis 3.5 where t is _TAIL, as measured far from
# the diagonal. In channels with a standard deviation above _TAIL_UP_TO the tail is lighter.
_TAIL, _TAIL_UP_TO = 0.02, 10.0
# Shares of the non-symmetric part of the variance of v: residue i, residue j, and patches of neighbouring pairs.
_SHARE_ROW, _SHARE_COLUMN, _SHARE_PATCH = 0.10, 0.06, 0.45
_FAR, _NEAR = 0.92, 0.5  # noise relative to the channel's: far from the diagonal, and how much more next to it
_DIAGONAL_NOISE = (24.0, 0.3)  # standard deviation on the diagonal as a function of that off it: intercept and slope


_SKEW = 0.3  # attention logits: x = v (1 + _SKEW v)
_SHARPNESS = 1.85  # relates the spread of the logits to the entropy; fitted for 50 to 1024 keys, where it is constant


@dataclass(frozen=True, kw_only=True)
class PairChannels:
    """Parameters of every channel of a pair tensor, float32."""

    # Shape ``(channels,)``.
    scale: np.ndarray  # factor of ``v`` in the values
    bend: np.ndarray  # factor of the cube of ``v`` in the values
    symmetric: np.ndarray  # weight of the noise that (i, j) shares with (j, i)
    other: np.ndarray  # weight of everything else
    # By ``i - j`` from ``1 - 2 TILE`` to ``2 TILE - 1``; shape ``(4 TILE - 1, channels)``.
    offset: np.ndarray  # mean
    amplitude: np.ndarray  # relative size of the noise


def _ranked(count: int, ranks: tuple[float, ...], values: tuple[float, ...]) -> np.ndarray:
    return interpolate((np.arange(count) + 0.5) / count, ranks, values)


def _shuffle(stream: Stream, count: int, pins: dict[int, float], index: int) -> np.ndarray:
    """Return a random permutation of ranks; `pins` fixes ranks, as fractions, of channels counted from the end."""
    order = np.argsort(stream.words(count, index), kind="stable")
    for channel, fraction in pins.items():
        if count >= -2 * channel:
            place = np.flatnonzero(order == int(fraction * (count - 1)))[0]
            order[[channel, place]] = order[[place, channel]]
    return order


def pair_channels(seed: int, count: int) -> PairChannels:
    """Draw the parameters of a pair tensor's channels from the seed of a trace; they are the same for every layer."""
    stream = Stream(seed, "pair channels")
    std = _ranked(count, _PAIR_RANKS, _PAIR_STD)
    # The two widest channels carry a third of the variance, so their parameters are not random: the widest has an
    # ordinary diagonal, the next the largest diagonal and mean, and both are nearly symmetric.
    diagonal = _ranked(count, _PAIR_RANKS, _PAIR_DIAGONAL)
    diagonal[::-2] *= -1
    diagonal = diagonal[_shuffle(stream, count, {-1: 0.8, -2: 1.0}, 0)]
    mean = _ranked(count, _PAIR_RANKS, _PAIR_MEAN)[_shuffle(stream, count, {-1: 0.53, -2: 1.0}, 1)] * std
    symmetry = _ranked(count, _PAIR_RANKS, _PAIR_SYMMETRY)[_shuffle(stream, count, {-1: 1.0, -2: 0.99}, 2)]
    # Close to the diagonal, the mean depends on the relative position, and the noise is larger.
    lag = np.arange(1 - 2 * TILE, 2 * TILE)
    apart = np.maximum(np.abs(lag), 1)[:, None]
    offset = stream.normal((len(lag), count), 3) * np.where(apart < TILE, 1.4 / apart, 0.0) * std + mean
    offset[lag == 0] = diagonal
    beside = np.where(apart <= TILE, 1 + _NEAR / _FAR / apart, 1.0)
    amplitude = np.where(lag[:, None] == 0, (_DIAGONAL_NOISE[0] / std + _DIAGONAL_NOISE[1]) / _FAR, beside)
    tail = _TAIL * np.minimum(_TAIL_UP_TO / std, 1.0)
    scale = _FAR * std / np.sqrt(1 + 6 * tail + 15 * tail * tail)  # a normal v makes x this much wider
    place = np.argsort(stream.words(count, 4), kind="stable")
    return PairChannels(
        scale=scale[place].astype(np.float32),
        bend=(scale * tail)[place].astype(np.float32),
        symmetric=np.sqrt(symmetry)[place].astype(np.float32),
        other=np.sqrt(1 - symmetry)[place].astype(np.float32),
        offset=offset[:, place].astype(np.float32),
        amplitude=amplitude[:, place].astype(np.float32),
    )


def pair_rows(seed: int, name: str, n: int, channels: PairChannels, rows: int, bf16: bool) -> Iterator[np.ndarray]:
    """Generate a pair tensor in consecutive bands of rows.

    Parameters
    ----------
    seed : int
        Seed of the trace.
    name : str
        Name of the tensor, which selects its values.
    n : int
        Number of residues.
    channels : PairChannels
        Parameters of the channels.
    rows : int
        Rows in a band, a multiple of `TILE`; the values do not depend on it.
    bf16 : bool
        Whether to round the values to bfloat16.

    Yields
    ------
    ndarray of float32
        Shape ``(rows, n, channels)``; the last may be shorter.
    """
    stream = Stream(seed, name)
    depth = len(channels.scale)
    padded = -(-n // TILE) * TILE
    own = np.float32(np.sqrt(1 - _SHARE_ROW - _SHARE_COLUMN - _SHARE_PATCH)) * channels.other
    row = stream.normal((padded, depth), 2) * (np.float32(np.sqrt(_SHARE_ROW)) * channels.other)
    column = stream.normal((padded, depth), 3) * (np.float32(np.sqrt(_SHARE_COLUMN)) * channels.other)
    patch_weight = np.float32(np.sqrt(_SHARE_PATCH)) * channels.other
    lag = np.arange(TILE)[:, None] - np.arange(TILE) + 2 * TILE - 1
    far = channels.offset[0]
    for start in range(0, n, rows):
        band = np.empty((min(rows, n - start), n, depth), np.float32)
        for i in range(start, start + len(band), TILE):
            for j in range(0, n, TILE):
                shared, single, patch = _tile_words(stream, i // TILE, j // TILE, depth)
                v = look_up(levels(), shared)
                v *= channels.symmetric
                w = look_up(levels(), single)
                w *= own
                v += w
                v += row[i : i + TILE, None]
                v += column[j : j + TILE]
                coarse = look_up(levels(), patch)
                coarse *= patch_weight
                patches = v.reshape(TILE // _PATCH, _PATCH, TILE // _PATCH, _PATCH, depth)
                patches += coarse[:, None, :, None]
                np.multiply(v, v, out=w)
                w *= channels.bend
                w += channels.scale
                v *= w
                if abs(i - j) <= TILE:
                    v *= channels.amplitude[lag + (i - j)]
                    v += channels.offset[lag + (i - j)]
                else:
                    v += far
                if bf16:
                    round_to_bf16(v)
                band[i - start : i - start + TILE, j : j + TILE] = v[: start + len(band) - i, : n - j]
        yield band


def _tile_words(stream: Stream, i: int, j: int, depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the words that tile (i, j) shares with tile (j, i), its own words, and the words of its patches."""
    area = TILE * TILE * depth
    shared = stream.words(area, 0, min(i, j), max(i, j)).reshape(TILE, TILE, depth)
    if i > j:
        shared = shared.transpose(1, 0, 2)
    elif i == j:
        upper = np.triu(np.ones((TILE, TILE), bool))[..., None]
        shared = np.where(upper, shared, shared.transpose(1, 0, 2))
    edge = TILE // _PATCH
    own = stream.words(area + edge * edge * depth, 1, i, j)
    return shared, own[:area].reshape(TILE, TILE, depth), own[area:].reshape(edge, edge, depth)


def single_rows(seed: int, name: str, n: int, count: int, rows: int, bf16: bool) -> Iterator[np.ndarray]:
    """Generate a single tensor of `count` channels in bands of any number of rows; otherwise as `pair_rows`."""
    stream = Stream(seed, "single channels")
    std = _ranked(count, _SINGLE_RANKS, _SINGLE_STD)
    mean = _ranked(count, _SINGLE_RANKS, _SINGLE_MEAN)
    mean[-3::-2] *= -1  # the largest two stay positive: they determine the overall mean
    mean = mean[_shuffle(stream, count, {-1: 1.0}, 0)]
    place = np.argsort(stream.words(count, 1), kind="stable")
    scale, mean = std[place].astype(np.float32), mean[place].astype(np.float32)
    values = Stream(seed, name)
    for start in range(0, n, rows):
        band = np.empty((min(rows, n - start), count), np.float32)
        values.fill_normal(band.reshape(-1), start * count)
        band *= scale
        band += mean
        if bf16:
            round_to_bf16(band)
        yield band


def attention_heads(seed: int, name: str, n: int, sharpness: list[float]) -> Iterator[np.ndarray]:
    """Generate attention maps whose rows sum to one, head by head.

    A row is a softmax of logits that depend on the key, on the distance and on noise that neighbouring keys share.
    Temperature varies from row to row, and a few keys differ from many similar ones, as in trained models. The
    sharpness of a head is the standard deviation of its logits. Rows sum to one within float32 rounding.
    """
    stream = Stream(seed, name)
    profile = _nearness(n)
    rows = max(1, _SCRATCH // n)
    for head, sigma in enumerate(sharpness):
        column = stream.normal((n,), 1, head) * np.float32(0.55)
        temperature = np.maximum(stream.normal((n, 1), 2, head) * np.float32(0.5) + 1, np.float32(0.2))
        temperature *= np.float32(sigma)
        out = np.empty((1, n, n), np.float32)
        for start in range(0, n, rows):
            stop = min(start + rows, n)
            noise = stream.normal((stop - start, n + 1), 0, head, start // rows)
            logits = noise[:, :-1] * np.float32(0.68)
            logits += noise[:, 1:] * np.float32(0.34)
            logits += column
            logits *= 1 + np.float32(_SKEW) * logits
            logits += sliding_window_view(profile, n)[n - stop : n - start][::-1]
            logits *= temperature[start:stop]
            np.clip(logits, -12, 12, out=logits)
            # Integers sum to the same total in any order; at this scale even 2**13 keys at exp(12) stay in range.
            weights = (exp(logits) * np.float32(2.0**32)).astype(np.int64)
            out[0, start:stop] = weights / weights.sum(axis=1, keepdims=True)
        yield out


@cache
def _nearness(n: int) -> np.ndarray:
    return (1 / (1 + np.abs(np.arange(1 - n, n)) / 2)).astype(np.float32)


def sharpness(layer: int, heads: int) -> list[float]:
    """Return the sharpness of each head, so that layers spread over the normalised entropies of trained attention.

    Parameters
    ----------
    layer : int
        Index of the layer; successive layers spread evenly (golden ratio) over mean entropies of 0.67 to 0.94.
    heads : int
        Number of heads, which spread around the layer's mean.

    Returns
    -------
    list of float
        Standard deviation of the logits, for each head.
    """
    mean = 0.67 + 0.27 * ((layer + 1) * 0.6180339887498949 % 1.0)
    around = (np.arange(heads) + 0.5) / heads - 0.5
    entropy = mean + 0.6 * around * (1 - mean)
    return [float(s) for s in _SHARPNESS * np.sqrt(1 - entropy)]
