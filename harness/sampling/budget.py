"""The budget of threads of a measuring process: processors that it may use, and what libraries are told of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from harness.capacity import processors
from harness.sampling.sample import Reading

_TASKS = Path("/proc/self/task")

VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS", "BLOSC_NTHREADS", "RAYON_NUM_THREADS", "TOKIO_WORKER_THREADS",
)  # fmt: skip
"""Environment variables that libraries take their number of threads from when they are loaded."""


TICK = 0.012
"""Seconds by which the processor time of a thread that runs elsewhere may be known too late: three ticks of 250 Hz."""


@cache
def own_processors() -> frozenset[int]:
    """Return the processors that this process might use when it was first asked, which is before any format is."""
    return frozenset(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))


def beyond_budget(reading: Reading) -> str:
    """Say whether a sample took more than the processors that its process was started with; empty when it did not.

    More processor time than these can give in that time, or a thread that may run elsewhere.
    """
    given = len(own_processors())
    if (reading.cpu_seconds or 0.0) > given * (reading.seconds + TICK):
        return (
            f"took {reading.cpu_seconds:.3f} s of processor time in {reading.seconds:.3f} s, more than its budget of "
            f"{given} threads"
        )
    if any(not processors <= own_processors() for processors in _of_threads()):
        return f"gave itself other processors than its budget of {given} threads"
    return ""


def _of_threads() -> Iterator[set[int]]:
    if hasattr(os, "sched_getaffinity"):
        for thread in _TASKS.iterdir():
            with suppress(ProcessLookupError):
                yield os.sched_getaffinity(int(thread.name))


@contextmanager
def budgeted(threads: int | None, variables: Mapping[str, str]) -> Iterator[None]:
    """Let what this thread starts inside the block run on so many processors, before it imports anything.

    A child inherits the affinity of the thread that starts it and the environment of its process; both are put back.

    Parameters
    ----------
    threads : int or None
        The budget; None for all there are.
    variables : mapping of str to str
        What else is set in the environment.

    Raises
    ------
    UsageError
        When there are not so many processors.
    """
    chosen = None if threads is None else processors(threads)
    told = {} if threads is None else dict.fromkeys(VARIABLES, str(threads))
    changed = {**told, **variables}
    environment = {name: os.environ.get(name) for name in changed}
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    try:
        os.environ.update(changed)
        if chosen is not None and affinity is not None:
            os.sched_setaffinity(0, chosen)
        yield
    finally:
        if affinity is not None:
            os.sched_setaffinity(0, affinity)
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
