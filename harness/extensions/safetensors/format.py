"""The format ``safetensors``: a JSON header with offsets, then the bytes of every tensor."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, ClassVar, Final, NotRequired, TypedDict

import numpy as np

from harness import registry
from harness.documents import DocumentError, decode
from harness.errors import HarnessError
from harness.files import DOCUMENT
from harness.formats.base import Elsewhere, Profile, Reader, ReaderSpec, Selection, UnsupportedProfile
from harness.formats.describing import Opened, StoredTensor
from harness.formats.raw import FlatFormat, FlatWriter
from harness.formats.seal import BLANK
from harness.formats.selection import lengths, whole
from harness.formats.style import Style
from harness.trace.manifest import Manifest
from harness.trace.stream import Digest

# Names from the format's description: https://github.com/huggingface/safetensors#format
DTYPES = {
    "bool": "BOOL",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    **{f"int{bits}": f"I{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"U{bits}" for bits in (8, 16, 32, 64)},
}


_METADATA: Final = "__metadata__"


class _Header(TypedDict):
    """Metadata in a header, in addition to its tensors."""

    __metadata__: NotRequired[dict[str, str]]


class SafetensorsWriter(FlatWriter):
    """Writer that streams tensors after a header of known length.

    The library's own ``save_file`` needs all tensors in memory. Digests are known only at the end, but their length
    is known from the start. So the header is written twice: first as a placeholder, then with the digests.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        blank = Digest().hexdigest()
        header = _header(dataclasses.replace(manifest, digests={spec.path: blank for spec in manifest.tensors}))
        self._length = len(header)
        super().__init__(path.open("xb"))
        self._file.write(header)

    def commit(self, manifest: Manifest) -> None:
        header = _header(manifest)
        if len(header) != self._length:
            raise HarnessError("The header of safetensors comes first: what it lists cannot be slimmed afterwards.")
        self._file.seek(0)
        self._file.write(header)
        self._file.close()


def _header(manifest: Manifest) -> bytes:
    entries: dict[str, Any] = {_METADATA: {"manifest": manifest.to_json(), "seal": BLANK}}
    offset = 0
    for spec in manifest.tensors:
        entries[spec.path] = {
            "dtype": DTYPES[spec.dtype],
            "shape": list(spec.shape),
            "data_offsets": [offset, offset + spec.nbytes],
        }
        offset += spec.nbytes
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)  # the format requires data aligned to 8 bytes
    return len(text).to_bytes(8, "little") + text


class SafetensorsReader(Reader):
    """Reader with the library's ``safe_open``."""

    def __init__(self, path: Path) -> None:
        from safetensors import safe_open

        self._file = safe_open(path, framework="numpy")
        self._names = {code: dtype for dtype, code in DTYPES.items()}

    def manifest_text(self) -> str:
        return str((self._file.metadata() or {})["manifest"])

    def stored(self) -> dict[str, StoredTensor]:
        slices = {name: self._file.get_slice(name) for name in self._file.keys()}  # noqa: SIM118 - not a mapping
        return {name: StoredTensor(tuple(s.get_shape()), self._names[s.get_dtype()]) for name, s in slices.items()}

    def read(self, path: str, selection: Selection | None = None) -> np.ndarray:
        if selection is None:
            return self._file.get_tensor(path)
        part = self._file.get_slice(path)
        wanted = whole(part.get_shape(), selection)
        if 0 in lengths(wanted):  # the library rejects empty slices
            return np.empty(lengths(wanted), self._names[part.get_dtype()])
        # The library copies the selected bytes from its memory map.
        return np.asarray(part[wanted])

    def opened(self, path: str) -> Opened:
        from safetensors import __version__

        return Opened(reader=f"safetensors {__version__}", cache="the kernel's, through mmap")

    def close(self) -> None:
        del self._file


class SafetensorsFormat(FlatFormat):
    """Safetensors, as its users know it: uncompressed."""

    name = "safetensors"
    description = "safetensors, uncompressed, mapped into memory"
    suffix = ".safetensors"
    lacks = ("complex64", "complex128")
    own_writer = True
    style = Style(order=50, colour="#CC79A7", marker="v", dash=(0, (3, 1, 1, 1, 1, 1)), hatch="xxx")
    elsewhere = Elsewhere(library="safetensors")
    readers: ClassVar = {"safetensors": ReaderSpec(open=SafetensorsReader, about="safetensors.safe_open")}

    @staticmethod
    def missing() -> str:
        """Return how to install the library; empty if it is installed."""
        return registry.missing_package("safetensors", "trace-format-harness[safetensors]")

    def require(self, manifest: Manifest, profile: Profile) -> None:
        super().require(manifest, profile)
        if any(spec.path == _METADATA for spec in manifest.tensors):
            raise UnsupportedProfile(f"{self.name} has its metadata under the name {_METADATA}, which a tensor has")

    def writer(self, path: Path, manifest: Manifest, profile: Profile) -> SafetensorsWriter:
        return SafetensorsWriter(path, manifest)

    def recognises(self, path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            return 2 < length < DOCUMENT and file.read(1) == b"{"

    def foreign(self, path: Path) -> bool:
        try:
            with path.open("rb") as file:
                text = file.read(min(int.from_bytes(file.read(8), "little"), DOCUMENT))
            header = decode(text, _Header, path, extra=True)
        except (OSError, DocumentError):
            return False
        return "manifest" not in header.get(_METADATA, {})

    def settings(self) -> dict[str, str]:
        from safetensors import __version__

        return {"versions": f"safetensors {__version__}", "threads": "1", "caches": "the kernel's, through mmap"}
