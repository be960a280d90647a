"""Importer of the earlier comparison's files: the same tensors as ``data.npz``, ``data.h5`` and ``data.zarr``."""

from __future__ import annotations

import re
from pathlib import Path

from harness.errors import UsageError
from harness.files import open_regular
from harness.foreign.arrays import ROOTS, ZarrStore, hdf5_arrays, hdf5_names, npz_arrays
from harness.foreign.source import ForeignArray, Gathering, ImportedTrace, Importer, SourceError

_KIND = "seed-benchmark"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_FIRST = re.compile(rb"act_\d+_(?:single|pair)\.npy")  # other programs use attn_0 too

# Patterns of the names in the NPZ or in the other two files, and the schema's names.
_PLACES = (
    (r"(?:act_|activations/layer_)(\d+)[_/](single|pair)", r"activations/layer_\1/\2_repr"),
    (r"(?:attn_|attention/layer_)(\d+)", r"attention/layer_\1"),
    (r"(?:outputs/)?coords", "outputs/coordinates"),
    (r"(?:outputs/)?conf", "outputs/confidence_scores"),
)
_LAYER = ("activations/layer_{}/single_repr", "activations/layer_{}/pair_repr", "attention/layer_{}")
_ONCE = ("outputs/coordinates", "outputs/confidence_scores")


def _recognises(path: Path) -> bool:
    if path.is_dir():
        return any((path / name).is_file() for name in ROOTS) and (path / "activations/layer_0/single").is_dir()
    with open_regular(path) as handle:
        head = handle.read(256)
    if head.startswith(b"PK"):
        return _FIRST.search(head) is not None
    names = hdf5_names(path)
    # A truncated file lists no names: accept it, so that reading it reports the damage.
    return names is None or "activations/layer_0/single" in names


def _read(path: Path) -> ImportedTrace:
    gathering = Gathering(path, _KIND)
    found: dict[str, ForeignArray] = {}
    left = []
    for name, stored in _arrays(gathering).items():
        matches = ((re.fullmatch(pattern, name), place) for pattern, place in _PLACES)
        if place := next((match.expand(place) for match, place in matches if match), None):
            found[place] = stored
        else:
            left.append(name)
    layers = [int(match[1]) for name in found if (match := re.search(r"/layer_(\d+)", name))]
    expected = [name.format(layer) for layer in range(max(layers, default=0) + 1) for name in _LAYER] + [*_ONCE]
    if missing := [name for name in expected if name not in found]:
        raise SourceError(f"{path} lacks {missing[0]}: its writing was not finished; write it again.")
    for name in expected:
        gathering.add(name, found[name], f"{path}: {name}")
    gathering.leave_out(left)
    return gathering.trace()


def _arrays(gathering: Gathering) -> dict[str, ForeignArray]:
    path = gathering.path
    if path.is_dir():
        return ZarrStore(gathering).arrays
    with open_regular(path) as handle:
        head = handle.read(len(_HDF5))
    if head != _HDF5 and not head.startswith(b"PK"):
        raise UsageError(f"{path} is neither NPZ nor HDF5 nor Zarr.")
    found = hdf5_arrays(path) if head == _HDF5 else npz_arrays(path)
    gathering.file(path)
    return found


importer = Importer(
    name=_KIND,
    description="data.npz, data.h5 or data.zarr of the comparison that this harness replaces",
    recognises=_recognises,
    read=_read,
)
