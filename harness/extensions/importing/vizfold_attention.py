"""Importer of VizFold's attention files: the largest weights of each head as text, and dense maps as NPZ."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.errors import UsageError
from harness.files import open_regular, read_bytes
from harness.foreign.arrays import npz_arrays
from harness.foreign.source import HEADS, ForeignArray, Gathering, ImportedTrace, Importer, SourceError

_KIND = "vizfold-attention"
_NAME = re.compile(
    r"(?P<kind>msa_row|triangle_start|triangle_end)_attn_layer(?P<layer>\d{1,9})"
    r"(?:_residue_idx_(?P<residue>\d{1,9}|avg))?\.(?P<suffix>txt|npz)"
)
_DENSE = "attn"  # the one array of VizFold's .npz
_HEADER = re.compile(r"Layer (\d{1,9}), Head (\d{1,9})")
_ENTRY = re.compile(r"(\d{1,9}) (\d{1,9}) (\d+\.(\d+))")
_SHOWN = 60  # characters quoted of a malformed line


class _Text(NamedTuple):
    """Entries of a text file in its order: arrays of shape (heads, entries), weights nearest to the printed ones.

    Each weight is within half a unit of its last decimal of the model's weight.
    """

    layer: int
    row: np.ndarray
    column: np.ndarray
    weight: np.ndarray
    decimals: int


def _read_text(path: Path) -> _Text:
    """Read a file of VizFold's ``save_attention_topk``: ``Layer L, Head H``, then equally many ``i j weight`` lines."""
    heads: list[dict[tuple[int, int], float]] = []
    layer = decimals = None
    for number, line in enumerate(_lines(path), 1):
        expected = ""
        if header := _HEADER.fullmatch(line):
            found, head = int(header[1]), int(header[2])
            if layer not in (None, found):
                expected = f"layer {layer} as above, found layer {found}"
            elif head != len(heads):
                expected = f"head {len(heads)} next, found head {head}"
            layer = found
            heads.append({})
        elif entry := _ENTRY.fullmatch(line):
            place, printed = (int(entry[1]), int(entry[2])), len(entry[4])
            if not heads:
                expected = "a line 'Layer L, Head H' before the first entry"
            elif decimals not in (None, printed):  # a truncated weight is still a number, but a wrong one
                expected = f"a weight with {decimals} decimals as above, found {printed}"
            elif place in heads[-1]:
                expected = f"each place once in a head, found {place[0]} {place[1]} again"
            else:
                decimals, heads[-1][place] = printed, float(entry[3])
        else:
            expected = f"'i j weight' or 'Layer L, Head H', found {line[:_SHOWN]!r}"
        if expected:
            raise SourceError(f"{path}, line {number}: expected {expected}.")
    for head, entries in enumerate(heads):
        if len(entries) != len(heads[0]) or not entries:
            raise SourceError(
                f"{path} is truncated or incomplete: head {head} lists {len(entries)} entries, head 0 {len(heads[0])}, "
                "where its writer lists equally many for every head."
            )
    if layer is None or decimals is None:
        raise SourceError(f"{path} lists no attention.")
    places = np.array([list(head) for head in heads], np.int32)
    weights = np.array([list(head.values()) for head in heads], np.float64)
    return _Text(layer, places[:, :, 0], places[:, :, 1], weights, decimals)


def _lines(path: Path) -> list[str]:
    data = read_bytes(path)
    try:
        return [line.removesuffix("\r") for line in data.decode("ascii").rstrip("\n").split("\n")]
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SourceError(f"{path}, line {line}: expected text, found the byte {data[error.start]:#04x}.") from error


def _recognises(path: Path) -> bool:
    if path.is_dir():
        return any(_NAME.fullmatch(name) for name in _names(path))
    if _NAME.fullmatch(path.name):
        return True
    with open_regular(path) as handle:
        return _HEADER.match(handle.read(64).decode("latin-1")) is not None


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_file()]


def _order(found: re.Match[str]) -> tuple[str, str, int]:
    return found["suffix"], f"{found['kind']} {found['residue']}", int(found["layer"])


def _read(path: Path) -> ImportedTrace:
    gathering = Gathering(path, _KIND)
    if not path.is_dir():
        _add(gathering, path)
        return gathering.trace()
    names = _names(path)
    ours = sorted(filter(None, map(_NAME.fullmatch, names)), key=_order)
    if not ours:
        raise UsageError(f"{path} holds no attention file of VizFold, such as msa_row_attn_layer0.txt.")
    heads: dict[str, tuple[str, int]] = {}
    for match in ours:
        name, count = match[0], _add(gathering, path / match[0])
        first, expected = heads.setdefault(match["kind"], (name, count))
        if count != expected:
            raise SourceError(f"{path / name} has {count} heads, {first} has {expected}: one of the two is truncated.")
    gathering.leave_out(set(names) - {match[0] for match in ours}, "no attention file")
    return gathering.trace()


def _place(path: Path, stated: int | None) -> str:
    """Return ``KIND/layer_L``, or ``layer_L`` for a file name without a kind."""
    found = _NAME.fullmatch(path.name)
    if found is None:
        if stated is None:
            raise UsageError(f"The name {path.name!r} does not say which layer it is; call it msa_row_attn_layer0.npz.")
        return f"layer_{stated}"
    if stated is not None and stated != int(found["layer"]):
        raise SourceError(f"{path} says layer {stated} inside, and layer {int(found['layer'])} in its name.")
    residue = found["residue"]
    # VizFold's meaning: one residue's map of a triangle attention, or the mean over all residues.
    part = "" if residue is None else "_mean" if residue == "avg" else f"_residue_{int(residue)}"
    return f"{found['kind']}{part}/layer_{int(found['layer'])}"


def _add(gathering: Gathering, path: Path) -> int:
    """Add one file to the trace and return its number of heads."""
    gathering.file(path)
    with open_regular(path) as handle:
        dense = handle.read(2) == b"PK" or path.suffix == ".npz"
    return _add_dense(gathering, path) if dense else _add_text(gathering, path)


def _add_text(gathering: Gathering, path: Path) -> int:
    found = _read_text(path)
    place = f"attention_topk/{_place(path, found.layer)}"
    for name in ("row", "column", "weight"):
        gathering.add(f"{place}/{name}", ForeignArray.of(getattr(found, name)), str(path))
    note = (
        f"text weights have {found.decimals} decimals, each within {0.5 * 10**-found.decimals:.0e} of the model's; "
        "what they do not list is unknown, not zero"
    )
    if note not in gathering.notes:
        gathering.notes.append(note)
    return len(found.row)


def _add_dense(gathering: Gathering, path: Path) -> int:
    arrays = npz_arrays(path)
    if _DENSE not in arrays:
        raise SourceError(f"{path} holds no array {_DENSE!r}, which is what VizFold writes attention as.")
    maps = arrays.pop(_DENSE)
    if maps.dtype.kind != "f":
        raise SourceError(f"{path} holds {maps.dtype} where attention weights are floating-point numbers.")
    gathering.add(f"attention/{_place(path, None)}", maps, str(path), HEADS)
    gathering.leave_out(f"{path.name}:{name}" for name in arrays)
    return maps.shape[0]


importer = Importer(
    name=_KIND,
    description="attention files of VizFold: top-k text and dense .npz, one file or a folder of them",
    recognises=_recognises,
    read=_read,
)
