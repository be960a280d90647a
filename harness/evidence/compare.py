"""Compare two versions of a published file, and describe their differences in words."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.image import imread

from harness.documents import DocumentError, decode

_CLOSE = 1e-9
"""Relative tolerance for a figure that is not an integer, which other versions of libraries may change."""

_NOTHING = 1e-12  # absolute tolerance: below every time, size or ratio, above the rounding errors of zero
_BLOCK, _ALIKE, _MOVED = 16, 0.2, 8
"""Comparison of two pictures: edge of a block in pixels, largest difference of a block's mean grey, and largest
difference in width and height, in pixels. Moving every line by 2 pixels changes a block by 0.16, another plot by 0.44.
"""
_SVG = re.compile(rb"<svg\b.*?</svg>", re.S)
_ID = re.compile(rb'(?:(?<=id=")|(?<=href="#)|(?<=url\(#))[^")]+')  # of a marker or clip: a digest of its coordinates
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e-?\d+)?")
_NAMES = ("criterion", "trace", "mix", "access", "weight", "format")  # fields that name a list entry in report.json


def differences(
    name: str,
    theirs: bytes,
    ours: bytes,
    *,
    key: Sequence[str] = (),
    same_drawing: bool = True,
) -> list[str]:
    """Compare two versions of a file by its suffix: by value, by line, or by appearance.

    Parameters
    ----------
    name : str
        Name of the file.
    theirs, ours : bytes
        The published file, and the recomputed one.
    key : sequence of str
        Columns that identify a row of a table.
    same_drawing : bool
        Whether both were drawn with the same versions of the libraries that determine a drawing's bytes. Otherwise
        coordinates may differ by a tenth of a point, and pictures are compared for similarity.

    Returns
    -------
    list of str
        Differences in words; empty if there are none.
    """
    if theirs == ours:
        return []
    kinds: dict[str, Callable[[], list[str]]] = {
        "csv": lambda: _tables(theirs, ours, key),
        "json": lambda: _documents(theirs, ours),
        "html": lambda: _pages(theirs, ours, same_drawing),
        "svg": lambda: _drawings(theirs, ours, same_drawing),
        "png": lambda: _pictures(theirs, ours, same_drawing),
    }
    return kinds.get(name.rpartition(".")[2], lambda: _texts(theirs, ours))()


def _tables(theirs: bytes, ours: bytes, key: Sequence[str]) -> list[str]:
    try:
        published, made = (pd.read_csv(io.BytesIO(t), dtype=str, keep_default_na=False) for t in (theirs, ours))
    except (ValueError, pd.errors.ParserError) as error:
        return [f"it is not a table: {error}"]
    if list(published.columns) != list(made.columns):
        return [f"its columns are not {', '.join(made.columns)}"]
    if len(published) != len(made):
        return [f"it has {len(published)} rows, the samples give {len(made)}"]
    found: list[str] = []
    for left, right in zip(published.to_dict("records"), made.to_dict("records"), strict=True):
        place = " ".join(str(right[name]) for name in key if right.get(name))
        row, own = ({str(n): _value(text) for n, text in line.items()} for line in (left, right))
        found += _walk(row, own, place)
    return found


def _value(text: str) -> int | float | str:
    """Return the value of a table's cell: an integer, another number, or text."""
    if re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?", text) else text


def _documents(theirs: bytes, ours: bytes) -> list[str]:
    try:
        return list(_walk(decode(theirs, Any, "the published file", mend=""), json.loads(ours), ""))
    except DocumentError as error:
        return [str(error).rstrip(".")]


def _walk(left: Any, right: Any, place: str) -> Iterator[str]:
    if isinstance(left, dict) and isinstance(right, dict):
        for name in dict.fromkeys([*right, *left]):
            if name not in left or name not in right:
                yield f"{place}/{name} is {'missing' if name not in left else 'not among the results'}"
            else:
                yield from _walk(left[name], right[name], f"{place}/{name}")
    elif isinstance(left, list) and isinstance(right, list):
        if len(left) != len(right):
            yield f"{place} has {len(left)} entries, the samples give {len(right)}"
            return
        for number, (a, b) in enumerate(zip(left, right, strict=True)):
            named = " ".join(str(b[k]) for k in _NAMES if b.get(k)) if isinstance(b, Mapping) else ""
            yield from _walk(a, b, f"{place}/{named or number}")
    elif not _same(left, right):
        yield f"{place} is {left!r}, the samples give {right!r}"


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, int) and isinstance(right, int):
        return left == right and type(left) is type(right)
    if isinstance(left, float | int) and isinstance(right, float | int) and not isinstance(left, bool):
        return math.isclose(left, right, rel_tol=_CLOSE, abs_tol=_NOTHING)
    return bool(left == right)


def _texts(theirs: bytes, ours: bytes) -> list[str]:
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


def _pages(theirs: bytes, ours: bytes, same_drawing: bool) -> list[str]:
    """Compare the text of two pages exactly, and the drawings in them as SVG files."""
    left, right = _SVG.findall(theirs), _SVG.findall(ours)
    found = differences("text", _SVG.sub(b"<svg/>", theirs), _SVG.sub(b"<svg/>", ours))
    if len(left) != len(right):
        return [*found, f"it has {len(left)} drawings, the samples give {len(right)}"]
    for number, (a, b) in enumerate(zip(left, right, strict=True), start=1):
        found += [f"drawing {number}: {text}" for text in differences("svg", a, b, same_drawing=same_drawing)]
    return found


def _drawings(theirs: bytes, ours: bytes, same_drawing: bool) -> list[str]:
    if not same_drawing:
        theirs, ours = _numbered(theirs), _numbered(ours)
        if _NUMBER.split(theirs) == _NUMBER.split(ours):
            a, b = (np.array([float(n) for n in _NUMBER.findall(t)]) for t in (theirs, ours))
            if np.allclose(a, b, rtol=0, atol=0.1):
                return []
    return ["it is not what the samples draw"]


def _numbered(drawing: bytes) -> bytes:
    """Rename the identifiers in a drawing by the order in which they occur."""
    places: dict[bytes, bytes] = {}
    return _ID.sub(lambda found: places.setdefault(found[0], b"part%d" % len(places)), drawing)


def _pictures(theirs: bytes, ours: bytes, same_drawing: bool) -> list[str]:
    moved = 0 if same_drawing else _MOVED
    # Width and height in the header of a PNG, before anything is decoded; 0 if the file is too short for one.
    sizes = [(int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")) for data in (theirs, ours)]
    if any(abs(a - b) > moved for a, b in zip(*sizes, strict=True)):
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


def _blocks(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the mean grey of each block, with the picture on a white background."""
    colours = picture if picture.ndim == 3 else picture[..., None]
    opaque = colours[..., -1] if colours.shape[-1] in (2, 4) else 1.0
    grey = colours[..., : 1 if colours.shape[-1] < 3 else 3].mean(-1) * opaque + 1 - opaque
    cut = grey[: height * _BLOCK, : width * _BLOCK]
    return np.asarray(cut.reshape(height, _BLOCK, width, _BLOCK).mean((1, 3)))
