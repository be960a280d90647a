"""Randomised complete blocks: every round runs every arm once, in random order."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def generator(seed: int, *names: object) -> np.random.Generator:
    """Make a random generator from the run's seed and what it is for, so that no draw depends on another."""
    return np.random.default_rng([seed, zlib.crc32("\0".join(map(str, names)).encode())])


def blocks(arms: Sequence[T], rounds: int, rng: np.random.Generator) -> Iterator[tuple[int, int, T]]:
    """Yield (round, position, arm) for every round and arm, each from 0, with the order within rounds drawn.

    Measured one after the other, formats differ by whatever drifts meanwhile; interleaved, drift falls on all alike.
    """
    for number in range(rounds):
        for position, index in enumerate(rng.permutation(len(arms))):
            yield number, position, arms[int(index)]
