"""The attention files that VizFold writes: top-k text, and dense maps as NPZ."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from harness.errors import UsageError
from harness.extensions.importing.attention_text import HEADER, read_text
from harness.extensions.importing.npz import NpzMembers
from harness.extensions.importing.source import HEADS, Gathering, ImportedTrace, Importer, SourceError
from harness.files import open_regular

_KIND = "vizfold-attention"
_NAME = re.compile(
    r"(?P<kind>msa_row|triangle_start|triangle_end)_attn_layer(?P<layer>\d{1,9})"
    r"(?:_residue_idx_(?P<residue>\d{1,9}|avg))?\.(?P<suffix>txt|npz)"
)
_DENSE = "attn"  # the one array of VizFold's .npz


def _recognises(path: Path) -> bool:
    if path.is_dir():
        return any(_NAME.fullmatch(name) for name in _names(path))
    if _NAME.fullmatch(path.name):
        return True
    with open_regular(path) as handle:
        return HEADER.match(handle.read(64).decode("latin-1")) is not None


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_file()]


def _order(name: str) -> tuple[str, str, int]:
    found = _NAME.fullmatch(name)
    return (found["suffix"], f"{found['kind']} {found['residue']}", int(found["layer"])) if found else ("", name, 0)


def _read(path: Path) -> ImportedTrace:
    gathering = Gathering(path, _KIND)
    if not path.is_dir():
        _add(gathering, path)
        return gathering.trace()
    names = _names(path)
    ours = sorted((name for name in names if _NAME.fullmatch(name)), key=_order)
    if not ours:
        raise UsageError(f"{path} holds no attention file of VizFold, such as msa_row_attn_layer0.txt.")
    heads: dict[str, tuple[str, int]] = {}
    for name in ours:
        count = _add(gathering, path / name)
        kind = name.partition("_layer")[0]
        first, expected = heads.setdefault(kind, (name, count))
        if count != expected:
            raise SourceError(f"{path / name} has {count} heads where {first} has {expected}: one of the two is cut.")
    gathering.leave_out((name for name in names if name not in ours), "no attention file")
    return gathering.trace()


def _place(path: Path, stated: int | None) -> str:
    """Return ``KIND/layer_L``, or ``layer_L`` for a name that does not say the kind."""
    found = _NAME.fullmatch(path.name)
    if found is None:
        if stated is None:
            raise UsageError(f"The name {path.name!r} does not say which layer it is; call it msa_row_attn_layer0.npz.")
        return f"layer_{stated}"
    if stated is not None and stated != int(found["layer"]):
        raise SourceError(f"{path} says layer {stated} inside, and layer {int(found['layer'])} in its name.")
    residue = found["residue"]
    # As VizFold means them: one residue's map of a triangle attention, or the mean over all.
    part = "" if residue is None else "_mean" if residue == "avg" else f"_residue_{int(residue)}"
    return f"{found['kind']}{part}/layer_{int(found['layer'])}"


def _add(gathering: Gathering, path: Path) -> int:
    """Take one file into the trace; returns its number of heads."""
    gathering.file(path)
    with open_regular(path) as handle:
        dense = handle.read(2) == b"PK" or path.suffix == ".npz"
    return _add_dense(gathering, path) if dense else _add_text(gathering, path)


def _add_text(gathering: Gathering, path: Path) -> int:
    found = read_text(path)
    place = f"attention_topk/{_place(path, found.layer)}"
    for name in ("row", "column", "weight"):
        array = getattr(found, name)
        gathering.add(f"{place}/{name}", array.shape, array.dtype, partial(getattr, found, name), str(path))
    note = (
        f"text weights have {found.decimals} decimals, each within {0.5 * 10**-found.decimals:.0e} of the model's; "
        "what they do not list is unknown, not zero"
    )
    if note not in gathering.notes:
        gathering.notes.append(note)
    return len(found.row)


def _add_dense(gathering: Gathering, path: Path) -> int:
    members = NpzMembers(path)
    if _DENSE not in members.shapes:
        raise SourceError(f"{path} holds no array {_DENSE!r}, which is what VizFold writes attention as.")
    shape, dtype = members.shapes[_DENSE]
    if dtype.kind != "f":
        raise SourceError(f"{path} holds {dtype} where attention weights are floating-point numbers.")
    gathering.add(f"attention/{_place(path, None)}", shape, dtype, members.load(_DENSE), str(path), HEADS)
    gathering.leave_out(f"{path.name}:{name}" for name in members.shapes if name != _DENSE)
    return shape[0]


importer = Importer(
    name=_KIND,
    description="attention files of VizFold: top-k text and dense .npz, one file or a folder of them",
    recognises=_recognises,
    read=_read,
)
