"""Layout of VizFold's archives in any container: one array per layer, or the layers of a kind in one array."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, Protocol, get_type_hints

import msgspec
import numpy as np

from harness.foreign.foreign_array import chunks_of
from harness.foreign.guessing import IMAGES
from harness.foreign.naming import plain_path, unpadded
from harness.foreign.source import HEADS, ForeignArray, Gathering, ImportedTrace, SourceError, readable
from harness.trace.manifest import Metadata
from harness.trace.schema import HELD

_SCHEMA = re.compile(
    r"(representations/)?(single|pair)/(layers|layer_\d+)|attention/(\w+/)?(layers|layer_\d+)"
    r"|activations/(layers(/.+)?|layer_\d+)/(single|pair)_repr|recycle/(steps(/.+)?|step_\d+)/(single|pair)_repr"
)
_ATOMS = 37
"""Heavy atom types of a residue in AlphaFold2: alphafold/common/residue_constants.py, ``atom_types``."""
_IMAGE_AXES = ("image", "image_channel", "row", "column")
_MOST_FACTS = 1000
"""Most values of an array in ``metadata`` that is read as facts; a longer one is a tensor."""
_INDEX, _INDEX_PLACE = "metadata/residue_index", "inputs/residue_index"

# Names as in the schema: activations/layers/single_repr, attention/layers, recycle/steps/pair_repr.
_GROUPED = re.compile(r"(?P<group>.+)/(?P<many>layer|step)s/(?:(?P=many)_)?(?P<index>\d+)(?P<rest>/.+)?")
_STACKED = re.compile(r"(?P<group>.+)/(?P<many>layer|step)s(?P<rest>/(?:single|pair)_repr)?")
_AXES_OF_ONE = {"attention": 3, "single": 2, "pair": 3, "single_repr": 2, "pair_repr": 3}


class LayoutStore(Protocol):
    """Container of an archive: arrays of numbers and texts by name, and attributes of the root and of ``metadata``."""

    arrays: dict[str, ForeignArray]
    attributes: dict[str, Any]

    @property
    def texts(self) -> Mapping[str, list[str]]:
        """Texts by name, each read on access."""


def of_schema(names: Collection[str]) -> list[str]:
    """Return the names of layer arrays among the names of groups and arrays; empty for other layouts."""
    return [name for name in names if _SCHEMA.fullmatch(name)]


def is_of_vizfold(names: Collection[str]) -> bool:
    """Return whether VizFold's programs wrote an archive with groups and arrays of these names.

    Other programs may use the schema's names for layers, and are read in the same way without this importer. Archives
    of VizFold also have metadata, a group of representations, or the images of its vision stage.
    """
    layers = of_schema(names)
    marked = {"metadata", *IMAGES} & {*names}
    return bool(layers) and (bool(marked) or any(name.startswith("representations/") for name in layers))


def read_layout(gathering: Gathering, store: LayoutStore) -> ImportedTrace:
    """Convert an archive to a trace.

    Raises
    ------
    SourceError
        If its arrays do not fit the schema, or each other.
    """
    facts = {name: stored for name, stored in store.arrays.items() if _is_fact(name, stored)}
    residues = _residues(gathering.path, store, facts)
    images = any(name in store.arrays for name in IMAGES)
    left = [name for name in store.texts if name != "inputs/sequence" and not name.startswith("metadata/")]
    named = ((name, stored) for name, stored in store.arrays.items() if name not in facts)
    for name, place, stored in (each for pair in named for each in _layers(gathering, *pair, images)):
        axes: tuple[str, ...] | None = None
        if (path := plain_path(place)) != place:
            gathering.notes.append(f"{name} is stored as {path}")
        if place.startswith("attention/") and not images:
            stored, axes = _heads_first(gathering, name, stored), HEADS
        elif place in IMAGES and len(stored.shape) == len(_IMAGE_AXES):
            axes = _IMAGE_AXES
        elif _is_index(name, stored):
            axes = ("residue",)
        elif place == "structure/ptm" and prod(stored.shape) == 1:
            stored = stored.reshaped(())
        elif place in ("structure/atom_positions", "structure/atom_mask") and residues:
            flat = stored.shape[:1] == (residues * _ATOMS,)
            stored = stored.reshaped((residues, _ATOMS, *stored.shape[1:])) if flat else stored
        gathering.add(path, stored, f"{gathering.path}/{name}", axes)
    metadata = _metadata(gathering, store, facts)
    gathering.leave_out(left)
    return gathering.trace(metadata)


def _layers(
    gathering: Gathering, name: str, stored: ForeignArray, images: bool
) -> Iterator[tuple[str, str, ForeignArray]]:
    """Yield an array with its name and its place in the schema; an array of all layers is yielded layer by layer."""
    place = _INDEX_PLACE if _is_index(name, stored) else unpadded(name.removeprefix("representations/"))
    if match := _GROUPED.fullmatch(place):
        yield name, f"{match['group']}/{match['many']}_{int(match['index'])}{match['rest'] or ''}", stored
        return
    match = _STACKED.fullmatch(place)
    kind = (match["rest"] or match["group"].partition("/")[0]).strip("/") if match else ""
    axes = _AXES_OF_ONE.get(kind, 0) + (images and kind == "attention")
    if not match or not axes or len(stored.shape) not in (axes, axes + 1):
        yield name, place, stored
        return
    one, rest = f"{match['group']}/{match['many']}_", match["rest"] or ""
    if len(stored.shape) == axes:
        gathering.notes.append(f"{name} has no axis of {match['many']}s, and is taken as {match['many']} 0")
        yield name, f"{one}0{rest}", stored
        return
    for index in range(stored.shape[0]):
        load, chunks = partial(_Part, stored, index), stored.chunks and stored.chunks[1:]
        layer = ForeignArray(stored.shape[1:], stored.dtype, load, chunks=chunks, files=stored.files)
        yield name, f"{one}{index}{rest}", layer


class _Part:
    """View of an array at one index of its first axis, read when indexed."""

    def __init__(self, stored: ForeignArray, index: int) -> None:
        self._rows, self._index = stored.load(), index
        chunks = chunks_of(self._rows)
        self.chunks = chunks[1:] if chunks else None

    def __getitem__(self, part: Any) -> np.ndarray:
        return np.asarray(self._rows[(self._index, *(part if isinstance(part, tuple) else (part,)))])


class _HeadsFirst:
    """View of maps with the heads moved from the last axis to the first, read when indexed."""

    def __init__(self, stored: ForeignArray) -> None:
        self._rows = stored.load()
        chunks = chunks_of(self._rows)
        self.chunks = (chunks[-1], *chunks[:-1]) if chunks else None

    def __getitem__(self, part: tuple[slice, ...]) -> np.ndarray:
        heads, *others = part
        return np.moveaxis(np.asarray(self._rows[(*others, heads)]), -1, 0)


def _is_fact(name: str, stored: ForeignArray) -> bool:
    """Return whether an array is read as a fact; False for types of which only the bits of values are available."""
    few = prod(stored.shape) <= _MOST_FACTS and str(stored.dtype) not in HELD
    return name.startswith("metadata/") and few and not _is_index(name, stored)


def _is_index(name: str, stored: ForeignArray) -> bool:
    return name == _INDEX and len(stored.shape) == 1


def _residues(path: Path, store: LayoutStore, facts: dict[str, ForeignArray]) -> int | None:
    """Return the number of residues from representations or metadata; None if neither states it."""
    for name, stored in store.arrays.items():
        kinds = ("representations/", "single/", "pair/")
        if name.startswith(kinds) and len(stored.shape) in (2, 3) and not _STACKED.fullmatch(name):
            return stored.shape[0]
    found = facts.get("metadata/num_residues")
    stated = store.attributes.get("num_residues") if found is None else _plain(f"{path}/metadata/num_residues", found)
    return stated if type(stated) is int else None


def _plain(origin: str, stored: ForeignArray) -> Any:
    """Read an array of metadata as a list of plain values, or as a plain value if it has only one."""
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
    # One draft of the prototype stores the heads last.
    gathering.notes.append(f"{name}: heads moved from the last axis to the first")
    return ForeignArray((shape[2], *shape[:2]), stored.dtype, partial(_HeadsFirst, stored))


def _metadata(gathering: Gathering, store: LayoutStore, facts: dict[str, ForeignArray]) -> Metadata:
    """Return the schema's fields from attributes and from arrays in ``metadata``; add all others to the notes."""
    stated = dict(store.attributes)
    for name, stored in facts.items():
        stated[name.removeprefix("metadata/")] = _plain(f"{gathering.path}/{name}", stored)
    for name in store.texts:  # each text is read on access
        if name.startswith("metadata/"):
            texts = store.texts[name]
            stated[name.removeprefix("metadata/")] = texts[0] if len(texts) == 1 else texts
    letters = stated.pop("sequence", None)
    letters = store.texts.get("inputs/sequence") or ([letters] if isinstance(letters, str) else letters)
    if "inputs/sequence" not in store.arrays and isinstance(letters, list):
        text = "".join(str(part) for part in letters)
        if text.isascii():
            gathering.add_letters(text, "the sequence")
    if isinstance(stated.get("recycle_info"), (list, int, float)):
        stated["recycle_info"] = json.dumps(stated["recycle_info"])
    if isinstance(stated.get("representation_names"), str):
        stated["representation_names"] = [stated["representation_names"]]
    known = {}
    for field, kind in get_type_hints(Metadata).items():
        try:
            known[field] = msgspec.convert(stated[field], kind)
            del stated[field]
        except (KeyError, msgspec.ValidationError):  # not stated; or of another type, then it goes to the notes
            continue
    if stated:
        gathering.notes.append(f"it also states {json.dumps(stated, sort_keys=True, default=str)}")
    return Metadata(**known)
