"""Arrays of foreign files: their description, reading in blocks, and errors for damaged files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness.errors import HarnessError, MachineError, UsageError, cause_of
from harness.formats.selection import Selection, lengths, row_blocks
from harness.trace.schema import TensorSpec


class SourceError(HarnessError):
    """A source is truncated, damaged, unfinished, or of another kind; the message names the file."""


class ForeignArray(NamedTuple):
    """An array in a source."""

    shape: tuple[int, ...]  # Length of each axis.
    dtype: Any  # Type of the values; or one of `harness.trace.schema.HELD`, if the values are its bits.
    load: Callable[[], Any]  # Returns the array, or an object that can be sliced, such as an h5py dataset.
    # Returns an iterator over consecutive blocks of rows; set if the array can only be read from its start.
    rows: Callable[[], Iterator[np.ndarray]] | None = None
    axes: tuple[str, ...] = ()  # Names of its axes, if the file has them.
    # Shape of the smallest part that is read at once, ones if any part can be; None if `load` reads everything.
    chunks: tuple[int, ...] | None = None
    files: tuple[Path, ...] = ()  # Files and folders with its values; empty if these are the files of the source.

    @classmethod
    def of(cls, array: Any) -> ForeignArray:
        """Describe an array in memory, or any object that can be sliced like an array."""
        chunks = getattr(array, "chunks", None) or (1,) * len(array.shape)
        return cls(tuple(array.shape), array.dtype, lambda: array, chunks=chunks)

    def reshaped(self, shape: tuple[int, ...]) -> ForeignArray:
        """Return the same values in another shape; a read then loads all of them."""
        load = self.load
        loaded = lambda: np.asarray(load()[...]).reshape(shape)  # noqa: E731
        return self._replace(shape=shape, load=loaded, rows=None, chunks=None)


@contextmanager
def readable(origin: object) -> Iterator[None]:
    """Convert exceptions from damaged or unexpected data into an error of one sentence that names the origin.

    Raises
    ------
    SourceError
        In place of any exception except `UsageError` and `MachineError`.
    MachineError
        If the machine failed, which is no evidence of damaged data.
    """
    try:
        yield
    except (SourceError, UsageError, MachineError):
        raise
    except HarnessError as error:
        raise SourceError(f"{origin}: {str(error).removesuffix('.')}.") from error
    except Exception as error:
        if cause_of(error):
            said = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "out of memory"
            raise MachineError(f"{origin} cannot be read: {said}.") from error
        first = (str(error).strip().splitlines() or [""])[0][:200]  # some libraries quote the damaged bytes
        raise SourceError(
            f"{origin} cannot be read ({type(error).__name__}: {first}): it is truncated or damaged, or stored in a "
            "way that is not known here."
        ) from error


def stored_blocks(spec: TensorSpec, stored: ForeignArray, origin: str) -> Iterator[np.ndarray]:
    """Yield a foreign array as blocks of complete rows, as `Trace.blocks` does.

    Views of an array in memory are read-only.

    Parameters
    ----------
    spec : TensorSpec
        Announced specification of the array.
    stored : ForeignArray
        The array.
    origin : str
        Location of the array, for messages.

    Raises
    ------
    SourceError
        If the array cannot be read, or differs from its specification.
    """
    if stored.rows:
        with readable(origin):
            blocks = stored.rows()
        while True:
            with readable(origin):
                block = next(blocks, None)
            if block is None:
                return
            yield _checked(spec, block, (len(block), *spec.shape[1:]), origin)
    with readable(origin):
        rows = stored.load()
        number = None if spec.shape else np.asarray(rows[()]).reshape(())
    if number is not None:
        yield _checked(spec, number, (), origin)
        return

    held = isinstance(rows, np.ndarray)

    def read(part: Selection) -> np.ndarray:
        with readable(origin):
            block = np.asarray(rows[part])
        if held:  # a view: changing it would change later reads
            block.flags.writeable = False
        return _checked(spec, block, lengths(part), origin)

    # An array in memory is never copied if its order and byte order are those of an archive.
    plain = held and rows.flags.c_contiguous and rows.dtype == rows.dtype.newbyteorder("<")
    yield from row_blocks(spec, chunks_of(rows), read, views=plain)


def chunks_of(rows: Any) -> tuple[int, ...] | None:
    """Return the shape of a shard, or else of a chunk, as h5py and zarr-python name it; None for other arrays."""
    found = getattr(rows, "shards", None) or getattr(rows, "chunks", None)
    return tuple(found) if found else None


def _checked(spec: TensorSpec, block: np.ndarray, shape: tuple[int, ...], origin: str) -> np.ndarray:
    if spec.values and block.dtype.name == spec.values:
        block = block.view(spec.dtype)
    if block.dtype.name != spec.dtype or block.shape != shape:
        raise SourceError(f"{origin} gave {block.dtype} of shape {block.shape} where {spec.dtype} was announced.")
    return np.asarray(block, dtype=np.dtype(spec.dtype).newbyteorder("<"), order="C")
