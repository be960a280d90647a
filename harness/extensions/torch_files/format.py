"""The format ``torch-save``: one dictionary of tensors by ``torch.save``, as VizFold and OpenFold3 write traces."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import ClassVar

from harness import registry
from harness.formats.base import Elsewhere, Format, Layout, Profile, Reader, ReaderSpec, UnsupportedProfile, Writer
from harness.limits import in_words
from harness.trace.manifest import Manifest
from harness.trace.schema import TensorSpec

KEY = "metadata/manifest"
"""First key of the dictionary, with the manifest as text."""

_FIRST, _HEAD = b"/data.pkl", 4096  # the member that holds the dictionary; bytes in which its first key must be


def _loaded(path: Path) -> Reader:
    from harness.extensions.torch_files.tensors import TorchReader  # loads the library only when needed

    return TorchReader(path, KEY)


def _mapped(path: Path) -> Reader:
    from harness.extensions.torch_files.tensors import TorchReader

    return TorchReader(path, KEY, mapped=True)


class TorchSaveFormat(Format):
    """Files of ``torch.save``, without chunks, codecs or other settings, so that only readers can be compared."""

    name = "torch-save"
    description = "torch.save, one file with a dictionary of tensors, uncompressed"
    suffix = ".pt"
    elsewhere = Elsewhere(library="torch")
    readers: ClassVar = {
        "torch.load": ReaderSpec(
            open=_loaded, about="torch.load(weights_only=True): all of the file, when it is opened"
        ),
        "torch.load-mmap": ReaderSpec(open=_mapped, about="torch.load(weights_only=True, mmap=True), copied when read"),
    }

    @staticmethod
    def missing() -> str:
        """Return how to install the library; empty if it is installed."""
        return "needs the package 'torch': pip install torch==2.13.0" if registry.missing_package("torch", "") else ""

    def layout(self, spec: TensorSpec, profile: Profile) -> Layout:
        if profile == "matched":
            raise UnsupportedProfile(
                f"{self.name} has neither chunks nor codecs, so it cannot take the matched settings"
            )
        return Layout(origin="default", why="contiguous and uncompressed: the format has no other layout")

    def writer(self, path: Path, manifest: Manifest, profile: Profile) -> Writer:
        from harness.extensions.torch_files.tensors import TorchWriter

        return TorchWriter(path, KEY)

    def recognises(self, path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD)
        name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        return head[:4] == b"PK\x03\x04" and name.endswith(_FIRST) and KEY.encode() in head

    def overstated(self, path: Path) -> str:
        with zipfile.ZipFile(path) as file:
            for member in file.infolist():
                if member.compress_type != zipfile.ZIP_STORED or member.file_size > path.stat().st_size:
                    return f"{member.filename} is compressed, or states {in_words(member.file_size)} it does not have"
        return ""

    def settings(self) -> dict[str, str]:
        from harness.extensions.torch_files.tensors import VERSION

        return {"versions": VERSION, "threads": "1", "caches": "the whole file, or the kernel's through mmap"}
