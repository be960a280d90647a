"""The Zarr archives of VizFold's prototypes, with ``representations/single/layer_00`` and the like."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.extensions.importing.vizfold_layout import is_of_vizfold, of_schema, read_layout
from harness.foreign.arrays import ROOTS, ZarrStore
from harness.foreign.source import Gathering, ImportedTrace, Importer
from harness.formats.zarr_reader import own_attributes

_KIND = "vizfold-zarr"
_DEEPEST = 4
"""Parts of the longest name of the schema: activations/layers/layer_0/single_repr."""


def _recognises(path: Path) -> bool:
    if not path.is_dir() or (path / "activations" / "layer_0" / "single").is_dir():  # the latter are the seed's names
        return False
    # Without the metadata of its root it is damaged, which reading it says.
    if not (path / "representations").is_dir() and not any((path / root).is_file() for root in ROOTS):
        return False
    names = set(_folders(path))
    arrays = any((path / name / root).is_file() for name in of_schema(names) for root in ROOTS)
    return arrays and is_of_vizfold(names) and not own_attributes(path)


def _folders(path: Path, depth: int = _DEEPEST) -> Iterator[str]:
    """Yield the names of the folders within one, which of a store are its groups and arrays, and some of its chunks."""
    for child in path.iterdir() if depth and not (path / ".zarray").is_file() else ():
        if child.is_dir() and not child.is_symlink():
            yield child.name
            yield from (f"{child.name}/{name}" for name in _folders(child, depth - 1))


def _read(path: Path) -> ImportedTrace:
    gathering = Gathering(path, _KIND)
    return read_layout(gathering, ZarrStore(gathering))


importer = Importer(
    name=_KIND,
    description="Zarr archives of VizFold's prototypes, with representations/single/layer_00 and the like",
    recognises=_recognises,
    read=_read,
)
