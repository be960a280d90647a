"""Helpers of conformance checks: comparison of tensors, variants of blocks, content of files, and open files."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from harness.formats.seal import files_of
from harness.formats.selection import Selection
from harness.sampling.verify import Expected, check
from harness.trace.stream import digest


def same(found: object, array: np.ndarray, what: str) -> None:
    """Assert the same type, dtype, shape and bits, with the check for samples of a run."""
    problem = check(found, Expected(digest(array), array.dtype.name, array.shape, array.nbytes))
    assert not problem, f"{what}: the reader {problem}"


def parts(shape: tuple[int, ...], rng: np.random.Generator) -> list[Selection]:
    """Draw parts of a tensor: three at random, one value, no values, and all values."""
    found = [[sorted(rng.integers(0, n + 1, 2).tolist()) for n in shape] for _ in range(3)]
    found += [[[n - 1, n] if n else [0, 0] for n in shape], [[n // 2, n // 2] for n in shape], [[0, n] for n in shape]]
    return [tuple(slice(*ends) for ends in part) for part in found]


def owned(array: np.ndarray) -> int:
    """Return the bytes that an array keeps in memory; its own size if a C library owns them, which tells no more."""
    base: Any = array.base
    return array.nbytes if base is None or type(base).__name__ == "PyCapsule" else memoryview(base).nbytes


def as_it_is(block: np.ndarray) -> np.ndarray:
    """Return a block unchanged."""
    return block


def fortran(block: np.ndarray) -> np.ndarray:
    """Return a read-only copy of a block in Fortran order."""
    block = block.copy(order="F")
    block.flags.writeable = False
    return block


def big_endian(block: np.ndarray) -> np.ndarray:
    """Return a big-endian copy of a block."""
    return block.astype(block.dtype.newbyteorder(">"))


def contents(path: Path) -> dict[str, bytes]:
    """Return the content of every file of an archive, by its path within the archive."""
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files_of(path)}


def put_in_place(source: Path, path: Path) -> None:
    """Give an archive the contents of another, in existing files where possible, and keep the timestamps."""
    for name in contents(path).keys() - contents(source).keys():
        (path / name).unlink()
    for name, data in contents(source).items():
        file = path if name == "." else path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        dates = (file if file.exists() else path).stat()
        file.write_bytes(data)
        os.utime(file, ns=(dates.st_atime_ns, dates.st_mtime_ns))


def open_files() -> list[str]:
    """Return the targets of the open file descriptors of this process."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the descriptor of the listing itself
            found.append(os.readlink(entry))  # noqa: PTH115 - of sockets too
    return found
