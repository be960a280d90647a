"""Extraction of long arrays of numbers from a JSON text, as binary numbers that restore exactly the same text."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from harness.errors import ArchiveError
from harness.extensions.result_directories import coding

_NUMBER = rb"-?(?:\d++(?:\.\d++)?+(?:[eE][+-]?\d++)?+|Infinity)|NaN"
_CHUNK = re.compile(rb"\[(?:[\[\],\s]++|" + _NUMBER + rb")++")
_TOKEN = re.compile(_NUMBER)
_FEWEST = 64
"""Numbers; shorter arrays stay in the text."""

_HOLE = b"\x00"
"""Placeholder for a number in the skeleton; it cannot occur in JSON."""

_MOST_DECIMALS = 6
_FLOATS = {name: np.dtype(name) for name in ("<f4", "<f8")}
_PIECE = 1 << 18
"""Numbers, and bytes of a skeleton, that are processed at a time."""

_KEY = re.compile(rb'"([^"\\]*)"\s*:\s*$')


class NumberStream(NamedTuple):
    """One array of numbers in a text."""

    key: str  # The key before it; empty if it has none.
    tokens: list[bytes]  # Its numbers as written.
    columns: int  # Length of its rows; 0 if they differ.


def split(text: bytes) -> tuple[bytes, list[NumberStream]]:
    """Extract the arrays of numbers from a JSON text.

    Returns
    -------
    bytes
        The skeleton: the text with a placeholder for each extracted number.
    list of NumberStream
        The arrays, in order.
    """
    if _HOLE in text:
        return text, []
    parts, streams, end = [], [], 0
    for found in _CHUNK.finditer(text):
        chunk = found.group()
        tokens = _TOKEN.findall(chunk)
        if len(tokens) < _FEWEST:
            continue
        key = _KEY.search(text, max(0, found.start() - 200), found.start())
        streams.append(NumberStream(key.group(1).decode("utf-8", "replace") if key else "", tokens, _columns(chunk)))
        parts += [text[end : found.start()], _TOKEN.sub(_HOLE, chunk)]
        end = found.end()
    return b"".join((*parts, text[end:])), streams


def _columns(chunk: bytes) -> int:
    rows = [row.count(b",") + 1 for row in re.findall(rb"\[([^\[\]]++)\]", chunk)]
    return rows[0] if rows and len(set(rows)) == 1 else 0


def join(skeleton: bytes, streams: Iterable[Iterable[bytes]], most: int) -> bytes:
    """Insert numbers into the placeholders of a skeleton.

    Parameters
    ----------
    skeleton : bytes
        The text with its placeholders.
    streams : iterable of iterable of bytes
        The numbers, as written.
    most : int
        Largest number of bytes of the text.

    Raises
    ------
    ArchiveError
        If there are not as many numbers as placeholders, or the text gets longer than `most`.
    """
    tokens, made = itertools.chain.from_iterable(streams), bytearray()
    for start in range(0, len(skeleton), _PIECE):
        parts = skeleton[start : start + _PIECE].split(_HOLE)
        taken = [*itertools.islice(tokens, len(parts) - 1), b""]
        if len(taken) < len(parts):
            raise ArchiveError("a block is damaged: it has fewer numbers than the text has room for")
        made += b"".join(part for pair in zip(parts, taken, strict=True) for part in pair)
        if len(made) > most:
            raise ArchiveError("a block is damaged: it contains more than is stated")
    if next(tokens, None) is not None:
        raise ArchiveError("a block is damaged: it has more numbers than the text has room for")
    return bytes(made)


def encode(stream: NumberStream) -> tuple[coding.Coded, bytes]:
    """Code an array of numbers; return the parameters of the coding, and the block.

    A coding is used only if it restores the same text. Numbers in an unknown notation are stored as text.
    """
    values = np.array(stream.tokens, dtype="S").astype(np.float64)
    shape = (-1, stream.columns) if stream.columns and values.size % stream.columns == 0 else (1, values.size)
    decimals = _decimals(stream.tokens)
    if decimals is not None and np.isfinite(values).all():
        scaled = np.rint(values * 10.0**decimals)
        if np.abs(scaled).max() < 1 << 53:
            integers = scaled.astype(np.int64).reshape(shape)
            for style in ("repr", "fixed"):
                if _texts(integers, decimals, style) == stream.tokens:
                    inner, block = coding.encode_integers(integers)
                    return {"how": "decimals", "decimals": decimals, "style": style, "integers": inner}, block
    for dtype in _FLOATS:
        with np.errstate(over="ignore", invalid="ignore"):
            stored = values.astype(dtype)
        if _floats(stored) == stream.tokens:
            inner, block = coding.encode_words(stored.tobytes(), stored.itemsize, stored.reshape(shape).shape)
            return {"how": "floats", "dtype": dtype, "words": inner}, block
    text = b" ".join(stream.tokens)
    return {"how": "tokens", "size": len(text)}, coding.encode_text(text)


def decode(coded: coding.Coded, block: bytes) -> Iterator[bytes]:
    """Undo `encode`; yield the numbers as they were written."""
    if coded["how"] == "tokens":
        for token in re.finditer(rb"[^ ]++", coding.decode_text(block, coded["size"])):
            yield token.group()
        return
    if coded["how"] == "decimals":
        if not 0 <= coded["decimals"] <= _MOST_DECIMALS:
            raise ArchiveError(f"a block is damaged: its numbers have {coded['decimals']} decimals")
        values = coding.integers_of(coded["integers"], block).ravel()
    elif coded["how"] == "floats":
        values = np.frombuffer(coding.decode_words(coded["words"], block), _FLOATS[coded["dtype"]])
    else:
        raise ArchiveError(f"a block of numbers is coded as {coded['how']!r}")
    for start in range(0, len(values), _PIECE):  # in pieces, because texts take many times the memory of numbers
        part = values[start : start + _PIECE]
        yield from _texts(part, coded["decimals"], coded["style"]) if coded["how"] == "decimals" else _floats(part)


def _decimals(tokens: list[bytes]) -> int | None:
    sample = tokens[:4096]
    most = max(len(token.partition(b".")[2]) for token in sample)
    return most if most <= _MOST_DECIMALS and not any(b"e" in token or b"E" in token for token in sample) else None


def _texts(integers: np.ndarray, decimals: int, style: str) -> list[bytes]:
    unique, places = np.unique(integers.ravel(), return_inverse=True)
    scale = 10**decimals
    texts = []
    for value in unique.tolist():
        text = str(value) if not decimals else repr(value / scale)
        texts.append((f"{value / scale:.{decimals}f}" if decimals and style == "fixed" else text).encode())
    return [texts[place] for place in places.tolist()]


def _floats(values: np.ndarray) -> list[bytes]:
    # Python's json writes finite numbers as repr does.
    special = {"nan": b"NaN", "inf": b"Infinity", "-inf": b"-Infinity"}
    texts = [repr(value) for value in values.astype(np.float64).tolist()]
    return [special.get(text) or text.encode() for text in texts]
