"""Randomised complete blocks: every round runs every arm once, in random order."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def generator(seed: int, *names: object) -> np.random.Generator:
    """Make a random generator from the run's seed and the purpose of its draws, so that draws are independent.

    Parameters
    ----------
    seed : int
        The run's seed.
    *names : object
        Purpose of the draws, such as a suite and a trace.

    Returns
    -------
    numpy.random.Generator
        Deterministic: equal arguments give equal draws.
    """
    return np.random.default_rng([seed, zlib.crc32("\0".join(map(str, names)).encode())])


def blocks(arms: Sequence[T], rounds: int, rng: np.random.Generator) -> Iterator[tuple[int, int, T]]:
    """Yield (round, position, arm) for every round and arm.

    If formats are measured one after the other, they differ by the drift of the machine. Interleaving spreads drift
    evenly.

    Parameters
    ----------
    arms : sequence
        The arms to compare.
    rounds : int
        Number of rounds.
    rng : numpy.random.Generator
        Source of randomness.

    Yields
    ------
    round : int
        From 0.
    position : int
        Position within the round, from 0.
    arm
        One of `arms`.
    """
    for number in range(rounds):
        for position, index in enumerate(rng.permutation(len(arms))):
            yield number, position, arms[int(index)]
