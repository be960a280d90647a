"""``directories.json``: every file of each result directory in each mode, and what was read from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.files import write_text
from harness.measure.config import VANILLA
from harness.predictions.manifest import KINDS

DIRECTORIES_VERSION = 1
DIRECTORIES = "directories.json"


class DirectoryRecord:
    """The file, written anew with every mode of a directory.

    Parameters
    ----------
    path : Path
        The file; what an earlier session of the run wrote is kept.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found = read_directories(path) if path.exists() else []

    def add(self, label: str, kind: str, mode: str, facts: dict[str, Any]) -> None:
        """Note a directory in a mode.

        Parameters
        ----------
        label, kind : str
            The directory, and what made it.
        mode : str
            One of `DIRECTORY_MODES`, the directory as it was written first.
        facts : dict
            ``before`` and ``contents``: size and SHA-256 by path, as it was written and in this mode; and what was
            restored and read.

        Raises
        ------
        HarnessError
            When the directory is not what it was when it was counted as written.
        """
        found = next((each for each in self._found if each["directory"] == label), None)
        if found is None:
            found = {"directory": label, "kind": kind, "program": KINDS[kind], "modes": {}}
            self._found.append(found)
        before = facts["before"]
        if found["modes"].get(VANILLA, {}).get("contents", before) != before:
            raise HarnessError("the directory changed while it was measured")
        found["modes"][mode] = {name: value for name, value in facts.items() if name != "before"}
        document = {"directories_version": DIRECTORIES_VERSION, "directories": self._found}
        write_text(self._path, json.dumps(document, indent=1) + "\n")


def read_directories(path: Path) -> list[dict[str, Any]]:
    """Read what `DirectoryRecord` wrote: one entry a directory.

    Raises
    ------
    HarnessError
        When it is missing, damaged or of a version this reader does not know.
    """
    try:
        document = json.loads(path.read_text())
        version, found = document["directories_version"], document["directories"]
    except FileNotFoundError as error:
        raise HarnessError(f"There is no {path}, though the run has result directories: make it again.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise HarnessError(f"{path} is damaged: {error}.") from error
    if version != DIRECTORIES_VERSION:
        raise HarnessError(f"{path} has version {version!r}; this reader knows version {DIRECTORIES_VERSION}.")
    return list(found)
