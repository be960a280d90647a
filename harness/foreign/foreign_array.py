"""Arrays of foreign files: what is announced of them, their values by blocks, and damage as one sentence."""

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
    dtype: Any  # Type of the values, or one of `harness.trace.schema.HELD`, whose bits are the values.
    load: Callable[[], Any]  # Returns the array, or an object that can be sliced, such as an h5py dataset.
    # Returns an iterator of consecutive blocks of rows, if it can only be read from its start.
    rows: Callable[[], Iterator[np.ndarray]] | None = None
    axes: tuple[str, ...] = ()  # Names of its axes, if the file has them.
    # Shape of what is read as one, ones if any part can be read alone; None if `load` reads everything.
    chunks: tuple[int, ...] | None = None
    files: tuple[Path, ...] = ()  # Files and folders that hold its values; empty for those of the source.

    @classmethod
    def of(cls, array: Any) -> ForeignArray:
        """Describe an array in memory, or one that can be sliced."""
        chunks = getattr(array, "chunks", None) or (1,) * len(array.shape)
        return cls(tuple(array.shape), array.dtype, lambda: array, chunks=chunks)

    def reshaped(self, shape: tuple[int, ...]) -> ForeignArray:
        """Return the same values in another shape, which are then read as one."""
        load = self.load
        loaded = lambda: np.asarray(load()[...]).reshape(shape)  # noqa: E731
        return self._replace(shape=shape, load=loaded, rows=None, chunks=None)


@contextmanager
def readable(origin: object) -> Iterator[None]:
    """Turn whatever is raised at damaged or misfitting bytes into one sentence that says where they are.

    Raises
    ------
    SourceError
        In place of anything but a `UsageError`.
    MachineError
        When the machine failed, which says nothing about the bytes.
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
    """Yield a foreign array as blocks of whole rows, as a trace has them; views of an array in memory are read-only.

    Parameters
    ----------
    spec : TensorSpec
        What was announced of it.
    stored : ForeignArray
        The array.
    origin : str
        Where it is, for messages.

    Raises
    ------
    SourceError
        If it cannot be read, or is not what was announced.
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
        if held:  # a view: a change of it would be one of what is read next
            block.flags.writeable = False
        return _checked(spec, block, lengths(part), origin)

    # What is in memory as an archive holds it is never copied.
    plain = held and rows.flags.c_contiguous and rows.dtype == rows.dtype.newbyteorder("<")
    yield from row_blocks(spec, chunks_of(rows), read, views=plain)


def chunks_of(rows: Any) -> tuple[int, ...] | None:
    """Return the shape of what is decoded as one: h5py and zarr-python name it alike; None for other arrays."""
    found = getattr(rows, "shards", None) or getattr(rows, "chunks", None)
    return tuple(found) if found else None


def _checked(spec: TensorSpec, block: np.ndarray, shape: tuple[int, ...], origin: str) -> np.ndarray:
    if spec.values and block.dtype.name == spec.values:
        block = block.view(spec.dtype)
    if block.dtype.name != spec.dtype or block.shape != shape:
        raise SourceError(f"{origin} gave {block.dtype} of shape {block.shape} where {spec.dtype} was announced.")
    return np.asarray(block, dtype=np.dtype(spec.dtype).newbyteorder("<"), order="C")
