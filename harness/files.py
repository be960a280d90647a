"""Files that appear whole or not at all, and the wait until they are on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MOST = 180
"""Bytes of a name that its hidden name begins with; most filesystems take 255."""


@contextmanager
def appearing(path: Path, *, ending: str = ".partial", durable: bool = False) -> Iterator[Path]:
    """Give a hidden name beside a file; what is written there gets the file's name when the block ends without error.

    Parameters
    ----------
    path : Path
        The file; replaced when it exists.
    ending : str
        Ends the hidden name, so that what a killed process left can be found.
    durable : bool
        Wait until the content is on disk before it gets its name, and then until the name is.

    Yields
    ------
    Path
        Where to write. Each process has its own, so that two that write the same file do not mix.

    Raises
    ------
    OSError
        When it cannot be written; nothing of it is left, and a file that was there is as it was.
    """
    # A name may be as long as names can be, and then has no room for more.
    start = os.fsdecode(os.fsencode(path.name)[:_MOST])
    partial = path.with_name(f".{start}.{os.getpid()}{ending}")
    try:
        yield partial
        if durable:
            sync(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text under its final name only when it is complete; line ends stay as they are."""
    with appearing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
