"""Gain of several threads in reading consecutive bytes of a flat file: ``python -m benchmarks.flat_threads [MIB ...]``.

Prints, for each size, the ratio of the threads' time to that of one thread, with its 95 % interval over rounds. Both
read the same bytes from the page cache into their own memory, as the raw ceiling does, in turn and in alternating
order. Sizes below `harness.formats.flat.SHARED` show why one thread reads them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np

from harness.analysis.statistics import Interval, compare
from harness.formats.flat import SHARED, fill_from, fill_together
from harness.formats.threads import ThreadTeam, cores

SIZES = (4, 16, 32, 64, 256, 1024)  # MiB
_MIB, _ROUNDS = 1 << 20, 21


def write(path: Path, nbytes: int) -> None:
    """Write a file of noise that repeats every MiB, which is enough, as reads only copy the bytes."""
    block = np.random.default_rng(0).bytes(_MIB)
    with path.open("xb") as file:
        for _ in range(-(-nbytes // _MIB)):
            file.write(block)


def threads_over_one(path: Path, nbytes: int, threads: int, rounds: int = _ROUNDS) -> Interval:
    """Return the ratio of the time of several threads to that of one, for the first bytes of a file.

    Parameters
    ----------
    path : Path
        A file of at least as many bytes.
    nbytes, threads, rounds : int
        Bytes to read, number of threads to compare with one, and number of pairs that count.

    Raises
    ------
    AssertionError
        If they do not read the same bytes.
    """
    seconds: dict[bool, list[float]] = {False: [], True: []}
    with path.open("rb", buffering=0) as file, closing(ThreadTeam(threads)) as crew:
        for number in range(-1, rounds):  # the first starts threads, fills the page cache, and does not count
            ends = {}
            for together in (False, True) if number % 2 else (True, False):
                start = time.perf_counter()
                memory = np.empty(nbytes, np.uint8)
                if together:
                    fill_together(file.fileno(), 0, memory, crew)
                else:
                    fill_from(file.fileno(), 0, memory)
                if number >= 0:
                    seconds[together].append(time.perf_counter() - start)
                ends[together] = memory[-_MIB:].tobytes()
                del memory  # freed before the other allocates its own
            assert ends[False] == ends[True]
    return compare(np.array(seconds[True]), np.array(seconds[False])).ratio


def main() -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, metavar="MIB")
    parser.add_argument("--threads", type=int, default=cores())
    asked = parser.parse_args()
    print(f"{asked.threads} threads over one; the raw ceiling divides runs of {SHARED // _MIB} MiB and more")
    with tempfile.TemporaryDirectory(dir=".", prefix=".targets-") as name:
        path = Path(name, "flat")
        write(path, max(asked.sizes) * _MIB)
        os.sync()
        for size in asked.sizes:
            ratio = threads_over_one(path, size * _MIB, asked.threads)
            print(f"{size:5} MiB  {ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})", flush=True)


if __name__ == "__main__":
    main()
