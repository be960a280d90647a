"""What several writers write: blocks of which each has values of its own, so that each can be told from all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Unit = Literal["layers", "proteins"]
"""What a block is: of as many rows as all others, or of a number of its own, as proteins have different lengths."""

_BITS = 18  # of a value, those that count the values of a block; the others are the number of the block


@dataclass(frozen=True, kw_only=True)
class WritersLoad:
    """What is written: blocks of rows, float32."""

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
        """The writer and the block of all blocks."""
        return [(writer, block) for writer in range(self.writers) for block in range(self.blocks)]

    def rows_of(self, writer: int, block: int) -> int:
        """Return the rows of a block: of a protein from half of `rows` to one and a half times as many."""
        if self.unit == "layers":
            return self.rows
        return self.rows // 2 + self._number(writer, block) * 7 % self.rows

    def start(self, writer: int, block: int) -> int:
        """Return the first row of a block in one array, where writers take turns, so that neighbours are of others."""
        before = (divmod(turn, self.writers) for turn in range(block * self.writers + writer))
        return sum(self.rows_of(other, earlier) for earlier, other in before)

    def part(self, writer: int, block: int) -> slice:
        """Return the rows of a block in one array."""
        start = self.start(writer, block)
        return slice(start, start + self.rows_of(writer, block))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows of all blocks, and the width."""
        return self.start(0, self.blocks), self.width

    def values(self, writer: int, block: int) -> np.ndarray:
        """Return the values of a block, float32 of shape ``(rows, width)``: none zero, and none in two blocks."""
        rows = self.rows_of(writer, block)
        numbers = np.arange(1, rows * self.width + 1, dtype=np.uint32)
        return (numbers + np.uint32(self._number(writer, block) << _BITS)).view(np.float32).reshape(rows, self.width)

    def owner(self, array: np.ndarray) -> tuple[int, int] | None:
        """Return the writer and the block whose values an array holds, all of them; None where it holds no such."""
        number = (int(array.view(np.uint32).flat[0]) - 1 >> _BITS) if array.size else -1
        key = divmod(number, self.blocks)
        return key if key in self.keys and same(array, self.values(*key)) else None

    def _number(self, writer: int, block: int) -> int:
        return writer * self.blocks + block


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Say whether two arrays have the same shape and bytes."""
    return one.shape == other.shape and one.tobytes() == other.tobytes()
