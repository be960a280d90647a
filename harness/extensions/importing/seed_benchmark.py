"""What the seed comparison's script writes: the same tensors as ``data.npz``, ``data.h5`` and ``data.zarr``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from harness.errors import UsageError
from harness.extensions.importing.npz import NpzMembers
from harness.extensions.importing.source import Gathering, ImportedTrace, Importer, Load, SourceError, readable
from harness.extensions.importing.zarr_store import ROOTS, ZarrStore
from harness.files import open_regular
from harness.formats.hdf5_file import open_hdf5

_KIND = "seed-benchmark"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_FIRST = re.compile(rb"(?:act_\d+_(?:single|pair)|attn_\d+)\.npy")

# The names in the NPZ, and those in the other two, by the schema's.
_PLACES = tuple(
    (re.compile(pattern), place)
    for pattern, place in (
        (r"act_(\d+)_(single|pair)", r"activations/layer_\1/\2_repr"),
        (r"activations/layer_(\d+)/(single|pair)", r"activations/layer_\1/\2_repr"),
        (r"attn_(\d+)", r"attention/layer_\1"),
        (r"attention/layer_(\d+)", r"attention/layer_\1"),
        (r"(?:outputs/)?coords", "outputs/coordinates"),
        (r"(?:outputs/)?conf", "outputs/confidence_scores"),
    )
)
_LAYER = ("activations/layer_{}/single_repr", "activations/layer_{}/pair_repr", "attention/layer_{}")
_ONCE = ("outputs/coordinates", "outputs/confidence_scores")

Found = dict[str, tuple[tuple[int, ...], np.dtype, Load]]


def _recognises(path: Path) -> bool:
    if path.is_dir():
        return any((path / name).is_file() for name in ROOTS) and (path / "activations/layer_0/single").is_dir()
    with open_regular(path) as handle:
        head = handle.read(256)
    if head.startswith(b"PK"):
        return _FIRST.search(head) is not None
    if not head.startswith(_HDF5):
        return False
    try:
        with open_hdf5(path) as file:  # visited, as asking for a name would follow links
            return bool(file.visit(lambda name: True if name == "activations/layer_0/single" else None))
    except OSError:  # truncated: whose it is cannot be seen, that it is truncated will be said
        return True


def _read(path: Path) -> ImportedTrace:
    gathering = Gathering(path, _KIND)
    found, left = _arrays(path, gathering)
    gathering.file(path)
    layers = sorted({int(number) for name in found if (number := _number(name)) is not None})
    expected = [name.format(layer) for layer in range(max(layers, default=0) + 1) for name in _LAYER] + [*_ONCE]
    if missing := [name for name in expected if name not in found]:
        raise SourceError(f"{path} lacks {missing[0]}: its writing was not finished; write it again.")
    for name in expected:
        shape, dtype, load = found[name]
        gathering.add(name, shape, dtype, load, f"{path}: {name}")
    gathering.leave_out(left)
    return gathering.trace()


def _number(name: str) -> int | None:
    match = re.search(r"/layer_(\d+)", name)
    return int(match[1]) if match else None


def _place(name: str) -> str | None:
    for pattern, place in _PLACES:
        if match := pattern.fullmatch(name):
            return match.expand(place)
    return None


def _arrays(path: Path, gathering: Gathering) -> tuple[Found, list[str]]:
    """Return the tensors by the schema's names, and the names of what is none of them."""
    found: Found = {}
    left: list[str] = []
    for name, shape, dtype, load in _listed(path, gathering):
        if (place := _place(name)) is None:
            left.append(name)
        else:
            found[place] = (shape, dtype, load)
    return found, left


def _listed(path: Path, gathering: Gathering) -> Iterator[tuple[str, tuple[int, ...], np.dtype, Load]]:
    if path.is_dir():
        store = ZarrStore(path)
        for name, array in store.arrays.items():
            store.note_missing_chunks(gathering, name)
            yield name, tuple(array.shape), array.dtype, lambda array=array: array  # type: ignore[misc]
        return
    with open_regular(path) as handle:
        head = handle.read(len(_HDF5))
    if head == _HDF5:
        yield from _in_hdf5(path)
    elif head.startswith(b"PK"):
        members = NpzMembers(path)
        yield from ((name, shape, dtype, members.load(name)) for name, (shape, dtype) in members.shapes.items())
    else:
        raise UsageError(f"{path} is neither NPZ nor HDF5 nor Zarr.")


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    with readable(str(path)), open_hdf5(path) as file:
        yield file


def _in_hdf5(path: Path) -> list[tuple[str, tuple[int, ...], np.dtype, Load]]:
    rows: list[tuple[str, tuple[int, ...], np.dtype, Load]] = []

    def visit(name: str, node: Any) -> None:  # follows neither soft nor external links
        if isinstance(node, h5py.Dataset):
            if node.external or node.is_virtual:
                raise SourceError(f"{path}: the values of {name} lie in another file; import that.")
            rows.append((name, node.shape, node.dtype, partial(_Rows, path, name, node.chunks)))

    with _opened(path) as file:
        file.visititems(visit)
    return rows


class _Rows:
    """A dataset that is opened for each part that is read, so that no handle outlives the import."""

    def __init__(self, path: Path, name: str, chunks: tuple[int, ...] | None) -> None:
        self._path, self._name, self.chunks = path, name, chunks

    def __getitem__(self, part: slice) -> np.ndarray:
        with _opened(self._path) as file:
            return np.asarray(file[self._name][part])


importer = Importer(
    name=_KIND,
    description="data.npz, data.h5 or data.zarr of the comparison that this harness replaces",
    recognises=_recognises,
    read=_read,
)
