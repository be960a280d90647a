"""VizFold's attention text: for each head, the largest weights as lines of row, column and weight."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.extensions.importing.source import SourceError
from harness.files import read_bytes

HEADER = re.compile(r"Layer (\d{1,9}), Head (\d{1,9})")
_ENTRY = re.compile(r"(\d{1,9}) (\d{1,9}) (\d+\.(\d+))")
_SHOWN = 60  # characters of a broken line that are quoted


@dataclass(frozen=True, kw_only=True, eq=False)
class TopWeights:
    """The entries of one file, in its order.

    Attributes
    ----------
    layer : int
        The layer that its headers state.
    row, column : ndarray of int32, shape (heads, entries)
        Place of each weight in the head's attention map, counted from 0.
    weight : ndarray of float64, shape (heads, entries)
        Nearest to the decimal number that was printed.
    decimals : int
        How many digits were printed behind the point: a weight is within half a unit of the last one.
    """

    layer: int
    row: np.ndarray
    column: np.ndarray
    weight: np.ndarray
    decimals: int


def read_text(path: Path) -> TopWeights:
    """Read a file that VizFold's ``save_attention_topk`` wrote.

    Parameters
    ----------
    path : Path
        Blocks of ``Layer L, Head H`` and then lines ``i j weight``, equally many for each head.

    Returns
    -------
    TopWeights
        Exactly the entries that are listed.

    Raises
    ------
    SourceError
        Naming the file and the line that is not of this form, or saying that the file is cut.
    """
    parser = _Parser(path)
    for number, line in enumerate(_lines(path), 1):
        parser.take(number, line)
    return parser.finish()


def _lines(path: Path) -> list[str]:
    data = read_bytes(path)
    try:
        return data.decode("ascii").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SourceError(f"{path}, line {line}: expected text, found the byte {data[error.start]:#04x}.") from error


class _Parser:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._layer: int | None = None
        self._decimals: int | None = None
        self._heads: list[dict[tuple[int, int], float]] = []

    def take(self, number: int, line: str) -> None:
        line = line.removesuffix("\r")
        if header := HEADER.fullmatch(line):
            self._header(number, int(header[1]), int(header[2]))
        elif entry := _ENTRY.fullmatch(line):
            self._entry(number, (int(entry[1]), int(entry[2])), float(entry[3]), len(entry[4]))
        else:
            raise self._broken(number, f"'i j weight' or 'Layer L, Head H', found {line[:_SHOWN]!r}")

    def _broken(self, number: int, expected: str) -> SourceError:
        return SourceError(f"{self._path}, line {number}: expected {expected}.")

    def _header(self, number: int, layer: int, head: int) -> None:
        if self._layer not in (None, layer):
            raise self._broken(number, f"layer {self._layer} as above, found layer {layer}")
        if head != len(self._heads):
            raise self._broken(number, f"head {len(self._heads)} next, found head {head}")
        self._layer = layer
        self._heads.append({})

    def _entry(self, number: int, place: tuple[int, int], weight: float, decimals: int) -> None:
        if not self._heads:
            raise self._broken(number, "a line 'Layer L, Head H' before the first entry")
        if self._decimals not in (None, decimals):
            # A weight that was cut would still be a number, and a wrong one.
            raise self._broken(number, f"a weight with {self._decimals} decimals as above, found {decimals}")
        if place in self._heads[-1]:
            raise self._broken(number, f"each place once in a head, found {place[0]} {place[1]} again")
        self._decimals = decimals
        self._heads[-1][place] = weight

    def finish(self) -> TopWeights:
        counts = [len(head) for head in self._heads]
        for head, count in enumerate(counts):
            if count != counts[0] or not count:
                raise SourceError(
                    f"{self._path} is cut or incomplete: head {head} lists {count} entries, head 0 {counts[0]}, "
                    "where its writer lists equally many for every head."
                )
        if self._layer is None or self._decimals is None:
            raise SourceError(f"{self._path} lists no attention.")
        places = np.array([list(head) for head in self._heads], np.int32)
        return TopWeights(
            layer=self._layer,
            row=places[:, :, 0],
            column=places[:, :, 1],
            weight=np.array([list(head.values()) for head in self._heads], np.float64),
            decimals=self._decimals,
        )
