"""Say in words where two versions of a published file differ."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.image import imread

from harness.documents import DocumentError, decode

CLOSE = 1e-9
"""Relative: what other versions of libraries give instead of a figure that is no whole number."""

EARLIER_CLOSE = 1e-6
"""The same of reports of earlier versions, whose intervals come from tabulated quantiles."""

_NOTHING = 1e-12  # no time, size or ratio is as small; only what is left of zero is
_BLOCK, _ALIKE, _MOVED = 16, 0.2, 8
"""Of two versions of a picture: edge of a block in pixels, the most by which the mean grey of a block may differ, and
pixels by which the edges of a page may. Moving every line by 2 pixels changes a block by 0.16, another plot by 0.44."""
_SVG = re.compile(rb"<svg\b.*?</svg>", re.S)
_ID = re.compile(rb'(?:(?<=id=")|(?<=href="#)|(?<=url\(#))[^")]+')  # of a marker or a clip: a digest of its coordinates
_WHOLE = re.compile(r"-?\d+")
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def files(
    name: str, theirs: bytes, ours: bytes, key: list[str], *, same_drawing: bool, close: float = CLOSE
) -> list[str]:
    """Compare two versions of a file as its name asks for; parameters and result as for `tables` and `drawings`."""
    kind = name.rpartition(".")[2]
    if kind == "csv":
        return tables(theirs, ours, key, close)
    if kind in _DRAWN:
        return _DRAWN[kind](theirs, ours, same_drawing=same_drawing)
    return documents(theirs, ours, close) if kind == "json" else texts(theirs, ours)


def tables(theirs: bytes, ours: bytes, key: list[str], close: float = CLOSE) -> list[str]:
    """Compare two CSV files row by row.

    Parameters
    ----------
    theirs, ours : bytes
        The published file, and the one made again.
    key : list of str
        The columns that name a row.
    close : float
        The relative difference at which figures agree; whole numbers have to be equal.

    Returns
    -------
    list of str
        What differs; empty when every figure agrees.
    """
    if theirs == ours:
        return []
    try:
        published, made = (pd.read_csv(io.BytesIO(t), dtype=str, keep_default_na=False) for t in (theirs, ours))
    except (ValueError, pd.errors.ParserError) as error:
        return [f"it is not a table: {error}"]
    if list(published.columns) != list(made.columns):
        return [f"its columns are not {', '.join(made.columns)}"]
    if len(published) != len(made):
        return [f"it has {len(published)} rows, the samples give {len(made)}"]
    found = []
    for left, right in zip(published.to_dict("records"), made.to_dict("records"), strict=True):
        name = " ".join(str(right[k]) for k in key if right[k])
        found += [
            f"{name}: {column} is {left[column] or 'empty'}, the samples give {right[column] or 'nothing'}"
            for column in made.columns
            if not _same_text(left[column], right[column], close)
        ]
    return found


def _same_text(left: str, right: str, close: float) -> bool:
    if left == right:
        return True
    if _WHOLE.fullmatch(left) and _WHOLE.fullmatch(right):
        return False
    try:
        return math.isclose(float(left), float(right), rel_tol=close, abs_tol=_NOTHING)
    except ValueError:
        return False


def documents(theirs: bytes, ours: bytes, close: float = CLOSE) -> list[str]:
    """Compare two JSON files value by value; parameters and result as for `tables`."""
    if theirs == ours:
        return []
    try:
        return list(_walk(decode(theirs, Any, "the published file", mend=""), json.loads(ours), "", close))
    except DocumentError as error:
        return [str(error).rstrip(".")]


def _walk(left: Any, right: Any, place: str, close: float) -> Iterator[str]:
    if isinstance(left, dict) and isinstance(right, dict):
        for name in dict.fromkeys([*right, *left]):
            if name not in left or name not in right:
                yield f"{place}/{name} is {'missing' if name not in left else 'not among the results'}"
            else:
                yield from _walk(left[name], right[name], f"{place}/{name}", close)
    elif isinstance(left, list) and isinstance(right, list):
        if len(left) != len(right):
            yield f"{place} has {len(left)} entries, the samples give {len(right)}"
            return
        for number, (a, b) in enumerate(zip(left, right, strict=True)):
            yield from _walk(a, b, f"{place}/{_label(b, number)}", close)
    elif not _same(left, right, close):
        yield f"{place} is {left!r}, the samples give {right!r}"


def _label(entry: Any, number: int) -> str:
    """Name an entry of a list by what it says it is, where it does."""
    if isinstance(entry, dict):
        parts = [str(entry[k]) for k in ("criterion", "trace", "mix", "access", "weight", "format") if entry.get(k)]
        return " ".join(parts) or str(number)
    return str(number)


def _same(left: Any, right: Any, close: float) -> bool:
    if isinstance(left, int) and isinstance(right, int):
        return left == right and type(left) is type(right)
    if isinstance(left, float | int) and isinstance(right, float | int) and not isinstance(left, bool):
        return math.isclose(left, right, rel_tol=close, abs_tol=_NOTHING)
    return bool(left == right)


def texts(theirs: bytes, ours: bytes) -> list[str]:
    """Compare two texts line by line; parameters and result as for `tables`."""
    if theirs == ours:
        return []
    left, right = theirs.splitlines(), ours.splitlines()
    found = [
        f"line {number} is {_shown(a)}, the samples give {_shown(b)}"
        for number, (a, b) in enumerate(zip(left, right, strict=False), start=1)
        if a != b
    ]
    if len(left) != len(right):
        found.append(f"it has {len(left)} lines, the samples give {len(right)}")
    return found or ["its line ends differ"]


def _shown(line: bytes) -> str:
    text = line.decode("utf-8", "replace").strip()
    return repr(text if len(text) <= 90 else text[:89] + "…")


def pages(theirs: bytes, ours: bytes, *, same_drawing: bool) -> list[str]:
    """Compare two HTML pages: their text exactly, the drawings in them as `drawings` does."""
    if theirs == ours:
        return []
    found = texts(_SVG.sub(b"<svg/>", theirs), _SVG.sub(b"<svg/>", ours))
    left, right = _SVG.findall(theirs), _SVG.findall(ours)
    if len(left) != len(right):
        return [*found, f"it has {len(left)} drawings, the samples give {len(right)}"]
    for number, (a, b) in enumerate(zip(left, right, strict=True), start=1):
        found += [f"drawing {number}: {text}" for text in drawings(a, b, same_drawing=same_drawing)]
    return found


def drawings(theirs: bytes, ours: bytes, *, same_drawing: bool) -> list[str]:
    """Compare two SVG drawings.

    Parameters
    ----------
    theirs, ours : bytes
        The published file, and the one drawn again.
    same_drawing : bool
        Whether both were drawn with the same versions of what decides their bytes. Otherwise coordinates may differ by
        a tenth of a point.
    """
    if theirs == ours:
        return []
    if not same_drawing:
        theirs, ours = _numbered(theirs), _numbered(ours)
        left, right = _NUMBER.split(theirs), _NUMBER.split(ours)
        if left == right:
            a, b = (np.array([float(n) for n in _NUMBER.findall(t)]) for t in (theirs, ours))
            if np.allclose(a, b, rtol=0, atol=0.1):
                return []
    return ["it is not what the samples draw"]


def _numbered(drawing: bytes) -> bytes:
    """Name what a drawing refers to by its place in it."""
    places: dict[bytes, bytes] = {}
    return _ID.sub(lambda found: places.setdefault(found[0], b"part%d" % len(places)), drawing)


def pictures(theirs: bytes, ours: bytes, *, same_drawing: bool = True) -> list[str]:
    """Compare two PNG pictures pixel by pixel, or those of two versions of the libraries that draw by their likeness.

    Parameters
    ----------
    theirs, ours : bytes
        The published file, and the one drawn again.
    same_drawing : bool
        Whether both were drawn with the same versions of what decides their bytes.
    """
    if theirs == ours:
        return []
    moved = 0 if same_drawing else _MOVED
    if any(abs(a - b) > moved for a, b in zip(_size(theirs), _size(ours), strict=True)):
        return ["it has another size than what the samples draw"]
    try:
        left, right = (imread(io.BytesIO(data), "png") for data in (theirs, ours))
    except (ValueError, OSError, SyntaxError) as error:
        return [f"it is not a picture: {error}"]
    if same_drawing:
        alike = left.shape == right.shape and np.array_equal(left, right)
        return [] if alike else ["its pixels are not what the samples draw"]
    height, width = (min(a, b) // _BLOCK for a, b in zip(left.shape[:2], right.shape[:2], strict=True))
    a, b = (_blocks(picture, height, width) for picture in (left, right))
    return [] if np.abs(a - b).max(initial=0) <= _ALIKE else ["it does not look like what the samples draw"]


def _size(picture: bytes) -> tuple[int, int]:
    """Return the width and height that a PNG states, before anything is decoded; 0 for what is none."""
    return int.from_bytes(picture[16:20], "big"), int.from_bytes(picture[20:24], "big")


def _blocks(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the mean grey of each block, on white."""
    colours = picture if picture.ndim == 3 else picture[..., None]
    grey = colours[..., :3].mean(-1)
    if colours.shape[-1] in (2, 4):
        grey = (colours[..., 0] if colours.shape[-1] == 2 else grey) * colours[..., -1] + 1 - colours[..., -1]
    cut = grey[: height * _BLOCK, : width * _BLOCK]
    return np.asarray(cut.reshape(height, _BLOCK, width, _BLOCK).mean((1, 3)))


_DRAWN: dict[str, Callable[..., list[str]]] = {"html": pages, "svg": drawings, "png": pictures}
