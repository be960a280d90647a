"""The folder that a command writes into: made, kept to one process at a time, and cleared of what a killed one left."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import UsageError, escaped
from harness.files import clear_partials, locked
from harness.formats.archive import require_outside


@contextmanager
def held(folder: Path, *, new: bool = False) -> Iterator[None]:
    """Keep other commands from writing into a run's folder while this one does, and clear what a killed one left.

    Parameters
    ----------
    folder : Path
        The folder.
    new : bool
        Make it.

    Raises
    ------
    UsageError
        When another process writes there; of a new one also when it exists with something in it, lies inside an
        archive, or cannot be written to.
    """
    if new:
        _make(folder)
    elif not folder.is_dir():
        raise UsageError(f"There is no {folder}; name the folder of a run that 'harness run' has written.")
    busy = f"Another process of harness writes into {folder}: wait until it is done, or choose another folder."
    with locked(folder, busy) as sure:
        if not sure:
            logging.getLogger(__name__).warning(
                "%s cannot be locked on its filesystem: start no second command on it meanwhile.", escaped(str(folder))
            )
        if new:
            _make(folder)  # another may have begun between the first look and the lock
        for place in (folder, folder / "plots"):
            clear_partials(place)
        yield


def _make(folder: Path) -> None:
    if (folder / "run.json").exists():
        raise UsageError(
            f"{folder} holds a run already: continue it with 'harness run --resume --out {folder}', or choose another "
            "--out."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not an empty folder: choose another --out.")
    require_outside(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".probe").touch()
        (folder / ".probe").unlink()
    except OSError as error:
        raise UsageError(f"{folder} cannot be written to ({error.strerror}): choose another --out.") from error
