"""What happens when several processes write into one archive at the same time: tried in each format, not assumed.

Archives of this harness have one writer, so this is no suite. It asks of the formats themselves, through their own
libraries, what becomes of each block of rows: run it as ``python -m benchmarks.many_writers``. Every byte is read back
afterwards by another process than those that wrote it.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import queue
import shutil
import statistics
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr

ROWS, WIDTH, BLOCKS = 16, 4096, 12
"""Rows of a block and their width, float32 (256 KiB), and blocks that each writer writes."""

_PATIENCE = 120.0  # seconds for which writers may take together

Write = Callable[[Path, int, int, int, np.ndarray], None]
Make = Callable[[Path, int], None]
Read = Callable[[Path, int, int, int], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class WritersCase:
    """One way in which several processes write into one place.

    Attributes
    ----------
    format, name : str
        The format, and what the writers share.
    make : callable
        Takes the path and the number of writers; makes what is there before they begin.
    write : callable
        Takes the path, the writer, the number of writers, the block and its values.
    read : callable
        Takes the path, the writer, the number of writers and the block; returns its values.
    environment : tuple of (str, str)
        Variables of the writers.
    needs : str
        A module without which it cannot be tried.
    """

    format: str
    name: str
    make: Make
    write: Write
    read: Read
    environment: tuple[tuple[str, str], ...] = ()
    needs: str = ""


def values(writer: int, block: int) -> np.ndarray:
    """Return the values of a block, float32 of shape ``(ROWS, WIDTH)``: none zero, and no two blocks alike."""
    numbers = np.arange(1, ROWS * WIDTH + 1, dtype=np.uint32) + np.uint32(writer * BLOCKS + block << 18)
    return numbers.view(np.float32).reshape(ROWS, WIDTH)


def _row(writer: int, block: int) -> int:
    return (writer * BLOCKS + block) * ROWS


def _turns(writer: int, writers: int, block: int) -> int:
    """Return the row of a block where writers take turns, so that neighbours are of different ones."""
    return (block * writers + writer) * ROWS


# Zarr: an array for each writer, or one of all, in chunks or shards that are a writer's own or shared.


def _zarr_array(path: Path, writers: int, chunk: int, shard: int | None = None) -> None:
    zarr.create_array(
        path / "all", shape=(writers * BLOCKS * ROWS, WIDTH), dtype="float32", fill_value=0, compressors=None,
        chunks=(chunk, WIDTH), shards=None if shard is None else (shard, WIDTH),
    )  # fmt: skip


def _write_zarr(path: Path, writer: int, writers: int, block: int, array: np.ndarray) -> None:
    row = _turns(writer, writers, block)
    zarr.open_array(path / "all", mode="r+")[row : row + ROWS] = array


def _read_zarr(path: Path, writer: int, writers: int, block: int) -> np.ndarray:
    row = _turns(writer, writers, block)
    return np.asarray(zarr.open_array(path / "all", mode="r")[row : row + ROWS])


def _make_group(path: Path, writers: int) -> None:
    zarr.create_group(path)


def _write_own_array(path: Path, writer: int, writers: int, block: int, array: np.ndarray) -> None:
    zarr.open_group(path, mode="r+").create_array(f"writer_{writer}/layer_{block}", data=array, compressors=None)


def _read_own_array(path: Path, writer: int, writers: int, block: int) -> np.ndarray:
    return np.asarray(zarr.open_array(path / f"writer_{writer}/layer_{block}", mode="r")[:])


# HDF5: one file, which its lock keeps for one process; without the lock; and a file for each writer, linked.


def _make_hdf5(path: Path, writers: int) -> None:
    with h5py.File(path, "w"):
        pass


def _write_hdf5(path: Path, writer: int, writers: int, block: int, array: np.ndarray) -> None:
    with h5py.File(path, "r+") as file:
        file[f"writer_{writer}/layer_{block}"] = array


def _write_hdf5_patiently(path: Path, writer: int, writers: int, block: int, array: np.ndarray) -> None:
    """Try again while another process has the file, which is the only way in which a file serves several."""
    end = time.monotonic() + _PATIENCE / 2
    while True:
        try:
            _write_hdf5(path, writer, writers, block, array)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise
            time.sleep(0.001)


def _read_hdf5(path: Path, writer: int, writers: int, block: int) -> np.ndarray:
    with h5py.File(path, "r") as file:
        return np.asarray(file[f"writer_{writer}/layer_{block}"][()])


def _make_linked(path: Path, writers: int) -> None:
    with h5py.File(path, "w") as file:
        for writer in range(writers):
            file[f"writer_{writer}"] = h5py.ExternalLink(f"{path.name}.{writer}", "/")


def _write_linked(path: Path, writer: int, writers: int, block: int, array: np.ndarray) -> None:
    with h5py.File(path.with_name(f"{path.name}.{writer}"), "a") as file:
        file[f"layer_{block}"] = array


# NPZ: a zip file has one directory, at its end, which each writer that appends writes anew.


def _make_npz(path: Path, writers: int) -> None:
    with zipfile.ZipFile(path, "w"):
        pass


def _write_npz(path: Path, writer: int, writers: int, block: int, array: np.ndarray) -> None:
    with zipfile.ZipFile(path, "a") as file, file.open(f"writer_{writer}/layer_{block}.npy", "w") as member:
        np.lib.format.write_array(member, array)


def _read_npz(path: Path, writer: int, writers: int, block: int) -> np.ndarray:
    with np.load(path, allow_pickle=False) as file:
        return np.asarray(file[f"writer_{writer}/layer_{block}"])


# Icechunk: a transaction for each block, made again on top of what others have committed meanwhile.


def _repository(path: Path, *, new: bool = False) -> Any:
    os.environ.setdefault("ICECHUNK_LOG", "error")
    import icechunk  # an optional package

    storage = icechunk.local_filesystem_storage(str(path))
    return icechunk.Repository.create(storage) if new else icechunk.Repository.open(storage)


def _make_icechunk(path: Path, writers: int) -> None:
    session = _repository(path, new=True).writable_session("main")
    zarr.create_array(
        session.store, shape=(writers * BLOCKS * ROWS, WIDTH), dtype="float32", fill_value=0, compressors=None,
        chunks=(ROWS, WIDTH),
    )  # fmt: skip
    session.commit("an empty array")


def _write_icechunk(path: Path, writer: int, writers: int, block: int, array: np.ndarray) -> None:
    import icechunk

    session = _repository(path).writable_session("main")
    row = _turns(writer, writers, block)
    zarr.open_array(session.store, mode="r+")[row : row + ROWS] = array
    session.commit(f"block {block}", rebase_with=icechunk.ConflictDetector(), rebase_tries=1000)


def _read_icechunk(path: Path, writer: int, writers: int, block: int) -> np.ndarray:
    row = _turns(writer, writers, block)
    store = _repository(path).readonly_session("main").store
    return np.asarray(zarr.open_array(store, mode="r")[row : row + ROWS])


def _zarr(name: str, chunk: int, shard: Callable[[int], int | None]) -> WritersCase:
    def make(path: Path, writers: int) -> None:
        _zarr_array(path, writers, chunk, shard(writers))

    return WritersCase(format="zarr", name=name, make=make, write=_write_zarr, read=_read_zarr)


_UNLOCKED = (("HDF5_USE_FILE_LOCKING", "FALSE"),)
CASES = (
    WritersCase(
        format="zarr", name="an array for each block", make=_make_group, write=_write_own_array, read=_read_own_array
    ),
    _zarr("one array, each block a chunk", ROWS, lambda writers: None),
    _zarr("one array, chunks of two blocks", 2 * ROWS, lambda writers: None),
    _zarr("one array, each block a shard", ROWS // 2, lambda writers: ROWS),
    _zarr("one array, shards of all writers' blocks", ROWS, lambda writers: writers * ROWS),
    WritersCase(format="hdf5", name="one file, tried once", make=_make_hdf5, write=_write_hdf5, read=_read_hdf5),
    WritersCase(
        format="hdf5", name="one file, tried until free", make=_make_hdf5, write=_write_hdf5_patiently, read=_read_hdf5
    ),
    WritersCase(
        format="hdf5", name="one file, lock off", make=_make_hdf5, write=_write_hdf5, read=_read_hdf5,
        environment=_UNLOCKED,
    ),
    WritersCase(
        format="hdf5", name="a file for each writer, linked", make=_make_linked, write=_write_linked, read=_read_hdf5
    ),
    WritersCase(format="npz", name="one file, appended", make=_make_npz, write=_write_npz, read=_read_npz),
    WritersCase(
        format="icechunk", name="one array, a commit for each block", make=_make_icechunk, write=_write_icechunk,
        read=_read_icechunk, needs="icechunk",
    ),
)  # fmt: skip


def _run_writer(case: int, path: Path, writer: int, writers: int, barrier: Barrier, results: Any) -> None:
    """Write all blocks of a writer; tell for each whether it was written, or what was raised."""
    chosen = CASES[case]
    barrier.wait()
    said = []
    start = time.perf_counter()
    for block in range(BLOCKS):
        try:
            chosen.write(path, writer, writers, block, values(writer, block))
            said.append("")
        except Exception as error:  # noqa: BLE001 - whatever a library raises is the finding
            said.append(f"{type(error).__name__}: {error}".splitlines()[0][:120])
    results.put((writer, said, start, time.perf_counter()))


def _run_reader(case: int, path: Path, writers: int, results: Any) -> None:
    """Say of each block what can be read: ``whole``, ``absent`` (nothing of it), ``torn`` (some), or ``unreadable``."""
    found: dict[tuple[int, int], str] = {}
    for writer in range(writers):
        for block in range(BLOCKS):
            try:
                array = CASES[case].read(path, writer, writers, block)
            except KeyError:
                found[writer, block] = "absent"
            except FileNotFoundError:
                found[writer, block] = "absent"
            except Exception:  # noqa: BLE001 - as above
                found[writer, block] = "unreadable"
            else:
                found[writer, block] = _state(array, values(writer, block))
    results.put(found)


def _state(array: np.ndarray, wanted: np.ndarray) -> str:
    if array.shape == wanted.shape and array.tobytes() == wanted.tobytes():
        return "whole"
    return "torn" if array.shape == wanted.shape and (array.view("u4") == wanted.view("u4")).any() else "absent"


@dataclass(frozen=True, kw_only=True)
class WritersOutcome:
    """What became of the blocks of all writers in one round.

    Attributes
    ----------
    lost : int
        Blocks of which the library said that they were written, and of which nothing can be read.
    torn, unreadable : int
        Such blocks of which a part can be read; or that the library cannot read.
    refused : int
        Blocks that the library did not write, and said so.
    written : int
        Blocks that are whole.
    seconds : float
        From the first writer's begin to the last one's end.
    why : str
        The first error of a writer.
    """

    lost: int
    torn: int
    unreadable: int
    refused: int
    written: int
    seconds: float
    why: str


def try_case(number: int, writers: int, folder: Path) -> WritersOutcome:
    """Let several processes write in one way, and read everything back in another process."""
    case = CASES[number]
    path = folder / f"{case.format}-{number}"
    context = multiprocessing.get_context("spawn")
    before = {name: os.environ.get(name) for name, _ in case.environment}
    case.make(path, writers)
    os.environ.update(case.environment)
    try:
        results, barrier = context.Queue(), context.Barrier(writers)
        processes = [
            context.Process(target=_run_writer, args=(number, path, writer, writers, barrier, results))
            for writer in range(writers)
        ]
        for process in processes:
            process.start()
        told = _told(processes, results)
        found = _read_back(number, path, writers, context)
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        if path.is_dir():
            shutil.rmtree(path)
        for each in folder.glob(f"{path.name}*"):
            each.unlink()
    errors = {(writer, block): text for writer, said, *_ in told for block, text in enumerate(said) if text}
    counts = Counter(state for key, state in found.items() if key not in errors)
    return WritersOutcome(
        lost=counts["absent"],
        torn=counts["torn"],
        unreadable=counts["unreadable"],
        refused=len(errors),
        written=counts["whole"],
        seconds=max(end for *_, end in told) - min(start for _, _, start, _ in told),
        why=next(iter(errors.values()), ""),
    )


def _read_back(number: int, path: Path, writers: int, context: Any) -> dict[tuple[int, int], str]:
    """Read all blocks in a process of its own; where it dies or hangs, none can be read."""
    results = context.Queue()
    reader = context.Process(target=_run_reader, args=(number, path, writers, results))
    reader.start()
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        alive = reader.is_alive()
        try:
            found: dict[tuple[int, int], str] = results.get(timeout=0.5)
        except queue.Empty:
            if not alive:
                break
            continue
        reader.join()
        return found
    reader.kill()
    reader.join()
    return {(writer, block): "unreadable" for writer in range(writers) for block in range(BLOCKS)}


def _told(processes: list[Any], results: Any) -> list[tuple[int, list[str], float, float]]:
    """Wait for all writers; one that died without a word has written nothing that it could vouch for."""
    found: dict[int, tuple[int, list[str], float, float]] = {}
    end = time.monotonic() + _PATIENCE
    while len(found) < len(processes) and time.monotonic() < end:
        over = not any(process.is_alive() for process in processes)
        try:
            told = results.get(timeout=0.5)
        except queue.Empty:
            if over:
                break
            continue
        found[told[0]] = told
    now = time.perf_counter()
    for writer, process in enumerate(processes):
        process.join(_PATIENCE if writer in found else 0)  # one that has told is about to end
        process.kill()
        process.join()
        found.setdefault(writer, (writer, [f"the process ended with {process.exitcode}"] * BLOCKS, now, now))
    return list(found.values())


def main() -> None:
    """Try every case with one writer and with several, print a table, and write it as CSV."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="a CSV file")
    asked = parser.parse_args()
    rows = []
    for number, case in enumerate(CASES):
        if case.needs and not _has(case.needs):
            print(f"{case.format}, {case.name}: needs {case.needs}")
            continue
        for writers in (1, asked.writers):
            with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
                rounds = [try_case(number, writers, Path(folder)) for _ in range(asked.rounds)]
            rows.append(_row_of(case, writers, rounds))
            print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    if asked.out is not None:
        with asked.out.open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)


def _has(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


def _row_of(case: WritersCase, writers: int, rounds: list[WritersOutcome]) -> dict[str, Any]:
    total = {name: sum(getattr(each, name) for each in rounds) for name in ("lost", "torn", "unreadable", "refused")}
    written = sum(each.written for each in rounds)
    speed = statistics.median(each.written * ROWS * WIDTH * 4 / each.seconds / 1e6 for each in rounds)
    return {
        "format": case.format,
        "shared": case.name,
        "writers": writers,
        "blocks": writers * BLOCKS * len(rounds),
        "whole": written,
        **total,
        "MB_per_s": round(speed, 1),
        "first_error": next((each.why for each in rounds if each.why), ""),
    }


if __name__ == "__main__":
    main()
