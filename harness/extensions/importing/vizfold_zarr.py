"""The Zarr archives of VizFold's prototypes, with ``representations/single/layer_00`` and the like."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.extensions.importing.source import HEADS, Gathering, ImportedTrace, Importer, Load, SourceError, unpadded
from harness.extensions.importing.zarr_store import ROOTS, ZarrStore
from harness.formats.zarr import own_attributes
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
    store = ZarrStore(path)
    gathering = Gathering(path, _KIND)
    gathering.file(path)
    residues = _residues(store)
    images = "inputs/images" in store.arrays
    left = []
    for name, array in store.arrays.items():
        if name.startswith("metadata/"):
            continue
        place = unpadded(name.removeprefix("representations/"))
        if "/" not in place:
            left.append(name)
            continue
        shape: tuple[int, ...] = tuple(array.shape)
        load: Load = partial(_self, array)
        axes = None
        if place.startswith("attention/") and not images:
            shape, load = _heads_first(gathering, name, array)
            axes = HEADS
        elif place in ("structure/atom_positions", "structure/atom_mask", "structure/ptm"):
            shape = _structure_shape(place, shape, residues)
            load = partial(_reshaped, array, shape)
        gathering.add(place, shape, array.dtype, load, f"{path}/{name}", axes)
        store.note_missing_chunks(gathering, name)
    metadata = _metadata(gathering, store)
    gathering.leave_out([*left, *(name for name in store.texts if not _is_known_text(name))])
    return gathering.trace(metadata)


def _self(array: Any) -> Any:
    return array


def _reshaped(array: Any, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(array[...]).reshape(shape)


def _residues(store: ZarrStore) -> int | None:
    """Return the number of residues that representations or metadata state, where either does."""
    for name, array in store.arrays.items():
        if name.startswith(("representations/", "single/", "pair/")) and array.ndim in (2, 3):
            return int(array.shape[0])
    found = store.arrays.get("metadata/num_residues")
    stated = int(np.asarray(found[...]).reshape(-1)[0]) if found is not None and found.size == 1 else None
    return stated if stated is not None else _integer(store.attributes.get("num_residues"))


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _heads_first(gathering: Gathering, name: str, array: Any) -> tuple[tuple[int, ...], Load]:
    shape = tuple(array.shape)
    if len(shape) != 3:
        raise SourceError(
            f"{gathering.path}/{name} has shape {shape}; attention of one layer is (heads, residues, residues)."
        )
    if shape[1] == shape[2] or shape[0] != shape[1]:
        return shape, partial(_self, array)
    # One draft of the prototype has the heads last.
    gathering.notes.append(f"{name}: heads moved from the last axis to the first")
    return (shape[2], *shape[:2]), partial(_moved, array)


def _moved(array: Any) -> np.ndarray:
    return np.moveaxis(np.asarray(array[...]), -1, 0)


def _structure_shape(place: str, shape: tuple[int, ...], residues: int | None) -> tuple[int, ...]:
    if place == "structure/ptm":
        return () if int(np.prod(shape)) == 1 else shape
    flat = residues is not None and shape[:1] == (residues * _ATOMS,)
    return (shape[0] // _ATOMS, _ATOMS, *shape[1:]) if flat else shape


def _is_known_text(name: str) -> bool:
    return name == "inputs/sequence" or name.startswith("metadata/")


def _metadata(gathering: Gathering, store: ZarrStore) -> Metadata:
    """Take the schema's fields from attributes and from arrays in ``metadata``; note every other."""
    stated = dict(store.attributes)
    for name, array in store.arrays.items():
        if name.startswith("metadata/"):
            values = np.asarray(array[...])
            stated[name.removeprefix("metadata/")] = (
                values.reshape(-1)[0].item() if values.size == 1 else values.tolist()
            )
    for name, texts in store.texts.items():
        if name.startswith("metadata/"):
            stated[name.removeprefix("metadata/")] = texts[0] if len(texts) == 1 else texts
    _sequence(gathering, store, stated.pop("sequence", None))
    _residue_index(gathering, store, stated)
    if isinstance(stated.get("recycle_info"), (list, int, float)):
        stated["recycle_info"] = json.dumps(stated["recycle_info"])
    known = {}
    for field in dataclasses.fields(Metadata):
        if field.name in stated and (value := _fitting(field.name, stated[field.name])) is not None:
            known[field.name] = value
            del stated[field.name]
    if stated:
        gathering.notes.append(f"it also states {json.dumps(stated, sort_keys=True, default=str)}")
    return Metadata(**known)


def _fitting(name: str, value: Any) -> Any:
    """Return a value as the schema's field holds it; None when it is of another type."""
    if name.startswith("num_") or name == "hidden_dim":
        return _integer(value)
    if name == "representation_names":
        values = [value] if isinstance(value, str) else value
        fits = isinstance(values, list) and all(isinstance(each, str) for each in values)
        return tuple(values) if fits else None
    return value if isinstance(value, str) else None


def _sequence(gathering: Gathering, store: ZarrStore, stated: Any) -> None:
    texts = store.texts.get("inputs/sequence") or ([stated] if isinstance(stated, str) else stated)
    if "inputs/sequence" in store.arrays or not isinstance(texts, list):
        return
    text = "".join(str(part) for part in texts)
    if text.isascii():
        letters = np.frombuffer(text.encode(), np.uint8)
        gathering.add("inputs/sequence", letters.shape, letters.dtype, partial(_self, letters), "the sequence")


def _residue_index(gathering: Gathering, store: ZarrStore, stated: dict[str, Any]) -> None:
    array = store.arrays.get("metadata/residue_index")
    if array is not None and array.ndim == 1:
        del stated["residue_index"]
        origin = f"{gathering.path}/metadata/residue_index"
        gathering.add("inputs/residue_index", array.shape, array.dtype, partial(_self, array), origin, ("residue",))


importer = Importer(
    name=_KIND,
    description="Zarr archives of VizFold's prototypes, with representations/single/layer_00 and the like",
    recognises=_recognises,
    read=_read,
)
