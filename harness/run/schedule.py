"""Randomised complete blocks: every round runs every arm once, in random order."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def generator(seed: int, *names: object) -> np.random.Generator:
    """Make a random generator from the run's seed and what it is for, so that no draw depends on another.

    Parameters
    ----------
    seed : int
        The run's seed.
    *names : object
        What the draws are for, such as a suite and a trace.

    Returns
    -------
    numpy.random.Generator
        The same for the same arguments.
    """
    return np.random.default_rng([seed, zlib.crc32("\0".join(map(str, names)).encode())])


def blocks(arms: Sequence[T], rounds: int, rng: np.random.Generator) -> Iterator[tuple[int, int, T]]:
    """Yield (round, position, arm) for every round and arm.

    Measured one after the other, formats differ by whatever drifts meanwhile; interleaved, drift falls on all alike.

    Parameters
    ----------
    arms : sequence
        What is compared.
    rounds : int
        How many times each is measured.
    rng : numpy.random.Generator
        Source of chance.

    Yields
    ------
    round : int
        From 0.
    position : int
        Place within the round, from 0.
    arm
        One of `arms`.
    """
    for number in range(rounds):
        for position, index in enumerate(rng.permutation(len(arms))):
            yield number, position, arms[int(index)]
