"""Thread budget of a measuring process: processor affinity, and environment variables for libraries."""

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
"""Environment variables from which libraries read their number of threads when they are loaded."""


TICK = 0.012
"""Maximum delay in seconds of the processor time of a thread on another processor: three ticks at 250 Hz."""


@cache
def own_processors() -> frozenset[int]:
    """Return the processors that this process may use at the first call, which precedes any use of a format."""
    return frozenset(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))


def beyond_budget(reading: Reading) -> str:
    """Describe how a sample exceeded the processors that its process was started with; empty if it did not.

    It did if it took more processor time than these provide, or if a thread may run on another processor.
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
    """Limit processes that this thread starts in the block to a budget of threads, before they import anything.

    A child inherits the affinity of the thread that starts it, and the environment of its process; the block restores
    both at its end.

    Parameters
    ----------
    threads : int or None
        The budget; None for all processors.
    variables : mapping of str to str
        Additional environment variables.

    Raises
    ------
    UsageError
        When the budget exceeds the number of processors.
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
