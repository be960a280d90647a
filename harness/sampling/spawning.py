"""Spawn Python processes that end with their parent and do not import the user's script."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import ModuleType
from typing import Any

from harness import registry
from harness.capacity import capacity
from harness.sampling.budget import own_processors
from harness.sampling.interrupt import end_with

_SPAWN = multiprocessing.get_context("spawn")  # a fork would inherit open handles and library threads


def started(serve: Callable[[Connection], None], name: str, **settings: Any) -> tuple[SpawnProcess, Connection]:
    """Start a process that runs `serve` with a connection; return the process and the other end of the connection.

    The process may import the same plug-ins (`registry.allowed`), and ends with this process. It does not import the
    calling script, which may be the user's own and would do all of its work again.
    """
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_run, args=(serve, theirs, os.getpid(), registry.allowed()), name=name, **settings)
    with _without_script():
        process.start()
    theirs.close()
    return process, ours


@contextmanager
def _without_script() -> Iterator[None]:
    """Hide the ``__main__`` module, because a spawned process would import it first."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _run(
    serve: Callable[[Connection], None], connection: Connection, parent: int, allowed: tuple[registry.Name, ...]
) -> None:
    end_with(parent)
    capacity(), own_processors()  # cached now, because code that runs later may give the process more processors
    registry.allow(*allowed)
    with suppress(EOFError, ConnectionError):  # the other side has closed
        serve(connection)
