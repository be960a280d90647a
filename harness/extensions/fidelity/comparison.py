"""Comparison of synthetic tensors with real ones, by the same statistics and compression ratios of both."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numcodecs import Blosc

from harness.api.values import as_type
from harness.errors import UsageError
from harness.trace.schema import Role, TensorSpec
from harness.trace.stream import Trace

RESIDUES = 76  # pair and single tensors are cut to this length: statistics depend on the diagonal's share of a tensor
ATTENTION_BYTES = 4 << 20  # read at most this much attention from each layer, in complete rows
ATTENTION_LAYERS = 12
COMPRESSION_BYTES = 4 << 20  # of each kind of tensor
CHUNK_BYTES = 1 << 20  # compressed separately, as a chunked format does

# Measured with the functions below: pair and single of AlphaFold2 model_1_ptm for ubiquitin (PDB 1UBQ, 76 residues, the
# representations of the first recycle as float32), attention of a 6-layer vision transformer trained on MNIST (50
# tokens, 8 images, 4 heads).
_REPRESENTATIONS: tuple[tuple[str, float, float | None], ...] = (  # pair, single
    ("mean", 1.619, 1.547),
    ("standard deviation", 32.91, 22.72),
    ("kurtosis", 240.7, 142.6),
    ("minimum", -984, -138),
    ("maximum", 828, 416),
    ("narrowest channel's standard deviation", 4.862, 4.994),
    ("median channel's standard deviation", 12.24, 7.774),
    ("widest channel's standard deviation", 142.9, 70.37),
    ("top 5 channels' share of the variance", 0.4584, 0.2959),
    ("correlation of (i, j) with (j, i)", 0.6998, None),
    ("correlation of (i, j) with (i, j+1)", 0.1313, None),
    ("fraction of zeros", 0, None),
    ("fraction exact in bfloat16", 1, 1),
    ("ratio of deflate 6", 2.069, 2.052),
    ("ratio of blosc zstd 3, byte shuffle", 2.627, 2.669),
    ("ratio of blosc lz4 5, bit shuffle", 2.378, 2.439),
)
PUBLISHED: Mapping[Role, Mapping[str, float]] = {
    Role.PAIR: {name: pair for name, pair, _ in _REPRESENTATIONS},
    Role.SINGLE: {name: single for name, _, single in _REPRESENTATIONS if single is not None},
    Role.ATTENTION: {
        "lowest entropy of a layer": 0.6684,
        "mean entropy": 0.8254,
        "highest entropy of a layer": 0.9385,
        "spread of the logarithm within a row": 0.9284,
        "largest deviation of a row's sum from 1": 1.955e-07,
        "fraction of zeros": 0,
        "ratio of deflate 6": 1.111,
        "ratio of blosc zstd 3, byte shuffle": 1.236,
        "ratio of blosc lz4 5, bit shuffle": 1.202,
    },
}
"""Statistics of real tensors by role."""

_CODECS: Mapping[str, Callable[[np.ndarray], bytes]] = {
    "ratio of deflate 6": lambda chunk: zlib.compress(chunk.tobytes(), 6),
    "ratio of blosc zstd 3, byte shuffle": Blosc("zstd", clevel=3, shuffle=Blosc.SHUFFLE).encode,
    "ratio of blosc lz4 5, bit shuffle": Blosc("lz4", clevel=5, shuffle=Blosc.BITSHUFFLE).encode,
}


@dataclass(frozen=True, kw_only=True)
class StatisticRow:
    """One statistic of the synthetic tensors and of real ones."""

    role: Role  # The kind of tensor.
    statistic: str  # Name of the statistic.
    # The values.
    synthetic: float
    real: float
    published: bool  # Whether `real` comes from `PUBLISHED` and was not measured now.

    @property
    def relative_difference(self) -> float:
        """``(synthetic - real) / |real|``; 0 if both are equal, infinite if only the real value is zero."""
        difference = self.synthetic - self.real
        if self.real == 0:
            return 0.0 if difference == 0 else math.copysign(math.inf, difference)
        return difference / abs(self.real)


def compare(synthetic: Trace, pair: Trace | None = None, attention: Trace | None = None) -> list[StatisticRow]:
    """Measure a synthetic trace and compare it with real tensors.

    Only part of a large tensor is read (`RESIDUES`, `ATTENTION_BYTES`), so that this takes seconds.

    Parameters
    ----------
    synthetic : Trace
        With tensors of the roles pair, single and attention; roles that it lacks are skipped.
    pair : Trace, optional
        A real trace with a pair tensor, and optionally a single tensor; without it, `PUBLISHED` values are used.
    attention : Trace, optional
        A real trace with attention; without it, `PUBLISHED` values are used.

    Returns
    -------
    list of StatisticRow
        By role, in the order in which the statistics are defined.

    Raises
    ------
    UsageError
        If `pair` has no pair tensor, or `attention` no attention.
    """
    rows: list[StatisticRow] = []
    for role, real in ((Role.PAIR, pair), (Role.SINGLE, pair), (Role.ATTENTION, attention)):
        ours = synthetic.manifest.with_role(role)
        if not ours:
            continue
        theirs = real.manifest.with_role(role) if real is not None else []
        if real is not None and not theirs and role is not Role.SINGLE:
            raise UsageError(f"The trace {real.label!r} has no {role.value} tensor to compare with.")
        residues = RESIDUES
        if theirs and role is not Role.ATTENTION:
            residues = min(residues, theirs[0].shape[0], ours[0].shape[0])
        figures = measure(real, role, residues) if real is not None and theirs else PUBLISHED[role]
        measured = measure(synthetic, role, residues)
        rows += [
            StatisticRow(role=role, statistic=name, synthetic=measured[name], real=value, published=not theirs)
            for name, value in figures.items()
        ]
    return rows


def measure(trace: Trace, role: Role, residues: int = RESIDUES) -> dict[str, float]:
    """Measure the statistics of one kind of tensor in a trace.

    Parameters
    ----------
    trace : Trace
        With at least one tensor of that role.
    role : Role
        Pair, single or attention.
    residues : int
        Number of leading residues to which pair and single tensors are cut.

    Returns
    -------
    dict of str to float
        Value by statistic: of the first tensor for pair and single, of the first `ATTENTION_LAYERS` layers for
        attention.
    """
    specs = trace.manifest.with_role(role)
    if role is Role.ATTENTION:
        maps = [_attention_rows(trace, spec) for spec in specs[:ATTENTION_LAYERS]]
        return attention_statistics(maps) | compression_ratios(np.concatenate([part.reshape(-1) for part in maps]))
    array = _leading(trace, specs[0], residues)
    statistics = pair_statistics(array) if role is Role.PAIR else single_statistics(array)
    return statistics | compression_ratios(array)


def _leading(trace: Trace, spec: TensorSpec, residues: int) -> np.ndarray:
    """Read the first residues along every residue axis."""
    parts, count = [], 0
    for stored in trace.blocks(spec.path):
        part = _as_floats(stored, spec)[: residues - count]
        parts.append(part[:, :residues] if spec.role is Role.PAIR else part)
        count += len(part)
        if count >= residues:
            break
    return np.concatenate(parts)


def _as_floats(stored: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """Convert values of types that NumPy lacks to float32, which holds them exactly; return others unchanged."""
    return as_type(stored, spec, np.dtype(np.float32)) if spec.values else stored


def _attention_rows(trace: Trace, spec: TensorSpec) -> np.ndarray:
    """Read complete rows of a layer's maps, shape ``(rows, keys)``, spread evenly over the heads that are read."""
    keys = spec.shape[-1]
    limit = max(1, ATTENTION_BYTES // (4 * keys))
    parts, count = [], 0
    for block in trace.blocks(spec.path):
        parts.append(_as_floats(block, spec).reshape(-1, keys))
        count += len(parts[-1])
        if count >= limit:
            break
    rows = np.concatenate(parts)
    return rows[:: -(-len(rows) // limit)]


def pair_statistics(pair: np.ndarray) -> dict[str, float]:
    """Measure a pair tensor, shape ``(residues, residues, channels)``; correlations are the median over channels."""
    x = pair.astype(np.float64)
    symmetric = _median_correlation(x, x.transpose(1, 0, 2))
    adjacent = _median_correlation(x[:, :-1], x[:, 1:])
    return _values(x) | {
        "correlation of (i, j) with (j, i)": symmetric,
        "correlation of (i, j) with (i, j+1)": adjacent,
        "fraction of zeros": float(np.mean(pair == 0)),
        "fraction exact in bfloat16": _bf16_fraction(pair),
    }


def single_statistics(single: np.ndarray) -> dict[str, float]:
    """Measure a single tensor, shape ``(residues, channels)``."""
    return _values(single.astype(np.float64)) | {"fraction exact in bfloat16": _bf16_fraction(single)}


def attention_statistics(layers: list[np.ndarray]) -> dict[str, float]:
    """Measure attention. Each layer has maps of shape ``(..., keys)`` whose rows sum to one.

    Entropies are normalised: divided by the logarithm of the number of keys.
    """
    means, spreads, deviations, zeros = [], [], [], []
    for maps in layers:
        x = maps.astype(np.float64)
        logs = np.log(np.maximum(x, np.finfo(np.float32).tiny))
        entropy = -(x * logs).sum(axis=-1) / math.log(max(2, x.shape[-1]))
        means.append(float(entropy.mean()))
        spreads.append(float(logs.std(axis=-1).mean()))
        deviations.append(float(np.abs(x.sum(axis=-1) - 1).max()))
        zeros.append(float(np.mean(maps == 0)))
    return {
        "lowest entropy of a layer": min(means),
        "mean entropy": float(np.mean(means)),
        "highest entropy of a layer": max(means),
        "spread of the logarithm within a row": float(np.mean(spreads)),
        "largest deviation of a row's sum from 1": max(deviations),
        "fraction of zeros": float(np.mean(zeros)),
    }


def _values(x: np.ndarray) -> dict[str, float]:
    """Measure the distribution over all values and over the channels, which are the last axis."""
    channels = np.sort(x.reshape(-1, x.shape[-1]).var(axis=0))
    std = np.sqrt(channels)
    return {
        "mean": float(x.mean()),
        "standard deviation": float(x.std()),
        "kurtosis": float(((x - x.mean()) ** 4).mean() / max(x.var() ** 2, 1e-300)),
        "minimum": float(x.min()),
        "maximum": float(x.max()),
        "narrowest channel's standard deviation": float(std[0]),
        "median channel's standard deviation": float(np.median(std)),
        "widest channel's standard deviation": float(std[-1]),
        "top 5 channels' share of the variance": float(channels[-5:].sum() / max(channels.sum(), 1e-300)),
    }


def _median_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return the median over channels of the correlation of two arrays of one shape."""
    if not a.size:
        return math.nan
    a = a - a.mean(axis=(0, 1))
    b = b - b.mean(axis=(0, 1))
    product = (a * b).mean(axis=(0, 1))
    scale = np.sqrt((a * a).mean(axis=(0, 1)) * (b * b).mean(axis=(0, 1)))
    return float(np.median(product / np.maximum(scale, 1e-300)))


def _bf16_fraction(array: np.ndarray) -> float:
    return float(np.mean(array.astype(np.float32).view(np.uint32) & 0xFFFF == 0))


def compression_ratios(array: np.ndarray) -> dict[str, float]:
    """Return the compression ratio by codec: float32 bytes divided by compressed bytes.

    Only the first `COMPRESSION_BYTES` of the array are used, compressed in chunks of `CHUNK_BYTES`.
    """
    values = np.ascontiguousarray(array, dtype="<f4").reshape(-1)[: COMPRESSION_BYTES // 4]
    chunks = [values[start : start + CHUNK_BYTES // 4] for start in range(0, len(values), CHUNK_BYTES // 4)]
    return {name: values.nbytes / sum(len(encode(chunk)) for chunk in chunks) for name, encode in _CODECS.items()}
