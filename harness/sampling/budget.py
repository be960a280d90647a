"""The budget of threads of a measuring process: processors that it may use, and what libraries are told of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from harness.capacity import processors

VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS", "BLOSC_NTHREADS", "RAYON_NUM_THREADS", "TOKIO_WORKER_THREADS",
)  # fmt: skip
"""Environment variables that libraries take their number of threads from when they are loaded."""


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
