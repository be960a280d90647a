"""Writer and reader of files of ``torch.save`` with torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.errors import ArchiveError
from harness.formats.base import Reader, Selection, Writer
from harness.formats.describing import Opened, StoredTensor
from harness.formats.seal import BLANK
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec

VERSION = f"torch {torch.__version__}"


class TorchWriter(Writer):
    """Writer that holds all tensors until the end, as ``torch.save`` requires; the manifest is the first item."""

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key
        self._tensors: dict[str, torch.Tensor] = {}

    def write(self, spec: TensorSpec, blocks: Iterable[np.ndarray]) -> None:
        values, row = np.empty(spec.shape, spec.dtype), 0
        for block in blocks:
            if not spec.shape:
                values[()] = block
            else:
                values[row : row + len(block)] = block
                row += len(block)
        self._tensors[spec.path] = torch.from_numpy(values)

    def commit(self, manifest: Manifest) -> None:
        with self._path.open("xb") as file:
            torch.save({self._key: manifest.to_json(), **self._tensors}, file)
            # A zip file ends with the length of a comment, 0 so far, and the comment.
            file.seek(-2, 2)
            file.write(len(BLANK).to_bytes(2, "little") + BLANK.encode())

    def abort(self) -> None:
        self._tensors.clear()


class TorchReader(Reader):
    """Reader of plain tensors; it imports and runs nothing that a file names (``weights_only``).

    Parameters
    ----------
    path : Path
        The file.
    key : str
        Key of the manifest in the dictionary.
    mapped : bool
        Whether the file is mapped and values are copied on reads; otherwise the complete file is loaded on opening.
    """

    def __init__(self, path: Path, key: str, *, mapped: bool = False) -> None:
        self._mapped = mapped
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        if not isinstance(found, dict) or not isinstance(found.get(key), str):
            raise ArchiveError(f"{path} holds no dictionary of tensors with a manifest.")
        self._manifest = found.pop(key)
        self._tensors = {str(name): _plain(name, tensor) for name, tensor in found.items()}

    def manifest_text(self) -> str:
        return self._manifest

    def stored(self) -> dict[str, StoredTensor]:
        return {name: StoredTensor(values.shape, values.dtype.name) for name, values in self._tensors.items()}

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        values = self._tensors[path]
        if selection is None and not self._mapped:
            values.flags.writeable = False  # later reads return the same array
            return values
        return np.array(values[... if selection is None else selection])

    def opened(self, path: str) -> Opened:
        cache = "the kernel's, through mmap" if self._mapped else "the whole file, from when it is opened"
        return Opened(reader=VERSION, cache=cache)

    def close(self) -> None:
        self._tensors = {}


def _plain(name: object, tensor: Any) -> np.ndarray:
    """Return a tensor's own memory as an array; raise `ArchiveError` for other layouts and for too small storages.

    A file may hold views with more values than it has bytes.
    """
    if type(tensor) is not torch.Tensor or tensor.layout != torch.strided or not tensor.is_contiguous():
        raise ArchiveError(f"{name} is not a plain tensor, contiguous in memory.")
    values = tensor.numpy()
    if values.nbytes > tensor.untyped_storage().nbytes():
        raise ArchiveError(f"{name} has more values than its storage has bytes for.")
    return values
