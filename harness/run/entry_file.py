"""A JSON document of a run with a list of entries; rewritten for every new entry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from harness.files import write_text

T = TypeVar("T")


class EntryFile(Generic[T]):
    """A file of entries; starts with those of earlier sessions of the run. Append to `entries`, then call `write`.

    Parameters
    ----------
    path : Path
        The file.
    head : dict
        Fields before the entries, such as the version.
    name : str
        Name of the field with the entries.
    read : callable
        Reads the entries of an existing file.
    """

    def __init__(self, path: Path, head: dict[str, Any], name: str, read: Callable[[Path], list[T]]) -> None:
        self._path, self._head, self._name = path, head, name
        self.entries = read(path) if path.exists() else []

    def write(self) -> None:
        """Write the complete document."""
        write_text(self._path, json.dumps({**self._head, self._name: self.entries}, indent=1) + "\n")
