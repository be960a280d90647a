"""Replay of reads of tensors that are stored unencoded: raw archives and safetensors."""

from __future__ import annotations

import json
from pathlib import Path

from harness.extensions.breakdown.replay import Replay, Replayer, contiguous
from harness.formats.base import Reader, Selection
from harness.formats.raw import RawReader
from harness.trace.manifest import Manifest


class FlatReplayer(Replayer[RawReader]):
    """Replayer of raw archives."""

    takes = RawReader

    def locate(self, path: str) -> None:
        self.reader.place(path)

    def replay(self, path: str, selection: Selection | None = None) -> Replay:
        offset, shape, dtype = self.reader.place(path)
        return contiguous(self.archive, offset, shape, dtype, selection)


class SafetensorsReplayer(Replayer[Reader]):
    """Replayer of safetensors archives. It parses the header itself, because the library does not expose it."""

    takes = Reader

    def __init__(self, archive: Path, reader: Reader) -> None:
        from safetensors import safe_open

        super().__init__(archive, reader)
        self._file = safe_open(archive, framework="numpy")
        self._manifest = Manifest.from_json(reader.manifest_text())
        with archive.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            self._start, self._header = 8 + length, json.loads(file.read(length))

    def locate(self, path: str) -> None:
        self._file.get_slice(path)

    def replay(self, path: str, selection: Selection | None = None) -> Replay:
        spec, offset = self._manifest[path], self._start + self._header[path]["data_offsets"][0]
        return contiguous(self.archive, offset, spec.shape, spec.dtype, selection)

    def close(self) -> None:
        del self._file
