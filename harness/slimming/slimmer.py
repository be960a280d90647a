"""Decide for each tensor of a trace what is stored, from blocks that can be read only once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np

from harness.scratch import is_large
from harness.slimming.narrowing import Narrowing, ladder
from harness.trace.schema import TensorSpec
from harness.trace.stream import Digest, block_rows, regroup, split

MOST_HELD = 64 << 20
"""Most bytes of a tensor that are held in memory until its last block; a larger tensor is held in a file."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What is stored for a tensor."""

    spec: TensorSpec  # The tensor as it was given.
    narrowing: Narrowing  # How its values are stored.
    of: str  # The earlier tensor that has the same bits and is read in its place; empty where this one is stored.

    @property
    def stored(self) -> TensorSpec:
        """The tensor that a container holds, under the same name."""
        return replace(self.spec, dtype=self.narrowing.stored)


def narrowest(dtype: str, blocks: Callable[[], Iterable[np.ndarray]]) -> Narrowing:
    """Return the narrowing to the fewest bytes that hold every value exactly.

    Parameters
    ----------
    dtype : str
        Of the values.
    blocks : callable
        Returns all values each time it is called, each block in C order.

    Returns
    -------
    Narrowing
        The first of `harness.slimming.narrowing.ladder` that every block survives.
    """

    def parts() -> Iterator[np.ndarray]:  # in parts, as a cast needs as much memory as its input
        for block in blocks():
            yield from split(block.reshape(-1))

    return next(step for step in ladder(dtype) if step.as_it_is or all(map(step.fits, parts())))


def fits(path: str, patterns: Iterable[str]) -> bool:
    """Return whether a path matches one of some shell-style patterns; a star also matches slashes."""
    return any(fnmatchcase(path, pattern) for pattern in patterns)


class Slimmer:
    """Takes the tensors of a trace one by one, and decides after the last block of each what is stored for it.

    The last value may need more bytes than all before it, and no format can undo a write. So the values of one tensor
    are held here, in memory or in an unnamed file.

    Parameters
    ----------
    folder : Path
        Folder of that file, on the disk that will hold the archive.
    once : bool
        Whether equal tensors are stored once: those of one shape and dtype whose digest, over every bit, is the same.
    narrows : bool
        Whether values are narrowed; those of a scalar, and the bits of types that numpy lacks, never are.
    plain : iterable of str
        Patterns for the paths of tensors that are stored as given, even if they equal an earlier one.
    """

    def __init__(self, folder: Path, *, once: bool = True, narrows: bool = True, plain: Iterable[str] = ()) -> None:
        self._folder, self._once, self._narrows, self._plain = folder, once, narrows, tuple(plain)
        self._known: dict[tuple[tuple[int, ...], str, str], Kept] = {}
        self._held: list[np.ndarray] = []
        self._file: IO[bytes] | None = None

    def take(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> Kept:
        """Take all blocks of a tensor, drop the values of the one before it, and return what is stored.

        If the tensor equals an earlier one, its narrowing is that of the stored one.
        """
        self.close()
        self._spec, state, left = spec, Digest(), MOST_HELD
        for block in blocks:
            large = is_large(block.nbytes)
            # A copy: the caller may reuse the block's memory. A large block goes to the file without a copy.
            values = (np.asarray if large else np.array)(block, spec.dtype, order="C")
            state.update(values)
            self._held.append(values)
            left -= values.nbytes
            if spec.shape and (large or left < 0 or self._file is not None):
                self._to_file()
        plain = self.is_plain(spec)
        known = self._known.get(key := (spec.shape, spec.values or spec.dtype, state.hexdigest()))
        if known is not None and not plain:
            return Kept(spec=spec, narrowing=known.narrowing, of=known.spec.path)
        # With `spec.values`, the array holds the bits of values of another type: narrowing cannot make these smaller.
        narrows = self._narrows and spec.shape and not plain and not spec.values
        narrowing = narrowest(spec.dtype, self.blocks) if narrows else ladder(spec.dtype)[-1]
        kept = Kept(spec=spec, narrowing=narrowing, of="")
        if self._once and spec.items:
            self._known.setdefault(key, kept)
        return kept

    def is_plain(self, spec: TensorSpec) -> bool:
        """Return whether a tensor is stored as given."""
        return fits(spec.path, self._plain)

    def _to_file(self) -> None:
        """Move the held values to the end of the file."""
        if self._file is None:
            self._file = TemporaryFile(dir=self._folder)  # noqa: SIM115 - `close` does
        for values in self._held:
            self._file.write(values.reshape(-1).view(np.uint8).data)
        self._held = []

    def blocks(self, rows: int = 1) -> Iterator[np.ndarray]:
        """Return the values of the last tensor, as given, in multiples of `rows` except for the last block."""
        return regroup(self._held if self._file is None else self._from_file(self._file), rows)

    def _from_file(self, file: IO[bytes]) -> Iterator[np.ndarray]:
        shape, dtype = self._spec.shape, np.dtype(self._spec.dtype)
        step = block_rows(shape, dtype.itemsize)
        file.seek(0)
        if is_large(self._spec.nbytes // max(1, shape[0])):
            yield from split(np.asarray(np.memmap(file, dtype, "r", shape=shape)))
            return
        for start in range(0, shape[0], step):
            block = np.empty((min(step, shape[0] - start), *shape[1:]), dtype)
            file.readinto(block.reshape(-1).view(np.uint8).data)  # type: ignore[attr-defined]
            yield block

    def close(self) -> None:
        """Release the values."""
        self._held = []
        if self._file is not None:
            self._file.close()
            self._file = None
