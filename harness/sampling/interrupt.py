"""Ctrl-C, heard only while waiting for a worker: nothing is half started, half recorded or half removed by it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType


class _State:
    pending = False
    heard = False


def _on_interrupt(number: int, frame: FrameType | None) -> None:
    if _State.heard:
        raise KeyboardInterrupt
    _State.pending = True


@contextmanager
def deferred() -> Iterator[None]:
    """Keep Ctrl-C back until a `heard` block, or until this one ends.

    Raises
    ------
    KeyboardInterrupt
        At its end, when Ctrl-C came and no `heard` block has raised it.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or handler is signal.SIG_IGN:
        yield
        return
    _State.pending = _State.heard = False
    signal.signal(signal.SIGINT, _on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if _State.pending:
        raise KeyboardInterrupt


@contextmanager
def heard() -> Iterator[None]:
    """Let Ctrl-C through, also one that was kept back.

    Raises
    ------
    KeyboardInterrupt
        When Ctrl-C came.
    """
    _State.heard = True
    try:
        if _State.pending:
            _State.pending = False
            raise KeyboardInterrupt
        yield
    finally:
        _State.heard = False


@contextmanager
def kept_from_children() -> Iterator[None]:
    """Start processes that never hear Ctrl-C themselves: a blocked signal stays blocked in what is started."""
    resource_tracker.ensure_running()  # its first start would unblock the signal again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
