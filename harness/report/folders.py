"""Output folders of commands: create them, lock them to one process, and clear partial files of killed processes."""

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
    """Lock a run's folder against other commands in the context, and clear what a killed command left.

    Parameters
    ----------
    folder : Path
        The folder.
    new : bool
        Whether to create it.

    Raises
    ------
    UsageError
        If another process writes there. Unless `new`, also if there is no such folder. If `new`, also if it is there
        and not empty, is inside an archive, or cannot be written to.
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
            _make(folder)  # another process may have written there between the first check and the lock
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
