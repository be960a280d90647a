"""Start a process of Python that ends with the one that started it, and runs nothing of a person's script."""

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
    """Start a process that serves the other end of a connection, may import the same, and ends with this one.

    It runs nothing of the script that called, which may be a person's own and do all of its work again.
    """
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_run, args=(serve, theirs, os.getpid(), registry.allowed()), name=name, **settings)
    with _without_script():
        process.start()
    theirs.close()
    return process, ours


@contextmanager
def _without_script() -> Iterator[None]:
    """Hide the module that was started as a script: a spawned process would import it first."""
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
    capacity(), own_processors()  # as the process was started; what runs in it later may give itself more
    registry.allow(*allowed)
    with suppress(EOFError, ConnectionError):  # the other side has gone away
        serve(connection)
