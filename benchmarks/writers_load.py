"""The load of several writers: blocks with unique values, so that each block can be identified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Unit = Literal["layers", "proteins"]
"""Kind of blocks: all with the same number of rows, or with different numbers, as proteins have different lengths."""

_BITS = 18  # low bits of a value, which count the values of a block; the other bits are the block's number


@dataclass(frozen=True, kw_only=True)
class WritersLoad:
    """Blocks of rows to write, float32."""

    # Number of writers, and of the blocks that each writes.
    writers: int
    blocks: int = 12
    # Rows of a layer, and values of a row.
    rows: int = 16
    width: int = 4096
    # Blocks of `rows` rows, or of different numbers of rows, as proteins have different lengths: "layers", "proteins".
    unit: Unit = "layers"

    @property
    def keys(self) -> list[tuple[int, int]]:
        """Number of the writer, and of its block, for every block."""
        return [(writer, block) for writer in range(self.writers) for block in range(self.blocks)]

    def rows_of(self, writer: int, block: int) -> int:
        """Return the number of rows of a block; of a protein, from half of `rows` to one and a half times as many."""
        if self.unit == "layers":
            return self.rows
        return self.rows // 2 + self._number(writer, block) * 7 % self.rows

    def start(self, writer: int, block: int) -> int:
        """Return the first row of a block in one array of all; writers take turns, so neighbours differ in writer."""
        before = (divmod(turn, self.writers) for turn in range(block * self.writers + writer))
        return sum(self.rows_of(other, earlier) for earlier, other in before)

    def part(self, writer: int, block: int) -> slice:
        """Return the rows of a block in one array of all."""
        start = self.start(writer, block)
        return slice(start, start + self.rows_of(writer, block))

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of one array of all blocks: their rows, and the width."""
        return self.start(0, self.blocks), self.width

    def values(self, writer: int, block: int) -> np.ndarray:
        """Return the values of a block, float32 of shape ``(rows, width)``: none is zero, and none is in two blocks."""
        rows = self.rows_of(writer, block)
        numbers = np.arange(1, rows * self.width + 1, dtype=np.uint32)
        return (numbers + np.uint32(self._number(writer, block) << _BITS)).view(np.float32).reshape(rows, self.width)

    def owner(self, array: np.ndarray) -> tuple[int, int] | None:
        """Return the writer and the block whose values an array has completely; None if there is no such block."""
        number = (int(array.view(np.uint32).flat[0]) - 1 >> _BITS) if array.size else -1
        key = divmod(number, self.blocks)
        return key if key in self.keys and same(array, self.values(*key)) else None

    def _number(self, writer: int, block: int) -> int:
        return writer * self.blocks + block


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two arrays have the same shape and bytes."""
    return one.shape == other.shape and one.tobytes() == other.tobytes()
