"""Test, in each format, of what happens when one process appends a layer to a file that others are reading.

Archives of this harness are sealed and never change, so this is not a suite. It tests the formats through their own
libraries, for programs that append all the same. Run it as ``python -m benchmarks.appending``.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import queue
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - HDF5 decodes blosc with it
import numpy as np
import zarr

from harness.errors import HarnessError
from harness.formats.archive import verify_archive, write_archive
from harness.formats.base import load_format
from harness.trace.sources import open_trace

TRACE, N_RES = "synthetic:layers=1,heads=4,hidden_dim=16,pair_dim=8", 64
OLD, NEW = "attention/layer_0", "attention/layer_1"

_PIECES, _PAUSE = 25, 0.02  # number of pieces in which the new layer is appended, and seconds between them
_PATIENCE = 3.0  # seconds for which a writer retries while it is refused
_READERS = 2

Found = dict[str, np.ndarray]
Opener = Callable[[Path], AbstractContextManager[Callable[[str], np.ndarray]]]


@contextmanager
def read_hdf5(path: Path, **options: Any) -> Iterator[Callable[[str], np.ndarray]]:
    """Open a file as a reader does; yield the function that reads a tensor by name."""
    with h5py.File(path, "r", **options) as file:
        yield lambda name: np.asarray(file[name][()])


@contextmanager
def read_hdf5_unlocked(path: Path) -> Iterator[Callable[[str], np.ndarray]]:
    """Open with HDF5's file locking off."""
    with read_hdf5(path, locking=False) as read:
        yield read


@contextmanager
def read_hdf5_swmr(path: Path) -> Iterator[Callable[[str], np.ndarray]]:
    """Open as HDF5 requires while a single writer writes (SWMR)."""
    with read_hdf5(path, swmr=True, libver="latest") as read:
        yield read


@contextmanager
def read_zarr(path: Path) -> Iterator[Callable[[str], np.ndarray]]:
    """Open a group; look up a tensor each time it is read."""
    group = zarr.open_group(path, mode="r")
    yield lambda name: np.asarray(group[name][...])  # type: ignore[index]


@contextmanager
def read_slim(path: Path) -> Iterator[Callable[[str], np.ndarray]]:
    """Open with the harness's reader: other readers do not know how names and bits are stored."""
    with load_format("zarr-slim").reader(path) as reader:
        yield reader.read


@contextmanager
def read_npz(path: Path) -> Iterator[Callable[[str], np.ndarray]]:
    """Open an NPZ file."""
    with closing(np.load(path)) as file:
        yield lambda name: np.asarray(file[name])


def _pieces(values: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    edges = np.linspace(0, values.shape[1], _PIECES + 1, dtype=int)
    for start, stop in itertools.pairwise(edges):
        time.sleep(_PAUSE)
        yield slice(int(start), int(stop)), values[:, start:stop]


def append_hdf5(path: Path, values: np.ndarray, **options: Any) -> None:
    """Add a dataset piece by piece, and flush each piece."""
    with h5py.File(path, "a", **options) as file:
        added = file.create_dataset(NEW, values.shape, values.dtype, chunks=(1, 8, values.shape[2]))
        for rows, part in _pieces(values):
            added[:, rows] = part
            file.flush()


def append_hdf5_unlocked(path: Path, values: np.ndarray) -> None:
    """Add a dataset with HDF5's file locking off."""
    append_hdf5(path, values, locking=False)


def append_hdf5_swmr(path: Path, values: np.ndarray) -> None:
    """Fill a dataset as a single writer (SWMR); create it before, because that mode allows no new dataset."""
    with h5py.File(path, "a", libver="latest") as file:
        added = file.create_dataset(NEW, values.shape, values.dtype, chunks=(1, 8, values.shape[2]))
        file.swmr_mode = True
        for rows, part in _pieces(values):
            added[:, rows] = part
            added.flush()


def append_zarr(path: Path, values: np.ndarray) -> None:
    """Add an array piece by piece."""
    group = zarr.open_group(path, mode="a")
    added = group.create_array(NEW, shape=values.shape, dtype=values.dtype, chunks=(1, 8, values.shape[2]))
    for rows, part in _pieces(values):
        added[:, rows] = part


def append_npz(path: Path, values: np.ndarray) -> None:
    """Add a member as zipfile does: overwrite the file's old directory, and write a new one at the end."""
    with zipfile.ZipFile(path, "a") as file, file.open(f"{NEW}.npy", "w") as member:
        np.lib.format.write_array_header_1_0(
            member, {"descr": values.dtype.str, "fortran_order": False, "shape": values.shape}
        )
        data = np.frombuffer(values.tobytes(), np.uint8)
        for part in np.array_split(data, _PIECES):
            time.sleep(_PAUSE)
            member.write(part.tobytes())
            file.fp.flush()  # type: ignore[union-attr]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A format, how it is read and how it is appended to."""

    name: str
    backend: str
    read: Opener
    append: Callable[[Path, np.ndarray], None]
    locks: bool = False
    """Whether an open reader blocks writers. If so, no reader stays open, as it would block them forever."""


CASES = (
    Case(name="hdf5", backend="hdf5", read=read_hdf5, append=append_hdf5, locks=True),
    Case(name="hdf5, locking off", backend="hdf5", read=read_hdf5_unlocked, append=append_hdf5_unlocked),
    Case(name="hdf5, SWMR", backend="hdf5", read=read_hdf5_swmr, append=append_hdf5_swmr, locks=True),
    Case(name="zarr", backend="zarr", read=read_zarr, append=append_zarr),
    Case(name="zarr-slim", backend="zarr-slim", read=read_slim, append=append_zarr),
    Case(name="npz", backend="npz", read=read_npz, append=append_npz),
)


@dataclass
class Reads:
    """Outcomes of one reader's reads while the writer was working."""

    right: int = 0
    wrong: int = 0
    errors: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True)
class Appended:
    """Result of one case."""

    appended: str  # ``yes``, or the writer's last error.
    refused: int  # How often the writer was refused before.
    # Outcomes of readers that open the file for every read, and of those that keep it open; summed.
    fresh: Reads
    held: Reads
    # What a reader opened before, and one opened afterwards, find of the new layer.
    held_sees: str
    fresh_sees: str
    verified: str  # Problems that ``harness verify`` reports afterwards; empty if there are none.


def _said(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {text[:90]}"


def _look(read: Callable[[str], np.ndarray], name: str, expected: np.ndarray) -> str:
    try:
        return "whole" if np.array_equal(read(name), expected) else "wrong values"
    except Exception as error:  # noqa: BLE001 - what a library raises is the finding
        return _said(error)


def _count(reads: Reads, seen: str) -> None:
    if seen == "whole":
        reads.right += 1
    elif seen == "wrong values":
        reads.wrong += 1
    else:
        reads.errors[seen] += 1


def read_on(case: Case, path: Path, values: Found, ready: Event, go: Event, stop: Event, answers: Any) -> None:
    """Read the old layer until `stop` is set: in turn with a reader kept open, if possible, and with a new one."""
    fresh, held = Reads(), Reads()
    with contextlib.ExitStack() as stack:
        opened = None
        if not case.locks:
            opened = stack.enter_context(case.read(path))
            opened(OLD)
        ready.set()
        go.wait()
        while not stop.is_set():
            if opened is not None:
                _count(held, _look(opened, OLD, values[OLD]))
            try:
                with case.read(path) as read:
                    _count(fresh, _look(read, OLD, values[OLD]))
            except Exception as error:  # noqa: BLE001 - as above
                _count(fresh, _said(error))
            time.sleep(0.002)
        sees = _look(opened, NEW, values[NEW]) if opened is not None else ""
    answers.put((fresh, held, sees))


def write_once(case: Case, path: Path, values: np.ndarray, answers: Any) -> None:
    """Append, with retries for a while if refused; put the outcome and the number of refusals into `answers`."""
    refused, until = 0, time.monotonic() + _PATIENCE
    while True:
        try:
            case.append(path, values)
            answers.put(("yes", refused))
            return
        except Exception as error:  # noqa: BLE001 - what a library raises is the finding
            if not isinstance(error, BlockingIOError) or time.monotonic() > until:
                answers.put((_said(error), refused))
                return
            refused += 1
            time.sleep(0.005)


def attempt(case: Case, folder: Path) -> Appended:
    """Run readers and an appending writer, each in its own process, and return what happened.

    Parameters
    ----------
    case : Case
        The case to try.
    folder : Path
        An empty folder.

    Raises
    ------
    HarnessError
        If a reader does not start, or a process gives no answer within 60 s.
    """
    context = multiprocessing.get_context("spawn")
    backend = load_format(case.backend)
    trace = open_trace(TRACE, N_RES)
    path = folder / f"trace{backend.suffix}"
    write_archive(trace, backend, path)
    spec = trace.manifest[OLD]
    old = np.concatenate([np.asarray(block) for block in trace.blocks(OLD)]).reshape(spec.shape)
    values = {OLD: old, NEW: old[::-1].copy()}
    go, stop, readers, told = context.Event(), context.Event(), context.Queue(), context.Queue()
    ready = [context.Event() for _ in range(_READERS)]
    running = [context.Process(target=read_on, args=(case, path, values, r, go, stop, readers)) for r in ready]
    for process in running:
        process.start()
    try:
        if not all(event.wait(60) for event in ready):
            raise HarnessError(f"{case.name}: a reader did not start.")
        go.set()
        writer = context.Process(target=write_once, args=(case, path, values[NEW], told))
        writer.start()
        running.append(writer)
        appended, refused = told.get(timeout=60)
        stop.set()
        answers = [readers.get(timeout=60) for _ in range(_READERS)]
    except queue.Empty as error:
        raise HarnessError(f"{case.name}: a process gave no answer within 60 s.") from error
    finally:
        stop.set()
        go.set()
        for process in running:
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()
    try:
        with case.read(path) as read:
            sees = _look(read, NEW, values[NEW])
    except Exception as error:  # noqa: BLE001 - as above
        sees = _said(error)
    try:
        verified = "; ".join(verify_archive(path, backend))
    except HarnessError as error:
        verified = str(error)
    fresh, held = (_summed([answer[k] for answer in answers]) for k in (0, 1))
    return Appended(
        appended=appended, refused=refused, fresh=fresh, held=held, held_sees=answers[0][2], fresh_sees=sees,
        verified=verified.replace(f"{folder}{os.sep}", ""),
    )  # fmt: skip


def _summed(parts: list[Reads]) -> Reads:
    errors: Counter[str] = Counter()
    for part in parts:
        errors.update(part.errors)
    return Reads(sum(p.right for p in parts), sum(p.wrong for p in parts), errors)


def _line(reads: Reads) -> str:
    errors = "".join(f"; {count} times {text}" for text, count in reads.errors.most_common(2))
    return f"{reads.right} right, {reads.wrong} wrong{errors}"


def main() -> None:
    """Try every case and print what happened."""
    for case in CASES:
        with tempfile.TemporaryDirectory(prefix="harness-appending-") as folder:
            found = attempt(case, Path(folder))
        print(f"\n{case.name}")
        tries = f", after {found.refused} refusals" if found.refused else ""
        print(f"  layer appended:               {found.appended}{tries}")
        print(f"  reads meanwhile, fresh:       {_line(found.fresh)}")
        if found.held_sees:
            print(f"  reads meanwhile, kept open:   {_line(found.held)}")
            print(f"  new layer, reader kept open:  {found.held_sees}")
        print(f"  new layer, fresh reader:      {found.fresh_sees}")
        print(f"  harness verify:               {found.verified or 'nothing wrong'}")


if __name__ == "__main__":
    main()
