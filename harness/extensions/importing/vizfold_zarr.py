"""The Zarr archives of VizFold's prototypes, with ``representations/single/layer_00`` and the like."""

from __future__ import annotations

from pathlib import Path

from harness.extensions.importing.vizfold_layout import GROUPS, read_layout
from harness.foreign.arrays import ROOTS, ZarrStore
from harness.foreign.source import Gathering, ImportedTrace, Importer
from harness.formats.zarr_reader import own_attributes

_KIND = "vizfold-zarr"


def _recognises(path: Path) -> bool:
    if not path.is_dir() or (path / "activations" / "layer_0" / "single").is_dir():  # the latter are the seed's names
        return False
    if any((path / name).is_file() for name in ROOTS):
        return any((path / name).is_dir() for name in GROUPS) and not own_attributes(path)
    return (path / "representations").is_dir()


def _read(path: Path) -> ImportedTrace:
    gathering = Gathering(path, _KIND)
    return read_layout(gathering, ZarrStore(gathering))


importer = Importer(
    name=_KIND,
    description="Zarr archives of VizFold's prototypes, with representations/single/layer_00 and the like",
    recognises=_recognises,
    read=_read,
)
