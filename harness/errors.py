"""Errors for users, each a sentence that says what to do, with an exit code."""

from __future__ import annotations

import errno
import signal
import unicodedata
from collections.abc import Iterable
from typing import Literal

Cause = Literal["", "machine"]
"""What a failure is put down to: ``machine``, or empty for what was asked to do something, as a format."""

_OF_THE_MACHINE = (
    errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EIO,
    errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM, errno.EROFS,  # of what may be opened, and by whom
    errno.ENOLCK, errno.EAGAIN, errno.ESTALE, errno.ETIMEDOUT,  # of network filesystems
)  # fmt: skip
_KILLED = (-signal.SIGKILL, -signal.SIGTERM)  # exit codes: somebody ended it, as the system does for want of memory
_NAMED = 40  # names that exist, in a message on one that does not


class HarnessError(Exception):
    """Something failed while running; exit code 1."""

    exit_code = 1
    cause: Cause = ""  # Cause of the failure; `cause_of` also considers chained exceptions: "", "machine".


class UsageError(HarnessError):
    """The request is invalid; exit code 2."""

    exit_code = 2


class MachineError(HarnessError):
    """The machine failed: no space, no memory, a killed process, a lost server."""

    cause: Cause = "machine"


class ArchiveError(HarnessError):
    """An archive is missing, damaged, of another kind, or inconsistent."""


def cause_of(error: BaseException) -> Cause:
    """Say what a failure is put down to, from the error and all that it was raised from or after."""
    waiting, seen = [error], set[int]()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:  # a library may raise an error from the group that it is in
            continue
        seen.add(id(found))
        of_system = isinstance(found, OSError) and found.errno in _OF_THE_MACHINE
        if of_system or isinstance(found, MemoryError) or (isinstance(found, HarnessError) and found.cause):
            return "machine"
        if isinstance(found, BaseExceptionGroup):
            waiting += found.exceptions
        before = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
        waiting += [before] if before else []
    return ""


def first_of(error: Exception) -> Exception:
    """Return the first error of a group, as tasks raise that run together; any other error itself."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def ended(what: str, code: int | None) -> HarnessError:
    """Build the error for a process that ended without an answer; not raised.

    Parameters
    ----------
    what : str
        The process, as the sentence begins.
    code : int or None
        Its exit code, negative for a signal; None where it is not known.
    """
    if code in _KILLED:
        name = signal.Signals(-code).name
        return MachineError(f"{what} was killed from outside ({name}), as the system does when memory runs out")
    return HarnessError(f"{what} ended without an answer (exit code {code})")


def escaped(text: str) -> str:
    """Return a text as it may be shown in a terminal, in one line.

    Names of files, keys and labels may hold what moves the cursor, changes colours, turns the direction of writing, or
    cannot be printed at all; it is shown as Python would write it, such as ``\\x1b``.
    """
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else repr(c)[1:-1] for c in text)


def escaped_lines(text: str) -> str:
    """Return a text of several lines, each as `escaped` returns it."""
    return "\n".join(escaped(line) for line in text.split("\n"))


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Build the error for a name that is not registered, with the nearest one that is.

    Parameters
    ----------
    kind : str
        What was looked for, such as ``"format"``.
    name : str
        The name that was given.
    known : iterable of str
        The names that exist.

    Returns
    -------
    UsageError
        Not raised, so that the caller can raise it from where it stands.
    """
    names = sorted(known)
    import difflib  # as late as a name is wrong, so that nobody else waits for it

    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(names[:_NAMED])}{more}."
    return UsageError(f"There is no {kind} named {name!r}; {hint}")
