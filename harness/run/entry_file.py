"""A document of a run that lists entries and is written anew with every one of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from harness.files import write_text

T = TypeVar("T")


class EntryFile(Generic[T]):
    """Keeps what an earlier session of the run wrote, for more to be added to `entries`.

    Parameters
    ----------
    path : Path
        The file.
    head : dict
        What comes before the entries, as their version.
    name : str
        The field of the entries.
    read : callable
        Reads the entries of a file that is there.
    """

    def __init__(self, path: Path, head: dict[str, Any], name: str, read: Callable[[Path], list[T]]) -> None:
        self._path, self._head, self._name = path, head, name
        self.entries = read(path) if path.exists() else []

    def write(self) -> None:
        """Write all of it."""
        write_text(self._path, json.dumps({**self._head, self._name: self.entries}, indent=1) + "\n")
