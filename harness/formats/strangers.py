"""What a format may find in a file before it trusts it; whoever makes an archive can seal it too."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable


@runtime_checkable
class TellsForeign(Protocol):
    """A format whose files can be another program's."""

    def foreign(self, path: Path) -> bool:
        """Say whether what `Format.recognises` took is sound, but without a manifest of this harness.

        Asked of what has no seal; never raises for a file that cannot be read.
        """


@runtime_checkable
class TellsLinks(Protocol):
    """A format of one file, in which something can make its library read another file."""

    def leads_out(self, path: Path) -> str:
        """Name it; empty where there is nothing. Links in folders are found for every format."""


@runtime_checkable
class TellsOverstated(Protocol):
    """A format whose library believes sizes that are stated in an archive."""

    def overstated(self, path: Path) -> str:
        """Name what would take far more memory than the values; empty where there is nothing.

        Asked behind an unbroken seal, before a tensor is read.
        """
