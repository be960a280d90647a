"""How accesses become asv's figures: samples taken as a run takes them, and the times of the samples alone.

asv runs ``setup`` before every call and times a whole call, with what checks its result. So archives are written in
``setup_cache``, and the timers here stand still except for what a sample itself has timed.
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
_FIRST: dict[tuple[str, str, str], Observed] = {}  # the discarded read of this process
_ROUNDS = itertools.count()
_Method = TypeVar("_Method", bound=Callable[..., object])


def _timed_by(name: str) -> Callable[[_Method], _Method]:
    """Let asv time a method by what samples say, so that neither preparation nor verification is in it."""

    def mark(method: _Method) -> _Method:
        method.timer = lambda: _TAKEN[name] / 1e9  # type: ignore[attr-defined]
        return method

    return mark


def _in_unit(unit: str) -> Callable[[_Method], _Method]:
    """State the unit of a tracked figure, for the pages."""

    def mark(method: _Method) -> _Method:
        method.unit = unit  # type: ignore[attr-defined]
        return method

    return mark


class _Suite:
    """The accesses of one suite, in every format; derived classes are made in `suites`.

    Attributes
    ----------
    suite : str
        Its registered name.
    accesses : dict of str to Access
        By the case that pages show.
    """

    suite: ClassVar[str]
    accesses: ClassVar[dict[str, Access]]
    version: ClassVar[str]
    params: ClassVar[tuple[list[str], list[str]]]
    param_names = ("format", "case")
    timeout = LIMIT
    # A call is a sample. asv's test finds nothing below 8 of them a side; here there are 10 in each of two processes.
    number, rounds, repeat, warmup_time = 1, 2, (10, 20, 2.0), 0

    def setup_cache(self) -> Made:
        """Write the archives into asv's own folder, once for all benchmarks."""
        folder = Path.cwd() / "archives"
        folder.mkdir()
        return make(folder)

    setup_cache.timeout = 2 * LIMIT  # type: ignore[attr-defined]

    def setup(self, made: Made, name: str, case: str) -> None:
        """Skip what cannot be measured here, and fail with a reason what went wrong."""
        if name in made.unusable:
            raise NotImplementedError(made.unusable[name])
        problem = made.broken.get(name) or made.problems.get((self.suite, case, name))
        if problem:
            raise HarnessError(f"{name}: {problem}.")

    def _figure(self, made: Made, name: str, case: str, figure: str) -> float:
        """Return a figure that follows from the archive; what several workers read depends on who comes first."""
        access = self.accesses[case]
        chance = isinstance(access, ReadAccess) and access.workers > 1
        found = made.figures[self.suite, case, name][figure]
        return math.nan if found is None or chance else float(found)


class _Reads(_Suite):
    def _sample(self, made: Made, name: str, case: str) -> None:
        """Take one verified sample; in a fresh process a discarded read comes first, as in a run."""
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
        """Write an archive, verify and remove it; the tensors of each round in turn, as in a run."""
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
        """Time until the caller could go on: inside the format's writer, or for a producer that is streamed to end."""
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
"""What measures the accesses of a kind."""


def benchmark(suite: str, kind: type[Access]) -> type[_Suite] | None:
    """Make the class that measures a suite's accesses of one kind; None where it has none."""
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
