"""Base classes that turn accesses into asv's figures: samples measured as in a run, and only the times of samples.

asv runs ``setup`` before every call and times the complete call, including the check of its result. So archives are
written in ``setup_cache``, and the timers here advance only by what a sample itself has timed.
"""

from __future__ import annotations

import atexit
import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, TypeVar

from asv_runner.benchmarks.mark import SkipNotImplemented

from harness.errors import HarnessError
from harness.sampling.reading import Observed, ReadTask
from harness.sampling.worker import Children
from harness.sampling.writing import Written
from harness.workload import Access, ReadAccess, SizeAccess, WriteAccess

from . import definition
from .made import LIMIT, Made, counts, make, sizes

_CHILDREN = Children()  # reading processes
atexit.register(_CHILDREN.__exit__)
_TAKEN: Counter[str] = Counter()  # nanoseconds of samples so far, by what was timed
_FIRST: dict[tuple[str, str, str], Observed] = {}  # discarded reads of this process, by suite, case and format
_ROUNDS = itertools.count()
_Method = TypeVar("_Method", bound=Callable[..., object])


def _timed_by(name: str) -> Callable[[_Method], _Method]:
    """Return a decorator that makes asv time a method by its samples, without preparation and verification."""

    def mark(method: _Method) -> _Method:
        method.timer = lambda: _TAKEN[name] / 1e9  # type: ignore[attr-defined]
        return method

    return mark


def _in_unit(unit: str) -> Callable[[_Method], _Method]:
    """Return a decorator that states the unit of a tracked figure, for the pages."""

    def mark(method: _Method) -> _Method:
        method.unit = unit  # type: ignore[attr-defined]
        return method

    return mark


class _Suite:
    """The accesses of one suite, in every format; derived classes are created in `suites`.

    Attributes
    ----------
    suite : str
        Its registered name.
    accesses : dict of str to Access
        Accesses by the case that pages show.
    """

    suite: ClassVar[str]
    accesses: ClassVar[dict[str, Access]]
    version: ClassVar[str]
    params: ClassVar[tuple[list[str], list[str]]]
    param_names = ("format", "case")
    timeout = LIMIT
    # A call is a sample. asv's test finds nothing with fewer than 8 per side; here there are 10 in each of 2 processes.
    number, rounds, repeat, warmup_time = 1, 2, (10, 20, 2.0), 0

    def setup_cache(self) -> Made:
        """Write the archives into asv's own folder, once for all benchmarks."""
        folder = Path.cwd() / "archives"
        folder.mkdir()
        return make(folder)

    setup_cache.timeout = 2 * LIMIT  # type: ignore[attr-defined]

    def setup(self, made: Made, name: str, case: str) -> None:
        """Skip a format that cannot be measured here; raise HarnessError with the reason for one that failed."""
        if name in made.unusable:
            raise NotImplementedError(made.unusable[name])
        problem = made.broken.get(name) or made.problems.get((self.suite, case, name))
        if problem:
            raise HarnessError(f"{name}: {problem}.")

    def _figure(self, made: Made, name: str, case: str, figure: str) -> float:
        """Return a figure of the archive; NaN if unknown, or if it depends on which of several workers comes first."""
        access = self.accesses[case]
        chance = isinstance(access, ReadAccess) and access.workers > 1
        found = made.figures[self.suite, case, name][figure]
        return math.nan if found is None or chance else float(found)


class _Reads(_Suite):
    def _sample(self, made: Made, name: str, case: str) -> None:
        """Measure one verified sample; in a fresh process a discarded read comes first, as in a run."""
        access = self.accesses[case]
        assert isinstance(access, ReadAccess)
        task = ReadTask(**made.prepared.about(definition.arms()[name], access))
        key = self.suite, case, name
        first = _FIRST[key] = _FIRST.get(key) or task.run(_CHILDREN)
        observed = replace(task, cache="warm").run(_CHILDREN)
        counts(first, observed, access)
        assert observed.reading is not None
        _TAKEN["reads"] += round(observed.reading.seconds * 1e9)
        _TAKEN["opening"] += round(observed.reading.open_seconds * 1e9)

    @_timed_by("reads")
    def time_read(self, made: Made, name: str, case: str) -> None:
        """Warm reads, without opening, as ``seconds`` of a run's samples."""
        self._sample(made, name, case)

    @_timed_by("opening")
    def time_open(self, made: Made, name: str, case: str) -> None:
        """Opening a reader, as ``open_seconds`` of a run's samples."""
        self._sample(made, name, case)

    def peakmem_read(self, made: Made, name: str, case: str) -> None:
        """Peak resident size of the process during the sample, libraries included."""
        access = self.accesses[case]
        if isinstance(access, ReadAccess) and access.executor == "processes":
            raise SkipNotImplemented("asv sees the memory of its own process only")
        self._sample(made, name, case)

    @_in_unit("bytes")
    def track_bytes_read(self, made: Made, name: str, case: str) -> float:
        """Bytes that a sample's read calls moved, opening included."""
        return self._figure(made, name, case, "bytes_read")

    @_in_unit("requests")
    def track_requests(self, made: Made, name: str, case: str) -> float:
        """Read calls of a sample, opening included."""
        return self._figure(made, name, case, "requests")

    @_in_unit("files")
    def track_files_opened(self, made: Made, name: str, case: str) -> float:
        """How often a sample opened a file of the archive."""
        return self._figure(made, name, case, "files_opened")


class _Writes(_Suite):
    def _sample(self, made: Made, name: str, case: str) -> None:
        """Write an archive, verify and remove it; use the tensors of each round in turn, as in a run."""
        access = self.accesses[case]
        assert isinstance(access, WriteAccess)
        tensors = access.tensors[next(_ROUNDS) % len(access.tensors)]
        task = made.prepared.write_task(definition.arms()[name], tensors, Path.cwd(), access.task)
        written: Written = task.run(_CHILDREN)
        sizes(written)
        _TAKEN["writer"] += round(written.seconds * 1e9)
        _TAKEN["durable"] += round((written.seconds + written.sync_seconds) * 1e9)

    @_timed_by("writer")
    def time_write(self, made: Made, name: str, case: str) -> None:
        """Time until the caller can continue: inside the format's writer, or until a streamed producer ends."""
        self._sample(made, name, case)

    @_timed_by("durable")
    def time_write_durable(self, made: Made, name: str, case: str) -> None:
        """The same until the bytes are on disk."""
        self._sample(made, name, case)

    def peakmem_write(self, made: Made, name: str, case: str) -> None:
        """Peak resident size of the process while it writes and verifies, libraries included."""
        self._sample(made, name, case)


class _Sizes(_Suite):
    @_in_unit("bytes")
    def track_size(self, made: Made, name: str, case: str) -> float:
        """Bytes of all files of the archive."""
        return self._figure(made, name, case, "bytes")

    @_in_unit("files")
    def track_files(self, made: Made, name: str, case: str) -> float:
        """Files of the archive."""
        return self._figure(made, name, case, "files")


KINDS: dict[type[Access], type[_Suite]] = {
    ReadAccess: _Reads,
    WriteAccess: _Writes,
    SizeAccess: _Sizes,
}
"""Base class that measures the accesses of a kind."""


def benchmark(suite: str, kind: type[Access]) -> type[_Suite] | None:
    """Return the class that measures a suite's accesses of one kind; None if it has none."""
    accesses = definition.cases(suite, kind)
    if not accesses:
        return None
    made = {
        "__doc__": definition.about(suite),
        "suite": suite,
        "accesses": accesses,
        "version": definition.version(suite, kind),
        "params": (list(definition.arms()), list(accesses)),
    }
    return type(suite, (KINDS[kind],), made)
