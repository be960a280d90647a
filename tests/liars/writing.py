"""Ways for several processes to write, each of which goes wrong in one way, at a block that is known."""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.writer_cases import WritersCase
from benchmarks.writers_load import WritersLoad

BAD = 1
"""The block at which each goes wrong."""


def _make(path: Path, load: WritersLoad) -> None:
    path.mkdir()


def _file(path: Path, writer: int, block: int) -> Path:
    return path / f"{writer}_{block}.npy"


def write(path: Path, load: WritersLoad, writer: int, block: int, array: np.ndarray) -> None:
    """Write as one should."""
    np.save(_file(path, writer, block), array)


def read(path: Path, load: WritersLoad, writer: int, block: int) -> np.ndarray:
    """Read what was written."""
    return np.load(_file(path, writer, block))


def _loses(path: Path, load: WritersLoad, writer: int, block: int, array: np.ndarray) -> None:
    if block != BAD:
        write(path, load, writer, block, array)


def _tears(path: Path, load: WritersLoad, writer: int, block: int, array: np.ndarray) -> None:
    if block == BAD:
        array[len(array) // 2 :] = 0
    write(path, load, writer, block, array)


def _doubles(path: Path, load: WritersLoad, writer: int, block: int, array: np.ndarray) -> None:
    write(path, load, writer, block, load.values(writer, 0) if block == BAD else array)


def _garbles(path: Path, load: WritersLoad, writer: int, block: int, array: np.ndarray) -> None:
    write(path, load, writer, block, array)
    if block == BAD:
        _file(path, writer, block).write_bytes(b"no array")


def _refuses(path: Path, load: WritersLoad, writer: int, block: int, array: np.ndarray) -> None:
    if block == BAD:
        raise BlockingIOError("another has it\nand a second line that nobody needs")
    write(path, load, writer, block, array)


def _dies(path: Path, load: WritersLoad, writer: int, block: int, array: np.ndarray) -> None:
    """Take the process down, and with it what was acknowledged."""
    if block == BAD:
        _file(path, writer, 0).unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, load, writer, block, array)


def _hangs(path: Path, load: WritersLoad, writer: int, block: int, array: np.ndarray) -> None:
    if block == BAD and writer:
        threading.Event().wait()
    write(path, load, writer, block, array)


def _reads_badly(path: Path, load: WritersLoad, writer: int, block: int) -> np.ndarray:
    if block == BAD:
        os._exit(3)
    return read(path, load, writer, block)


_Case = partial(WritersCase, format="liar", library="numpy", make=_make, write=write, read=read)
HONEST = _Case(name="honest", promise="all")
LOSES, TEARS, DOUBLES, GARBLES, REFUSES, DIES, HANGS = (
    _Case(name=lie.__name__, write=lie, promise="all")
    for lie in (_loses, _tears, _doubles, _garbles, _refuses, _dies, _hangs)
)
READS_BADLY = _Case(name="reads badly", read=_reads_badly, promise="all")
