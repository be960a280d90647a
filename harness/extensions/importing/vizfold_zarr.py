"""The Zarr archives of VizFold's prototypes, with ``representations/single/layer_00`` and the like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import numpy as np

from harness.foreign.arrays import ROOTS, ZarrStore
from harness.foreign.source import (
    HEADS,
    ForeignArray,
    Gathering,
    ImportedTrace,
    Importer,
    SourceError,
    readable,
    unpadded,
)
from harness.formats.zarr_reader import own_attributes
from harness.trace.manifest import Metadata

_KIND = "vizfold-zarr"
_GROUPS = ("representations", "attention", "activations", "single", "pair", "recycle", "structure", "inputs", "outputs")
_ATOMS = 37
"""AlphaFold2's heavy atoms of a residue: alphafold/common/residue_constants.py, ``atom_types``."""


def _recognises(path: Path) -> bool:
    if not path.is_dir() or (path / "activations" / "layer_0" / "single").is_dir():  # the latter are the seed's names
        return False
    if any((path / name).is_file() for name in ROOTS):
        return any((path / name).is_dir() for name in _GROUPS) and not own_attributes(path)
    return (path / "representations").is_dir()


def _read(path: Path) -> ImportedTrace:
    gathering = Gathering(path, _KIND)
    store = ZarrStore(gathering)
    facts = {name: stored for name, stored in store.arrays.items() if name.startswith("metadata/")}
    residues = _residues(path, store)
    images = "inputs/images" in store.arrays
    left = [name for name in store.texts if name != "inputs/sequence" and not name.startswith("metadata/")]
    for name, stored in store.arrays.items():
        place, axes = unpadded(name.removeprefix("representations/")), None
        if name in facts:
            continue
        if "/" not in place:
            left.append(name)
            continue
        if place.startswith("attention/") and not images:
            stored, axes = _heads_first(gathering, name, stored), HEADS
        elif place == "structure/ptm" and np.prod(stored.shape) == 1:
            stored = _reshaped(stored, ())
        elif place in ("structure/atom_positions", "structure/atom_mask") and residues:
            flat = stored.shape[:1] == (residues * _ATOMS,)
            stored = _reshaped(stored, (residues, _ATOMS, *stored.shape[1:])) if flat else stored
        gathering.add(place, stored, f"{path}/{name}", axes)
    metadata = _metadata(gathering, store, facts)
    gathering.leave_out(left)
    return gathering.trace(metadata)


def _reshaped(stored: ForeignArray, shape: tuple[int, ...]) -> ForeignArray:
    return stored._replace(shape=shape, load=lambda: np.asarray(stored.load()[...]).reshape(shape))


def _residues(path: Path, store: ZarrStore) -> int | None:
    """Return the number of residues that representations or metadata state, where either does."""
    for name, stored in store.arrays.items():
        if name.startswith(("representations/", "single/", "pair/")) and len(stored.shape) in (2, 3):
            return stored.shape[0]
    found = store.arrays.get("metadata/num_residues")
    stated = store.attributes.get("num_residues") if found is None else _plain(f"{path}/metadata/num_residues", found)
    return stated if type(stated) is int else None


def _plain(origin: str, stored: ForeignArray) -> Any:
    """Read an array of metadata as plain values, one of a single value as that."""
    with readable(origin):
        values = np.asarray(stored.load()[...])
    return values.reshape(-1)[0].item() if values.size == 1 else values.tolist()


def _heads_first(gathering: Gathering, name: str, stored: ForeignArray) -> ForeignArray:
    shape = stored.shape
    if len(shape) != 3:
        raise SourceError(
            f"{gathering.path}/{name} has shape {shape}; attention of one layer is (heads, residues, residues)."
        )
    if shape[1] == shape[2] or shape[0] != shape[1]:
        return stored
    # One draft of the prototype has the heads last.
    gathering.notes.append(f"{name}: heads moved from the last axis to the first")
    load = stored.load
    return ForeignArray((shape[2], *shape[:2]), stored.dtype, lambda: np.moveaxis(np.asarray(load()[...]), -1, 0))


def _metadata(gathering: Gathering, store: ZarrStore, facts: dict[str, ForeignArray]) -> Metadata:
    """Take the schema's fields from attributes and from arrays in ``metadata``; note every other."""
    stated = dict(store.attributes)
    for name, stored in facts.items():
        stated[name.removeprefix("metadata/")] = _plain(f"{gathering.path}/{name}", stored)
    for name, texts in store.texts.items():
        if name.startswith("metadata/"):
            stated[name.removeprefix("metadata/")] = texts[0] if len(texts) == 1 else texts
    letters = stated.pop("sequence", None)
    letters = store.texts.get("inputs/sequence") or ([letters] if isinstance(letters, str) else letters)
    if "inputs/sequence" not in store.arrays and isinstance(letters, list):
        text = "".join(str(part) for part in letters)
        if text.isascii():
            gathering.add_letters(text, "the sequence")
    index = facts.get("metadata/residue_index")
    if index is not None and len(index.shape) == 1:
        del stated["residue_index"]
        gathering.add("inputs/residue_index", index, f"{gathering.path}/metadata/residue_index", ["residue"])
    if isinstance(stated.get("recycle_info"), (list, int, float)):
        stated["recycle_info"] = json.dumps(stated["recycle_info"])
    if isinstance(stated.get("representation_names"), str):
        stated["representation_names"] = [stated["representation_names"]]
    known = {}
    for field, kind in get_type_hints(Metadata).items():
        try:
            known[field] = msgspec.convert(stated[field], kind)
            del stated[field]
        except (KeyError, msgspec.ValidationError):  # not stated, or of another type: then it is noted
            continue
    if stated:
        gathering.notes.append(f"it also states {json.dumps(stated, sort_keys=True, default=str)}")
    return Metadata(**known)


importer = Importer(
    name=_KIND,
    description="Zarr archives of VizFold's prototypes, with representations/single/layer_00 and the like",
    recognises=_recognises,
    read=_read,
)
