"""Exact codings of an array's bytes, of which the smallest is used after it was decoded and compared.

An ``encode_`` function of a coding returns its parameters, which `decode` needs besides the block, and the block.
"""

from __future__ import annotations

import lzma
import math
from typing import Annotated, Any, Required, TypedDict

import msgspec
import numpy as np

from harness.documents import Count
from harness.errors import ArchiveError


class Coded(TypedDict, total=False):
    """Parameters of a coded block; each coding has its own fields."""

    how: Required[str]
    size: Count
    item: Annotated[int, msgspec.Meta(ge=1, le=8)]
    planes: list[list[int]]
    square: list[Count]
    rotated: bool
    words: Coded
    shape: list[int]
    axes: list[int]
    integers: Coded
    step: float
    decimals: int
    style: str
    dtype: Annotated[str, msgspec.Meta(pattern=r"^[<>]f[248]$")]


_LARGEST_WINDOW = 1 << 26
_THOROUGH = 1 << 23
"""Bytes; for longer data the highest level takes minutes and saves a percent."""

_Filters = list[dict[str, Any]]

_SAMPLE = 1 << 16
_WORTH = 0.985
"""A plane is stored uncompressed if its sample stays above this share: mantissas cost time and save nothing."""

_WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
_INNER: dict[str, tuple[str, ...]] = {
    "text": (), "words": (), "tokens": (),
    "grid": ("integers", "words"), "decimals": ("integers", "words"), "floats": ("words",),
}  # fmt: skip
"""Fields that lead to the size of a block, by its coding: the ones that are decoded, whatever other fields exist."""
_AXES: tuple[list[int], ...] = ([], [1], [0], [0, 1])
"""Sets of axes along which differences of neighbours can be coded."""


def _filters(size: int, *, plane: bool = False) -> _Filters:
    # The window is as long as the data: lzma clears tables in proportion to it, and most arrays are short.
    window = max(1 << 12, min(_LARGEST_WINDOW, size))
    # For planes the highest level saves nothing: their repetitions are short and close together.
    preset = 9 | lzma.PRESET_EXTREME if size <= _THOROUGH and not plane else 6
    common = {"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": window}
    # A byte plane is a row of independent bytes without positions in words; the previous byte is the best context.
    return [{**common, "lc": 4, "lp": 0, "pb": 0}] if plane else [common]


def encode_xz(data: bytes, *, words: bool = False) -> bytes:
    """Compress bytes to a file that every xz tool opens, with settings for text or for words of four bytes."""
    (filters,) = _filters(len(data))
    # The best context is the previous byte for text, the place in the word for numbers: 1 to 7 percent on real files.
    context = {"lc": 0, "lp": 2, "pb": 2} if words else {"lc": 4, "lp": 0, "pb": 0}
    return lzma.compress(data, lzma.FORMAT_XZ, filters=[{**filters, **context}])


def encode_text(data: bytes, *, plane: bool = False) -> bytes:
    """Compress bytes of no known structure, or one byte of each word of an array."""
    return lzma.compress(data, lzma.FORMAT_RAW, filters=_filters(len(data), plane=plane))


def decode_text(stored: bytes, size: int, *, plane: bool = False) -> bytes:
    """Undo `encode_text`; raise `ArchiveError` if the bytes are damaged."""
    try:
        # Decode at most the stated size: a damaged block must not fill the memory.
        decompressor = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_filters(size, plane=plane))
        data = decompressor.decompress(stored, size) if size else b""
    except lzma.LZMAError as error:
        raise ArchiveError(f"a block is damaged ({error})") from error
    return _checked(data, size)


def _checked(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise ArchiveError("a block is damaged: it is shorter than stated")
    return data


def encode_words(data: bytes, itemsize: int, shape: tuple[int, ...] = ()) -> tuple[Coded, bytes]:
    """Code the words of an array, independent of their meaning.

    Parameters
    ----------
    data : bytes
        The array's bytes.
    itemsize : int
        Bytes per word.
    shape : tuple of int, optional
        The array's shape in C order. An array that is symmetric in its first two axes, such as the logits of a
        distogram, is stored as a triangle.

    Returns
    -------
    Coded
        Parameters of the coding.
    bytes
        The block.
    """
    item = itemsize if itemsize in _WORDS and len(data) % itemsize == 0 else 1
    coded: Coded = {"how": "words", "size": len(data), "item": item}
    words = np.frombuffer(data, _WORDS[item])
    if len(shape) >= 2 and shape[0] == shape[1] > 1 and words.size == math.prod(shape):
        square = words.reshape(shape)
        if np.array_equal(square, square.swapaxes(0, 1)):
            coded["square"] = list(shape)
            words = square[np.triu_indices(shape[0])].ravel()
    if item == 4:
        part = _middle(words)
        if len(_planes(_rotate(part))[1]) < len(_planes(part)[1]):
            coded["rotated"], words = True, _rotate(words)
    coded["planes"], block = _planes(words)
    return coded, block


def _rotate(words: np.ndarray) -> np.ndarray:
    # Rotated by one bit, a float32 has its exponent in one byte, without the sign.
    return (words << np.uint32(1)) | (words >> np.uint32(31))


def _middle(values: Any, length: int = _SAMPLE) -> Any:
    start = max(0, (len(values) - length) // 2)
    return values[start : start + length]


def _planes(words: np.ndarray) -> tuple[list[list[int]], bytes]:
    """Code each byte plane of words separately; return whether each is compressed, its length, and all blocks."""
    listed, blocks = [], []
    for plane in np.ascontiguousarray(words).view(np.uint8).reshape(-1, words.itemsize).T:
        plain = plane.tobytes()
        sample = _middle(plain)
        packed = encode_text(sample, plane=True)
        if len(packed) >= _WORTH * len(sample):
            packed = plain
        elif len(sample) < len(plain):
            packed = encode_text(plain, plane=True)
        listed.append([int(packed is not plain), len(packed)])
        blocks.append(packed)
    return listed, b"".join(blocks)


def encode_array(data: bytes, itemsize: int, shape: tuple[int, ...] = ()) -> tuple[Coded, bytes]:
    """Code the words of an array as planes, or as text if that is smaller; for parameters see `encode_words`."""
    best = encode_words(data, itemsize, shape)
    # A text coder finds repeated rows, as in an alignment of few sequences. It is slow on rows without repetition.
    sample = _middle(data, 4 * _SAMPLE)
    if len(sample) < len(data) and len(encode_text(sample)) > 0.5 * len(sample):
        return best
    text = encode_text(data)
    return ({"how": "text", "size": len(data)}, text) if len(text) < len(best[1]) else best


def encode_integers(values: np.ndarray) -> tuple[Coded, bytes]:
    """Code an int64 matrix of at most 62 bits as differences of neighbours, along the axes with the smallest result."""
    found = []
    for axes in _AXES:
        differences = values
        for axis in axes:
            differences = np.diff(differences, axis=axis, prepend=0)
        folded = np.where(differences < 0, -2 * differences - 1, 2 * differences).astype(np.uint64)
        width = np.min_scalar_type(int(folded.max(initial=0))).itemsize
        inner, block = encode_words(folded.astype(_WORDS[width]).tobytes(), width, folded.shape)
        coded: Coded = {"how": "integers", "shape": list(values.shape), "axes": axes, "words": inner}
        found.append((coded, block))
    return min(found, key=lambda coding: len(coding[1]))


def encode_grid(data: bytes, dtype: np.dtype, step: float) -> tuple[Coded, bytes] | None:
    """Code floats that are all multiples of a step; return None if they are not, bit for bit."""
    values = np.frombuffer(data, dtype)
    if not np.isfinite(values).all():
        return None
    integers = np.rint(values.astype(np.float64) / step).astype(np.int64)
    if (integers * step).astype(dtype).tobytes() != data:
        return None
    side = round(values.size**0.5)
    inner, block = encode_integers(integers.reshape(-1, side if side and side * side == values.size else values.size))
    return {"how": "grid", "step": step, "dtype": dtype.str, "integers": inner}, block


def stated_size(coded: Coded) -> int:
    """Return the number of bytes to which a block decodes, as its coding states; integers count eight bytes each.

    Raises
    ------
    ArchiveError
        If the coding is unknown.
    """
    if (way := _INNER.get(coded["how"])) is None:
        raise ArchiveError(f"a block is coded as {coded['how']!r}, which this version does not know")
    found: Any = coded
    for key in way:
        found = found[key]
    return int(found["size"] // found["item"] * 8 if "integers" in way else found["size"])


def decode(coded: Coded, block: bytes) -> bytes:
    """Undo a coding.

    Parameters
    ----------
    coded : Coded
        Parameters of the coding.
    block : bytes
        The block.

    Returns
    -------
    bytes
        The array's bytes.

    Raises
    ------
    ArchiveError
        If the block is damaged or its coding is unknown.
    """
    if coded["how"] == "text":
        return decode_text(block, coded["size"])
    if coded["how"] == "words":
        return decode_words(coded, block)
    if coded["how"] == "grid":
        return (integers_of(coded["integers"], block) * coded["step"]).astype(coded["dtype"]).tobytes()
    raise ArchiveError(f"a block of an array is coded as {coded['how']!r}")


def decode_words(coded: Coded, block: bytes) -> bytes:
    """Undo `encode_words`; raise `ArchiveError` if the bytes are damaged."""
    item, square = coded["item"], coded.get("square")
    if item not in _WORDS or len(coded["planes"]) != item:
        raise ArchiveError("a block is damaged: its word table is inconsistent")
    count = coded["size"] // item
    if square and (math.prod(square) != count or square[0] != square[1]):
        raise ArchiveError("a block is damaged: its word table is inconsistent")
    if square:
        count = square[0] * (square[0] + 1) // 2 * math.prod(square[2:])
    made = np.empty((count, item), np.uint8)
    start = 0
    for column, (packed, length) in enumerate(coded["planes"]):
        part = block[start : start + length]
        start += length
        plane = decode_text(part, count, plane=True) if packed else _checked(part, count)
        made[:, column] = np.frombuffer(plane, np.uint8)
    words = made.reshape(-1).view(_WORDS[item])
    if coded.get("rotated"):
        words = (words >> np.uint32(1)) | (words << np.uint32(31))
    if square:
        both = np.empty(square, words.dtype)
        rows, columns = np.triu_indices(square[0])
        both[rows, columns] = both[columns, rows] = words.reshape(len(rows), *square[2:])
        words = both
    return words.tobytes()


def integers_of(coded: Coded, block: bytes) -> np.ndarray:
    """Return the int64 matrix that `encode_integers` coded."""
    inner = coded["words"]
    if coded["axes"] not in _AXES:
        raise ArchiveError(f"a block is damaged: it has differences along the axes {coded['axes']}")
    values = np.frombuffer(decode_words(inner, block), _WORDS[inner["item"]]).astype(np.int64)
    values = values.reshape(coded["shape"])
    sign = -(values & 1)
    values >>= 1
    values ^= sign
    del sign  # everything is in place, because there can be many values
    for axis in reversed(coded["axes"]):
        np.cumsum(values, axis=axis, out=values)
    return values
