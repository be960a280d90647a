"""Replay of reads of NPZ members: each member is inflated completely and at once."""

from __future__ import annotations

import zipfile
import zlib

import numpy as np

from harness.extensions.breakdown.replay import Replay, Replayer
from harness.formats.base import Selection
from harness.formats.extents import Extent
from harness.formats.npz_reader import NpzReader, member_header
from harness.formats.npz_recovery import LOCAL_HEADER, header_length
from harness.trace.stream import LARGE_BYTES


class NpzReplayer(Replayer[NpzReader]):
    """Replayer of deflated members; other members have no replay."""

    takes = NpzReader

    def locate(self, path: str) -> None:
        with self.reader.zip.open(f"{path}.npy") as member:
            member_header(member)

    def replay(self, path: str, selection: Selection | None = None) -> Replay | None:
        member = self.reader.zip.getinfo(f"{path}.npy")
        with self.archive.open("rb") as file:
            file.seek(member.header_offset)
            skipped = header_length(file.read(LOCAL_HEADER))
        with self.reader.zip.open(member) as handle:
            shape, dtype = member_header(handle)
            values = handle.tell()
        if member.compress_type != zipfile.ZIP_DEFLATED or member.file_size - values > LARGE_BYTES:
            return None  # replay steps run one after the other, so a large member would be in memory completely

        def decode(stored: list[bytes]) -> list[np.ndarray]:
            data = zlib.decompress(memoryview(stored[0])[skipped:], -zlib.MAX_WBITS, member.file_size)
            return [np.ndarray(shape, dtype, data, values)]

        return Replay(
            extents=(Extent(self.archive, member.header_offset, skipped + member.compress_size),),
            decode=decode,
            place=lambda pieces: pieces[0][... if selection is None else selection].copy(),
        )
