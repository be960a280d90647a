"""Ctrl-C and its kin, heard only while waiting for a worker: nothing is half started, recorded or removed by it."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a process to end: Ctrl-C, a scheduler or ``kill``, a terminal that is gone."""

_PR_SET_PDEATHSIG = 1


class _State:
    pending: int | None = None
    heard = False


def exit_code(error: KeyboardInterrupt) -> int:
    """Return what a process exits with that ended for this: 128 and the number of the signal."""
    return 128 + int(error.args[0] if error.args else signal.SIGINT)


def interrupt(number: int, frame: FrameType | None = None) -> None:
    """End like Ctrl-C: the handler of every signal of `ENDING` outside of `deferred`.

    Raises
    ------
    KeyboardInterrupt
        With the number of the signal.
    """
    raise KeyboardInterrupt(number)


def _keep(number: int, frame: FrameType | None) -> None:
    if _State.heard:
        raise KeyboardInterrupt(number)
    _State.pending = number


@contextmanager
def ending_alike() -> Iterator[None]:
    """Let every signal of `ENDING` end what runs as Ctrl-C does, but one that is ignored, as under ``nohup``."""
    with _handled(interrupt, only_default=True):
        yield


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], *, only_default: bool = False) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # it alone may set handlers, and gets the signals
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    for number, was in before.items():
        if was is not signal.SIG_IGN and (not only_default or was is signal.SIG_DFL):
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


@contextmanager
def deferred() -> Iterator[None]:
    """Keep Ctrl-C and its kin back until a `heard` block, or until this one ends.

    Raises
    ------
    KeyboardInterrupt
        At its end, when one came and no `heard` block has raised it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _State.pending, _State.heard = None, False
    with _handled(_keep):
        yield
    if _State.pending is not None:
        number, _State.pending = _State.pending, None  # it is raised once
        raise KeyboardInterrupt(number)


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
        if _State.pending is not None:
            number, _State.pending = _State.pending, None
            raise KeyboardInterrupt(number)
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


def end_with(parent: int) -> None:
    """Let the kernel kill this process when `parent`, which started it and may be gone, ends in whatever way."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux alone has it; elsewhere an idle worker ends by itself
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
