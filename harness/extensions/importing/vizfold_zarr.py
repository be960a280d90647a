"""Importer of the Zarr archives of VizFold's prototypes, with names such as ``representations/single/layer_00``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.extensions.importing.vizfold_layout import is_of_vizfold, of_schema, read_layout
from harness.foreign.arrays import ROOTS, ZarrStore
from harness.foreign.source import Gathering, ImportedTrace, Importer
from harness.formats.zarr_reader import own_attributes

_KIND = "vizfold-zarr"
_DEEPEST = 4
"""Number of parts of the schema's longest name: activations/layers/layer_0/single_repr."""


def _recognises(path: Path) -> bool:
    # Names such as activations/layer_0/single are those of the earlier comparison.
    if not path.is_dir() or (path / "activations" / "layer_0" / "single").is_dir():
        return False
    # A store with representations but without root metadata is damaged: accept it, so that reading reports the damage.
    if not (path / "representations").is_dir() and not any((path / root).is_file() for root in ROOTS):
        return False
    names = set(_folders(path))
    arrays = any((path / name / root).is_file() for name in of_schema(names) for root in ROOTS)
    return arrays and is_of_vizfold(names) and not own_attributes(path)


def _folders(path: Path, depth: int = _DEEPEST) -> Iterator[str]:
    """Yield the names of folders below a folder: of a store, its groups, its arrays and some of its chunks."""
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
