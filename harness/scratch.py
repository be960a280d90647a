"""Arrays that are too large for memory, mapped to unnamed files in the folder for temporary files."""

from __future__ import annotations

import os
import tempfile
from math import prod
from typing import Any

import numpy as np

from harness.errors import MachineError
from harness.limits import in_words

LARGEST = 64 << 20
"""Size in bytes of the largest array that `room` allocates in memory."""


def is_large(nbytes: int) -> bool:
    """Return whether an array of this size is too large for memory."""
    return nbytes > LARGEST


def room(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array to be filled, in C order: in memory, or mapped to an unnamed file if it is large.

    The disk space of such a file is freed together with the array.

    Raises
    ------
    MachineError
        If the folder for temporary files has too little space.
    """
    nbytes = prod(shape) * np.dtype(dtype).itemsize
    if not is_large(nbytes):
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:
        try:
            # Reserved first: a write to a mapped page that the disk has no space for kills the process.
            os.posix_fallocate(file.fileno(), 0, nbytes)
        except OSError as error:
            raise MachineError(
                f"There is no space for {in_words(nbytes)} of temporary files in {tempfile.gettempdir()}: set TMPDIR "
                "to a folder on a larger disk."
            ) from error
        return np.asarray(np.memmap(file, dtype, "r+", shape=shape))
